"""Going on with a training: what was asked for must be the same, and how far it has come."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ktransfer.errors import InputError, RunError
from ktransfer.plan import Plan
from ktransfer.training.caching import CacheDecision
from ktransfer.training.checkpoint import Checkpoints
from ktransfer.training.stage_result import StageResult

Request = dict[str, Any]


@dataclass(frozen=True, eq=False)
class StageState:
    """The state of a stage between two epochs."""

    arrays: dict[str, np.ndarray]
    plain: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Progress:
    """How far a training has come: what a checkpoint saves and a resume restores.

    Attributes:
        results: of the stages that are done.
        decision: what the stage that is running reads; None: none is, or it is not yet decided.
        batch_size: of that stage.
        stage: its state; None: it is before its first epoch.
        cut: the first block that any stage until now has trained.
        weights: those of the network behind that cut, its head included.
        feature_scale: what the head multiplies its features by.
        feature_offset: what it adds to them.
        scaled: whether they were brought to one size.
        cores: those that the training ran on, one after the other.
    """

    results: Sequence[StageResult]
    decision: CacheDecision | None
    batch_size: int
    stage: StageState | None
    cut: int
    weights: Sequence[np.ndarray]
    feature_scale: np.ndarray | float
    feature_offset: np.ndarray | float
    scaled: bool
    cores: Sequence[int]

    def save(self, checkpoints: Checkpoints) -> None:
        """Write it.

        Raises:
            RunError: as `Checkpoints.save`.
        """
        state = self.stage or StageState({}, {})
        network = {f"network/{at}": each for at, each in enumerate(self.weights)}
        plain = {
            "stages": [result.to_dict() for result in self.results],
            "cut": self.cut,
            "feature_scale": np.asarray(self.feature_scale).tolist(),
            "feature_offset": np.asarray(self.feature_offset).tolist(),
            "scaled": self.scaled,
            "batch_size": self.batch_size,
            "in_stage": state.plain,
            "decision": asdict(self.decision) if self.decision else None,
            "cores": list(self.cores),
        }
        checkpoints.save(network | state.arrays, plain)

    @classmethod
    def load(cls, checkpoints: Checkpoints) -> Progress | None:
        """Read the newest one; None where there is none yet.

        Raises:
            RunError: as `Checkpoints.load`.
            ValueError, KeyError, TypeError: it is whole, and no progress of ours.
        """
        found = checkpoints.load()
        if found is None:
            return None
        arrays, plain = found
        names = (f"network/{at}" for at in itertools.count())
        return cls(
            results=[StageResult.from_dict(each) for each in plain["stages"]],
            decision=CacheDecision(**plain["decision"]) if plain["decision"] else None,
            batch_size=plain["batch_size"],
            stage=StageState(arrays, plain["in_stage"]) if plain["in_stage"] else None,
            cut=plain["cut"],
            weights=[arrays[name] for name in itertools.takewhile(arrays.__contains__, names)],
            feature_scale=_array_or_number(plain["feature_scale"]),
            feature_offset=_array_or_number(plain["feature_offset"]),
            scaled=plain["scaled"],
            cores=plain.get("cores") or (),  # none: of an earlier version
        )


def _array_or_number(value: list[float] | float) -> np.ndarray | float:
    return np.array(value, np.float32) if isinstance(value, list) else value


@contextmanager
def damage_named(what: str) -> Iterator[None]:
    """Make a `RunError` of what a state raises whose bytes are whole and that is none of ours."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{what} damaged ({type(error).__name__}: {error}): start again in a new folder"
        ) from error


def check_same(then: Request, now: Request, folder: str) -> None:
    """Refuse to resume a training with something else than it was started with.

    Args:
        then: what it was started with: plain data, by topic ("data", "classes", "backbone",
            "plan", "settings").
        now: what it would be resumed with.
        folder: where it lies, for the message.

    Raises:
        RunError: they differ; the message names every difference.
    """
    found = list(differences(_as_written_now(then), now))
    if found:
        raise RunError(
            f"cannot resume {folder}: it was started with something else ({'; '.join(found)}). "
            "Give what it was started with, or start anew in another folder"
        )


def _as_written_now(request: Request) -> Request:
    """Return a request whose plans say what earlier versions had no word for: the defaults."""
    plan, tries = request.get("plan"), request.get("tries")
    if not isinstance(plan, Mapping):
        return request
    with contextlib.suppress(InputError):  # then the difference is said
        request = {**request, "plan": _plan_as_now(plan)}
        if tries:
            request["tries"] = [_plan_as_now(each) for each in tries]
    return request


def _plan_as_now(plan: Mapping[str, Any]) -> Any:
    return json.loads(Plan.from_dict(dict(plan)).to_json())


def differences(
    then: Request, now: Request, sides: tuple[str, str] = ("then", "now")
) -> Iterator[str]:
    """Yield each difference in words: what it was then, what it is now.

    Args:
        then: by topic, as in `check_same`.
        now: the same; only its topics are compared.
        sides: what to call the two.
    """
    for topic in now:
        yield from _compared(topic, then.get(topic), now[topic], sides)


def _compared(name: str, then: Any, now: Any, sides: tuple[str, str]) -> Iterator[str]:
    if then == now:
        return
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*then, *now)):
            yield from _compared(f"{name} {key}", then.get(key), now.get(key), sides)
    elif _are_stages(then) and _are_stages(now) and len(then) == len(now):
        for old, new in zip(then, now, strict=True):
            yield from _compared(f"{name} {old['name']!r}", old, new, sides)
    elif _is_digest(then) and _is_digest(now):
        yield f"{name}: other contents than {sides[0]}"
    else:
        yield f"{name}: {_short(then)} {sides[0]}, {_short(now)} {sides[1]}"


def _are_stages(value: Any) -> bool:
    return isinstance(value, Sequence) and all(
        isinstance(each, Mapping) and "name" in each for each in value
    )


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
