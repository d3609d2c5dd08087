"""A random part of an image, resized, with the numbers of torchvision's RandomResizedCrop."""

from __future__ import annotations

import math

import tensorflow as tf

Range = tuple[float, float]

AREA_SHARES = (0.08, 1.0)
ASPECTS = (3 / 4, 4 / 3)
TRIES = 10

#: How many uniform numbers a crop takes: an area and an aspect for each try, and the place.
CROP_DRAWS = 2 * TRIES + 2


def random_crop(image: tf.Tensor, draws: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Return a random part of an image at the size wanted.

    Args:
        image: uint8 `(height, width, 3)`.
        draws: float64 `(CROP_DRAWS,)`, uniform from 0, below 1.
        size: `(height, width)` of the result in pixels.

    Returns:
        uint8 `(*size, 3)`.
    """
    top, left, height, width = tf.unstack(crop_box(tf.shape(image)[:2], draws))
    return resize(image[top : top + height, left : left + width], size)


def crop_box(size: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Draw the part: its area uniform, its aspect log-uniform, its place uniform.

    The first of 10 tries that fits inside the image counts. Where none does, it is the largest
    centred part of an allowed aspect.

    Args:
        size: int32 `(2,)`, the height and width of the image in pixels.
        draws: float64 `(CROP_DRAWS,)`, uniform from 0, below 1.

    Returns:
        int32 `(4,)`: top, left, height and width in pixels.
    """
    box, any_fits = drawn_box(size, draws, AREA_SHARES, ASPECTS)
    largest = _largest(size)
    return tf.where(any_fits, box, tf.concat([(size - largest) // 2, largest], axis=0))


def drawn_box(
    size: tf.Tensor, draws: tf.Tensor, area_shares: Range, aspects: Range
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the first of 10 boxes that fits inside an image.

    Args:
        size: int32 `(2,)`, the height and width of the image in pixels.
        draws: float64 `(CROP_DRAWS,)`, uniform from 0, below 1.
        area_shares: its smallest and largest area as a share of the image's; uniform.
        aspects: its smallest and largest width by height; log-uniform.

    Returns:
        int32 `(4,)`: top, left, height and width in pixels; and whether any fits, without which
        they mean nothing.
    """
    shares, logs, place = tf.split(draws, (TRIES, TRIES, 2))
    areas = _between(shares, *area_shares) * tf.cast(tf.reduce_prod(size), tf.float64)
    drawn_aspects = tf.exp(_between(logs, *map(math.log, aspects)))
    sides = tf.sqrt(tf.stack([areas / drawn_aspects, areas * drawn_aspects], axis=1))
    tries = tf.cast(tf.round(sides), tf.int32)
    fits = tf.reduce_all((tries > 0) & (tries <= size), axis=1)
    chosen = tries[tf.argmax(fits)]
    place = tf.cast(place * tf.cast(size - chosen + 1, tf.float64), tf.int32)
    return tf.concat([place, chosen], axis=0), tf.reduce_any(fits)


def resize(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Bilinear, with antialiasing where it shrinks: as Pillow's, within a level.

    Args:
        image: uint8 `(height, width, 3)`.
        size: `(height, width)` wanted, in pixels.

    Returns:
        uint8 `(*size, 3)`; an image that is known to have this size is returned as it is.
    """
    if image.shape[:2] == size:
        return image
    resized = tf.image.resize(image, size, antialias=True)
    return tf.cast(tf.round(resized), tf.uint8)


def _between(draws: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return low + draws * (high - low)


def _largest(size: tf.Tensor) -> tf.Tensor:
    """Height and width of the largest part of an allowed aspect."""
    height, width = tf.unstack(tf.cast(size, tf.float64))
    narrowest, widest = ASPECTS
    sides = tf.minimum((height, width), (width / narrowest, height * widest))
    return tf.cast(tf.round(sides), tf.int32)
