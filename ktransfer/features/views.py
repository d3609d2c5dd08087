"""Views of images: which ones rows are made of, and what makes them, and mixes, for `tf.data`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ktransfer.augment import augment, mix, view_seed
from ktransfer.data.batches.parallel import PARALLEL_CALLS, PREFETCHED, untuned
from ktransfer.data.batches.rows import Mix, Render, Rows, ordered_batches
from ktransfer.features.forward import FORWARD_BATCH_SIZE

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Views:
    """Which views of an image rows are made of.

    Attributes:
        augmentation: as in `Stage`.
        count: how many fixed views there are of each image.
        seed: what they are drawn with.
    """

    augmentation: str = "none"
    count: int = 1
    seed: int = 0

    @classmethod
    def of_images(cls, size: tuple[int, int]) -> Views:
        """Return the images themselves, at the size that augmentation crops from."""
        return cls(f"source {size[0]}x{size[1]}")

    @property
    def image_size(self) -> tuple[int, int] | None:
        """The size of `of_images`; None: other views."""
        if not self.augmentation.startswith("source "):
            return None
        height, width = self.augmentation.removeprefix("source ").split("x")
        return int(height), int(width)


PLAIN = Views()


def render_views(augmentation: str, seed: int, size: tuple[int, int]) -> Render:
    """Make a function that views what `RowSource.sources` gives, for `data.batches.rows`."""
    return lambda image, row, view: augment(image, view_seed(seed, row, view), augmentation, size)


def view_batches(images: Rows, views: Views, size: tuple[int, int]) -> tf.data.Dataset:
    """Batches of `(views, rows)`: every view of every image, view by view."""
    import tensorflow as tf

    render = render_views(views.augmentation, views.seed, size)
    plain = ordered_batches(images, np.arange(len(images)), batch_size=FORWARD_BATCH_SIZE)

    def view_of(view: tf.Tensor) -> tf.data.Dataset:
        each = plain.unbatch().map(
            lambda image, row: (
                render(image, row, view),
                tf.cast(row + view * len(images), tf.int32),
            ),
            num_parallel_calls=PARALLEL_CALLS,
            deterministic=True,
        )
        return each.batch(FORWARD_BATCH_SIZE)

    batches = tf.data.Dataset.range(views.count).flat_map(view_of)
    return untuned(batches.prefetch(PREFETCHED))


def mix_classes(num_classes: int) -> Mix:
    """Return a function that mixes batches of images and classes, for `data.batches.rows`."""
    import tensorflow as tf

    def mixed(
        images: tf.Tensor, labels: tf.Tensor, *weights_and_seed: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        *weights, seed = weights_and_seed
        # Weights are mixed as the classes are: they travel as one more column.
        columns = [tf.one_hot(labels, num_classes), *(each[:, None] for each in weights)]
        images, columns = mix(images, tf.concat(columns, axis=1), seed)
        return images, columns[:, :num_classes], *(columns[:, num_classes] for _ in weights)

    return mixed


def with_shares(batches: tf.data.Dataset, num_classes: int) -> tf.data.Dataset:
    """Batches with the share of each class, all or nothing, instead of the class."""
    import tensorflow as tf

    return batches.map(lambda images, labels: (images, tf.one_hot(labels, num_classes)))
