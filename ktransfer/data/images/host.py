"""Images at the network's size without TensorFlow: the very pixels of `pipeline` and `resizing`."""

from __future__ import annotations

import numpy as np

from ktransfer.data.images.decoding import decode_reduced
from ktransfer.data.images.files import ImageFiles
from ktransfer.data.images.held import HeldImages


def read_on_host(
    images: ImageFiles | HeldImages, index: int, input_size: tuple[int, int]
) -> np.ndarray:
    """Return one image of a part, decoded by Pillow and resized by NumPy.

    Args:
        images: the images of a part.
        index: position among them.
        input_size: `(height, width)` in pixels.

    Returns:
        uint8 `(height, width, 3)`: what `image_dataset` gives. Some damaged files that TensorFlow
        refuses are read.

    Raises:
        OSError: as `decode_image`; damaged files make Pillow raise nearly anything besides.
    """
    return resize_on_host(decode_on_host(images, index, input_size), input_size)


def decode_on_host(
    images: ImageFiles | HeldImages, index: int, input_size: tuple[int, int]
) -> np.ndarray:
    """Decode one image as `read_on_host` does, not yet resized, a large JPEG reduced."""
    if images.kind(index) == "tensorflow":
        return decode_reduced(images.encoded(index), input_size)
    return images.full_size(index)


def resize_on_host(image: np.ndarray, input_size: tuple[int, int]) -> np.ndarray:
    """`crop_and_resize` of one image in NumPy, equal to it bit for bit.

    Args:
        image: uint8 `(height, width, 3)`.
        input_size: wanted `(height, width)` in pixels.

    Returns:
        uint8 of the wanted size; an image that has it already is returned unchanged.
    """
    if image.shape[:2] == tuple(input_size):
        return image
    factor = max(1, min(have // want for have, want in zip(image.shape, input_size, strict=False)))
    means = _means(_centre(image, input_size, factor), factor)
    resized = _bilinear(means, input_size)
    return np.clip(np.rint(resized), 0, 255).astype(np.uint8)


def _centre(image: np.ndarray, input_size: tuple[int, int], factor: int) -> np.ndarray:
    """Return the largest centred part of the aspect, its sides multiples of `factor`."""
    (rows, columns), (height, width) = image.shape[:2], input_size
    by_width = (2 * columns * height + width) // (2 * width)
    by_height = (2 * rows * width + height) // (2 * height)
    spans = []
    for have, wanted in ((rows, by_width), (columns, by_height)):
        kept = max(factor, min(have, wanted) // factor * factor)
        start = (have - kept) // 2
        spans.append(slice(start, start + kept))
    return image[spans[0], spans[1]]


def _means(image: np.ndarray, factor: int) -> np.ndarray:
    """Return the mean of each square of `factor` by `factor` pixels, float32."""
    if factor == 1:
        return image.astype(np.float32)
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    strips = image.reshape(rows, factor, columns * factor * 3)
    # Integers, in the narrowest type that holds them: the sums are exact in any order, and
    # additions of 16 bits take half the time of floats.
    narrow = np.uint16 if factor <= 256 else np.uint32
    sums = np.add.reduce(strips, axis=1, dtype=narrow)
    squares = sums.reshape(rows, columns, factor, 3)
    return np.add.reduce(squares, axis=2, dtype=np.float32) / np.float32(factor * factor)


def _bilinear(image: np.ndarray, input_size: tuple[int, int]) -> np.ndarray:
    """`tf.image.resize`: across, then down, in float32 and in TensorFlow's order of operations."""
    for axis in (1, 0):
        if image.shape[axis] != input_size[axis]:
            image = _interpolated(image, input_size[axis], axis)
    return image


def _interpolated(image: np.ndarray, want: int, axis: int) -> np.ndarray:
    have = image.shape[axis]
    scale = np.float32(have) / np.float32(want)
    at = (np.arange(want, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    below = np.floor(at)
    first = np.maximum(below, 0).astype(np.intp)
    second = np.minimum(np.ceil(at), have - 1).astype(np.intp)
    share = (at - below).reshape((-1, 1) if axis else (-1, 1, 1))
    low = image.take(first, axis)
    difference = image.take(second, axis)
    difference -= low
    difference *= share
    low += difference
    return low
