"""What a prediction returns, from a `FineTuner` and from an exported file alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ktransfer.data.images.header import Skipped
from ktransfer.show.printable import printable
from ktransfer.show.results import PrintedLines


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
class Predictions(PrintedLines):
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

    @classmethod
    def joined(cls, classes: Sequence[str], several: Sequence[Predictions]) -> Predictions:
        """All rows of several predictions of the same classes, one after the other."""
        empty = np.empty((0, len(classes)), np.float32)
        return cls(
            tuple(classes),
            np.concatenate([empty, *(each.probabilities for each in several)]),
            tuple(path for each in several for path in each.paths),
            tuple(skip for each in several for skip in each.skipped),
        )

    def __len__(self) -> int:
        return len(self.probabilities)

    def __iter__(self) -> Iterator[Prediction]:
        for row, best in enumerate(self.indices):
            path = self.paths[row] if self.paths else None
            yield Prediction(path, self.classes[best], float(self.probabilities[row, best]))

    def __str__(self) -> str:
        """A line for each image: probability, class, path."""
        # The width of all names, so that one batch of a stream looks like the other.
        width = max(len(printable(each)) for each in self.classes)
        lines = (
            f"{each.probability:6.1%}  {printable(each.label):<{width}}  {each.path or ''}"
            for each in self
        )
        return "\n".join(map(printable, lines))

    @property
    def indices(self) -> np.ndarray:
        """Index of the most probable class of each image, int64 `(images,)`."""
        return self.probabilities.argmax(axis=1)

    @property
    def labels(self) -> list[str]:
        """Name of the most probable class of each image."""
        return [self.classes[index] for index in self.indices]
