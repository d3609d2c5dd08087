"""Images that come as arrays, and how their pixels become uint8."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from ktransfer.data.images.decoding import pixels_of
from ktransfer.data.images.held import HeldBuilder, HeldImages
from ktransfer.data.images.value_range import ValueRange, scaled
from ktransfer.errors import InputError, check_pixel_range

_EXPECTED = "expected RGB (n, height, width, 3), RGBA or grey (n, height, width[, 1]) in [0, 255]"

_MORE_BITS = (
    ". Are they of more than 8 bits? Give them as uint16, of which 65535 is white, or train with "
    "value_range=(low, high), the values that are black and white"
)

#: How many numbers a pixel may have: grey, RGB or RGBA.
CHANNELS = (1, 3, 4)

#: Images of an array that are converted together.
_CHUNK = 256


def held_array(
    images: Any, source: str, value_range: ValueRange | None = None, *, several: bool = True
) -> HeldImages:
    """Return the images of an array, to be decoded no more.

    Args:
        images: uint8; uint16, which is scaled as files of 16 bits are; or other numbers in [0,
            255], which are rounded: RGB `(n, height, width, 3)` or grey `(n, height, width)` or
            `(n, height, width, 1)`. uint8 and uint16 are not copied.
        source: what it is, in words, for messages.
        value_range: the values that are black and white in what is neither uint8 nor uint16, which
            is held as it is.
        several: there must be images, and three axes are n grey ones. False: as `as_images` says,
            and none are no error.

    Raises:
        InputError: it has another rank or dtype, no images, values out of [0, 255], or such that
            are evidently scaled to [0, 1] or [-1, 1] already.
    """
    values = as_array(images, source)
    check_pixel_type(values.dtype, source)
    values = as_images(values, source, of=images, several=several)
    if several and not len(values):
        raise InputError(f"{source} has the shape {np.shape(images)}, no images; {_EXPECTED}")
    if values.dtype in (np.uint8, np.uint16):
        return HeldImages.of_pixels(values, source)
    limits, rows = Limits(source, value_range), HeldBuilder(source)
    for start in range(0, len(values), _CHUNK):
        for image in limits.rounded(values[start : start + _CHUNK]):
            rows.add_pixels(image)
    limits.check()
    return rows.build()


def as_array(images: Any, source: str) -> np.ndarray:
    """Say what is given as a NumPy array.

    Raises:
        InputError: it cannot be one: it is ragged, or lies on another device.
    """
    try:
        return np.asarray(images)
    except ValueError as error:
        raise InputError(
            f"{source} holds images of different sizes or ranks ({error}); {_EXPECTED}, or give a "
            "list of single images"
        ) from error
    # Tensors of torch on a GPU, or with a gradient, each have an error of their own.
    except (TypeError, RuntimeError) as error:
        raise InputError(
            f"{source}, of type {type(images).__name__}, cannot be read as an array: {error}"
        ) from error


def as_images(
    values: np.ndarray, source: str, *, of: Any = None, several: bool = False
) -> np.ndarray:
    """Return one image or several as `(n, height, width, 1 or 3)`.

    What is transparent lies on white.

    Of three axes the last decides: with 1, 3 or 4 numbers it is the colours of one image, else
    there are n grey ones.

    Args:
        values: numbers, `(height, width)`, `(n, height, width)`, `(height, width, channels)` or
            `(n, height, width, channels)` with 1, 3 or 4 channels.
        source: what they are, in words.
        of: what the values were made of: a tensor of torch has its channels first.
        several: three axes are n grey images, whatever the last one has.

    Raises:
        InputError: they have another shape, or have their channels first.
    """
    first = _channels_first(values, of)
    if values.ndim == 2 and not several:
        values = values[np.newaxis, ..., np.newaxis]
    elif values.ndim == 3 and not first:
        one = values.shape[-1] in CHANNELS and not several
        values = values[np.newaxis] if one else values[..., np.newaxis]
    if values.ndim != 4 or first or values.shape[-1] not in CHANNELS or 0 in values.shape[1:]:
        hint = f". Its channels come first: give {first}" if first else ""
        raise InputError(f"{source} has the shape {values.shape}; {_EXPECTED}{hint}")
    return _on_white(values) if values.shape[-1] == 4 else values


def _channels_first(values: np.ndarray, of: Any) -> str:
    """Say how to have the channels last, in words, where they are evidently first."""
    from_torch = type(of).__module__.partition(".")[0] == "torch"
    if values.ndim == 4 and values.shape[1] in CHANNELS and values.shape[-1] not in CHANNELS:
        return "images.permute(0, 2, 3, 1)" if from_torch else "numpy.moveaxis(images, 1, -1)"
    if from_torch and values.ndim == 3 and values.shape[0] in CHANNELS:
        return "" if values.shape[-1] in CHANNELS else "image.permute(1, 2, 0)"
    return ""


def _on_white(values: np.ndarray) -> np.ndarray:
    """Of `(n, height, width, 4)` the colours, laid on white by their opacity."""
    if values.dtype == np.uint8:  # as a file with these pixels is read
        several = [pixels_of(Image.fromarray(each)) for each in values]
        return np.stack(several) if several else values[..., :3]
    whole = values.dtype.kind in "iu"
    # Of fractions up to 1 it is said later that they are scaled already.
    scale = 255.0 if whole or values.max(initial=0) > 1 else 1.0
    white = 65535.0 if is_deep(values.dtype) else scale
    opacity = values[..., 3:] / white
    colours = values[..., :3] * opacity + white * (1.0 - opacity)
    return (np.rint(colours) if whole else colours).astype(values.dtype)


def check_pixel_type(dtype: np.dtype, source: str) -> None:
    """Raise an `InputError` if pixels are no numbers."""
    if dtype.kind not in "fiu":
        raise InputError(f"{source} has the dtype {dtype}; {_EXPECTED}, uint8 or float")


def is_deep(dtype: np.dtype) -> bool:
    """Tell whether pixels have 16 bits, in whatever order of bytes."""
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
        self.value_range = value_range
        self._low, self._high = np.inf, -np.inf
        self._integers = True

    def rounded(self, images: np.ndarray) -> np.ndarray:
        """Return the images as uint8, or uint16 as it is.

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
        if self.value_range:
            return scaled(images, self.value_range)
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._integers &= images.dtype.kind in "iu"
        return np.rint(np.clip(images, 0, 255)).astype(np.uint8)

    def check(self) -> None:
        """Raise an `InputError` if what was rounded is not in [0, 255]."""
        if self._low <= self._high:
            try:
                check_pixel_range(self._low, self._high, self._integers)
            except InputError as error:
                hint = "" if self._high <= 255 or not self._integers else _MORE_BITS
                raise InputError(f"{self._source}: {error}{hint}") from error
