"""Datasets of (image, label): `tf.data.Dataset` and Keras' `PyDataset`, read once and held.

A dataset that shuffles, or is a generator, gives another order, or nothing, when it is read again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ktransfer.data.images.header import Skipped
from ktransfer.data.images.held import HeldBuilder, HeldImages
from ktransfer.data.images.value_range import ValueRange
from ktransfer.data.parts import Part
from ktransfer.data.reading.arrays import CHANNELS, Limits, as_images, check_pixel_type
from ktransfer.data.reading.labels import labels_by_name, positions
from ktransfer.data.sources.source import (
    Contents,
    HeldSource,
    Names,
    Options,
    Unlabelled,
    unlabelled,
)
from ktransfer.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

#: A dataset of unknown length that has given so many images is taken to have no end.
MOST_IMAGES = 2_000_000

_EXPECTED = "expected elements (image, label), batched or not"


class Dataset(HeldSource):
    """A `tf.data.Dataset` or a Keras `PyDataset` of (image, label)."""

    @classmethod
    def accepts(cls, data: Any, *, labelled: bool) -> bool:
        """Tell whether it is one; nothing is imported for it."""
        # Whoever has one has imported what it is made of.
        tensorflow, keras = sys.modules.get("tensorflow"), sys.modules.get("keras")
        if tensorflow is not None and isinstance(data, tensorflow.data.Dataset):
            return True
        return keras is not None and isinstance(data, keras.utils.PyDataset)

    def contents(self, class_names: Names | None, options: Options) -> Contents:
        """As of every source that is held."""
        source, value_range = options.source, options.value_range
        images, given, skipped = read_dataset(self.data, source, value_range=value_range)
        own = _class_names_of(self.data)
        if own and not _only_numbers(class_names):
            given = labels_by_name(given, own, source)
        labels, names = positions(given, class_names or own, source)
        return Contents({"train": Part("train", images, labels)}, names, skipped)

    def read_images(self, options: Options) -> Unlabelled:
        """Return all of them; there may be labels or none."""
        images, _, skipped = read_dataset(
            self.data, "the dataset", labelled=False, value_range=options.value_range
        )
        return unlabelled(images, skipped)


def _only_numbers(class_names: Names | None) -> bool:
    """Tell whether classes are called "0", "1", ...: then a model was trained without names."""
    return class_names is not None and class_names == tuple(map(str, range(len(class_names))))


def read_dataset(
    data: tf.data.Dataset | keras.utils.PyDataset,
    source: str,
    *,
    labelled: bool = True,
    value_range: ValueRange | None = None,
) -> tuple[HeldImages, np.ndarray, tuple[Skipped, ...]]:
    """Read a dataset once, to its end.

    Args:
        data: elements `(image, label)`, batched or not; images uint8 or other numbers in [0, 255],
            RGB or grey, or encoded (strings). Labels as in `labels.positions`.
        source: what it is, in words, for messages.
        labelled: False: elements may be images alone, and labels are not looked at.
        value_range: as of `arrays.Limits`.

    Returns:
        The images, the labels as they were given (-1 where not `labelled`), and encoded images that
        are none, with their reasons.

    Raises:
        InputError: it has no end, nothing in it, or elements of another form.
    """
    _check_finite(data, source)
    rows, limits, labels = HeldBuilder(source), Limits(source, value_range), []
    for image, label in _single(_elements(data, source), source, labelled):
        if isinstance(image, bytes):
            rows.add_encoded(image)
        else:
            rows.add_pixels(limits.rounded(image))
        labels.append(label)
        if len(rows) > MOST_IMAGES:
            raise _endless(source, f"it has given more than {MOST_IMAGES:,} images")
    if not labels and labelled:
        raise InputError(f"{source} is empty: {_EXPECTED}")
    limits.check()
    kept = [labels[number] for number in rows.numbers]
    return rows.build(), _stacked(kept, source), tuple(rows.skipped)


def _class_names_of(data: Any) -> tuple[str, ...] | None:
    """Return the names that a dataset has for its labels, in their order; None where it has none.

    `image_dataset_from_directory` says `class_names`, Keras' older iterators say `class_indices`.
    """
    names = getattr(data, "class_names", None)
    numbers = getattr(data, "class_indices", None)
    if names is None and isinstance(numbers, Mapping):
        names = sorted(numbers, key=lambda name: numbers[name])
    if not isinstance(names, list | tuple) or not all(isinstance(each, str) for each in names):
        return None
    return tuple(names) or None


def _check_finite(data: Any, source: str) -> None:
    import tensorflow as tf

    if isinstance(data, tf.data.Dataset):
        if data.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise _endless(source, "it repeats for ever")
        return
    try:
        count = data.num_batches
    except NotImplementedError:
        count = None
    if count is None:
        raise _endless(source, "it has no number of batches")


def _endless(source: str, why: str) -> InputError:
    return InputError(
        f"{source} is of infinite length ({why}): leave out repeat(), or take(n) of it"
    )


def _elements(data: Any, source: str) -> Iterator[Any]:
    """Yield the elements with NumPy arrays in them."""
    import tensorflow as tf

    if not isinstance(data, tf.data.Dataset):
        for index in range(data.num_batches):
            yield data[index]
        return
    try:
        yield from data.as_numpy_iterator()
    except TypeError as error:
        raise InputError(f"{source} cannot be read as arrays: {error}; {_EXPECTED}") from error
    except tf.errors.OpError as error:
        raise InputError(f"{source} cannot be read to its end: {error.message}") from error


def _single(
    elements: Iterable[Any], source: str, labelled: bool
) -> Iterator[tuple[np.ndarray | bytes, Any]]:
    """Single images `(height, width, 1 or 3)`, or encoded, each with its label or -1."""
    for element in elements:
        image, label = _pair(element, source, labelled)
        images, labels = np.asarray(image), None if label is None else np.asarray(label)
        if not _is_batch(images, labels):
            images, labels = images[np.newaxis], None if labels is None else labels[np.newaxis]
        if labels is not None and (not labels.ndim or len(labels) != len(images)):
            raise InputError(
                f"{source} has {len(images)} images with labels of shape {labels.shape} in one "
                f"element; {_EXPECTED}"
            )
        for at, each in enumerate(images):
            yield _image(each, source), -1 if labels is None else labels[at]


def _pair(element: Any, source: str, labelled: bool) -> tuple[Any, Any]:
    if isinstance(element, dict):
        names = ", ".join(map(repr, element))
        raise InputError(
            f"{source} has elements with the keys {names}; {_EXPECTED}: map them to "
            '(each["image"], each["label"])'
        )
    if isinstance(element, tuple | list):
        if len(element) == 2 or (not labelled and element):
            return element[0], element[1] if labelled else None
        extra = " (sample weights are not supported)" if len(element) == 3 else ""
        raise InputError(f"{source} has elements of {len(element)} values{extra}; {_EXPECTED}")
    if labelled:
        raise InputError(f"{source} has elements without a label; {_EXPECTED}")
    return element, None


def _is_batch(images: np.ndarray, labels: np.ndarray | None) -> bool:
    if images.dtype.kind in "SO":
        return images.ndim > 0
    if images.ndim != 3:
        return images.ndim > 3
    # (height, width, channels), or a batch of grey images: then there is a label for each.
    return images.shape[-1] not in CHANNELS and (labels is None or labels.ndim > 0)


def _image(image: Any, source: str) -> np.ndarray | bytes:
    if isinstance(image, bytes):
        return image
    check_pixel_type(image.dtype, source)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[-1] not in CHANNELS):
        raise InputError(
            f"{source} has an image of shape {image.shape}; expected (height, width, 3), RGBA or "
            "grey (height, width[, 1])"
        )
    (single,) = as_images(image, source)
    return single


def _stacked(labels: list[Any], source: str) -> np.ndarray:
    try:
        return np.stack(labels) if labels else np.empty(0, np.int32)
    except ValueError as error:
        raise InputError(f"{source} has labels of different shapes: {error}") from error
