"""Which values are black and white in images of more than 8 bits: `value_range=`.

A 12-bit sensor's images are saved with 16 bits, and nothing in the file says that 4095 is white:
by the file's own range they are all but black. What is white is therefore measured from all images
of a data set, once, and kept with what learns from them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ktransfer.errors import InputError

#: The values that are black and white; what lies outside is clipped.
ValueRange = tuple[float, float]

#: The range is measured from all images: `choose`.
AUTO = "auto"
#: Each image by the range of its own type: 65535 is white in 16 bits.
FULL = "full"

#: Kinds of pixels of more than 8 bits.
SHORT, WHOLE, FRACTION = "16-bit", "32-bit", "float"
KINDS = (SHORT, WHOLE, FRACTION)

# What sensors and converters have: 8, 10, 12, 14 and 16 bits. Not 9 or 11: that no image of a set
# reaches half of the range of its sensor is likelier than such a sensor.
_DEPTHS = tuple(2.0**bits - 1 for bits in (8, 10, 12, 14, 16))
_WHITES = {
    SHORT: _DEPTHS,
    WHOLE: (*_DEPTHS, 2.0**31 - 1),
    FRACTION: (1.0, *_DEPTHS),
}

_EXPECTED = (
    "value_range must be 'auto' (measured from all images), 'full' (by the file's own range: 65535 "
    "is white in 16 bits) or (low, high), the values that are black and white"
)


class Extremes(NamedTuple):
    """The smallest and the largest value of an image of more than 8 bits, and its kind."""

    low: float
    high: float
    kind: str


def check_value_range(value: Any) -> str | ValueRange:
    """`"auto"`, `"full"` or two finite numbers, the first the smaller one.

    Raises:
        InputError: it is none of them.
    """
    if value is None:
        return FULL
    if isinstance(value, str):
        if value in (AUTO, FULL):
            return value
        raise InputError(f"{_EXPECTED}, got {value!r}")
    try:
        low, high = (float(each) for each in value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{_EXPECTED}, got {value!r}") from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"{_EXPECTED}, got {value!r}: the first must be the smaller one")
    return low, high


def given_range(value: Any) -> ValueRange | None:
    """Return the range where one is given; None where it is to be measured, or the file's own."""
    checked = check_value_range(value)
    return None if isinstance(checked, str) else checked


def range_to_read(value: Any, learnt: ValueRange | None) -> ValueRange | None:
    """Return the range that new images are read by; None: that of each image's type.

    Args:
        value: as in `check_value_range`; `"auto"` is never measured of the new images, for a
            prediction must not depend on what else is predicted with it.
        learnt: the range that the model learnt with.
    """
    return learnt if check_value_range(value) == AUTO else given_range(value)


def scaled(values: np.ndarray, value_range: ValueRange) -> np.ndarray:
    """Values as uint8: low becomes 0, high 255, what lies outside is clipped.

    Args:
        values: numbers of any type and shape.
        value_range: which of them are black and white.
    """
    low, high = value_range
    shares = (np.asarray(values, np.float64) - low) * (255.0 / (high - low))
    return np.floor(np.clip(shares, 0.0, 255.0) + 0.5).astype(np.uint8)


def choose(found: list[Extremes]) -> ValueRange | None:
    """Return the range for images with these extremes.

    None: the file's own is right, or none fits all.

    From 0 to the largest value of the smallest usual depth (8, 10, 12, 14, 16 bits; of floats also
    1) that holds all values. Where some are below 0, as in computed tomography, the very extremes.
    """
    if not found or len({each.kind == FRACTION for each in found}) > 1:
        return None
    low, high = min(each.low for each in found), max(each.high for each in found)
    if low < 0:
        return (low, high) if low < high else None
    kinds = {each.kind for each in found}
    whites = _WHITES[next(each for each in reversed(KINDS) if each in kinds)]
    white = next((each for each in whites if high <= each), high)
    if not high or (kinds == {SHORT} and white == _DEPTHS[-1]):
        return None
    return 0.0, white


def settles(found: Extremes) -> bool:
    """Tell whether an image alone says that 16 bits are in use; no other need be looked at."""
    return found.kind == SHORT and found.high > _DEPTHS[-2]


def in_words(value_range: ValueRange) -> str:
    """Such as "0 is black and 4095 is white"."""
    low, high = value_range
    return f"{low:.10g} is black and {high:.10g} is white"
