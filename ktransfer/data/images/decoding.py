"""The pixels of one image file as RGB, by Pillow: correct in every mode, as TensorFlow is not."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import Image

from ktransfer.data.images.deep_colour import colours_on_white, deep_colours, scaled_colours
from ktransfer.data.images.header import (
    FORMATS,
    TURNS,
    ImageFile,
    Inspected,
    Skipped,
    inspect_bytes,
    inspect_image,
    not_a_file,
    orientation,
    quietly,
    raw_mode,
    too_large,
)
from ktransfer.data.images.value_range import FRACTION, SHORT, WHOLE, ValueRange, scaled


def decode_image(file: ImageFile) -> np.ndarray:
    """Decode an image of any supported mode with Pillow.

    EXIF orientation is applied. Of an animation the first frame is taken. Transparent pixels are
    composited onto white. 16-bit channels are scaled from 65535 to 255 (Pillow itself reads colour
    with 16 bits by its high byte, at most 1 level off). 32-bit integers and floats carry no range
    of their own: the smallest of 255, 65535, 2^31 - 1 (floats: 1, 255, 65535) that holds the
    largest value counts as white. Channels of 16 or 32 bits are scaled by the file's `value_range`
    instead where it has one. CMYK is converted without its ICC profile, as no decoder here applies
    profiles.

    Args:
        file: the file; its route is not looked at.

    Returns:
        Pixels, uint8 `(height, width, 3)`.

    Raises:
        OSError: if the file cannot be read, is truncated or damaged.
        ValueError: if its pixels cannot be read as colours, or are more than `MAX_PIXELS`.
    """
    return quietly(lambda: _decode(file.path, value_range=file.value_range))


def decode_bytes(content: bytes, value_range: ValueRange | None = None) -> np.ndarray:
    """`decode_image` of an encoded image in memory."""
    return quietly(lambda: _decode(io.BytesIO(content), value_range=value_range))


def decode_reduced(source: str | bytes, input_size: tuple[int, int]) -> np.ndarray:
    """Return a plain image as TensorFlow's decoder gives it in `pipeline`: the same pixels.

    A JPEG is decoded at a half, a quarter or an eighth of its size as long as it still fills
    `input_size`. Both programs have libjpeg-turbo inside, with the accurate integer DCT and smooth
    upsampling (seen with Pillow 13.0 and TensorFlow 2.21: 1,173 photos of four data sets, not one
    pixel apart).

    Args:
        source: the path of a file whose route is "tensorflow", or the content of such a file.
        input_size: `(height, width)` that the image is to fill.

    Returns:
        Pixels, uint8 `(height, width, 3)`.

    Raises:
        OSError: as `decode_image`.
        ValueError: as `decode_image`.
    """
    opened = io.BytesIO(source) if isinstance(source, bytes) else source
    return quietly(lambda: _decode(opened, input_size))


def decoding_fault(file: ImageFile) -> str | None:
    """Say why the file cannot be decoded, in words; None if it can."""
    return _fault(inspect_image(file.path), lambda: decode_image(file))


def fault_of_bytes(name: str, content: bytes, value_range: ValueRange | None = None) -> str | None:
    """Say why an encoded image in memory cannot be decoded, in words; None if it can."""
    return _fault(inspect_bytes(name, content), lambda: decode_bytes(content, value_range))


def _fault(inspected: Inspected | Skipped, decode: Callable[[], np.ndarray]) -> str | None:
    if isinstance(inspected, Skipped):
        return inspected.reason
    try:
        decode()
    # Damaged files make Pillow raise nearly anything: SyntaxError, struct.error, zlib.error,
    # IndexError.
    except Exception as error:
        return fault_in_words(inspected.format, error)
    return None


def fault_in_words(image_format: str, error: Exception) -> str:
    """Say why decoding failed, for people, from what Pillow raised."""
    message = str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        return "too large for this machine's memory"
    if "truncat" in message.lower():
        return f"truncated {image_format}: the file ends before its pixels do"
    return f"damaged {image_format}: {message}"


def _decode(
    source: str | BinaryIO,
    to_fill: tuple[int, int] | None = None,
    value_range: ValueRange | None = None,
) -> np.ndarray:
    # Opening a named pipe would wait for its writer for ever.
    reason = not_a_file(source) if isinstance(source, str) else None
    if reason:
        raise OSError(f"{source!r}: {reason}")
    with Image.open(source, formats=FORMATS) as image:
        fault = too_large(image.size)
        if fault:
            raise ValueError(fault)
        if to_fill:
            height, width = to_fill
            image.draft(None, (width, height))
        return _pixels(image, value_range)


def pixels_of(image: Image.Image, value_range: ValueRange | None = None) -> np.ndarray:
    """Return the pixels of a PIL image, as `decode_image` reads its file; the image stays as it is.

    Args:
        image: of any mode; its EXIF orientation is applied.
        value_range: as of `ImageFile`.

    Returns:
        uint8 `(height, width, 3)`.
    """
    return quietly(lambda: _pixels(image, value_range))


def values_of(image: Image.Image) -> np.ndarray:
    """Return the values of a PIL image of 16 bits as they are, uint16 `(height, width, 1 or 3)`.

    Args:
        image: grey; or of colours, which are opened and not loaded yet.
    """
    colours = deep_colours(image)
    image.load()  # and close its file
    if colours:
        return colours_on_white(colours)
    turn = TURNS.get(orientation(image))
    values = np.asarray(image).astype(np.uint16)
    # Pillow itself turns no 16-bit image of the other order of bytes.
    turned = values if turn is None else np.asarray(Image.fromarray(values).transpose(turn))
    return turned[..., np.newaxis]


def _pixels(image: Image.Image, value_range: ValueRange | None) -> np.ndarray:
    if value_range and (colours := deep_colours(image)):
        return scaled_colours(colours, value_range)
    transparent = _transparent(image)
    image.load()
    # After loading: a TIFF turns itself then and drops the tag, and a PNG's EXIF may follow the
    # pixels.
    turn = TURNS.get(orientation(image))
    if transparent is not None:
        image = image.copy()
        image.info["transparency"] = transparent
    pixels = _to_rgb(image, value_range)
    if turn is None:
        return pixels
    return np.ascontiguousarray(Image.fromarray(pixels).transpose(turn))


def _transparent(image: Image.Image) -> int | tuple[int, ...] | None:
    """Return the transparent colour on the scale of the pixels; None where Pillow has it right."""
    # Pillow widens 2- and 4-bit grey to 8 bits and narrows 16-bit colour, yet leaves the
    # transparent colour as the file has it, so that it would match no pixel, or the wrong ones.
    transparent = image.info.get("transparency")
    factor = {"L;2": 85, "L;4": 17}.get(raw_mode(image))
    if factor and isinstance(transparent, int):
        return transparent * factor
    if raw_mode(image) == "RGB;16B" and isinstance(transparent, tuple):
        return tuple(value >> 8 for value in transparent)
    return None


def deep_kind(image: Image.Image) -> str | None:
    """Say which of `value_range.KINDS` of grey the pixels are; None: 8 bits, or colours."""
    if image.mode == "F":
        return FRACTION
    if not image.mode.startswith("I"):
        return None
    # Older versions of Pillow make 32 bits of 16 as they read.
    raw = raw_mode(image)
    unsigned = image.mode.startswith("I;16") or (raw.startswith("I;16") and "S" not in raw)
    return SHORT if unsigned else WHOLE


def _to_rgb(image: Image.Image, value_range: ValueRange | None) -> np.ndarray:
    if deep_kind(image):
        return _deep_grey_to_rgb(image, value_range)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        image = Image.alpha_composite(white, rgba)
    return np.asarray(image.convert("RGB"))


def _deep_grey_to_rgb(image: Image.Image, value_range: ValueRange | None) -> np.ndarray:
    # Pillow's own convert("RGB") clips these modes at 255: nearly all of a 16-bit image becomes
    # white.
    values = np.asarray(image)
    if value_range and not np.isfinite(values).all():
        raise ValueError("some of its values are no numbers (NaN or infinite)")
    grey = scaled(values, value_range or (0.0, full_scale(values, image.mode)))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return np.repeat(grey[..., np.newaxis], 3, axis=-1)


def full_scale(values: np.ndarray, mode: str) -> float:
    """Say what counts as white in the pixels of a deep grey image.

    A `ValueError` if nothing can.
    """
    if mode.startswith("I;16"):
        return 65535.0
    low, high = float(values.min()), float(values.max())
    scales = (1.0, 255.0, 65535.0) if mode == "F" else (255.0, 65535.0, 2.0**31 - 1)
    # Written so that a NaN fails the test as well.
    if not (low >= 0.0 and high <= scales[-1]):
        raise ValueError(
            f"values from {low:g} to {high:g} have no agreed scale; save it with 8 or 16 bits"
        )
    return next(scale for scale in scales if high <= scale)
