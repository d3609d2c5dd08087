"""What a model says of the images of a part, be they files or pixels in memory."""

from __future__ import annotations

import numpy as np

from ktransfer.data import Part, Skipped
from ktransfer.data.images.held import HeldImages
from ktransfer.features import FORWARD_BATCH_SIZE, Forward, OnProgress, extract_part
from ktransfer.serving.decoding import decoded_batches

Probabilities = tuple[np.ndarray, np.ndarray, tuple[Skipped, ...]]


def probabilities_of(
    forward: Forward,
    part: Part,
    input_size: tuple[int, int],
    num_classes: int,
    *,
    on_progress: OnProgress,
) -> Probabilities:
    """Return probabilities, the index of the image of each row, and images that have none.

    Args:
        forward: from `compile_forward`, from images to probabilities.
        part: the images.
        input_size: `(height, width)` in pixels that they are resized to.
        num_classes: columns of the probabilities.
        on_progress: called with (images done, images in all) after each batch.
    """
    if isinstance(part.images, HeldImages):
        return _of_held(forward, part.images, input_size, num_classes, on_progress)
    features, _, failed = extract_part(forward, part, input_size, on_progress=on_progress)
    values = features.values.reshape(len(features.indices), num_classes)
    return values, features.indices, failed


def _of_held(
    forward: Forward,
    images: HeldImages,
    input_size: tuple[int, int],
    num_classes: int,
    on_progress: OnProgress,
) -> Probabilities:
    """Of images in memory, decoded on the host.

    To the same pixels as in a pipeline, which takes longer to build than one image to predict.
    """
    values = [np.empty((0, num_classes), np.float32)]
    rows: list[int] = []
    failed: list[Skipped] = []
    for batch in decoded_batches(images, input_size, FORWARD_BATCH_SIZE):
        values += [forward(batch.pixels)] if batch.rows else []
        rows += batch.rows
        failed += batch.skipped
        on_progress(batch.done, len(images))
    return np.concatenate(values), np.array(rows, np.int64), tuple(failed)
