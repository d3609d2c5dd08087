"""Images that come as arrays, and how their pixels become uint8."""

from __future__ import annotations

from typing import Any

import numpy as np

from ktransfer._checks import InputError, check_pixel_range
from ktransfer.data.held import HeldBuilder, HeldImages
from ktransfer.data.value_range import ValueRange, scaled

_EXPECTED = "expected RGB (n, height, width, 3) or grey (n, height, width[, 1]) in [0, 255]"

_MORE_BITS = (
    ". Are they of more than 8 bits? Give them as uint16, of which 65535 is white, or train with "
    "value_range=(low, high), the values that are black and white"
)

#: Images of an array that are converted together.
_CHUNK = 256


def held_array(images: Any, source: str, value_range: ValueRange | None = None) -> HeldImages:
    """The images of an array, to be decoded no more.

    Args:
        images: uint8; uint16, which is scaled as files of 16 bits are; or other numbers in [0,
            255], which are rounded: RGB `(n, height, width, 3)` or grey `(n, height, width)` or
            `(n, height, width, 1)`. uint8 and uint16 are not copied.
        source: what it is, in words, for messages.
        value_range: the values that are black and white in what is neither uint8 nor uint16, which
            is held as it is.

    Raises:
        InputError: it has another rank or dtype, no images, values out of [0, 255], or such that
            are evidently scaled to [0, 1] or [-1, 1] already.
    """
    try:
        values = np.asarray(images)
    except ValueError as error:
        raise InputError(
            f"{source} holds images of different sizes or ranks ({error}); {_EXPECTED}, or give a "
            "tf.data.Dataset of single images"
        ) from error
    check_pixel_type(values.dtype, source)
    values = values[..., np.newaxis] if values.ndim == 3 else values
    if values.ndim != 4 or values.shape[-1] not in (1, 3) or not values.size:
        raise InputError(f"{source} has the shape {np.shape(images)}; {_EXPECTED}")
    if values.dtype in (np.uint8, np.uint16):
        return HeldImages.of_pixels(values, source)
    limits, rows = Limits(source, value_range), HeldBuilder(source)
    for start in range(0, len(values), _CHUNK):
        for image in limits.rounded(values[start : start + _CHUNK]):
            rows.add_pixels(image)
    limits.check()
    return rows.build()


def check_pixel_type(dtype: np.dtype, source: str) -> None:
    """Raises an `InputError` if pixels are no numbers."""
    if dtype.kind not in "fiu":
        raise InputError(f"{source} has the dtype {dtype}; {_EXPECTED}, uint8 or float")


def is_deep(dtype: np.dtype) -> bool:
    """Whether pixels have 16 bits, in whatever order of bytes."""
    return dtype.kind == "u" and dtype.itemsize == 2


class Limits:
    """Makes pixels uint8, and notes their smallest and largest value on the way.

    What is wrong with them is known only at the end: one dark image may well lie in [0, 1].

    Args:
        source: what they are of, in words.
        value_range: the values that are black and white in what is neither uint8 nor uint16; None:
            it must lie in [0, 255]. uint16 stays as it is, as what is white in it may be known only
            when all images have been seen.
    """

    def __init__(self, source: str, value_range: ValueRange | None = None) -> None:
        self._source = source
        self._value_range = value_range
        self._low, self._high = np.inf, -np.inf
        self._integers = True

    def rounded(self, images: np.ndarray) -> np.ndarray:
        """The images as uint8, or uint16 as it is.

        Raises:
            InputError: a value is NaN or infinite.
        """
        if images.dtype == np.uint8 or not images.size:
            return images.astype(np.uint8, copy=False)
        if is_deep(images.dtype):
            return images.astype(np.uint16, copy=False)
        low, high = float(images.min()), float(images.max())
        if not np.isfinite([low, high]).all():
            bad = images[~np.isfinite(images)].flat[0]
            raise InputError(
                f"images of {self._source} must be finite, got {bad} (check how they were read)"
            )
        if self._value_range:
            return scaled(images, self._value_range)
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._integers &= images.dtype.kind in "iu"
        return np.rint(np.clip(images, 0, 255)).astype(np.uint8)

    def check(self) -> None:
        """Raises an `InputError` if what was rounded is not in [0, 255]."""
        if self._low <= self._high:
            try:
                check_pixel_range(self._low, self._high, self._integers)
            except InputError as error:
                hint = "" if self._high <= 255 or not self._integers else _MORE_BITS
                raise InputError(f"{self._source}: {error}{hint}") from error
