"""Whether probabilities can be taken at their word: bins, and the expected calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NUM_BINS = 10


@dataclass(frozen=True)
class Bin:
    """Images whose most probable class has a probability within some limits.

    Attributes:
        low: the lower limit, which is not in it.
        high: the upper limit.
        images: how many.
        certainty: mean probability of the most probable class.
        right: share of them that are right.
    """

    low: float
    high: float
    images: int
    certainty: float
    right: float


@dataclass(frozen=True)
class Reliability:
    """How far certainty and accuracy lie apart.

    Attributes:
        error: expected calibration error, the mean over all images of the distance in their bin.
        bins: those that have images, the lowest first.
        certainty: mean over all images.
    """

    error: float
    bins: tuple[Bin, ...]
    certainty: float


def reliability(probabilities: np.ndarray, labels: np.ndarray) -> Reliability:
    """Compare how sure a model is with how often it is right.

    Args:
        probabilities: `(images, classes)`, at least one image.
        labels: integers `(images,)`.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv 1706.04599). Changed:
        10 bins instead of 15, for a few hundred images.
    """
    certainty = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    number = np.clip(np.ceil(certainty * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    bins = []
    for at in np.unique(number):
        inside = number == at
        bins.append(
            Bin(
                at / NUM_BINS,
                (at + 1) / NUM_BINS,
                int(inside.sum()),
                float(certainty[inside].mean()),
                float(right[inside].mean()),
            )
        )
    apart = sum(each.images * abs(each.certainty - each.right) for each in bins)
    return Reliability(apart / len(labels), tuple(bins), float(certainty.mean()))


def before_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Say what a model said before its logits were divided by a temperature.

    The logarithms of probabilities are logits less a number that is the same for all classes, so
    nothing needs to be computed anew.
    """
    tiny = np.finfo(np.float32).tiny
    logits = temperature * np.log(np.maximum(probabilities.astype(np.float64), tiny))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
