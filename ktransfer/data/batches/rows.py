"""Batches of features, in memory or memory-mapped, in an order fixed by the seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ktransfer.data.batches.parallel import PARALLEL_CALLS, PREFETCHED, untuned
from ktransfer.data.batches.streaming import ImageRows

if TYPE_CHECKING:
    import tensorflow as tf

Rows = np.ndarray | ImageRows
Render = Callable[["tf.Tensor", "tf.Tensor", "tf.Tensor"], "tf.Tensor"]
Mix = Callable[..., "tuple[tf.Tensor, ...]"]

#: Added to the seed for what is drawn beside the order; large, so that seeds that people choose do
#: not meet them.
_VIEWS, _CLASSES, _PLACES, _MIXES = 2**40, 2**41, 2**42, 2**43


def shuffled_batches(
    values: Rows,
    labels: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
    views: int | None = 1,
    render: Render | None = None,
    weights: np.ndarray | None = None,
    evenly: bool = False,
    mix: Mix | None = None,
) -> tf.data.Dataset:
    """Endless epochs of `(values, labels)` batches, every epoch in an order of its own.

    The order is a function of (seed, epoch) alone, so that it can be had again: a training that
    goes on at epoch 7 sees what it would have seen. The last batch of an epoch is smaller where
    `batch_size` does not divide the number of images: `num_batches` a epoch.

    Args:
        values: `(views * images, ...)`, first all images in their first view, then in their second
            and so on; or, with `render`, `(images, ...)`. An array or a `numpy.memmap`, which is
            read row by row, never whole. `ImageRows` are decoded anew in every epoch.
        labels: `(images,)` integers.
        batch_size: images a batch.
        seed: any non-negative integer.
        first_epoch: the epoch to begin with, from 0.
        views: how many fixed views there are of each image; each epoch draws one of them for each
            image. None: an endless number, a new one in each epoch, numbered by the epoch.
        render: makes a view of an image: from its values, its row and the number of the view (both
            int64 scalars) to what is trained on.
        weights: float32 `(images,)`: the batches are then `(values, labels, weights)`.
        evenly: draw the same number of images from every class, in an epoch as long as before:
            `even_order`. A repeated image comes in other views, where there are several.
        mix: makes of a batch, with its weights if there are any, and a seed, int64 `(2,)`, another
            one. The seed is a function of (seed, number of the batch since the first epoch) alone.

    Returns:
        A dataset without end; give Keras' `fit` the `steps_per_epoch` that `num_batches` says.
    """
    import tensorflow as tf

    num_images = len(labels)
    targets = (labels,) if weights is None else (labels, weights)

    @tf.autograph.experimental.do_not_convert
    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        if evenly:
            order, drawn = _even_order(labels, views, seed, epoch)
        else:
            order = _order(num_images, seed, epoch)
            drawn = tf.gather(_views(num_images, views, seed, epoch), order)
        rows = tf.data.Dataset.from_tensor_slices((order, drawn))
        if isinstance(values, ImageRows):
            rows = _decoded(rows, values, targets, render)
        return rows.batch(batch_size)

    batches = tf.data.Dataset.counter(first_epoch).flat_map(one_epoch)
    if not isinstance(values, ImageRows):
        batches = _held(batches, values, targets, num_images if views else 0, render)
    if mix:
        start = first_epoch * num_batches(num_images, batch_size)
        batches = batches.enumerate(start).map(
            _mixer(mix, seed), num_parallel_calls=PARALLEL_CALLS, deterministic=True
        )
    return untuned(batches.prefetch(PREFETCHED))


def ordered_batches(values: Rows, labels: np.ndarray, *, batch_size: int) -> tf.data.Dataset:
    """Return one pass of `(values, labels)` batches in the order of the rows."""
    import tensorflow as tf

    rows = tf.data.Dataset.range(len(labels))
    if isinstance(values, ImageRows):
        decoded = _decoded(rows, values, (labels,)).batch(batch_size)
        return untuned(decoded.prefetch(PREFETCHED))
    read = _row_reader(values)

    @tf.autograph.experimental.do_not_convert
    def labelled(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return read(rows), tf.gather(labels, rows)

    return untuned(rows.batch(batch_size).map(labelled).prefetch(PREFETCHED))


def in_pieces(values: Rows, rows_at_once: int) -> Iterator[np.ndarray]:
    """Yield all rows in their order, a few at a time."""
    if isinstance(values, ImageRows):
        numbers = np.arange(len(values))
        for images, _ in ordered_batches(values, numbers, batch_size=rows_at_once):
            yield images.numpy()
    else:
        for start in range(0, len(values), rows_at_once):
            yield values[start : start + rows_at_once]


def epoch_order(num_rows: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of `shuffled_batches` in an epoch (from 0): row numbers, int64 `(rows,)`."""
    import tensorflow as tf

    return np.asarray(_order(num_rows, seed, tf.constant(epoch, tf.int64)))


