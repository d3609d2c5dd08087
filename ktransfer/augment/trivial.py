"""TrivialAugment: one operation, one strength, both drawn at random.

The operations give the pixels that Pillow's give, which the paper and torchvision's
TrivialAugmentWide use: they truncate where Pillow truncates, a movement takes the nearest pixel,
and what it uncovers is black.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

NUM_LEVELS = 31

#: How many uniform numbers a view takes: the operation, its level and the sign.
TRIVIAL_DRAWS = 3

_SMOOTH_CENTRE = 5.0


@dataclass(frozen=True)
class Operation:
    """One operation and its strengths.

    Attributes:
        apply: `apply(image, magnitude)`: uint8 `(height, width, 3)` and a float64 scalar to an
            image of the same shape.
        magnitudes: `NUM_LEVELS` strengths, the weakest first.
        signed: whether half of the views take the negative of the magnitude.
    """

    apply: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    magnitudes: tuple[float, ...]
    signed: bool


def trivial_augment(image: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Return one operation of `OPERATIONS`, at one of its levels.

    Args:
        image: uint8 `(height, width, 3)`.
        draws: float64 `(TRIVIAL_DRAWS,)`, uniform from 0, below 1.

    Returns:
        uint8 of the same shape.

    Source:
        Müller and Hutter 2021, arXiv 2103.10158; ranges as in torchvision's TrivialAugmentWide.
    """
    operations = tuple(OPERATIONS.values())
    index = tf.cast(draws[0] * len(operations), tf.int32)
    level = tf.cast(draws[1] * NUM_LEVELS, tf.int32)
    magnitude = tf.constant([each.magnitudes for each in operations], tf.float64)[index, level]
    negative = tf.constant([each.signed for each in operations])[index] & (draws[2] < 0.5)
    magnitude = tf.where(negative, -magnitude, magnitude)
    # Only the branch that is taken runs.
    return tf.switch_case(
        index, [functools.partial(each.apply, image, magnitude) for each in operations]
    )


# Colours: Pillow's ImageEnhance mixes the image with one that lacks what is to be enhanced.


def _brightness(image: tf.Tensor, magnitude: tf.Tensor) -> tf.Tensor:
    return _mixed(0.0, image, magnitude)


def _colour(image: tf.Tensor, magnitude: tf.Tensor) -> tf.Tensor:
    return _mixed(tf.cast(_grey(image)[..., None], tf.float32), image, magnitude)


def _contrast(image: tf.Tensor, magnitude: tf.Tensor) -> tf.Tensor:
    mean = tf.reduce_mean(tf.cast(_grey(image), tf.float64))
    return _mixed(tf.cast(tf.floor(mean + 0.5), tf.float32), image, magnitude)


def _sharpness(image: tf.Tensor, magnitude: tf.Tensor) -> tf.Tensor:
    pixels = tf.cast(image, tf.float32)
    rows = pixels[:-2] + pixels[1:-1] + pixels[2:]
    sums = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    inner = pixels[1:-1, 1:-1]
    smooth = tf.floor((sums + (_SMOOTH_CENTRE - 1) * inner) / (_SMOOTH_CENTRE + 8) + 0.5)
    # Pillow's filter leaves the outermost pixels as they are.
    blurred = pixels + tf.pad(smooth - inner, ((1, 1), (1, 1), (0, 0)))
    return _mixed(blurred, image, magnitude)


def _mixed(without: tf.Tensor | float, image: tf.Tensor, magnitude: tf.Tensor) -> tf.Tensor:
    """Between `without` (magnitude -1) and the image (0), and beyond it."""
    factor = tf.cast(1.0 + magnitude, tf.float32)
    mixed = without + factor * (tf.cast(image, tf.float32) - without)
    # Pillow truncates, and so does the cast.
    return tf.cast(tf.clip_by_value(mixed, 0.0, 255.0), tf.uint8)


def _grey(image: tf.Tensor) -> tf.Tensor:
    """Pillow's conversion to "L": ITU-R 601-2 luma in 16-bit fixed point, int32."""
    red, green, blue = tf.unstack(tf.cast(image, tf.int32), axis=-1)
    return tf.bitwise.right_shift(red * 19595 + green * 38470 + blue * 7471 + 0x8000, 16)


# Tables: every level of a channel becomes another one.


