"""How much of their range images of more than 8 bits use: looked at once, for `value_range="auto"`.

Nothing in a file says that 4095 is white. As soon as an image uses its 16 bits no other is looked
at, so that this costs time only where there is something to mend.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from ktransfer.data.batches.parallel import num_cores
from ktransfer.data.images.decoding import deep_kind
from ktransfer.data.images.deep_colour import colour_extremes
from ktransfer.data.images.files import ImageFiles
from ktransfer.data.images.header import FORMATS, quietly, too_large
from ktransfer.data.images.held import HeldImages
from ktransfer.data.images.value_range import (
    AUTO,
    SHORT,
    Extremes,
    ValueRange,
    check_value_range,
    choose,
    in_words,
    settles,
)
from ktransfer.data.parts import Images, Part, Splits
from ktransfer.errors import InputError

#: The formats that hold more than 8 bits.
_DEEP_FORMATS = ("PNG", "TIFF", None)
# Images that are looked at before it is asked whether more are needed.
_CHUNK = 32


def with_value_range(splits: Splits, value_range: Any) -> Splits:
    """Return the splits, read by a range that is given or measured from all of their images.

    Args:
        splits: the images.
        value_range: as in `value_range.check_value_range`.

    Returns:
        The same splits, or such with a `value_range` and, where it was measured, a note that says
        so.
    """
    chosen, notes = check_value_range(value_range), splits.notes
    if chosen == AUTO:
        found = list(_found(splits.parts))
        measured = None if found and settles(found[-1]) else choose(found)
        notes = (*notes, *_notes(found, measured))
    else:
        measured = None if isinstance(chosen, str) else chosen
    parts = [part.with_range(measured) for part in splits.parts]
    return replace(splits.with_parts(parts, ()), notes=notes)


def _notes(found: list[Extremes], measured: ValueRange | None) -> Iterator[str]:
    if measured is not None:
        low, high = min(each.low for each in found), max(each.high for each in found)
        kinds = " and ".join(sorted({each.kind for each in found}))
        yield (
            f"{len(found):,} {kinds} images hold values from {low:.6g} to {high:.6g}: "
            f"{in_words(measured)} (value_range, kept with the model)"
        )
    elif len({each.kind for each in found}) > 1 and not settles(found[-1]):
        yield (
            "there are images of more than 8 bits both of whole numbers and of fractions: each is "
            "scaled by its own largest value; give value_range=(low, high) or save them alike"
        )


def _found(parts: Sequence[Part]) -> Iterator[Extremes]:
    """Of the images of more than 8 bits, until one of them settles the matter."""
    for part in parts:
        for each in _extremes(part.images):
            if each is not None:
                yield each
                if settles(each):
                    return


def _extremes(images: Images) -> Iterator[Extremes | None]:
    rows = iter(_candidates(images))
    with ThreadPoolExecutor(num_cores()) as threads:
        while chunk := list(itertools.islice(rows, _CHUNK)):
            yield from threads.map(lambda row: _extremes_at(images, row), chunk)


def _candidates(images: Images) -> Iterator[int]:
    """Positions of images that may have more than 8 bits."""
    if isinstance(images, ImageFiles):
        others = map(int, np.flatnonzero(~images.plain))
        yield from (row for row in others if images.format(row) in _DEEP_FORMATS)
    elif isinstance(images, HeldImages):
        yield from (row for row in range(len(images)) if images.kind(row) in ("deep", "pillow"))


def _extremes_at(images: Images, row: int) -> Extremes | None:
    if isinstance(images, HeldImages):
        if images.kind(row) == "deep":
            values = images.values(row)
            return Extremes(float(values.min()), float(values.max()), SHORT)
        return _extremes_of(BytesIO(images.content(row).tobytes()))
    try:
        with open(images.name(row), "rb") as stream:
            return _extremes_of(stream)
    except OSError:
        return None  # what is wrong with it is named where it is decoded


def _extremes_of(stream: BinaryIO) -> Extremes | None:
    try:
        return quietly(lambda: _looked_at(stream))
    except Exception:  # damaged files make Pillow raise nearly anything; named when decoded
        return None


def _looked_at(stream: BinaryIO) -> Extremes | None:
    stream.seek(0)
    with Image.open(stream, formats=FORMATS) as image:
        if too_large(image.size):
            return None
        if found := colour_extremes(image):
            return found
        kind = deep_kind(image)
        if kind is None:
            return None
        values = np.asarray(image)
        low, high = float(values.min()), float(values.max())
        return Extremes(low, high, kind) if np.isfinite([low, high]).all() else None


def check_deep(parts: Sequence[Part]) -> None:
    """Raise an `InputError` if arrays of 16 bits hold what 8 bits hold, and are read as 16.

    A dark image may well do so, but hardly all of them: these are values in [0, 255] of the wrong
    type, and a network would be shown black.
    """
    images = [each.images for each in parts if isinstance(each.images, HeldImages)]
    high = max((_highest(each) for each in images if each.value_range is None), default=-1)
    if 0 < high <= 255:
        raise InputError(
            f"the images are uint16 with values up to {high}, of which 65535 is white: all would "
            "be black. If they are in [0, 255], give them as uint8: images.astype('uint8')"
        )


def _highest(images: HeldImages) -> int:
    """Return the largest value of all 16-bit arrays.

    -1 where there are none. It stops beyond 255.
    """
    high = -1
    for row in range(len(images)):
        if images.kind(row) == "deep":
            high = max(high, int(images.values(row).max()))
            if high > 255:
                break
    return high