def even_order(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return the rows that `shuffled_batches` draws `evenly` in an epoch (from 0), int64 `(rows,)`.

    As many rows as there are labels, the same number of every class, give or take one. Of a class
    with fewer images each comes again and again, none twice more often than another; of a class
    with more, which ones come is drawn anew in every epoch.
    """
    import tensorflow as tf

    return np.asarray(_even_order(labels, 1, seed, tf.constant(epoch, tf.int64))[0])


def num_batches(num_rows: int, batch_size: int) -> int:
    """Say how many batches one epoch of `num_rows` rows has."""
    return -(-num_rows // batch_size)


def _order(num_rows: int, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    # Stateless random numbers: `Dataset.shuffle` starts again at its first order after a resume.
    rows = tf.range(num_rows, dtype=tf.int64)
    seeds = tf.stack([tf.cast(seed, tf.int64), epoch])
    return tf.random.experimental.stateless_shuffle(rows, seed=seeds)


def _views(num_rows: int, views: int | None, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """Return the view of each image in an epoch, int64 `(rows,)`."""
    import tensorflow as tf

    if views is None:
        return tf.fill((num_rows,), epoch)
    # Another pair of seeds than the one of the order, which it shall not depend on.
    seeds = tf.stack([tf.cast(seed, tf.int64) + _VIEWS, epoch])
    return tf.random.stateless_uniform((num_rows,), seeds, 0, views, tf.int64)


def _held(
    batches: tf.data.Dataset,
    values: np.ndarray,
    targets: Sequence[np.ndarray],
    rows_per_view: int,
    render: Render | None,
) -> tf.data.Dataset:
    """`(values, *targets)` of batches of rows and their views."""
    import tensorflow as tf

    read = _row_reader(values)

    def of_rows(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tuple(tf.gather(each, rows) for each in targets)

    @tf.autograph.experimental.do_not_convert
    def held(rows: tf.Tensor, view: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return read(rows + view * rows_per_view), *of_rows(rows)

    @tf.autograph.experimental.do_not_convert
    def rendered(rows: tf.Tensor, view: tf.Tensor) -> tf.data.Dataset:
        each = tf.data.Dataset.from_tensor_slices((read(rows), rows, view))
        made = each.map(render, num_parallel_calls=PARALLEL_CALLS, deterministic=True)
        size = tf.cast(tf.size(rows), tf.int64)
        whole = map(tf.data.Dataset.from_tensors, of_rows(rows))
        return tf.data.Dataset.zip((made.batch(size), *whole))

    return batches.flat_map(rendered) if render else batches.map(held)


def _decoded(
    rows: tf.data.Dataset,
    images: ImageRows,
    targets: Sequence[np.ndarray],
    render: Render | None = None,
) -> tf.data.Dataset:
    """`(image, *targets)`, one by one, of rows, or of rows and their views."""
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def decode(row: tf.Tensor, view: tf.Tensor | None = None) -> tuple[tf.Tensor, ...]:
        image = images.read(row)
        viewed = render(image, row, view) if render else image
        return viewed, *(tf.gather(each, row) for each in targets)

    # One by one and not in batches: so many as there are cores are decoded at a time.
    return rows.map(decode, num_parallel_calls=PARALLEL_CALLS, deterministic=True)


def _mixer(mix: Mix, seed: int) -> Callable[..., tuple[tf.Tensor, ...]]:
    """Mix a batch that is numbered."""
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def mixed(number: tf.Tensor, batch: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        return mix(*batch, tf.stack([tf.cast(seed, tf.int64) + _MIXES, number]))

    return mixed


def _even_order(
    labels: np.ndarray, views: int | None, seed: int, epoch: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Rows drawn evenly from the classes and the view of each, int64 `(rows,)` both."""
    import tensorflow as tf

    num_rows = len(labels)
    classes, counts = np.unique(labels, return_counts=True)
    position = np.searchsorted(classes, labels)
    starts = np.cumsum(counts) - counts
    order = _order(num_rows, seed, epoch)
    by_class = tf.gather(order, tf.argsort(tf.gather(position, order), stable=True))
    # The classes take turns, in an order of the epoch's own: who comes first may have one more.
    turns = _order(len(classes), seed + _CLASSES, epoch)
    draws = tf.range(num_rows, dtype=tf.int64)
    turn, drawn_before = tf.gather(turns, draws % len(classes)), draws // len(classes)
    size = tf.gather(tf.constant(counts, tf.int64), turn)
    start = tf.gather(tf.constant(starts, tf.int64), turn)
    rows = tf.gather(by_class, start + drawn_before % size)
    if views is None:
        # Every time that a row comes it has a new view, in this epoch and in all others.
        most_often = -(-num_rows // (len(classes) * int(counts.min()))) + 1
        drawn = epoch * most_often + drawn_before // size
    else:
        drawn = _views(num_rows, views, seed, epoch)
    places = _order(num_rows, seed + _PLACES, epoch)
    return tf.gather(rows, places), tf.gather(drawn, places)


def _row_reader(values: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a function from row numbers to these rows, for `Dataset.map`."""
    import tensorflow as tf

    shape = values.shape[1:]
    if isinstance(values, np.memmap):

        def read(rows: tf.Tensor) -> tf.Tensor:
            picked = tf.numpy_function(lambda wanted: values[wanted], [rows], values.dtype)
            return tf.ensure_shape(picked, (None, *shape))

    else:
        # Made once, outside of the mapped function: a constant inside would be copied into the
        # graph.
        held = tf.constant(values)

        def read(rows: tf.Tensor) -> tf.Tensor:
            return tf.gather(held, rows)

    return read
