"""What `evaluate` returns: plain data that prints and serialises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ktransfer.augment import STRENGTHS
from ktransfer.classifier.mistakes import Mistake
from ktransfer.classifier.screen import (
    accuracy_row,
    balanced_row,
    baseline_row,
    confused_row,
    mistakes_row,
)
from ktransfer.classifier.unseen import Apart
from ktransfer.data import Skipped
from ktransfer.metrics import Score
from ktransfer.serving import Predictions
from ktransfer.show.results import Printed, Row, left_out
from ktransfer.show.tables import aligned

_MOST_CLASSES = 20


@dataclass(frozen=True, eq=False)
class Evaluation(Printed):
    """How good a model is on labelled images; print it for a report.

    Attributes:
        score: accuracy with its interval, per class, and the confusion matrix.
        part: which images: `"test"` or `"validation"`, where the data has such a part or it was
            held back of it by the training; `"all"` of data without parts.
        skipped: every file left out, with its reason.
        notes: remarks on the data.
        corruptions: the same images corrupted: for each of `augment.CORRUPTIONS` a score at each of
            `augment.STRENGTHS`, the weakest first; None where it was not asked for.
        apart: how many of the images the training has seen, and the score on those that it has not.
            An image is known again by its bytes, wherever it lies.
        mistakes: images that the model is wrong about, the surest first, at most 10.
        predictions: what the model says of each readable image; None where it was not kept.
        labels: the class of each of these images.
    """

    score: Score
    part: str
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    corruptions: dict[str, tuple[Score, ...]] | None = None
    apart: Apart = field(default_factory=Apart)
    mistakes: tuple[Mistake, ...] = ()
    predictions: Predictions | None = None
    labels: tuple[str, ...] = ()

    @property
    def seen_in_training(self) -> int | None:
        """How many of the images the model was trained on; None where that cannot be told."""
        return self.apart.seen_in_training

    @property
    def unseen(self) -> Score | None:
        """The score on the images that training and validation never saw; None if there are none.

        None, too, where it cannot be told which these are: then `seen_in_training` is None.
        """
        return self.apart.unseen

    @property
    def accuracy(self) -> float:
        """Share of images whose most probable class is their label, in [0, 1]."""
        return self.score.accuracy

    @property
    def mean_corruption_accuracy(self) -> float | None:
        """Mean accuracy over all corruptions and strengths; None where it was not asked for."""
        if self.corruptions is None:
            return None
        return float(np.mean([each.accuracy for row in self.corruptions.values() for each in row]))

    def printed(self, data: str = "") -> Iterator[Row]:
        """Say how good it is, where it is wrong, and the recall of each class, the worst first.

        Args:
            data: what it was measured on, as the user calls it; the evaluation does not know.
        """
        whole = f"images of {data}" if data else "images"
        part = whole if self.part == "all" else f"{self.part} images"
        yield accuracy_row("Accuracy", self.score, part)
        # What the training never saw, where that is not everything.
        for found, which in (
            (self.apart.unseen, "that the training never saw"),
            (self.apart.held_back, "that it held back to validate"),
        ):
            if found and found.num_images < self.score.num_images:
                yield accuracy_row("", found, which)
        yield baseline_row(self.score)
        yield balanced_row(self.score)
        yield from confused_row(self.score)
        yield from mistakes_row(self.mistakes)
        yield from self._per_class()
        if self.corruptions:
            yield from self._under_shift(self.corruptions)
        yield from left_out(self.skipped)
        yield Row("Notes", self.notes, True)

    def _per_class(self) -> Iterator[Row]:
        found = self.score
        shares = found.per_class.items()
        names = sorted((share, name) for name, share in shares if share is not None)
        lines = tuple(
            f"{share:6.1%}  {found.precision[name]:9.1%} {found.f1[name]:6.1%}  {name}"
            for share, name in names[:_MOST_CLASSES]
        )
        yield Row("Per class", ("recall  precision     F1", *lines), verbatim=True)
        if len(names) > _MOST_CLASSES:
            yield Row("", (f"and {len(names) - _MOST_CLASSES} better ones",))

    def _under_shift(self, corruptions: Mapping[str, Sequence[Score]]) -> Iterator[Row]:
        """Accuracy under each corruption, from the weakest to the strongest."""
        head = ("strength    ", *(f"{each:>6}" for each in STRENGTHS))
        rows = [
            (name.replace("_", " "), *(f"{each.accuracy:.1%}" for each in scores))
            for name, scores in corruptions.items()
        ]
        yield Row("Under shift", tuple(aligned([head, *rows])), verbatim=True)
        mean = self.mean_corruption_accuracy
        yield Row("", (f"{mean:.1%} on average, {self.accuracy:.1%} as they are",))

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, ready for JSON."""
        return {
            **self.score.to_dict(),
            "part": self.part,
            **self.apart.to_dict(),
            "skipped": [asdict(each) for each in self.skipped],
            "notes": list(self.notes),
            "mistakes": [each.to_dict() for each in self.mistakes],
            "corruptions": _rows(self.corruptions) if self.corruptions else None,
            "mean_corruption_accuracy": self.mean_corruption_accuracy,
        }


def _rows(corruptions: Mapping[str, tuple[Score, ...]]) -> dict[str, list[dict[str, Any]]]:
    """The figures of each strength, the weakest first, without their confusion matrices."""
    return {
        name: [
            {
                "strength": strength,
                "accuracy": each.accuracy,
                "interval": list(each.interval),
                "balanced_accuracy": each.balanced_accuracy,
                "macro_f1": each.macro_f1,
            }
            for strength, each in zip(STRENGTHS, scores, strict=True)
        ]
        for name, scores in corruptions.items()
    }
