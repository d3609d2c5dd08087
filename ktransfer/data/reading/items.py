"""Images one by one as people hold them: arrays, PIL images, encoded bytes, open files, paths."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ktransfer.data.images.decoding import deep_kind, fault_in_words, pixels_of, values_of
from ktransfer.data.images.deep_colour import is_deep_colour
from ktransfer.data.images.header import Skipped, not_a_file
from ktransfer.data.images.held import HeldBuilder, HeldImages
from ktransfer.data.images.sniffing import starts_as_image
from ktransfer.data.images.value_range import SHORT, ValueRange
from ktransfer.data.reading.arrays import Limits, as_array, as_images
from ktransfer.data.reading.layout import missing
from ktransfer.errors import InputError

ACCEPTED_ITEMS = (
    "an image is an array (height, width[, 1, 3 or 4]), a PIL image, the bytes of an image file, a "
    "binary file that is open, or a path"
)


@dataclass(frozen=True, eq=False)
class Items:
    """Images that were given one by one.

    Attributes:
        images: those that are images.
        numbers: int64 `(n,)`, the place of each among what was given.
        skipped: what is no image, with its reason.
    """

    images: HeldImages
    numbers: np.ndarray
    skipped: tuple[Skipped, ...]


def read_items(given: Iterable[Any], source: str, value_range: ValueRange | None = None) -> Items:
    """Read images that may each be held in another way; one that is a batch counts as several.

    Args:
        given: arrays, PIL images, bytes of image files, open binary files and paths of files.
        source: what they are, in words.
        value_range: as of `arrays.Limits`.

    Raises:
        InputError: one of them is none of these, or a path does not exist.
    """
    rows, limits = HeldBuilder(source), Limits(source, value_range)
    for each in given:
        _add(each, rows, limits)
    limits.check()
    return Items(rows.build(), np.array(rows.numbers, np.int64), tuple(rows.skipped))


def is_path(value: Any) -> bool:
    """Tell whether it is a path; bytes are one unless they are those of an image."""
    if isinstance(value, bytes):
        # No path has a zero byte, and hardly an image has none.
        return bool(value) and b"\0" not in value and not starts_as_image(value)
    return isinstance(value, str | os.PathLike)


def is_item(value: Any) -> bool:
    """Tell whether it is an image, or a batch of them, and no path."""
    if isinstance(value, bytes | bytearray | memoryview):
        return not is_path(value)
    return isinstance(value, Image.Image) or _is_open(value) or is_array(value)


def is_array(value: Any) -> bool:
    """Tell whether NumPy can take it as an array, and it is no table and no PIL image."""
    return (
        hasattr(value, "__array__")
        and not hasattr(value, "columns")
        and not isinstance(value, Image.Image)
    )


def is_one_array(images: Any) -> bool:
    """Tell whether images come as one array, and not one by one: paths or encoded, or a list."""
    if not is_array(images):
        return False
    values = as_array(images, "the array")
    return values.dtype.kind not in "SUO" or values.ndim != 1


def _is_open(value: Any) -> bool:
    return callable(getattr(value, "read", None))


def _add(item: Any, rows: HeldBuilder, limits: Limits) -> None:
    if isinstance(item, Image.Image):
        _add_pillow(item, rows, limits)
    elif is_path(item):
        _add_file(os.fsdecode(item), rows)
    elif isinstance(item, bytes | bytearray | memoryview):
        rows.add_encoded(bytes(item))
    elif _is_open(item):
        rows.add_encoded(_content(item, rows))
    elif is_array(item) or isinstance(item, list | tuple):
        for each in _single(item, rows):
            rows.add_pixels(limits.rounded(each))
    else:
        raise InputError(f"{_place(rows)} is of type {type(item).__name__}: {ACCEPTED_ITEMS}")


def _single(item: Any, rows: HeldBuilder) -> Iterator[np.ndarray]:
    place = _place(rows)
    values = as_array(item, place)
    if values.dtype.kind not in "fiu":
        raise InputError(f"{place} has the dtype {values.dtype}: {ACCEPTED_ITEMS}")
    yield from as_images(values, place, of=item)


def _place(rows: HeldBuilder) -> str:
    return f"image {len(rows)} of {rows.source}"


def _add_pillow(image: Image.Image, rows: HeldBuilder, limits: Limits) -> None:
    # What is white in 16 bits may be known only when all images have been seen.
    deep = deep_kind(image) == SHORT or is_deep_colour(image)
    try:
        pixels = values_of(image) if deep else pixels_of(image, limits.value_range)
    # It may not have been read yet, and damaged files make Pillow raise nearly anything.
    except Exception as error:
        rows.skip(_place(rows), fault_in_words(image.format or "image", error))
    else:
        rows.add_pixels(limits.rounded(pixels))


def _content(stream: Any, rows: HeldBuilder) -> bytes:
    # The whole of it: who has just written an image into a buffer is at its end.
    if callable(getattr(stream, "seekable", None)) and stream.seekable():
        stream.seek(0)
    content = stream.read()
    if not isinstance(content, bytes):
        raise InputError(
            f"{_place(rows)} is a file that is open as text: open it as open(path, 'rb')"
        )
    return content


def _add_file(path: str, rows: HeldBuilder) -> None:
    if not os.path.lexists(path):
        raise missing("file", path)
    if os.path.isdir(path):
        raise InputError(
            f"{_place(rows)} is the folder {path!r}: folders are given with paths alone, without "
            "arrays among them"
        )
    reason = not_a_file(path)
    try:
        if reason is None:
            with open(path, "rb") as stream:
                rows.add_encoded(stream.read(), path)
            return
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    rows.skip(path, reason)
