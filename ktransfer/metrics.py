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
        macro_f1: mean over classes of F1, the harmonic mean of precision and the share found;
            classes without images left out, as by scikit-learn where `labels` names the present.
        per_class: for each class, the share of its images found (its recall); None for a class
            without images.
        precision: for each class, the share of the images given its name that are of it; 0 where
            none is, None for a class without images.
        f1: for each class, likewise.
        confusion: int `(classes, classes)`: rows are labels, columns predictions.
        num_images: how many images.
    """

    accuracy: float
    interval: tuple[float, float]
    balanced_accuracy: float
    macro_f1: float
    per_class: dict[str, float | None]
    precision: dict[str, float | None]
    f1: dict[str, float | None]
    confusion: np.ndarray
    num_images: int

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        return {
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "per_class": self.per_class,
            "precision": self.precision,
            "f1": self.f1,
            "confusion": self.confusion.tolist(),
            "num_images": self.num_images,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Score:
        """Return the reverse of `to_dict`."""
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
    found, images, named = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    present = images > 0
    recall = found / np.maximum(images, 1)
    # F1 is twice the hits over all that are of the class or named so.
    f1 = 2 * found / np.maximum(images + named, 1)

    def by_name(values: np.ndarray) -> dict[str, float | None]:
        pairs = zip(class_names, values, present, strict=True)
        return {name: float(value) if here else None for name, value, here in pairs}

    return Score(
        accuracy=float(found.sum() / len(labels)),
        interval=wilson_interval(int(found.sum()), len(labels)),
        balanced_accuracy=float(recall[present].mean()),
        macro_f1=float(f1[present].mean()),
        per_class=by_name(recall),
        precision=by_name(found / np.maximum(named, 1)),
        f1=by_name(f1),
        confusion=confusion,
        num_images=len(labels),
    )


def confused_pairs(confusion: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs of a class and what it is taken for, the most frequent first."""
    counts = confusion.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[: np.count_nonzero(counts)]
    return [divmod(int(at), len(counts)) for at in order]


def largest_class(confusion: np.ndarray) -> tuple[int, float]:
    """Return the class with the most images, and its share: what always naming it gets right."""
    images = confusion.sum(axis=1)
    largest = int(images.argmax())
    return largest, float(images[largest] / images.sum())


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (Wilson 1927); it stays within [0, 1]."""
    z = 1.959963984540054
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def advantage(losses: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """Say how much smaller losses are than others of the same images.

    Args:
        losses: `(images,)`.
        others: likewise.

    Returns:
        The mean difference, and its standard error, infinite of a single image: both find the same
        images hard, so it is surer than the two by themselves let think.
    """
    difference = others - losses
    spread = float(difference.std(ddof=1)) if len(difference) > 1 else np.inf
    return float(difference.mean()), spread / len(difference) ** 0.5
