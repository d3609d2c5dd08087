"""Which values of an axis are marked, where that is not left to Vega."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import altair

MOST_TICKS = 8
MOST_LOG_TICKS = 10
MOST_WHOLE_TICKS = 15
# Vega writes 0.0000001 out.
_LABEL = "format(datum.value, datum.value < 0.0001 ? '~e' : '~g')"


def linear_ticks(values: Sequence[float]) -> list[float]:
    """Round numbers, from one at most the least value to one at least the greatest."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    least = max(high - low, 1e-9) / MOST_TICKS
    power = 10.0 ** math.floor(math.log10(least))
    step = next(base * power for base in (1, 2, 5, 10) if base * power >= least * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def log_ticks(values: Sequence[float]) -> list[float]:
    """Make a scale of 1, 2 and 5 times powers of ten, or of powers alone."""
    low, high = min(values, default=0.1), max(values, default=1.0)
    few = _around(low, high, (1, 2, 5))
    return few if len(few) <= MOST_LOG_TICKS else _around(low, high, (1,))


def bounded(field: str, low: float, high: float) -> str:
    """Write a column that is drawn where it leaves the panel, but not far from there.

    Of a coordinate such as 1e33, as a diverged loss has it, viewers of pictures draw nothing. What
    is missing stays so, and breaks the line.

    Args:
        field: the column.
        low: below this it is drawn here.
        high: the same above.
    """
    value = f"datum['{field}']"
    return f"isValid({value}) ? clamp({value}, {low!r}, {high!r}) : null"


def whole_axis(low: float, high: float) -> altair.Axis:
    """Mark at whole numbers from one end to the other; Vega's `tickMinStep` marks halves, too."""
    import altair

    least = (high - low) / MOST_WHOLE_TICKS
    power = 10 ** max(0, math.floor(math.log10(max(least, 1))))
    step = next(base * power for base in (1, 2, 5, 10) if base * power >= least * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [step * index for index in range(first, last + 1)]
    return altair.Axis(values=values, format="d")


def log_axis(low: float, high: float) -> tuple[altair.Scale, altair.Axis]:
    """Return a logarithmic axis with just these ends: its `scale` and its `axis`."""
    import altair

    ticks = [tick for tick in log_ticks([low, high]) if low / 1.001 <= tick <= high * 1.001]
    return (
        altair.Scale(type="log", domain=[low, high], nice=False),
        altair.Axis(values=ticks, labelExpr=_LABEL),
    )


def _around(low: float, high: float, bases: Sequence[int]) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [base * 10.0**exponent for exponent in exponents for base in bases]
    first = max(at for at, tick in enumerate(ticks) if tick <= low * (1 + 1e-9))
    last = min(at for at, tick in enumerate(ticks) if tick >= high * (1 - 1e-9))
    return ticks[first : max(last, first + 1) + 1]
