"""The images that a model is wrong about, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

#: How many a result remembers.
MOST_MISTAKES = 10


@dataclass(frozen=True)
class Mistake:
    """An image whose most probable class is not its label.

    Attributes:
        image: its path, or its number in its source.
        label: its class.
        predicted: the class that the model takes it for.
        probability: of that class, in [0, 1].
    """

    image: str
    label: str
    predicted: str
    probability: float

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Mistake:
        """Return the reverse of `to_dict`."""
        return cls(**data)


def wrong_rows(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the rows whose most probable class is not the label, the surest first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities.max(axis=1)[wrong], kind="stable")]


def surest_mistakes(
    probabilities: np.ndarray,
    labels: np.ndarray,
    name: Callable[[int], str],
    class_names: Sequence[str],
) -> tuple[Mistake, ...]:
    """Find the images that the model is wrong about, the surest first.

    Args:
        probabilities: float `(images, classes)`.
        labels: int `(images,)`.
        name: what an image is called, by its row.
        class_names: one for each class.
    """
    predicted, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    first = wrong_rows(probabilities, labels)[:MOST_MISTAKES]
    return tuple(
        Mistake(name(row), class_names[labels[row]], class_names[predicted[row]], float(sure[row]))
        for row in map(int, first)
    )
