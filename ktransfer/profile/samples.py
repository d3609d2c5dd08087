"""The images that heads are judged on: an even sample of them, and their classes as numbers."""

from __future__ import annotations

import numpy as np

from ktransfer.errors import InputError

#: Of more classes than these, each with two images, the decomposition would take minutes.
MOST_CLASSES = 1_000


def even_sample(labels: np.ndarray, most: int, *, least: int = 2) -> np.ndarray:
    """Rows of some images, each class with its share, in order and without chance.

    Args:
        labels: integers `(images,)`.
        most: how many; more of them only where `least` of every class are more.
        least: of a class, however small its share is, or all that it has: no head can be judged on
            a class of one image, which it must not have seen.

    Returns:
        Integers `(rows,)`, ascending.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    sizes = np.unique(labels, return_counts=True)[1]
    starts, wanted = np.cumsum(sizes) - sizes, np.minimum(least, sizes)
    home = np.repeat(np.arange(len(sizes)), sizes)
    rare = np.zeros(len(sizes), bool)
    while True:
        drawn = _evenly(np.flatnonzero(~rare[home]), most - int(wanted[rare].sum()))
        short = ~rare & (np.bincount(home[drawn], minlength=len(sizes)) < wanted)
        if not short.any():
            break
        # What they are given, the others lack: one of these may fall short now.
        rare |= short
    own = [
        at + _evenly(np.arange(size), least)
        for at, size in zip(starts[rare], sizes[rare], strict=True)
    ]
    return np.sort(np.argsort(labels, kind="stable")[np.concatenate([drawn, *own])])


def _evenly(rows: np.ndarray, count: int) -> np.ndarray:
    """`count` of the rows, or all of them, from the first to the last."""
    count = min(max(0, count), len(rows))
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]


def judged_sample(labels: np.ndarray, most: int) -> np.ndarray:
    """Return an even sample of at most `MOST_CLASSES` classes, which are spread evenly, too."""
    rows = np.flatnonzero(np.isin(labels, _evenly(np.unique(labels), MOST_CLASSES)))
    return rows[even_sample(labels[rows], most)]


def one_hot(labels: np.ndarray) -> np.ndarray:
    """Return a column for each class, 1 for its images and 0 for the others."""
    return (labels[:, np.newaxis] == np.unique(labels)).astype(np.float64)


def check_samples(features: np.ndarray, labels: np.ndarray) -> None:
    """Raise an `InputError` where no head can be judged on features and labels, with the reason."""
    if features.ndim != 2 or len(features) != len(labels):
        raise InputError(
            f"a probe needs features (images, features) and as many labels, got {features.shape} "
            f"and {len(labels)} labels"
        )
    classes = len(np.unique(labels))
    if len(labels) < 3 or classes < 2:
        raise InputError(
            f"a probe needs at least 3 images of 2 classes, got {len(labels)} of {classes}"
        )
    if not np.isfinite(features).all():
        raise InputError("the features are not finite (NaN or infinite): nothing can be learned")
