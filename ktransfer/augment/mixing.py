"""MixUp and CutMix: images of a batch mixed with each other, and their labels likewise."""

from __future__ import annotations

import tensorflow as tf

from ktransfer.errors import InputError

#: MixUp's shares are Beta(0.2, 0.2) as in its paper, mostly near 0 or 1; CutMix' are uniform.
MIXUP_ALPHA = 0.2


# Nothing here is Python control flow over tensors; to look for it would slow down the tracing.
@tf.autograph.experimental.do_not_convert
def mix(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mix every image of a batch with the one after it.

    In half of the batches by MixUp, where both shine through, in the others by CutMix, where a
    rectangle is the other's. A pure function: the same batch and seed give the same pixels. The
    batch is taken to be shuffled already, so the next image is a random one.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        labels: float32 `(batch, classes)`, the share of each class, one-hot where nothing is mixed.
        seed: int64 `(2,)`.

    Returns:
        Images and labels of the same shapes and types. CutMix' labels are the shares of the pixels.

    Raises:
        InputError: the images are not a batch of uint8, or the labels are integers.

    Example:
        >>> images = tf.reshape(tf.constant([0, 200], tf.uint8), (2, 1, 1, 1)) * tf.ones(
        ...     (2, 8, 8, 3), tf.uint8
        ... )
        >>> mixed, shares = mix(images, tf.eye(2), tf.constant([0, 3], tf.int64))
        >>> mixed.shape, shares.shape
        (TensorShape([2, 8, 8, 3]), TensorShape([2, 2]))

    Source:
        Zhang et al. 2017, mixup (arXiv 1710.09412), and Yun et al. 2019, CutMix (arXiv 1905.04899),
        one of them for each batch as in torchvision's training recipe. Changed: a share of its own
        for each image, as Keras' MixUp has it. Keras' own layers draw from a generator with a
        state, and given a seed they use it for every draw, so that the order and the shares, or the
        two sides of the rectangle, would be one and the same random number.
    """
    images, labels = tf.convert_to_tensor(images), tf.convert_to_tensor(labels)
    if images.dtype != tf.uint8 or images.shape.rank != 4:
        raise InputError(
            "images to mix must be a batch, uint8 (batch, height, width, 3), got "
            f"{images.dtype.name} {images.shape}"
        )
    if not labels.dtype.is_floating or labels.shape.rank != 2:
        raise InputError(
            "labels to mix must be float (batch, classes), one-hot for example, got "
            f"{labels.dtype.name} {labels.shape}"
        )
    which, *seeds = tf.unstack(_split(seed, 4))
    draw = tf.random.stateless_uniform((), which, dtype=tf.float64, alg="philox")
    mixed, shares = tf.cond(
        draw < 0.5,
        lambda: mixed_up(images, _beta(tf.shape(images)[0], seeds[0], seeds[1])),
        lambda: cut_mixed(images, _uniform(tf.shape(images)[0], seeds[2])),
    )
    shares = tf.cast(shares, labels.dtype)[:, None]
    return tf.ensure_shape(mixed, images.shape), shares * labels + (1 - shares) * _next(labels)


def mixed_up(images: tf.Tensor, shares: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return each image shining through the one after it.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        shares: float `(batch,)`, how much of the image itself stays.

    Returns:
        The images, and float64 `(batch,)`: their shares.
    """
    weights = tf.cast(shares, tf.float32)[:, None, None, None]
    own, other = tf.cast(images, tf.float32), tf.cast(_next(images), tf.float32)
    return tf.cast(tf.round(weights * own + (1 - weights) * other), tf.uint8), shares


def cut_mixed(images: tf.Tensor, draws: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Give each image a rectangle of the next one, of its aspect, cut at its edges.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        draws: float64 `(batch, 3)`, uniform from 0, below 1: the area, and the centre.

    Returns:
        The images, and float64 `(batch,)`: the share of pixels that are their own.
    """
    size = tf.cast(tf.shape(images)[1:3], tf.float64)
    half = tf.sqrt(1 - draws[:, :1]) * size / 2
    centres = draws[:, 1:] * size
    first = tf.cast(tf.round(tf.maximum(centres - half, 0.0)), tf.int32)
    end = tf.cast(tf.round(tf.minimum(centres + half, size)), tf.int32)
    rows, columns = (
        (first[:, axis : axis + 1] <= tf.range(tf.shape(images)[axis + 1]))
        & (tf.range(tf.shape(images)[axis + 1]) < end[:, axis : axis + 1])
        for axis in (0, 1)
    )
    inside = rows[:, :, None] & columns[:, None, :]
    own = 1 - tf.reduce_mean(tf.cast(inside, tf.float64), axis=(1, 2))
    return tf.where(inside[..., None], _next(images), images), own


def _next(values: tf.Tensor) -> tf.Tensor:
    return tf.roll(values, -1, axis=0)


def _split(seed: tf.Tensor, number: int) -> tf.Tensor:
    return tf.random.experimental.stateless_split(seed, number, alg="philox")


def _uniform(batch: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform((batch, 3), seed, dtype=tf.float64, alg="philox")


def _beta(batch: tf.Tensor, seed: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """Share of MixUp: of two gamma variates, the first's part of both."""
    one, two = (
        tf.random.stateless_gamma((batch,), each, MIXUP_ALPHA, dtype=tf.float64)
        for each in (seed, other)
    )
    return one / (one + two)
