"""Reading a learning rate off a range test whose losses are those of held-out images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ktransfer.training.learning_rates.range_test import MARGIN, RangeTest, checked_steps

#: A fall of the loss counts from this share of it on: under that, any rate will do.
LEAST_FALL = 0.02
#: The rate that is named is the first one at which so much of the fall is done: further on, a
#: little is won and the divergence is near.
MOST_OF_THE_FALL = 0.8
#: The loss still falls at the last rate where the last tenth of the steps has this share of it.
STILL_FALLING = 0.05
#: The loss has diverged over that of guessing, and over so many times the first one: that of a new
#: head is the loss of guessing.
ABOVE_THE_FIRST = 1.1
_NEIGHBOURS = 2


def held_out_result(
    rates: Sequence[float], losses: Sequence[float], *, guessing_loss: float, planned: float
) -> RangeTest:
    """Name a learning rate by held-out losses, always, and say why that one.

    The loss of the same images after every step has no noise but that of the steps. Where it falls,
    the rate is the first at which most of the fall is done, and never more than a tenth of the rate
    from which on the loss is worse than guessing. Where it does not fall, it is the plan's own rate
    or that tenth, whichever is lower.

    Args:
        rates: the learning rate of each step, rising, above 0; at least 10.
        losses: the held-out loss after each step; NaN and infinity are taken as divergence.
        guessing_loss: the loss of guessing, above 0.
        planned: the rate that the plan has, above 0.

    Returns:
        A `RangeTest` with a suggestion.

    Raises:
        InputError: as `range_test_result`.

    Example:
        >>> rates = [10 ** (-6 + step / 20) for step in range(100)]
        >>> falls = [2 - 1.5 / (1 + (1e-3 / rate) ** 2) for rate in rates]
        >>> result = held_out_result(rates, falls, guessing_loss=2.3, planned=0.01)
        >>> round(result.suggestion, 3)
        0.002

    Source: Smith 2015, Cyclical Learning Rates (arXiv 1506.01186). Changed: the loss is held out.
    """
    rates, losses = checked_steps(rates, losses)
    finite = next((at for at, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    smoothed = _running_median(losses[:finite])
    limit = max([guessing_loss, *(ABOVE_THE_FIRST * loss for loss in smoothed[:1])])
    stop = next((at for at, loss in enumerate(smoothed) if loss > limit), finite)
    diverged_at = rates[stop] if stop < len(rates) else None
    suggestion, reason = _named(rates, smoothed[:stop], diverged_at, planned)
    return RangeTest(rates, losses, smoothed, suggestion, diverged_at, reason)


def _running_median(losses: Sequence[float]) -> tuple[float, ...]:
    """Return for each loss the median of it and its neighbours: it does not lag, and skips leaps.

    The first stays as it is: the loss from which a fall is counted.
    """
    around = [
        losses[max(0, at - _NEIGHBOURS) : at + _NEIGHBOURS + 1] if at else losses[:1]
        for at in range(len(losses))
    ]
    return tuple(float(np.median(each)) for each in around)


def _named(
    rates: Sequence[float], smoothed: Sequence[float], diverged_at: float | None, planned: float
) -> tuple[float, str]:
    """Return the rate, and why that one, by the losses before the divergence."""
    if not smoothed:
        return min(planned, rates[0] / MARGIN), (
            f"The loss is not finite from the first step, at {rates[0]:.2g}: check the images and "
            "the model. The rate is a tenth of that, and untried."
        )
    lowest = min(smoothed)
    fall = smoothed[0] - lowest
    tenth = diverged_at / MARGIN if diverged_at else math.inf
    ended = (
        f"from {diverged_at:.2g} on it was worse than guessing"
        if diverged_at
        else f"it never diverged, up to {rates[-1]:.2g}"
    )
    if fall <= LEAST_FALL * abs(smoothed[0]):
        said = f"No rate lowered the held-out loss of {smoothed[0]:.3f}, and {ended}: "
        if tenth < planned:
            return tenth, f"{said}a tenth of that; the plan's own rate is {planned:.2g}."
        return planned, f"{said}the plan's own rate."
    first = next(
        at for at, loss in enumerate(smoothed) if loss <= smoothed[0] - MOST_OF_THE_FALL * fall
    )
    fell = f"the held-out loss fell from {smoothed[0]:.3f} to {lowest:.3f}"
    late = smoothed[-1 - len(smoothed) // 10] - smoothed[-1]
    if diverged_at is None and late > STILL_FALLING * fall:
        return rates[-1] / MARGIN, f"A tenth of the last rate: {fell}, and still fell there."
    if tenth < rates[first]:
        return tenth, f"A tenth of the rate at which the loss diverged: {fell}; {ended}."
    return rates[first], f"There most of its fall was done: {fell}; {ended}."
