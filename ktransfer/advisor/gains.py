"""What fine-tuning is likely to gain, told by sets on which it was measured."""

from __future__ import annotations

import functools
import importlib.resources
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

#: How far two sets may be apart and still tell of each other: in the logarithm of the domain gap,
#: and in the share of images that the head is wrong about.
_GAP_APART, _MISTAKES_APART = 0.7, 0.12

#: What is thought of a set unlike all that were measured: no mistake less, give or take this share.
_UNKNOWN_SPREAD = 0.25

#: Weight of that, in sets.
_UNKNOWN_WEIGHT = 0.5

#: Where a head is wrong more seldom, what goes of its mistakes is luck.
_FEWEST = 0.02


@dataclass(frozen=True)
class Measured:
    """What fine-tuning came to on one draw of a set.

    Attributes:
        name: the set's.
        gap: its domain gap.
        mistakes: share of the training images that the best head is wrong about, left out.
        gain: accuracy on the test images that fine-tuning added, in [-1, 1].
    """

    name: str
    gap: float
    mistakes: float
    gain: float


@dataclass(frozen=True)
class ExpectedGain:
    """What fine-tuning is likely to add to the accuracy of the head.

    Attributes:
        mean: in [-1, 1].
        spread: its standard deviation from set to set.
        num_sets: how many measured sets it rests on, those alike counted most.
        most: no more than the head is wrong about can be gained.
    """

    mean: float
    spread: float
    num_sets: float
    most: float = 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """One standard deviation to each side."""
        return self.mean - self.spread, min(self.mean + self.spread, self.most)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.mean:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


@functools.cache
def measured() -> tuple[Measured, ...]:
    """Return what was measured: `benchmarks/fine_tuning_gain.py` wrote it."""
    text = importlib.resources.files(__package__).joinpath("gains.json").read_text("utf-8")
    return tuple(Measured(**row) for row in json.loads(text))


def expected_gain(
    gap: float | None, mistakes: float, sets: Sequence[Measured] | None = None
) -> ExpectedGain:
    """Say what fine-tuning is likely to gain.

    The share of the head's mistakes that goes, as a mean over the sets that were measured, those
    with a similar gap and as many mistakes counted most (a kernel regression); one unlike all of
    them keeps a wide spread.

    Args:
        gap: the domain gap; None: not known.
        mistakes: share of the training images that the head is wrong about, left out, in [0, 1].
        sets: what it rests on; None: `measured()`.

    Source: Nadaraya 1964, On estimating regression, Theory of Probability and Its Applications 9,
        with a prior.
    """
    weight, total, squares = _UNKNOWN_WEIGHT, 0.0, _UNKNOWN_WEIGHT * _UNKNOWN_SPREAD**2
    for each in measured() if sets is None else sets:
        apart = ((mistakes - each.mistakes) / _MISTAKES_APART) ** 2
        if gap is not None:
            apart += (math.log(max(gap, 1e-3) / max(each.gap, 1e-3)) / _GAP_APART) ** 2
        alike, less = math.exp(-apart / 2), each.gain / max(each.mistakes, _FEWEST)
        weight += alike
        total += alike * less
        squares += alike * less**2
    mean = total / weight
    spread = math.sqrt(max(squares / weight - mean**2, 0.0))
    num_sets = weight - _UNKNOWN_WEIGHT
    return ExpectedGain(mistakes * min(mean, 1.0), mistakes * spread, num_sets, mistakes)
