"""Images that come as arrays, and how their pixels become uint8."""

from __future__ import annotations

from typing import Any

import numpy as np

from ktransfer._checks import InputError, check_pixel_range
from ktransfer.data.held import HeldBuilder, HeldImages

_EXPECTED = "expected RGB (n, height, width, 3) or grey (n, height, width[, 1]) in [0, 255]"

#: Images of an array that are converted together.
_CHUNK = 256


def held_array(images: Any, source: str) -> HeldImages:
    """The images of an array, to be decoded no more.

    Args:
        images: uint8, or other numbers in [0, 255], which are rounded: RGB `(n, height, width, 3)`
            or grey `(n, height, width)` or `(n, height, width, 1)`. uint8 is not copied.
        source: what it is, in words, for messages.

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
    if values.dtype == np.uint8:
        return HeldImages.of_pixels(values, source)
    limits, rows = Limits(source), HeldBuilder(source)
    for start in range(0, len(values), _CHUNK):
        for image in limits.rounded(values[start : start + _CHUNK]):
            rows.add_pixels(image)
    limits.check()
    return rows.build()


def check_pixel_type(dtype: np.dtype, source: str) -> None:
    """Raises an `InputError` if pixels are no numbers."""
    if dtype.kind not in "fiu":
        raise InputError(f"{source} has the dtype {dtype}; {_EXPECTED}, uint8 or float")


class Limits:
    """Rounds pixels to uint8, and notes their smallest and largest value on the way.

    What is wrong with them is known only at the end: one dark image may well lie in [0, 1].
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._low, self._high = np.inf, -np.inf
        self._integers = True

    def rounded(self, images: np.ndarray) -> np.ndarray:
        """The images as uint8.

        Raises:
            InputError: a value is NaN or infinite.
        """
        if images.dtype == np.uint8 or not images.size:
            return images.astype(np.uint8, copy=False)
        low, high = float(images.min()), float(images.max())
        if not np.isfinite([low, high]).all():
            bad = images[~np.isfinite(images)].flat[0]
            raise InputError(
                f"images of {self._source} must be finite, got {bad} (check how they were read)"
            )
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._integers &= images.dtype.kind in "iu"
        return np.rint(np.clip(images, 0, 255)).astype(np.uint8)

    def check(self) -> None:
        """Raises an `InputError` if what was rounded is not in [0, 255]."""
        if self._low <= self._high:
            try:
                check_pixel_range(self._low, self._high, self._integers)
            except InputError as error:
                raise InputError(f"{self._source}: {error}") from error
