"""One image file: what its header says, and who is to decode it.

The header decides the route. Plain 8-bit RGB or grey JPEG and PNG go to TensorFlow's decoder, the
fastest here. It ignores EXIF orientation and alpha and refuses several formats, so that all else
goes to Pillow.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import stat
import struct
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, TypeVar

from PIL import Image

from ktransfer.data.images.sniffing import describe_content
from ktransfer.data.images.value_range import ValueRange

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
# Twice Pillow's warning threshold, where Pillow itself refuses; 512 MiB as RGB.
MAX_PIXELS = 178_956_970

EXTENSIONS = {
    "JPEG": {"jpg", "jpeg", "jpe", "jfif"},
    "PNG": {"png", "apng"},
    "BMP": {"bmp", "dib"},
    "GIF": {"gif"},
    "WEBP": {"webp"},
    "TIFF": {"tif", "tiff"},
}
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG = 0x0112
_SPECIAL_INFO = {"transparency", "Raw profile type exif"}
# Older programs keep EXIF in a text chunk, and the orientation may be in XMP text.
_CHUNKS_WITH_EXIF = (b"eXIf", b"zTXt", b"iTXt")
# A 178-megapixel PNG has about 65,000 chunks of 8 kB; more of them are made to waste time.
_MOST_CHUNKS = 100_000
# Files whose headers are read together.
_CHUNK = 4_096
_T = TypeVar("_T")
_WARNINGS_LOCK = threading.Lock()


@dataclass(frozen=True)
class Skipped:
    """A file or folder that was left out, and why."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class ImageFile:
    """A readable image file.

    Attributes:
        path: the file's path; bytes that are not UTF-8 are kept as surrogate escapes
            (`os.fsencode`).
        route: "tensorflow" (plain 8-bit RGB or grey JPEG or PNG, no EXIF turn) or "pillow" (all
            else).
        value_range: the values that are black and white if it has more than 8 bits; None:
            those of its type.
    """

    path: str
    route: str
    value_range: ValueRange | None = None


class Inspected(NamedTuple):
    """An image file and the format that its content has ("JPEG", "PNG", ...)."""

    file: ImageFile
    format: str


def inspect_images(paths: Iterable[str]) -> Iterator[Inspected | Skipped]:
    """Look at every file's type and header, in order; no pixels are decoded.

    Args:
        paths: paths of files, which need not be images, nor regular files, nor exist. A few
            thousand are looked at together, so that a million need not be held.

    Yields:
        One `Inspected` or `Skipped` for each path.
    """
    rest = iter(paths)
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        while chunk := list(itertools.islice(rest, _CHUNK)):
            # Set once for all threads: a filter per thread would race, as the filters belong to
            # the process. Not around the yield, or the caller would get them, too.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = list(pool.map(inspect_image, chunk))
            yield from found


def inspect_image(path: str) -> Inspected | Skipped:
    """Look at one file's type and header; never opens anything but a regular file."""
    reason = not_a_file(path)
    if reason:
        return Skipped(path, reason)
    try:
        with open(path, "rb") as stream:
            return quietly(lambda: _inspect_stream(path, stream))
    except PermissionError:
        return Skipped(path, "no permission to read it")
    except OSError as error:
        return Skipped(path, f"cannot be read: {error.strerror or error}")


def inspect_bytes(name: str, content: bytes) -> Inspected | Skipped:
    """`inspect_image` of an encoded image in memory, which is called `name`."""
    return quietly(lambda: _inspect_stream(name, io.BytesIO(content)))


def extension_lies(path: str, image_format: str) -> bool:
    """Tell whether the name's extension is that of another image format than the content's."""
    extension = os.path.splitext(path)[1][1:].lower()
    known = set().union(*EXTENSIONS.values())
    return extension in known and extension not in EXTENSIONS[image_format]


def not_a_file(path: str) -> str | None:
    """Say why `path` is no regular file that can be opened; None if it is one."""
    # stat before open: opening a named pipe would wait for its writer for ever.
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return _stat_fault(path, error)
    kinds: list[tuple[Callable[[int], bool], str]] = [
        (stat.S_ISDIR, "folder, not a file"),
        (stat.S_ISFIFO, "named pipe, not a regular file"),
        (stat.S_ISSOCK, "socket, not a regular file"),
        (stat.S_ISCHR, "device, not a regular file"),
        (stat.S_ISBLK, "device, not a regular file"),
    ]
    return next((words for test, words in kinds if test(mode)), None)


