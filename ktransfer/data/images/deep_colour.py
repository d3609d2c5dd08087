"""Colours of 16 bits as they are in a file: Pillow itself reads the upper 8 bits of each.

A 12-bit camera's colours have 16 levels left by these. The file is therefore decoded twice, the
second time with the order of the bytes exchanged, which gives the lower ones.
"""

from __future__ import annotations

import re
import sys
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ktransfer.data.images.header import FORMATS, TURNS, orientation, raw_mode
from ktransfer.data.images.value_range import SHORT, Extremes, ValueRange, scaled, settles

_DEEP = re.compile(r"RGB[AX]?;16[BLN]")
# N is the order of this machine.
_EXCHANGED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


class DeepColours(NamedTuple):
    """The colours of an image, and what else its file says.

    Attributes:
        values: uint16 `(height, width, 3 or 4)`.
        image: the same image as Pillow reads it.
    """

    values: np.ndarray
    image: Image.Image


def is_deep_colour(image: Image.Image) -> bool:
    """Tell whether an image that was opened, and not loaded yet, has colours of 16 bits."""
    return getattr(image, "fp", None) is not None and bool(_DEEP.fullmatch(raw_mode(image)))


def deep_colours(image: Image.Image) -> DeepColours | None:
    """Return the colours of an image that was opened and not loaded; None if they have 8 bits."""
    if not is_deep_colour(image):
        return None
    upper, lower = _decoded(image), _decoded(image, exchanged=True)
    values = np.asarray(upper).astype(np.uint16) << 8
    return DeepColours(values | np.asarray(lower), upper)


def colour_extremes(image: Image.Image) -> Extremes | None:
    """Return the smallest and the largest colour of such an image; None where they have 8 bits."""
    if not is_deep_colour(image):
        return None
    upper = np.asarray(_decoded(image))[..., :3].astype(np.uint16) << 8
    found = Extremes(float(upper.min()), float(upper.max()), SHORT)
    if settles(found):
        return found
    values = upper | np.asarray(_decoded(image, exchanged=True))[..., :3]
    return Extremes(float(values.min()), float(values.max()), SHORT)


def colours_on_white(colours: DeepColours) -> np.ndarray:
    """Return the values upright, uint16 `(height, width, 3)`; what is transparent is 65535."""
    return _upright(colours.values[..., :3].copy(), colours, 65535)


def scaled_colours(colours: DeepColours, value_range: ValueRange) -> np.ndarray:
    """Return the same by a range, uint8 `(height, width, 3)`; what is transparent is white."""
    return _upright(scaled(colours.values[..., :3], value_range), colours, 255)


def _upright(levels: np.ndarray, colours: DeepColours, white: int) -> np.ndarray:
    """Return levels of the colours, laid on white and turned as the file says."""
    opacity, transparent = colours.values[..., 3:] / 65535.0, colours.image.info.get("transparency")
    if opacity.size:
        levels = np.rint(levels * opacity + white * (1.0 - opacity)).astype(levels.dtype)
    elif isinstance(transparent, tuple):
        levels[(colours.values == np.array(transparent)).all(axis=-1)] = white
    return turned(levels, TURNS.get(orientation(colours.image)))


def turned(levels: np.ndarray, turn: Image.Transpose | None) -> np.ndarray:
    """Turn an image of any type `(height, width, channels)`."""
    if turn is None:
        return levels
    # Pillow turns no colours of 16 bits: where each pixel goes is told by their numbers.
    numbers = np.arange(levels.shape[0] * levels.shape[1], dtype=np.int32)
    order = np.asarray(Image.fromarray(numbers.reshape(levels.shape[:2])).transpose(turn))
    return levels.reshape(-1, levels.shape[2])[order]


def _decoded(image: Any, *, exchanged: bool = False) -> Image.Image:
    """Return the image as Pillow reads it, by the upper byte of each colour or by the other one."""
    image.fp.seek(0)
    again: Any = Image.open(image.fp, formats=FORMATS)
    if image.tell():
        again.seek(image.tell())
    if exchanged:
        again.tile = [_exchanged(each) for each in again.tile]
    again.load()
    return again


def _exchanged(tile: Any) -> Any:
    """Say what is to be decoded, with the other order of bytes."""
    arguments = tile[3]
    mode = arguments if isinstance(arguments, str) else arguments[0]
    mode = mode[:-1] + _EXCHANGED[mode[-1]]
    new = mode if isinstance(arguments, str) else (mode, *arguments[1:])
    # Older versions of Pillow have plain tuples.
    return tile._replace(args=new) if hasattr(tile, "_replace") else (*tile[:3], new)
