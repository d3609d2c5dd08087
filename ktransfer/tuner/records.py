"""What is known of each trial, in a file of its own: at every moment the old one or the new one.

    DIR/request.json       what the search is made of: data, backbone, space
    DIR/trials/NAME.json   a trial: of the oracle (0000, 0001, ...), a repeat, or the last training
    DIR/costs.json         what an image costs, for the estimate without a cache

These files are all that a search goes on from: KerasTuner's own, in DIR/keras_tuner, are for those
who look there. A trial that was running when the search was killed is run again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ktransfer.errors import RunError
from ktransfer.files import reading as _reading
from ktransfer.files.records import check_typed, with_tuples
from ktransfer.files.writing import write_whole
from ktransfer.metrics import Score
from ktransfer.plan import Plan

RUNNING, DONE, STOPPED, FAILED = "running", "done", "stopped", "failed"

REQUEST_NAME = "request.json"
_MOST_MB = 64


@dataclass(frozen=True)
class Record:
    """One training of a plan.

    Attributes:
        name: of its file.
        values: of the hyperparameters.
        plan: what was trained, as plain data.
        seed: of the head, the order and the dropout.
        status: `"running"`, `"done"`, `"stopped"` (early, by the median rule) or `"failed"`.
        reason: why it was stopped or failed; empty where it was not.
        val_accuracy: share of the validation images right, in [0, 1]; None where it failed. Of the
            weights that were kept, which may be those of before the last stage; of a trial that was
            stopped, of the best epoch until then.
        val_calibrated_loss: cross entropy of the validation images at the temperature that suits
            them best, of the best epoch of the last stage, also where that was not kept: what the
            oracle learns from. None where it failed.
        curve: validation accuracy after each epoch of the stage that unfreezes.
        epochs: how many epochs each stage ran.
        seconds: wall time.
        memory_mb: resident memory of the worker process after it.
        attempts: how often it was begun.
        test: the score on the test part, as plain data; only of the last training.
        repeats: the name of the trial whose plan is carried out again; empty for a trial.
        fold: the fold of train and validation that was held back, from 0; None: the validation
            part was.
        num_validation: how many images it was judged on.
        began_at: its place among all beginnings and ends of the search, from 1, so that an oracle
            can be told of them again in that order.
        ended_at: the same of its end; 0 where it has not ended.
    """

    name: str
    values: Mapping[str, Any]
    plan: Mapping[str, Any]
    seed: int
    status: str = RUNNING
    reason: str = ""
    val_accuracy: float | None = None
    val_calibrated_loss: float | None = None
    curve: tuple[float, ...] = ()
    epochs: tuple[int, ...] = ()
    seconds: float = 0.0
    memory_mb: float = 0.0
    attempts: int = 1
    test: Mapping[str, Any] | None = None
    repeats: str = ""
    fold: int | None = None
    num_validation: int = 0
    began_at: int = 0
    ended_at: int = 0

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Record:
        """Return a record from plain data.

        Raises:
            TypeError: something is missing.
        """
        known = [each.name for each in fields(cls)]
        return cls(**with_tuples({name: data[name] for name in known if name in data}))

    @property
    def is_trial(self) -> bool:
        """Whether the oracle asked for it; oracles count their trials, others have words."""
        return self.name.isdigit()

    @property
    def finished(self) -> bool:
        """Whether it needs no further attempt."""
        return self.status != RUNNING

    @property
    def unfreeze(self) -> int:
        """How many last blocks trained in the end."""
        return int(self.plan["stages"][-1]["unfreeze"])

    @property
    def learning_rate(self) -> float:
        """The head's in the last stage."""
        return float(self.plan["stages"][-1]["learning_rate"])

    @property
    def metrics(self) -> dict[str, float]:
        """What the oracle is told of it; empty where it failed."""
        if self.val_calibrated_loss is None or self.val_accuracy is None:
            return {}
        return {
            "val_calibrated_loss": self.val_calibrated_loss,
            "val_accuracy": self.val_accuracy,
        }

    def to_plan(self) -> Plan:
        """Say what was trained."""
        return Plan.from_dict(dict(self.plan))

    def __str__(self) -> str:
        blocks = f"{self.name}: unfreeze {self.unfreeze}, learning rate {self.learning_rate:.2g}"
        if self.val_accuracy is None:
            return f"{blocks}: failed, {self.reason}"
        stopped = f", stopped: {self.reason}" if self.reason else ""
        return f"{blocks}: {self.val_accuracy:.1%} in {self.seconds:.1f} s{stopped}"

    def row(self) -> dict[str, Any]:
        """Say what `ktransfer tune --json` says of it."""
        names = ("name", "val_accuracy", "val_calibrated_loss", "seconds", "status", "reason")
        more = ("seed", "fold", "memory_mb")
        own = {name: getattr(self, name) for name in (*names, *more)}
        rates = {"unfreeze": self.unfreeze, "learning_rate": self.learning_rate}
        return {**rates, **own, "values": dict(self.values)}