def _stat_fault(path: str, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if not os.path.islink(path):
        return "does not exist" if isinstance(error, FileNotFoundError) else str(error.strerror)
    target = os.readlink(path)
    if isinstance(error, FileNotFoundError):
        return f"dangling link to {target!r}"
    return f"link that cannot be followed, to {target!r}: {error.strerror}"


def _inspect_stream(path: str, stream: BinaryIO) -> Inspected | Skipped:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if size == 0:
        return Skipped(path, "empty file (0 bytes)")
    try:
        with Image.open(stream, formats=FORMATS) as image:
            fault = too_large(image.size)
            if fault:
                return Skipped(path, fault)
            # MPO is what phones write: a JPEG with further pictures behind it.
            image_format = "JPEG" if image.format == "MPO" else str(image.format)
            route = "tensorflow" if _is_plain(image, image_format, stream) else "pillow"
            return Inspected(ImageFile(path, route), image_format)
    except Image.DecompressionBombError as error:
        return Skipped(path, _bomb_in_words(error))
    # Damaged headers make Pillow raise nearly anything. Warnings go on to `quietly`, and failures
    # of the disk, which have an errno, to the caller.
    except Exception as error:
        if isinstance(error, Warning) or getattr(error, "errno", None):
            raise
        stream.seek(0)
        return Skipped(path, describe_content(path, stream.read(512), size))


def too_large(size: tuple[int, int]) -> str | None:
    """Say why an image of `(width, height)` pixels is refused undecoded; None if it is not."""
    width, height = size
    if width * height <= MAX_PIXELS:
        return None
    return f"too large: {width} x {height} pixels, the limit is {MAX_PIXELS:,} in all"


def _bomb_in_words(error: Exception) -> str:
    pixels = re.search(r"\((\d+) pixels\)", str(error))
    count = f"{int(pixels[1]):,} pixels" if pixels else str(error)
    return f"too large: {count}, the limit is {MAX_PIXELS:,}"


def _is_plain(image: Image.Image, image_format: str, stream: BinaryIO) -> bool:
    """Tell whether TensorFlow's decoder gives the same pixels as the Pillow route."""
    if image.mode not in ("RGB", "L") or image.info.keys() & _SPECIAL_INFO:
        return False
    if image_format == "JPEG":
        return orientation(image) == 1 and _ends_with_marker(stream)
    return image_format == "PNG" and _has_8_bits(image) and _png_chunks_are_plain(stream)


def _has_8_bits(image: Image.Image) -> bool:
    return raw_mode(image) in ("RGB", "L")


def raw_mode(image: Image.Image) -> str:
    """Say how the pixels lie in the file, such as "RGB;16B"; known until the image is loaded.

    The image's `mode` only says what Pillow makes of them.
    """
    tiles = getattr(image, "tile", [])
    arguments = tiles[0][3] if tiles else ""
    return arguments if isinstance(arguments, str) else str(arguments[0] if arguments else "")


def _ends_with_marker(stream: BinaryIO) -> bool:
    # A file without its end marker is likely truncated. TensorFlow refuses it too, yet prints a
    # line to stderr for each; Pillow is quiet.
    stream.seek(-2, os.SEEK_END)
    return stream.read(2) == b"\xff\xd9"


def _png_chunks_are_plain(stream: BinaryIO) -> bool:
    # Walks the chunk headers: EXIF may lie behind the pixels, where Pillow sees it only after
    # decoding. A file that ends before IEND goes to Pillow, which names what is missing without a
    # line on stderr.
    position = 8
    for _ in range(_MOST_CHUNKS):
        stream.seek(position)
        header = stream.read(8)
        if len(header) < 8 or header[4:] in _CHUNKS_WITH_EXIF:
            return False
        if header[4:] == b"IEND":
            return True
        position += 12 + int(struct.unpack(">I", header[:4])[0])
    return False


def orientation(image: Image.Image) -> int:
    """Return the EXIF (or XMP) orientation, 1 to 8; 1 where there is none or an impossible one."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    # A damaged EXIF block says nothing about the pixels, which are read as they lie.
    except Exception:
        return 1
    return value if value in TURNS else 1


def quietly(action: Callable[[], _T]) -> _T:
    """Run a Pillow action whose warnings (large image, odd EXIF) must not become errors."""
    try:
        return action()
    except Warning:
        # Only where warnings are errors. The lock keeps two threads from restoring each other's
        # filters.
        with _WARNINGS_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return action()
