"""What every export computes: images of any size in, class probabilities out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ktransfer.data.images.resizing import centre, whole_factor

INPUT_NAME, OUTPUT_NAME = "images", "probabilities"


def servable(model: keras.Model, input_size: tuple[int, int]) -> Any:
    """Return the model with the resizing in front of it, as one function of TensorFlow.

    It computes in inference mode and in float32, whatever precision the model was trained in.

    Args:
        model: RGB float32 `(batch, height, width, 3)` in [0, 255] to probabilities `(batch,
            classes)`. It is not changed.
        input_size: height and width that the model takes, in pixels.

    Returns:
        A `tf.function` of `images`, uint8 RGB `(batch, height, width, 3)` in [0, 255] with any
        three dimensions, that returns `{"probabilities": float32 (batch, classes)}`. What a
        prediction of the model itself resizes by `crop_and_resize` is resized by `resized` here.
    """
    signature = tf.TensorSpec((None, None, None, 3), tf.uint8, name=INPUT_NAME)

    @tf.function(input_signature=[signature])
    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        with computing_in_float32(model):
            probabilities = model(resized(images, *input_size), training=False)
        return {OUTPUT_NAME: tf.cast(probabilities, tf.float32)}

    return serve


def resized(images: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Return the same pixels as `data.crop_and_resize`, by operations that other runtimes have.

    There are no branches in it, and no operator for resizing: runtimes differ in theirs by the last
    bit, which rounding makes a whole grey level.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        height: wanted height in pixels.
        width: wanted width in pixels.

    Returns:
        float32 `(batch, height, width, 3)`, whole numbers in [0, 255].
    """
    size = tf.shape(images)[1:3]
    factor = whole_factor(size, height, width)
    middle = tf.cast(centre(images, size, height, width, factor), tf.float32)
    # Rows, then columns, each time as the second axis: along the third one, runtimes take several
    # times as long. The sums are of few whole numbers, so exact in any order.
    sums = _sums(_swapped(_sums(middle, factor)), factor)
    means = sums / tf.cast(factor * factor, tf.float32)
    both = _interpolated(_swapped(_interpolated(means, width)), height)
    pixels = tf.clip_by_value(tf.round(both), 0.0, 255.0)
    return tf.ensure_shape(pixels, (None, height, width, 3))


def _swapped(images: tf.Tensor) -> tf.Tensor:
    """Rows as columns."""
    return tf.transpose(images, (0, 2, 1, 3))


def _sums(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Return the sum of each `factor` rows; of one row it is the row."""
    rows, columns = tf.shape(images)[1] // factor, tf.shape(images)[2]
    strips = tf.reshape(images, tf.stack([-1, factor, columns * 3]))
    return tf.reshape(tf.reduce_sum(strips, axis=1), tf.stack([-1, rows, columns, 3]))


def _interpolated(pixels: tf.Tensor, target: int) -> tf.Tensor:
    """Bilinear interpolation between the centres of rows, for `target` rows."""
    length = tf.shape(pixels)[1]
    # As TensorFlow's kernel computes it, in this order and in float32. The quotients come from a
    # table, since optimizers make a product with 1 / target of a division, and lose the last bit.
    scale = tf.gather(np.arange(2 * target + 1, dtype=np.float32) / np.float32(target), length)
    at = (tf.range(target, dtype=tf.float32) + 0.5) * scale - 0.5
    floor = tf.floor(at)
    below = tf.cast(tf.maximum(floor, 0.0), tf.int32)
    above = tf.minimum(tf.cast(tf.math.ceil(at), tf.int32), length - 1)
    lower, upper = (tf.gather(pixels, each, axis=1) for each in (below, above))
    return lower + (upper - lower) * tf.reshape(at - floor, (1, -1, 1, 1))


@contextmanager
def computing_in_float32(model: keras.Model) -> Iterator[None]:
    """Let mixed-precision layers compute in float32 while the function is traced."""
    layers: list[Any] = list(model._flatten_layers())
    before = [layer.dtype_policy for layer in layers]
    for layer, policy in zip(layers, before, strict=True):
        if policy.compute_dtype != "float32":
            layer.dtype_policy = "float32"
    try:
        yield
    finally:
        for layer, policy in zip(layers, before, strict=True):
            if layer.dtype_policy is not policy:
                layer.dtype_policy = policy
