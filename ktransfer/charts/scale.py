"""Axes of a chart: where they begin and end, which values are marked, where a value lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: How far a logarithmic axis goes under its highest value at most.
MOST_DECADES = 12
MOST_TICKS = 10


@dataclass(frozen=True)
class Axis:
    """What an axis shows; its ends are fitted to the curves where they are not given.

    Attributes:
        label: What stands beside it.
        log: Whether it is logarithmic (to base 10). 0 then lies far under the picture.
        low: Where it begins; None: at the lowest value.
        high: Where it ends; None: at the highest value.
        rounded: Whether fitted ends move outwards to the next tick.
        whole: Whether only whole numbers are marked.
        decades: Of a logarithmic axis: it has whole decades, and the lowest seventh of each curve
            may lie under it, since a learning-rate schedule may end near 0.
    """

    label: str
    log: bool = False
    low: float | None = None
    high: float | None = None
    rounded: bool = True
    whole: bool = False
    decades: bool = False


@dataclass(frozen=True)
class Scale:
    """A fitted axis: from `low` to `high`, which are exponents if it is logarithmic.

    Attributes:
        low: What lies at its beginning.
        high: What lies at its end.
        log: Whether it is logarithmic.
        ticks: The values that are marked.
    """

    low: float
    high: float
    log: bool
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """How far along the axis a value lies: 0 at its beginning, 1 at its end."""
        if self.log:
            value = math.log10(max(value, 10.0 ** (self.low - 2)))
        # Coordinates of a diverged loss would overflow what a viewer of pictures can draw.
        return min(max((value - self.low) / (self.high - self.low), -20.0), 20.0)


def fit(axis: Axis, curves: Sequence[Sequence[float]]) -> Scale:
    """The scale of an axis for the values of each curve; what is not finite is left out."""
    finite = [[value for value in values if math.isfinite(value)] for values in curves]
    if axis.log:
        return _fit_log(axis, [sorted(value for value in each if value > 0) for each in finite])
    return _fit_linear(axis, [value for values in finite for value in values])


def _fit_linear(axis: Axis, values: Sequence[float]) -> Scale:
    low = min(values, default=0.0) if axis.low is None else axis.low
    high = max(values, default=1.0) if axis.high is None else axis.high
    if high <= low:  # one value alone stands in the middle
        low, high = low - 0.5, low + 0.5
    step = _step((high - low) / MOST_TICKS)
    if axis.whole:
        step = max(step, 1.0)
    if axis.rounded and axis.low is None:
        low = math.floor(low / step + 1e-9) * step
    if axis.rounded and axis.high is None:
        high = math.ceil(high / step - 1e-9) * step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Scale(low, high, False, tuple(index * step for index in range(first, last + 1)))


def _step(least: float) -> float:
    """The smallest of 1, 2 or 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(base * power for base in (1, 2, 5, 10) if base * power >= least * (1 - 1e-9))


def _fit_log(axis: Axis, curves: Sequence[Sequence[float]]) -> Scale:
    lows = [values[len(values) // 7 if axis.decades else 0] for values in curves if values]
    least = min(lows, default=1.0) if axis.low is None else axis.low
    most = max((each[-1] for each in curves if each), default=1.0)
    most = most if axis.high is None else axis.high
    low, high = math.log10(least), math.log10(most)
    decades = axis.decades or high - low >= 2
    if axis.rounded:
        down, up = (_decade_below, _decade_above) if decades else (_tick_below, _tick_above)
        low = down(least) if axis.low is None else low
        high = up(most) if axis.high is None else high
    if high - low < 1e-9:
        low, high = (low - 1, high) if decades else (low - 0.5, high + 0.5)
    if axis.low is None:
        low = max(low, high - MOST_DECADES)
    return Scale(low, high, True, _log_ticks(low, high, decades))


# The small numbers keep a value of exactly 0.001 from an empty decade above or below it.
def _decade_below(value: float) -> float:
    return math.floor(math.log10(value) + 1e-9)


def _decade_above(value: float) -> float:
    return math.ceil(math.log10(value) - 1e-9)


def _tick_below(value: float) -> float:
    exponents = (math.log10(base) + _decade_below(value) for base in (1, 2, 5))
    return max(each for each in exponents if each <= math.log10(value) + 1e-9)


def _tick_above(value: float) -> float:
    exponents = (math.log10(base) + _decade_below(value) for base in (1, 2, 5, 10))
    return min(each for each in exponents if each >= math.log10(value) - 1e-9)


def _log_ticks(low: float, high: float, decades: bool) -> tuple[float, ...]:
    """Powers of ten, with 2 and 5 times them between on an axis of less than two decades."""
    first, last = math.floor(low), math.ceil(high)
    # Beyond the usual length every second power, or fewer.
    exponents = range(first, last + 1, 1 + (last - first) // (MOST_DECADES + 1))
    bases = (1,) if decades else (1, 2, 5)
    ticks = [base * 10.0**exponent for exponent in exponents for base in bases]
    return tuple(tick for tick in ticks if low - 1e-9 <= math.log10(tick) <= high + 1e-9)
