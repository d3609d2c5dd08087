"""What a prediction returns, from a `FineTuner` and from an exported file alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ktransfer.data.images.header import Skipped
from ktransfer.errors import InputError
from ktransfer.show.printable import printable
from ktransfer.show.results import PrintedLines


@dataclass(frozen=True)
class Prediction:
    """The class of one image.

    Attributes:
        path: the file; None where an array was given.
        label: name of the most probable class.
        probability: of that class, in [0, 1].
        unsure: whether the probability is below what was asked for (`abstain_below`).
        unfamiliar: whether it is unlike the images that the model learnt from.
    """

    path: str | None
    label: str
    probability: float
    unsure: bool = False
    unfamiliar: bool = False


@dataclass(frozen=True, eq=False)
class Predictions(PrintedLines):
    """The classes of several images, in the order they were given.

    Attributes:
        classes: class names.
        probabilities: float32 `(images, classes)`; rows sum to 1.
        paths: a path for each row; empty where arrays were given.
        skipped: files that could not be read, with their reasons; they have no row.
        abstain_below: images whose best class is less probable have no label, in [0, 1].
        distances: float32 `(images,)`: how far each lies from what the model learnt from
            (`features.familiarity`); above 1 it is farther than 99 % of the validation images. None
            where that is not known, as of exported files.
    """

    classes: tuple[str, ...]
    probabilities: np.ndarray
    paths: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    abstain_below: float = 0.0
    distances: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.abstain_below <= 1:
            raise InputError(f"abstain_below must lie in [0, 1], got {self.abstain_below!r}")

    @classmethod
    def joined(cls, classes: Sequence[str], several: Sequence[Predictions]) -> Predictions:
        """All rows of several predictions of the same classes, one after the other."""
        empty = np.empty((0, len(classes)), np.float32)
        return cls(
            tuple(classes),
            np.concatenate([empty, *(each.probabilities for each in several)]),
            tuple(path for each in several for path in each.paths),
            tuple(skip for each in several for skip in each.skipped),
            several[0].abstain_below if several else 0.0,
        )

    def __len__(self) -> int:
        return len(self.probabilities)

    def __iter__(self) -> Iterator[Prediction]:
        unsure, unfamiliar = self.unsure, self.unfamiliar
        for row, best in enumerate(self.indices):
            path = self.paths[row] if self.paths else None
            probability = float(self.probabilities[row, best])
            marks = bool(unsure[row]), bool(unfamiliar[row])
            yield Prediction(path, self.classes[best], probability, *marks)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self, top: int = 1) -> Iterator[str]:
        """Say a line for each image: probability and class, of the `top` most probable, and path.

        Unsure ones are marked with a question mark, unfamiliar ones with an exclamation mark.
        """
        unsure, unfamiliar = self.unsure, self.unfamiliar
        # The width of all names, so that one batch of a stream looks like the other.
        width = max(len(printable(each)) for each in self.classes)
        for row, best in enumerate(self.top(top)):
            said = "  ".join(
                f"{self.probabilities[row, at]:6.1%}  {printable(self.classes[at]):<{width}}"
                for at in best
            )
            mark = (" ?" if unsure[row] else "") + (" !" if unfamiliar[row] else "")
            path = f"  {self.paths[row]}" if self.paths else ""
            yield printable(f"{said}{mark}{path}")

    def top(self, number: int) -> np.ndarray:
        """Return the indices of the most probable classes, int64 `(images, number)`, best first.

        Raises:
            InputError: `number` is below 1.
        """
        if number < 1:
            raise InputError(f"the number of classes must be at least 1, got {number}")
        return np.argsort(-self.probabilities, axis=1, kind="stable")[:, :number]

    @property
    def indices(self) -> np.ndarray:
        """Index of the most probable class of each image, int64 `(images,)`."""
        return self.probabilities.argmax(axis=1)

    @property
    def unfamiliar(self) -> np.ndarray:
        """Whether an image is unlike those that the model learnt from, bool `(images,)`.

        False where that is not known.
        """
        return np.zeros(len(self), bool) if self.distances is None else self.distances > 1

    @property
    def unsure(self) -> np.ndarray:
        """Whether an image's best class is less probable than `abstain_below`, bool `(images,)`."""
        return self.probabilities.max(axis=1, initial=0.0) < self.abstain_below

    @property
    def labels(self) -> list[str | None]:
        """Name of the most probable class of each image; None where it is unsure."""
        pairs = zip(self.indices, self.unsure, strict=True)
        return [None if unsure else self.classes[index] for index, unsure in pairs]
