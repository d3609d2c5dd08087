"""Random erasing: a rectangle of the image painted over with its mean colour."""

from __future__ import annotations

import tensorflow as tf

from ktransfer.augment.crops import TRIES, drawn_box

#: In how many views, how large, and in which aspects, as in torchvision's RandomErasing and in its
#: training recipe.
CHANCE = 0.1
AREA_SHARES = (0.02, 0.33)
ASPECTS = (0.3, 3.3)

#: How many uniform numbers a view takes: whether, areas and aspects for each try, and the place.
ERASING_DRAWS = 2 * TRIES + 3


def random_erase(image: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Return the image, in a tenth of the views with a rectangle painted over.

    Args:
        image: uint8 `(height, width, 3)`.
        draws: float64 `(ERASING_DRAWS,)`, uniform from 0, below 1.

    Returns:
        uint8 of the same shape; as it was where no rectangle of 10 fits inside.

    Source:
        Zhong et al. 2017, arXiv 1708.04896. Changed: painted with the mean colour of the image
        itself, so that no other part of it stands out.
    """
    return tf.cond(draws[0] < CHANCE, lambda: erased(image, draws[1:]), lambda: image)


def erased(image: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Return the image with a rectangle painted over; `draws` as for `drawn_box`."""
    size = tf.shape(image)[:2]
    box, fits = drawn_box(size, draws, AREA_SHARES, ASPECTS)
    top, left, height, width = tf.unstack(tf.where(fits, box, 0))
    y, x = tf.range(size[0])[:, None], tf.range(size[1])[None]
    inside = (y >= top) & (y < top + height) & (x >= left) & (x < left + width)
    mean = tf.reduce_mean(tf.cast(image, tf.float32), axis=(0, 1))
    return tf.where(inside[..., None], tf.cast(tf.round(mean), tf.uint8), image)
