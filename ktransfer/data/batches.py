"""Batches of features, in memory or memory-mapped, in an order fixed by the seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


def shuffled_batches(
    values: np.ndarray, labels: np.ndarray, *, batch_size: int, seed: int
) -> tf.data.Dataset:
    """Endless epochs of `(values, labels)` batches, every epoch in an order of its own.

    The order is a function of (seed, epoch) alone, so that it can be had again. The last batch of
    an epoch is smaller where `batch_size` does not divide the number of rows: `num_batches` a
    epoch.

    Args:
        values: `(rows, ...)`, an array or a `numpy.memmap`; a memmap is read row by row, never
            whole.
        labels: `(rows,)` integers.
        batch_size: rows a batch.
        seed: any non-negative integer.

    Returns:
        A dataset without end; give Keras' `fit` the `steps_per_epoch` that `num_batches` says.
    """
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        order = _order(len(labels), seed, epoch)
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size)

    epochs = tf.data.Dataset.counter().flat_map(one_epoch)
    return epochs.map(_row_reader(values, labels)).prefetch(tf.data.AUTOTUNE)


def ordered_batches(values: np.ndarray, labels: np.ndarray, *, batch_size: int) -> tf.data.Dataset:
    """One pass of `(values, labels)` batches in the order of the rows."""
    import tensorflow as tf

    rows = tf.data.Dataset.range(len(labels)).batch(batch_size)
    return rows.map(_row_reader(values, labels)).prefetch(tf.data.AUTOTUNE)


def epoch_order(num_rows: int, seed: int, epoch: int) -> np.ndarray:
    """The order of `shuffled_batches` in an epoch (from 0): row numbers, int64 `(rows,)`."""
    import tensorflow as tf

    return np.asarray(_order(num_rows, seed, tf.constant(epoch, tf.int64)))


def num_batches(num_rows: int, batch_size: int) -> int:
    """How many batches one epoch of `num_rows` rows has."""
    return -(-num_rows // batch_size)


def _order(num_rows: int, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    # Stateless random numbers: `Dataset.shuffle` starts again at its first order after a resume.
    rows = tf.range(num_rows, dtype=tf.int64)
    seeds = tf.stack([tf.cast(seed, tf.int64), epoch])
    return tf.random.experimental.stateless_shuffle(rows, seed=seeds)


def _row_reader(values: np.ndarray, labels: np.ndarray):  # type: ignore[no-untyped-def]
    """A function from row numbers to these rows, for `Dataset.map`."""
    import tensorflow as tf

    shape = values.shape[1:]
    if isinstance(values, np.memmap):

        def read(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            picked = tf.numpy_function(lambda wanted: values[wanted], [rows], values.dtype)
            return tf.ensure_shape(picked, (None, *shape)), tf.gather(labels, rows)

    else:
        # Made once, outside of the mapped function: a constant inside would be copied into the
        # graph.
        held = tf.constant(values)

        def read(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return tf.gather(held, rows), tf.gather(labels, rows)

    return tf.autograph.experimental.do_not_convert(read)
