"""What is advised, as plain data that prints and serialises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ktransfer.advisor.thresholds import (
    LARGE_IMAGES_PER_CLASS,
    SMALL_IMAGES_PER_CLASS,
    SMALL_NUM_IMAGES,
)
from ktransfer.files.records import check_typed, with_tuples
from ktransfer.plan import Plan
from ktransfer.profile import SIMILAR_BELOW, Depth, DomainGap
from ktransfer.profile.learning_curve import LearningCurve
from ktransfer.show.results import Printed, Row
from ktransfer.show.tables import aligned

#: What divides small from large, and similar from different.
THRESHOLDS = {
    "small_below_images": SMALL_NUM_IMAGES,
    "small_below_images_per_class": SMALL_IMAGES_PER_CLASS,
    "large_above_images_per_class": LARGE_IMAGES_PER_CLASS,
    "similar_below_domain_gap": SIMILAR_BELOW,
}


@dataclass(frozen=True)
class Candidate:
    """One thing that could be done, and what is known of it.

    Attributes:
        name: `"linear_probe"` (a head on the last features), `"earlier_linear_probe"` (on those of
            the block that the textbook takes), `"all_blocks_probe"`,
            `"all_blocks_and_inner_probe"`, `"last_blocks"`, `"lp_ft"` or `"from_scratch"`.
        accuracy: estimated, in [0, 1], of a head on the training images, each predicted by the head
            of the others. None: not measured, as of all that would be fine-tuned; what came of that
            on the validation images, `FitResult.tries` says.
        interval: its 95 % interval.
        seconds: about how long it takes here, extraction and training, on this machine; of
            fine-tuning all that is tried of it.
        memory_mb: about how much memory it takes beside the network itself.
        trainable_parameters: how many numbers it trains.
        scores: `logme` and `h_score` of its features; empty where it has none.
        note: a remark, such as why it is not tried.
        gain: what it is expected to add to the accuracy of the head, in [-1, 1], by sets on which
            that was measured; None: not known, or it is a head.
        gain_interval: one standard deviation to each side.
    """

    name: str
    accuracy: float | None
    interval: tuple[float, float] | None
    seconds: float
    memory_mb: float
    trainable_parameters: int
    scores: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    gain: float | None = None
    gain_interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Advice(Printed):
    """What to train, and why. Print it for a table.

    `textbook_rule` fills in what the 2x2 rule alone can say, `decide` what was measured as well.

    Attributes:
        cell: `"small_similar"`, `"small_different"`, `"large_similar"`, `"large_different"` or
            `"between"`.
        strategy: the plan's name: `"linear_probe"`, `"earlier_linear_probe"`, `"last_blocks"`,
            `"full_fine_tune"`, `"from_scratch"`, and where features were measured also
            `"all_blocks_probe"` and `"all_blocks_and_inner_probe"`.
        reasons: why, in sentences.
        trainable_parameters: how many numbers the strategy trains, head included.
        num_blocks: how many blocks of the backbone the model keeps.
        num_trainable_blocks: how many of these, counted from the last, train or are tried.
        overfitting_risk: a sentence that begins with `"low"`, `"moderate"` or `"high"`.
        size: `"small"`, `"between"` or `"large"`.
        similar: whether the images are like the backbone's own; None: nobody knows.
        gap: the domain gap; None where it was not measured.
        candidates: what could be done, from simple to costly; empty where nothing was measured.
        plan: what carries the advice out, resolved for the backbone: the head, where features were
            measured.
        tries: what is tried besides, each by itself, and kept where it is better.
        more_data: whether more images would help; None where that cannot be told.
        depths: heads on each block by itself, where they were asked for.
        seconds: wall time of measuring and deciding.
    """

    cell: str
    strategy: str
    reasons: tuple[str, ...]
    trainable_parameters: int
    num_blocks: int
    num_trainable_blocks: int
    overfitting_risk: str
    size: str = "small"
    similar: bool | None = None
    gap: DomainGap | None = None
    candidates: tuple[Candidate, ...] = ()
    plan: Plan | None = None
    more_data: LearningCurve | None = None
    depths: tuple[Depth, ...] = ()
    seconds: float = 0.0
    tries: tuple[Plan, ...] = ()

    @property
    def expected(self) -> Candidate | None:
        """The candidate that the advised head was judged as; None where none was."""
        name = head_name(self.plan.features if self.plan else "last")
        return next((each for each in self.candidates if each.name == name), None)

    def table(self) -> str:
        """Return the candidates as aligned text; the head that is advised is marked with `*`."""
        rows = [_cells(each, chosen=each is self.expected) for each in self.candidates]
        return "\n".join(aligned([_COLUMNS, *rows], ruled=True))

    def decision(self) -> Iterator[Row]:
        """Say what is advised and why."""
        cell = self.cell.replace("_", " and ")
        yield Row("Decision", (f"{self.strategy}, as the images are {cell}:",))
        yield Row("", self.reasons, bullet=True)

    def printed(self, backbone: str = "") -> Iterator[Row]:
        """Say what is advised and why, what else could be done, and whether more images would help.

        Args:
            backbone: name of the backbone, which the advice does not know.
        """
        yield from self.decision()
        if self.plan:
            on = f" on {backbone}" if backbone else ""
            stages = " then ".join(each.name for each in self.plan.stages)
            yield Row("Plan", (f"{self.strategy}{on}: {stages}",))
        if self.tries:
            yield Row("Then tried", tuple(map(_in_words, self.tries)))
        if self.candidates:
            said = "* is the head that is advised; seconds and memory are estimates"
            if any(each.gain is not None for each in self.candidates):
                said += "; + and - is what fine-tuning is expected to add, in points"
            yield Row("Candidates", (said,))
            yield Row("", tuple(self.table().splitlines()), verbatim=True, wide=True)
        if self.depths:
            yield Row("By depth", tuple(map(_depth_line, self.depths)), verbatim=True)
        if self.more_data:
            yield Row("More images", (self.more_data.advice,))
        yield Row("Overfitting", (self.overfitting_risk,))

    def details(self) -> Iterator[Row]:
        """Say what else was measured of each candidate."""
        scored = [each for each in self.candidates if each.scores]
        rows = [[each.name, *(f"{each.scores[name]:.2f}" for name in _SCORES)] for each in scored]
        if rows:
            table = aligned([["candidate", "LogME", "H-score"], *rows])
            yield Row("Scores", tuple(table), verbatim=True)

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        return {
            **{each.name: getattr(self, each.name) for each in fields(self)},
            "reasons": list(self.reasons),
            "domain_gap": self.gap.value if self.gap else None,
            "thresholds": dict(THRESHOLDS),
            "gap": self.gap.to_dict() if self.gap else None,
            "candidates": [asdict(each) for each in self.candidates],
            "plan": self.plan.to_dict() if self.plan else None,
            "tries": [each.to_dict() for each in self.tries],
            "more_data": asdict(self.more_data) if self.more_data else None,
            "depths": [asdict(each) for each in self.depths],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Advice:
        """Return the reverse of `to_dict`. What an earlier version did not write has its default.

        Raises:
            KeyError, TypeError, ValueError: a field is missing, or is not what it should be.
        """
        own = {each.name: data[each.name] for each in fields(cls) if each.name in data}
        own["reasons"] = tuple(own["reasons"])
        own["depths"] = tuple(Depth(**with_tuples(each)) for each in own.get("depths", ()))
        own["candidates"] = tuple(_candidate(each) for each in own.get("candidates", ()))
        own["tries"] = tuple(Plan.from_dict(each) for each in own.get("tries", ()))
        for name, kind in (("gap", DomainGap), ("plan", Plan)):
            own[name] = kind.from_dict(own[name]) if own.get(name) else None
        if own.get("more_data"):
            own["more_data"] = LearningCurve(**with_tuples(own["more_data"]))
        advice = cls(**own)
        check_typed(advice, "advice")
        return advice


def head_name(features: str) -> str:
    """Say what a head on a feature set is called among the candidates."""
    return "linear_probe" if features == "last" else f"{features}_probe"


_SCORES = ("logme", "h_score")
_COLUMNS = (
    " candidate",
    "accuracy",
    "95 % interval",
    "seconds",
    "memory",
    "trained",
)


def _cells(candidate: Candidate, *, chosen: bool) -> list[str]:
    accuracy, interval = _figures(candidate)
    return [
        f"{'*' if chosen else ' '}{candidate.name}",
        accuracy,
        interval,
        f"{candidate.seconds:,.0f}",
        f"{candidate.memory_mb:,.0f} MB",
        f"{candidate.trainable_parameters:,}",
    ]


def _figures(candidate: Candidate) -> tuple[str, str]:
    """Return the accuracy of a head, or what fine-tuning is expected to add to it."""
    if candidate.accuracy is not None and candidate.interval is not None:
        low, high = candidate.interval
        return f"{candidate.accuracy:.1%}", f"{low:.1%} to {high:.1%}"
    if candidate.gain is not None and candidate.gain_interval is not None:
        low, high = (100 * each for each in candidate.gain_interval)
        return f"{100 * candidate.gain:+.1f}", f"{low:+.1f} to {high:+.1f}"
    return "-", "-"


def _in_words(plan: Plan) -> str:
    first = plan.stages[1]
    return f"{first.name} at {first.learning_rate:g}, from the head by itself"


def _depth_line(depth: Depth) -> str:
    low, high = depth.interval
    return f"{depth.block + 1:>3}  {depth.accuracy:6.1%}  ({low:.1%} to {high:.1%})  {depth.name}"


def _candidate(data: Mapping[str, Any]) -> Candidate:
    return Candidate(**with_tuples(data))
