"""What `fit`, `evaluate`, `predict` and `summary` return: plain data that prints and serialises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktransfer.advisor import Advice
from ktransfer.data import Skipped
from ktransfer.metrics import Score


def _plain(skipped: tuple[Skipped, ...]) -> list[dict[str, str]]:
    return [{"path": each.path, "reason": each.reason} for each in skipped]


@dataclass(frozen=True, eq=False)
class FitResult:
    """What a training did and how well it did.

    Attributes:
        validation: score on the validation images. The epoch was chosen on these, so it is a little
            optimistic; `test` is not.
        test: score on the test part, None where the folder has none.
        classes: class names; a class index is a position here.
        part_sizes: number of images used, by part: `train`, `validation` and, where there is one,
            `test`.
        skipped: every file left out, with its reason.
        notes: remarks on the data and the training that are no errors.
        advice: what the 2x2 rule says of these images.
        carried_out: the plan that was carried out.
        trainable_parameters: how many numbers were trained.
        total_parameters: how many numbers the model has.
        history: a dict for each epoch: `epoch`, `loss`, `accuracy`, `val_loss`, `val_accuracy`,
            `seconds`.
        best_epoch: the epoch whose weights were kept.
        interrupted: whether Ctrl-C ended the training early.
        seconds: wall time by phase: `scan`, `decode_and_extract`, `head`.
    """

    validation: Score
    test: Score | None
    classes: tuple[str, ...]
    part_sizes: dict[str, int]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    advice: Advice
    carried_out: str
    trainable_parameters: int
    total_parameters: int
    history: tuple[dict[str, float], ...]
    best_epoch: int
    interrupted: bool
    seconds: dict[str, float]

    @property
    def val_accuracy(self) -> float:
        """Accuracy on the validation images, in [0, 1]."""
        return self.validation.accuracy

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, ready for JSON: the fields of `ktransfer train --json`."""
        return {
            "val_accuracy": self.val_accuracy,
            "val_interval": list(self.validation.interval),
            "validation": self.validation.to_dict(),
            "test_accuracy": self.test.accuracy if self.test else None,
            "test": self.test.to_dict() if self.test else None,
            "classes": list(self.classes),
            "num_images": sum(self.part_sizes.values()),
            "part_sizes": self.part_sizes,
            "skipped": _plain(self.skipped),
            "notes": list(self.notes),
            "cell": self.advice.cell,
            "strategy": self.advice.strategy,
            "reasons": list(self.advice.reasons),
            "overfitting_risk": self.advice.overfitting_risk,
            "carried_out": self.carried_out,
            "trainable_parameters": self.trainable_parameters,
            "total_parameters": self.total_parameters,
            "history": list(self.history),
            "best_epoch": self.best_epoch,
            "interrupted": self.interrupted,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How good a model is on labelled images.

    Attributes:
        score: accuracy with its interval, per class, and the confusion matrix.
        part: which images: `"test"`, or `"validation"` where the folder is the one that was trained
            on.
        skipped: every file left out, with its reason.
        notes: remarks on the data.
    """

    score: Score
    part: str
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        """Share of images whose most probable class is their label, in [0, 1]."""
        return self.score.accuracy

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, ready for JSON."""
        return {
            **self.score.to_dict(),
            "part": self.part,
            "skipped": _plain(self.skipped),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Prediction:
    """The class of one image.

    Attributes:
        path: the file; None where an array was given.
        label: name of the most probable class.
        probability: of that class, in [0, 1].
    """

    path: str | None
    label: str
    probability: float


@dataclass(frozen=True, eq=False)
class Predictions:
    """The classes of several images, in the order they were given.

    Attributes:
        classes: class names.
        probabilities: float32 `(images, classes)`; rows sum to 1.
        paths: a path for each row; empty where arrays were given.
        skipped: files that could not be read, with their reasons; they have no row.
    """

    classes: tuple[str, ...]
    probabilities: np.ndarray
    paths: tuple[str, ...]
    skipped: tuple[Skipped, ...]

    def __len__(self) -> int:
        return len(self.probabilities)

    def __iter__(self) -> Iterator[Prediction]:
        for row, best in enumerate(self.indices):
            path = self.paths[row] if self.paths else None
            yield Prediction(path, self.classes[best], float(self.probabilities[row, best]))

    @property
    def indices(self) -> np.ndarray:
        """Index of the most probable class of each image, int64 `(images,)`."""
        return self.probabilities.argmax(axis=1)

    @property
    def labels(self) -> list[str]:
        """Name of the most probable class of each image."""
        return [self.classes[index] for index in self.indices]


@dataclass(frozen=True)
class SummaryRow:
    """One block of the model, or its head: how many parameters are frozen, how many train."""

    name: str
    frozen: int
    trainable: int


@dataclass(frozen=True)
class Summary:
    """Frozen and trainable parameters per block and in all; `str` of it is a table."""

    rows: tuple[SummaryRow, ...]

    @property
    def frozen_parameters(self) -> int:
        """Numbers that do not train, batch-norm statistics counted."""
        return sum(row.frozen for row in self.rows)

    @property
    def trainable_parameters(self) -> int:
        """Numbers that train."""
        return sum(row.trainable for row in self.rows)

    @property
    def total_parameters(self) -> int:
        """All numbers of the model."""
        return self.frozen_parameters + self.trainable_parameters

    def __str__(self) -> str:
        total = SummaryRow("in all", self.frozen_parameters, self.trainable_parameters)
        width = max(len(row.name) for row in (*self.rows, total))
        lines = [f"{'block':<{width}}  {'frozen':>13}  {'trainable':>13}"]
        rule = "-" * len(lines[0])
        lines += [
            f"{row.name:<{width}}  {row.frozen:>13,}  {row.trainable:>13,}"
            for row in (*self.rows, total)
        ]
        return "\n".join([*lines[:-1], rule, lines[-1]])
