"""What came of the same training with several seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ktransfer.metrics import wilson_interval
from ktransfer.show.results import Row


@dataclass(frozen=True)
class SeedScore:
    """How good the training with one seed was.

    Attributes:
        seed: of its order, its dropout and its augmentation.
        val_accuracy: on the validation images, in [0, 1].
        test_accuracy: on the test images; None where there are none.
        carried_out: the name of its plan.
    """

    seed: int
    val_accuracy: float
    test_accuracy: float | None
    carried_out: str


@dataclass(frozen=True)
class Spread:
    """The accuracies of several trainings on the same images.

    Attributes:
        mean: of them.
        lowest: of them.
        highest: of them.
        interval: 95 % Wilson interval of the mean, as of the one accuracy that it is an estimate
            of: every training is judged on the same images, so that more of them do not narrow it.
    """

    mean: float
    lowest: float
    highest: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, accuracies: Sequence[float], num_images: int) -> Spread:
        """Sum up accuracies on `num_images` images."""
        mean = sum(accuracies) / len(accuracies)
        interval = wilson_interval(mean * num_images, num_images)
        return cls(mean, min(accuracies), max(accuracies), interval)

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.mean:.1%}, from {self.lowest:.1%} to {self.highest:.1%} "
            f"(95 % interval {low:.1%} to {high:.1%})"
        )


@dataclass(frozen=True)
class Seeds:
    """What came of the same training with several seeds.

    Attributes:
        scores: of each seed that was trained, in order.
        kept: the seed of the model.
        asked: how many seeds there were to be; more than `scores` where Ctrl-C ended it before.
        interrupted: whether Ctrl-C ended the last of them.
        validation: the accuracies on the validation images.
        test: those on the test images; None where there are none.
    """

    scores: tuple[SeedScore, ...]
    kept: int
    asked: int
    interrupted: bool
    validation: Spread
    test: Spread | None

    def rows(self) -> Iterator[Row]:
        """Say what they came to, and which model was kept."""
        lines = [f"{'mean of validation':18} {self.validation}"]
        if self.test:
            lines.append(f"{'mean of test':18} {self.test}")
        done = f"{len(self.scores)} of {self.asked}" if self.interrupted else f"{self.asked}"
        lines.append(f"kept: seed {self.kept}, the median by validation of {done}")
        yield Row("Seeds", tuple(lines), verbatim=True)

    def details(self) -> Iterator[Row]:
        """Say what came of each."""
        said = []
        for each in self.scores:
            test = "" if each.test_accuracy is None else f", {each.test_accuracy:.1%} of test"
            right = f"{each.val_accuracy:.1%} of validation{test} right"
            said.append(f"seed {each.seed}: {right}; {each.carried_out}")
        yield Row("Each seed", tuple(said), True)

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Seeds:
        """Return the reverse of `to_dict`."""
        spreads = {
            name: Spread(**{**data[name], "interval": tuple(data[name]["interval"])})
            for name in ("validation", "test")
            if data[name]
        }
        scores = tuple(SeedScore(**each) for each in data["scores"])
        return cls(**{**data, "scores": scores, **spreads})
