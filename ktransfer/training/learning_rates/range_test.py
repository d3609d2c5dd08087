"""A learning-rate range test: the loss of each step while the rate rises."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktransfer.errors import InputError
from ktransfer.show.charts import Chart
from ktransfer.show.results import PrintedLines
from ktransfer.training.learning_rates.picture import draw_range_test

LEAST_STEPS = 10
#: The loss has diverged where its smoothed value is this many times the lowest one so far.
DIVERGED_TIMES = 4.0
#: No suggestion is closer to the rate of divergence than this factor.
MARGIN = 10.0
#: A slope is no noise from this many of its standard errors on. Of 200 flat noisy curves of 100
#: steps it lets through 2; the steepest slope is the luckiest of many.
SURE_STANDARD_ERRORS = 4.0
LEAST_FALL = 0.01  # share of the loss


@dataclass(frozen=True)
class RangeTest(PrintedLines):
    """A learning-rate range test: the loss of each step while the rate rises.

    Make one of held-out losses with `held_out_result`, of training losses with `range_test_result`;
    print it for the answer in words.

    Attributes:
        rates: the learning rate of each step.
        losses: the loss of each step; not finite where training broke.
        smoothed: the same without the noise of single steps, up to the first loss that is not
            finite: of training losses a bias-corrected exponential average, of held-out ones a
            running median.
        suggestion: the learning rate to train with; None if a curve of training losses shows none.
        diverged_at: the rate from which on the loss diverged; None if it never did.
        reason: why this rate is suggested, or why none.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float | None
    diverged_at: float | None
    reason: str

    def __str__(self) -> str:
        answer = f"{self.suggestion:.2g}" if self.suggestion else "none suggested"
        return f"learning rate: {answer}. {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON: None for a loss that is not finite."""
        return {
            "rates": list(self.rates),
            "losses": [finite_or_none(loss) for loss in self.losses],
            "smoothed": list(self.smoothed),
            "suggestion": self.suggestion,
            "diverged_at": self.diverged_at,
            "reason": self.reason,
        }

    def plot(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Draw the losses over the learning rate, on a logarithmic scale, as an SVG or PNG file.

        Raises:
            InputError: The path does not end in `.svg` or `.png`, exists (unless `overwrite`) or
                cannot be written.
        """
        self.chart().save(path, overwrite=overwrite)

    def chart(self) -> Chart:
        """Return the picture of `plot` as a value: shown by a notebook, put into a page."""
        return draw_range_test(
            self.rates, self.losses, self.smoothed, self.suggestion, self.diverged_at
        )


def range_test_result(rates: Sequence[float], losses: Sequence[float]) -> RangeTest:
    """Read a learning rate off a range test by its training losses.

    The suggestion is the rate at which the loss falls fastest over the logarithm of the rate, and
    never more than a tenth of the rate at which it diverges. Fastest within the largest fall of the
    smoothed loss, as the slope of a straight line through a fifth of the steps: a single slope of
    the smoothed curve is noise, and lags behind. None is suggested where that slope could be noise,
    or where the loss still falls at least half as fast at the highest rate.

    Args:
        rates: the learning rate of each step, rising, above 0; at least 10. Equal factors from step
            to step are usual, about 100 of them from 1e-7 to 10.
        losses: the training loss of each step's batch before the step; NaN and infinity are taken
            as divergence.

    Returns:
        A `RangeTest`.

    Raises:
        InputError: The lengths differ, there are too few steps, or the rates do not rise from above
            0.

    Example:
        >>> rates = [10 ** (-6 + step / 20) for step in range(100)]
        >>> falls = [2 - 1.5 / (1 + (1e-3 / rate) ** 2) for rate in rates]
        >>> round(range_test_result(rates, falls).suggestion, 3)
        0.001

    Source:
        Smith 2015, Cyclical Learning Rates, arXiv 1506.01186; smoothing and the 4 times as in
        fastai's lr_find. There the memory of the average is always 50 steps (0.98), which in a test
        of 100 steps moves a fall by decades; here it is a twentieth of the steps.
    """
    rates, losses = checked_steps(rates, losses)
    finite = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    smoothed = _smoothed(losses[:finite], memory=max(2.0, len(losses) / 20))
    stop = _divergence(smoothed)
    diverged_at = rates[stop] if stop < len(rates) else None
    suggestion, reason = _suggestion(rates, losses[:stop], smoothed[:stop], diverged_at)
    return RangeTest(rates, losses, smoothed, suggestion, diverged_at, reason)


def checked_steps(
    rates: Sequence[float], losses: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return rates and losses of steps; an `InputError` where they are none of a range test."""
    rates, losses = tuple(map(float, rates)), tuple(map(float, losses))
    if len(rates) != len(losses):
        raise InputError(
            f"a range test has one loss for each rate, got {len(rates)} rates and "
            f"{len(losses)} losses"
        )
    if len(rates) < LEAST_STEPS:
        raise InputError(f"a range test needs at least {LEAST_STEPS} steps, got {len(rates)}")
    for before, rate in zip((0.0, *rates), rates, strict=False):
        if not before < rate < math.inf:  # also refuses NaN
            raise InputError(f"the rates must rise from above 0, got {rate:g} after {before:g}")
    return rates, losses


def _smoothed(losses: Iterable[float], memory: float) -> tuple[float, ...]:
    """Average exponentially over about `memory` steps, without bias, as in Adam."""
    kept, average, averages = 1 - 1 / memory, 0.0, []
    for step, loss in enumerate(losses, start=1):
        average = kept * average + (1 - kept) * loss
        averages.append(average / (1 - kept**step))
    return tuple(averages)


def _divergence(smoothed: Sequence[float]) -> int:
    """Return the step at which the loss diverges: the number of steps if it does not."""
    lowest = math.inf
    for step, loss in enumerate(smoothed):
        lowest = min(lowest, loss)
        # For losses above 0 this is 4 times the lowest; a loss below 0 needs as much of a rise.
        if loss > lowest + (DIVERGED_TIMES - 1) * abs(lowest):
            return step
    return len(smoothed)


def _suggestion(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    diverged_at: float | None,
) -> tuple[float | None, str]:
    """Return the rate and why, or None and why, from the steps before the divergence."""
    if not losses:
        return None, "The loss is not finite from the first step: check the images and the model."
    ended = f"diverged at {diverged_at:.2g}" if diverged_at else f"ended at {rates[-1]:.2g}"
    start, stop = _largest_fall(smoothed)
    window = min(max(5, len(rates) // 5), stop - start)
    exponents = np.log10(rates[: len(losses)])
    slopes = [_slope(exponents, losses, at, window) for at in range(start, stop - window + 1)]
    centre, slope, error = min(slopes, key=lambda each: each[1])
    fell = smoothed[start] - smoothed[stop - 1] > LEAST_FALL * abs(smoothed[start])
    if window < 5 or not fell or slope > -SURE_STANDARD_ERRORS * error:
        lower = "start at lower rates" if diverged_at else "try higher rates, check the labels"
        return None, f"The loss never fell by more than its noise before it {ended}: {lower}."
    if diverged_at and diverged_at / MARGIN < rates[0]:
        return None, f"The loss {ended}, less than {MARGIN:g} times the first: try lower rates."
    if diverged_at and diverged_at / MARGIN < 10**centre:
        return diverged_at / MARGIN, f"A tenth of the rate at which the loss {ended}."
    if not diverged_at and _slope(exponents, losses, len(losses) - window, window)[1] < slope / 2:
        return None, f"The loss still fell at {rates[-1]:.2g}, the last rate: try higher rates."
    return 10**centre, f"There the loss fell fastest; it {ended}."


def _largest_fall(smoothed: Sequence[float]) -> tuple[int, int]:
    """From which step up to, and without, which one the smoothed loss loses most."""
    top, best = 0, (0, 1)
    for step, loss in enumerate(smoothed):
        if loss > smoothed[top]:
            top = step
        if smoothed[top] - loss > smoothed[best[0]] - smoothed[best[1] - 1]:
            best = (top, step + 1)
    return best


def _slope(
    exponents: np.ndarray, losses: Sequence[float], start: int, window: int
) -> tuple[float, float, float]:
    """Centre, slope and the slope's standard error of the least-squares line through a window."""
    x, y = exponents[start : start + window], np.array(losses[start : start + window])
    away = x - x.mean()
    spread = max(float(away @ away), 1e-300)
    slope = float(away @ y) / spread
    left = y - y.mean() - slope * away
    return float(x.mean()), slope, math.sqrt(float(left @ left) / max(window - 2, 1) / spread)


def finite_or_none(value: Any) -> Any:
    """Return the same for JSON, which has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