def _posterize(image: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.bitwise_and(image, tf.cast(256.0 - 2.0 ** (8.0 - bits), tf.uint8))


def _solarize(image: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    first_inverted = tf.cast(tf.math.ceil(threshold), tf.uint8)
    return tf.where(image < first_inverted, image, 255 - image)


def _autocontrast(image: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    low = tf.cast(tf.reduce_min(image, axis=(0, 1)), tf.float64)[:, None]
    high = tf.cast(tf.reduce_max(image, axis=(0, 1)), tf.float64)[:, None]
    levels = tf.range(256, dtype=tf.float64)
    scale = 255.0 / tf.maximum(high - low, 1.0)
    # Pillow's order of operations: another one would be truncated to other levels.
    stretched = tf.clip_by_value(levels * scale + -low * scale, 0.0, 255.0)
    return _looked_up(image, tf.where(high > low, stretched, levels))


def _equalize(image: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    counts = _histograms(image)
    levels = tf.range(256)
    last = tf.reduce_max(tf.where(counts > 0, levels, 0), axis=1)
    step = (tf.reduce_sum(counts, axis=1) - tf.gather(counts, last, batch_dims=1)) // 255
    step = step[:, None]
    before = tf.cumsum(counts, axis=1, exclusive=True)
    equal = tf.minimum((before + step // 2) // tf.maximum(step, 1), 255)
    return _looked_up(image, tf.where(step > 0, equal, levels))


def _histograms(image: tf.Tensor) -> tf.Tensor:
    """Say how many pixels have each level, int32 `(3, 256)`."""
    places = tf.reshape(_table_places(image), (-1,))
    return tf.reshape(tf.math.bincount(places, minlength=768, maxlength=768), (3, 256))


def _looked_up(image: tf.Tensor, tables: tf.Tensor) -> tf.Tensor:
    """Return the image with each level replaced by that of its channel's table `(3, 256)`."""
    flat = tf.reshape(tf.cast(tables, tf.uint8), (-1,))
    return tf.gather(flat, _table_places(image))


def _table_places(image: tf.Tensor) -> tf.Tensor:
    return tf.cast(image, tf.int32) + tf.constant([0, 256, 512])


# Movements: Pillow's affine transform, the nearest pixel, black where there is none.


def _shear_x(image: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
    return _moved(image, (1.0, slope, 0.0), (0.0, 1.0, 0.0))


def _shear_y(image: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
    return _moved(image, (1.0, 0.0, 0.0), (slope, 1.0, 0.0))


def _translate_x(image: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    return _moved(image, (1.0, 0.0, _truncated(pixels)), (0.0, 1.0, 0.0))


def _translate_y(image: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    return _moved(image, (1.0, 0.0, 0.0), (0.0, 1.0, _truncated(pixels)))


def _rotate(image: tf.Tensor, degrees: tf.Tensor) -> tf.Tensor:
    angle = -degrees * math.pi / 180
    cos, sin = tf.cos(angle), tf.sin(angle)
    y, x = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float64) / 2)
    return _moved(image, (cos, sin, x - cos * x - sin * y), (-sin, cos, y + sin * x - cos * y))


def _truncated(pixels: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.cast(pixels, tf.int32), tf.float64)


def _moved(image: tf.Tensor, to_x: tuple[float, ...], to_y: tuple[float, ...]) -> tf.Tensor:
    """Fill the place (x, y) from (a x + b y + c, d x + e y + f), `to_x` being (a, b, c).

    In Pillow's fixed point, because TensorFlow's own transform, in floating point, takes other
    pixels where two are about equally near: up to 2 % of them.
    """
    height, width = tf.unstack(tf.shape(image)[:2])
    y, x = tf.range(height)[:, None], tf.range(width)[None]
    from_x, from_y = _fixed_point(to_x, x, y), _fixed_point(to_y, x, y)
    inside = (from_x >= 0) & (from_x < width) & (from_y >= 0) & (from_y < height)
    places = tf.where(inside, from_y * width + from_x, 0)
    moved = tf.gather(tf.reshape(image, (-1, 3)), places)
    return tf.ensure_shape(moved * tf.cast(inside, tf.uint8)[..., None], image.shape)


def _fixed_point(row: tuple[float, ...], x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Return the whole part of `a x + b y + c` at the centres of pixels, int32."""
    a, b, c = (tf.cast(each, tf.float64) for each in row)
    scaled = tf.floor(tf.stack([a, b, c + a * 0.5 + b * 0.5]) * 65536.0 + 0.5)
    a, b, c = tf.unstack(tf.cast(scaled, tf.int32))
    return tf.bitwise.right_shift(c + a * x + b * y, 16)


def _identity(image: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    return tf.identity(image)


def _signed(apply: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], largest: float) -> Operation:
    return Operation(apply, _levels(0.0, largest), signed=True)


def _levels(first: float, last: float) -> tuple[float, ...]:
    return tuple(np.linspace(first, last, NUM_LEVELS).tolist())


#: All 14 of the paper, by name. Translations are in pixels whatever the image's size, as there.
OPERATIONS = {
    "identity": Operation(_identity, _levels(0.0, 0.0), signed=False),
    "brightness": _signed(_brightness, 0.99),
    "colour": _signed(_colour, 0.99),
    "sharpness": _signed(_sharpness, 0.99),
    "contrast": _signed(_contrast, 0.99),
    "posterize": Operation(
        _posterize, tuple(8.0 - round(level / 5) for level in range(NUM_LEVELS)), signed=False
    ),
    "solarize": Operation(_solarize, _levels(255.0, 0.0), signed=False),
    "autocontrast": Operation(_autocontrast, _levels(0.0, 0.0), signed=False),
    "equalize": Operation(_equalize, _levels(0.0, 0.0), signed=False),
    "shear_x": _signed(_shear_x, 0.99),
    "shear_y": _signed(_shear_y, 0.99),
    "translate_x": _signed(_translate_x, 32.0),
    "translate_y": _signed(_translate_y, 32.0),
    "rotate": _signed(_rotate, 135.0),
}
