"""Would more images help? The accuracy of a probe with a part of them, and beyond all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ktransfer.errors import InputError
from ktransfer.profile.probes import MOST_IMAGES, even_sample, probe

SHARES = (0.25, 0.5, 1.0)

#: How often each smaller part is drawn: up to so many times, and until so many images were drawn.
MOST_DRAWS, ENOUGH_DRAWN = 5, 1_200

#: A gain below is not worth photographing for.
WORTHWHILE = 0.01

_MOST_TIMES = 8


@dataclass(frozen=True)
class LearningCurve:
    """How the accuracy of a linear head grows with the images.

    Attributes:
        num_images: of each measured point, ascending; the last is all of them, or `MOST_IMAGES` of
            the probes.
        accuracies: mean over the draws, by leaving one image out.
        errors: standard error of each.
        gain: accuracy that twice as many images would add, by extrapolation.
        gain_interval: 95 % interval of it.
        advice: a sentence.
    """

    num_images: tuple[int, ...]
    accuracies: tuple[float, ...]
    errors: tuple[float, ...]
    gain: float
    gain_interval: tuple[float, float]
    advice: str


def learning_curve(features: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> LearningCurve:
    """Measure a probe on a quarter, a half and all of the images, and extrapolate.

    The error is taken to fall as a + b / sqrt(n), with a and b not below 0. The interval comes from
    drawing the measured points anew from their standard errors.

    Args:
        features: `(images, features)`.
        labels: integers `(images,)`.
        seed: of the parts that are drawn.

    Raises:
        InputError: there are fewer than 24 images, or so few of a class that a quarter of them
            holds fewer than 2 classes.

    Source: power laws of learning curves: Hestness et al. 2017, Deep Learning Scaling is
        Predictable, Empirically (arXiv 1712.00409). Changed: the exponent is fixed to 1/2, since
        three points cannot tell it.
    """
    labels = np.asarray(labels)
    if len(labels) < 24:
        raise InputError(f"a learning curve needs at least 24 images, got {len(labels)}")
    everything = len(labels)
    sample = even_sample(labels, MOST_IMAGES)
    features, labels = features[sample], labels[sample]
    generator = np.random.default_rng(seed)
    sizes, means, errors = [], [], []
    for share in SHARES:
        draws = 1 if share == 1.0 else _num_draws(round(share * len(labels)))
        parts = [_part(labels, share, generator) for _ in range(draws)]
        found = [probe(features[rows], labels[rows]).accuracy for rows in parts]
        mean, number = float(np.mean(found)), len(parts[0])
        sizes.append(number)
        means.append(mean)
        # The draws overlap, so that their spread says too little for the larger part.
        chance = np.sqrt(max(mean * (1 - mean), 1 / number) / len(labels))
        errors.append(float(max(np.std(found) / np.sqrt(draws), chance)))
    return _extrapolated(sizes, means, errors, everything, generator)


def _num_draws(num_images: int) -> int:
    return max(2, min(MOST_DRAWS, ENOUGH_DRAWN // num_images))


def _part(labels: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Return a share of the images of each class, at least 2 of each that has as many."""
    rows = []
    for each in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == each))
        rows.append(members[: max(2, round(share * len(members)))])
    return np.concatenate(rows)


def _extrapolated(
    sizes: list[int],
    means: list[float],
    errors: list[float],
    everything: int,
    generator: np.random.Generator,
) -> LearningCurve:
    numbers, spread = np.array(sizes, float), np.array(errors)
    mistakes = 1.0 - np.array(means)
    slope = _slope(numbers, mistakes, spread)
    drawn = mistakes + spread * generator.normal(size=(400, len(sizes)))
    slopes = [_slope(numbers, each, spread) for each in drawn]
    step = everything**-0.5 - (2 * everything) ** -0.5
    low, high = (float(step * each) for each in np.quantile(slopes, [0.025, 0.975]))
    gain = float(step * slope)
    return LearningCurve(
        num_images=tuple(sizes),
        accuracies=tuple(means),
        errors=tuple(errors),
        gain=gain,
        gain_interval=(low, high),
        advice=_advice(everything, gain, (low, high), slope),
    )


def _slope(numbers: np.ndarray, mistakes: np.ndarray, spread: np.ndarray) -> float:
    from scipy.optimize import nnls  # takes as long to import as all of the command line's help

    design = np.stack([np.ones_like(numbers), numbers**-0.5], axis=1) / spread[:, np.newaxis]
    found, _ = nnls(design, np.maximum(mistakes, 0.0) / spread)
    return float(found[1])


def _points(share: float) -> str:
    return "1 point" if share == WORTHWHILE else f"{100 * share:.0f} points"


def _advice(number: int, gain: float, interval: tuple[float, float], slope: float) -> str:
    ends = f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
    if interval[1] < WORTHWHILE:
        return (
            f"More images of this kind will hardly help: twice as many would gain {ends} points. "
            "Look at the wrong ones, their labels, and what the images show."
        )
    if gain < WORTHWHILE:
        return f"Whether more images would help cannot be told: twice as many gain {ends} points."
    target = 0.02 if gain >= 0.02 else WORTHWHILE
    needed = (number**-0.5 - target / slope) ** -2 - number
    needed = min(needed, _MOST_TIMES * number)
    step = 5 if needed < 100 else 10
    more = int(np.ceil(needed / step) * step)
    return (
        f"About {more:,} more images would gain {_points(target)} (twice as many: "
        f"{100 * gain:.1f}, between {ends})."
    )
