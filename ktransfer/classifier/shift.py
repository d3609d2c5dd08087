"""How a model stands what it was not trained on: images grey, blurred, noisy, recoloured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ktransfer.augment import CORRUPTIONS, STRENGTHS, corrupt, view_seed
from ktransfer.data import Part, image_dataset
from ktransfer.data.batches.parallel import PARALLEL_CALLS, PREFETCHED, untuned
from ktransfer.features import FORWARD_BATCH_SIZE, Forward, OnProgress

if TYPE_CHECKING:
    import tensorflow as tf

#: Not the training's: two models are to be judged on the very same pixels.
_SEED = 0

_VERSIONS = tuple((name, strength) for name in CORRUPTIONS for strength in STRENGTHS)


@dataclass(frozen=True, eq=False)
class UnderShift:
    """The most probable classes of a set of images, as they are and corrupted.

    Attributes:
        plain: float32 `(images, classes)`, the probabilities of the images as they are.
        corrupted: for each of `CORRUPTIONS` int64 `(strengths, images)`, the weakest first.
        indices: int32 `(images,)`: for each column, the index of its image. Images that could not
            be decoded have none.
    """

    plain: np.ndarray
    corrupted: dict[str, np.ndarray]
    indices: np.ndarray


def predict_under_shift(
    forward: Forward,
    part: Part,
    input_size: tuple[int, int],
    *,
    on_progress: OnProgress | None = None,
) -> UnderShift:
    """Decode each image once, corrupt its pixels at the network's size, and classify all versions.

    No more than a few dozen versions are in memory at a time. The pixels depend on the image and
    its place in the part alone, so that two models can be compared.

    Args:
        forward: from `compile_forward`, from images to probabilities.
        part: the images.
        input_size: `(height, width)` of the network's input in pixels.
        on_progress: called with (images done, images in all) after each batch.

    Returns:
        The classes of every version.

    Source: after Hendrycks and Dietterich 2019 (arXiv 1903.12261); `augment.corruptions` says what
        was changed.
    """
    plain, classes, indices = [], [], []
    for shares, found, batch_indices in _batches(forward, part, input_size):
        plain.append(shares)
        classes.append(found)
        indices.append(batch_indices)
        if on_progress:
            on_progress(int(batch_indices[-1]) + 1, len(part))
    if not indices:
        return UnderShift(np.zeros((0, 0), np.float32), {}, np.zeros(0, np.int32))
    pieces = np.split(np.concatenate(classes).T, len(CORRUPTIONS))
    by_name = dict(zip(CORRUPTIONS, pieces, strict=True))
    return UnderShift(np.concatenate(plain), by_name, np.concatenate(indices))


def _batches(
    forward: Forward, part: Part, input_size: tuple[int, int]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield, of a few images at a time, plain probabilities, classes of versions, and indices."""
    at_once = max(1, FORWARD_BATCH_SIZE // (1 + len(_VERSIONS)))
    for images, indices in _versions(part, input_size, at_once):
        found = forward(images.numpy().reshape(-1, *images.shape[2:]))
        found = found.reshape(len(indices), 1 + len(_VERSIONS), -1)
        yield found[:, 0], found[:, 1:].argmax(axis=2), indices.numpy()


def _versions(part: Part, input_size: tuple[int, int], at_once: int) -> tf.data.Dataset:
    """Batches of `(images, versions, height, width, 3)`, the plain one first, and indices."""
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def all_versions(image: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # One seed for all strengths: the same noise and hue, only more of it.
        seed = view_seed(_SEED, index, 0)
        made = [corrupt(image, name, strength, seed) for name, strength in _VERSIONS]
        return tf.stack([image, *made]), index

    decoded = image_dataset(part, input_size).unbatch()
    made = decoded.map(all_versions, num_parallel_calls=PARALLEL_CALLS, deterministic=True)
    return untuned(made.batch(at_once).prefetch(PREFETCHED))