class Journal:
    """The records of a search.

    Args:
        folder: of the search; made with the first record.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._trials = folder / "trials"
        self._records = {path.stem: _read(path) for path in sorted(self._trials.glob("[!.]*.json"))}

    def find(self, name: str) -> Record | None:
        """Return the record of that name."""
        return self._records.get(name)

    def all(self) -> list[Record]:
        """Return every record, by name."""
        return [self._records[name] for name in sorted(self._records)]

    def begin(self, record: Record) -> Record:
        """Note that a trial begins; its attempts go up where it had begun before."""
        before = self.find(record.name)
        attempts, began_at = (before.attempts, before.began_at) if before else (0, self._next_at())
        record = replace(record, attempts=attempts + 1, began_at=began_at)
        self.write(record)
        return record

    def write(self, record: Record) -> None:
        """Put a record in the place of the one of its name.

        Raises:
            RunError: the folder cannot be written to.
        """
        if record.finished:
            record = replace(record, ended_at=self._next_at())
        text = json.dumps(asdict(record), indent=1)
        write_json(self._trials / f"{record.name}.json", text)
        self._records[record.name] = record

    def _next_at(self) -> int:
        return 1 + max((max(each.began_at, each.ended_at) for each in self.all()), default=0)

    def read_request(self) -> dict[str, Any] | None:
        """Say what the search is made of; None where none has begun.

        Raises:
            RunError: it is damaged.
        """
        path = self.folder / REQUEST_NAME
        return read_json(path) if os.path.lexists(path) else None

    def check_request(self, request: dict[str, Any]) -> None:
        """Note what the search is made of; refuse a folder that holds another one.

        Raises:
            RunError: it does, and every difference is named; or what is noted is damaged.
        """
        # Not at the top: with it comes TensorFlow, and a search that is noted needs none.
        from ktransfer.training import check_same

        then = self.read_request()
        if then is None:
            write_json(self.folder / REQUEST_NAME, json.dumps(request, indent=1))
        else:
            check_same(then, request, str(self.folder))


def write_json(path: Path, text: str) -> None:
    """Write a file as a whole, and the folder for it.

    Raises:
        RunError: the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise RunError(
            f"the search cannot write to {path.parent}: {error.strerror or error}; what was "
            "finished before is whole. Free some space and resume"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Say what `write_json` wrote.

    Raises:
        RunError: it is damaged, or no plain file.
    """
    found = _reading.read_json(path, most_mb=_MOST_MB)
    if not isinstance(found, dict):
        raise RunError(f"{path} is damaged: it is no JSON object")
    return found


def _read(path: Path) -> Record:
    try:
        found = Record.from_dict(read_json(path))
        check_typed(found, "a trial")
        found.to_plan()
        if found.test is not None:
            Score.from_dict(found.test)
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path} is damaged: {error}") from error
    if found.name != path.stem or found.status not in (RUNNING, DONE, STOPPED, FAILED):
        raise RunError(
            f"{path} is damaged: it says to be trial {found.name!r} with the status "
            f"{found.status!r}"
        )
    return found
