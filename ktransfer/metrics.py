"""How good a classifier is on a set of images, with the uncertainty that so few images leave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Score:
    """Accuracy on a set of images.

    Attributes:
        accuracy: share of images whose most probable class is their label.
        interval: 95 % Wilson interval of the accuracy.
        balanced_accuracy: mean over classes of the share found, classes without images left out.
        per_class: for each class, the share of its images found; None for a class without images.
        confusion: int `(classes, classes)`: rows are labels, columns predictions.
        num_images: how many images.
    """

    accuracy: float
    interval: tuple[float, float]
    balanced_accuracy: float
    per_class: dict[str, float | None]
    confusion: np.ndarray
    num_images: int

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, ready for JSON."""
        return {
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "balanced_accuracy": self.balanced_accuracy,
            "per_class": self.per_class,
            "confusion": self.confusion.tolist(),
            "num_images": self.num_images,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Score:
        """The reverse of `to_dict`."""
        arrays = {"interval": tuple(data["interval"]), "confusion": np.array(data["confusion"])}
        return cls(**{**data, **arrays})


def score(predicted: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> Score:
    """Compare predicted classes with labels.

    Args:
        predicted: integers `(images,)`, at least one.
        labels: integers `(images,)`.
        class_names: one for each class.
    """
    classes = len(class_names)
    confusion = np.bincount(labels * classes + predicted, minlength=classes**2)
    confusion = confusion.reshape(classes, classes)
    found, images = np.diag(confusion), confusion.sum(axis=1)
    shares = {
        name: float(right / total) if total else None
        for name, right, total in zip(class_names, found, images, strict=True)
    }
    present = [share for share in shares.values() if share is not None]
    return Score(
        accuracy=float(found.sum() / len(labels)),
        interval=wilson_interval(int(found.sum()), len(labels)),
        balanced_accuracy=float(np.mean(present)),
        per_class=shares,
        confusion=confusion,
        num_images=len(labels),
    )


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927); it stays within [0, 1]."""
    z = 1.959963984540054
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
