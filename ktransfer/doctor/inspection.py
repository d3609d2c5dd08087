"""The inspection of one image: its header, its thumbnail, its perceptual hash, its bytes' digest.

All pixels are decoded, as a truncated file shows itself only there, but a JPEG at an eighth of its
size and everything at once made a thumbnail: what is kept of an image are 1,130 bytes.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import BinaryIO

import imagehash
import numpy as np
from PIL import Image

from ktransfer.data.images.decoding import deep_kind, fault_in_words, full_scale
from ktransfer.data.images.deep_colour import (
    colour_extremes,
    deep_colours,
    is_deep_colour,
    scaled_colours,
)
from ktransfer.data.images.header import FORMATS, TURNS, orientation, quietly, raw_mode, too_large
from ktransfer.data.images.held import HeldImages
from ktransfer.data.images.value_range import KINDS, SHORT, Extremes, ValueRange, scaled

#: Side of a thumbnail, which is squeezed into a square.
THUMBNAIL_PX = 32
#: Images of more pixels are decoded one at a time, whatever the number of processes.
BIG_PIXELS = 25_000_000

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "I", "I;16", "F")
OTHER = 255

# How far the channels of a grey image may lie apart: JPEG's colour conversion rounds.
_GREY_LEVELS = 8
_DIGEST_BYTES = 16
_STRIP_PX = 512

#: What is kept of one image. `seen`: it could be decoded, and the rest means something.
RECORD = np.dtype(
    [
        ("seen", np.bool_),
        ("digest", np.uint8, _DIGEST_BYTES),
        ("hash", np.uint64),
        ("thumbnail", np.uint8, (THUMBNAIL_PX, THUMBNAIL_PX)),
        ("width", np.int32),
        ("height", np.int32),
        ("mode", np.uint8),
        ("deep", np.bool_),
        # Of more than 8 bits: 1 + the position in `value_range.KINDS`, and its extremes.
        ("depth", np.uint8),
        ("low", np.float64),
        ("high", np.float64),
        ("grey", np.bool_),
        ("alpha", np.bool_),
        ("animated", np.bool_),
    ]
)


def inspect_file(
    path: str,
    before_big: Callable[[], None] = lambda: None,
    value_range: ValueRange | None = None,
) -> tuple[np.ndarray, str | None]:
    """Inspect one regular file.

    Args:
        path: the file.
        before_big: called before more than `BIG_PIXELS` are decoded.
        value_range: the values that are black and white in more than 8 bits; None: those of
            its type.

    Returns:
        A `RECORD` of shape `()`, and why the image cannot be decoded; None if it can.
    """
    found = np.zeros((), RECORD)
    try:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, _blake2b).digest()
            found["digest"] = np.frombuffer(digest, np.uint8)
            return found, _inspect_encoded(stream, found, before_big, value_range)
    except OSError as error:
        return found, fault_in_words("image", error)


def inspect_held(images: HeldImages) -> tuple[np.ndarray, dict[int, str]]:
    """Inspect images that are in no files; `RECORD` `(n,)`, and faults by position."""
    records, faults = np.zeros(len(images), RECORD), dict[int, str]()
    for index in range(len(images)):
        record = np.zeros((), RECORD)
        if images.kind(index) in ("pixels", "deep"):
            image = Image.fromarray(np.ascontiguousarray(images.pixels(index)))
            _note(image, record)
            record["seen"] = True
            if images.kind(index) == "deep":
                values = images.values(index)
                _note_depth(record, Extremes(values.min(), values.max(), SHORT))
        else:
            content = io.BytesIO(images.encoded(index))
            fault = _inspect_encoded(content, record, value_range=images.value_range)
            if fault:
                faults[index] = fault
        records[index] = record
    records["digest"] = images.digests()
    return records, faults


def _inspect_encoded(
    stream: BinaryIO,
    found: np.ndarray,
    before_big: Callable[[], None] = lambda: None,
    value_range: ValueRange | None = None,
) -> str | None:
    image_format = "image"
    try:
        with quietly(lambda: opened(stream)) as image:
            image_format = str(image.format)
            quietly(lambda: _note(image, found, before_big, value_range))
    # Damaged files make Pillow raise nearly anything: SyntaxError, struct.error, zlib.error.
    except Exception as error:
        return fault_in_words(image_format, error)
    found["seen"] = True
    return None


def _blake2b() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=_DIGEST_BYTES)


def opened(stream: BinaryIO) -> Image.Image:
    """Return an image in one of the formats that are read, of which the header was read."""
    stream.seek(0)
    return Image.open(stream, formats=FORMATS)


def _note(
    image: Image.Image,
    found: np.ndarray,
    before_big: Callable[[], None] = lambda: None,
    value_range: ValueRange | None = None,
) -> None:
    fault = too_large(image.size)
    if fault:
        raise ValueError(fault)
    found["width"], found["height"] = image.size
    image_format = "JPEG" if image.format == "MPO" else str(image.format)
    found["mode"] = MODES.index(image.mode) if image.mode in MODES else OTHER
    found["deep"] = image.mode[0] in "IF" or "16" in raw_mode(image)
    found["animated"] = image_format in ("GIF", "WEBP", "PNG") and getattr(
        image, "is_animated", False
    )
    kind = deep_kind(image)
    if is_deep_colour(image) and image.width * image.height > BIG_PIXELS:
        before_big()
        before_big = _told
    colours = colour_extremes(image)
    small = upright(image, THUMBNAIL_PX, before_big, value_range)
    found["alpha"] = image.has_transparency_data
    if colours:
        _note_depth(found, colours)
    elif kind:
        low, high = _extremes(image)
        _note_depth(found, Extremes(low, high, kind))
    channels = np.asarray(small, np.int16)
    found["grey"] = np.ptp(channels, axis=-1).max() <= _GREY_LEVELS
    grey = small.convert("L")
    found["thumbnail"] = np.asarray(grey)
    bits = imagehash.phash(grey).hash
    found["hash"] = np.packbits(bits).view(np.uint64)[0]


def _told() -> None:
    """For what was said already."""


def _note_depth(found: np.ndarray, extremes: Extremes) -> None:
    found["deep"] = True
    found["depth"] = 1 + KINDS.index(extremes.kind)
    found["low"], found["high"] = extremes.low, extremes.high


def extremes_of(records: np.ndarray) -> list[Extremes]:
    """Of all images of more than 8 bits that were seen."""
    rows = records[records["seen"] & (records["depth"] > 0)]
    return [Extremes(float(r["low"]), float(r["high"]), KINDS[r["depth"] - 1]) for r in rows]


def upright(
    image: Image.Image,
    side: int,
    before_big: Callable[[], None] = lambda: None,
    value_range: ValueRange | None = None,
) -> Image.Image:
    """Return the image as RGB, as training sees it, squeezed into a square of so many pixels."""
    if image.width * image.height > BIG_PIXELS:
        before_big()
    if value_range and (colours := deep_colours(image)):
        return _resized(Image.fromarray(scaled_colours(colours, value_range)), (side, side))
    # A JPEG is decoded at a fraction of its size, which still reads all of its data.
    image.draft("RGB", (side, side))
    image.load()
    turn = TURNS.get(orientation(image))
    small = _small(image, (side, side), value_range)
    return small if turn is None else small.transpose(turn)


def _small(
    image: Image.Image, size: tuple[int, int], value_range: ValueRange | None
) -> Image.Image:
    if image.mode[0] in "IF":
        return _small_deep(image, size, value_range)
    if image.has_transparency_data:
        rgba = _resized(_as(image, "RGBA"), size)
        return Image.alpha_composite(Image.new("RGBA", size, "white"), rgba).convert("RGB")
    return _resized(_as(image, "RGB"), size)


def _as(image: Image.Image, mode: str) -> Image.Image:
    # Pillow copies even where there is nothing to convert: 700 MB of the largest image.
    return image if image.mode == mode else image.convert(mode)


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    # The gap makes Pillow average whole pixels first: 10 times faster on photos, and as good here.
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _extremes(image: Image.Image) -> np.ndarray:
    """Return the smallest and the largest value `(2,)`, NaN where there is one."""
    # Strip by strip: the whole as an array would be there three times over.
    ends = []
    for top in range(0, image.height, _STRIP_PX):
        strip = image.crop((0, top, image.width, min(top + _STRIP_PX, image.height)))
        values = np.asarray(strip)
        ends.append((values.min(), values.max()))
    low, high = np.array(ends).T
    return np.array([low.min(), high.max()])


def _small_deep(
    image: Image.Image, size: tuple[int, int], value_range: ValueRange | None
) -> Image.Image:
    by = value_range or (0.0, full_scale(_extremes(image), image.mode))
    small = np.asarray(_as(image, "F").resize(size, Image.Resampling.BOX))
    return Image.fromarray(scaled(small, by)).convert("RGB")
