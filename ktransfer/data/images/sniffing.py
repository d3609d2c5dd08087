"""Names what a file that is no readable image seems to hold."""

from __future__ import annotations

import os

_IMAGE_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
}


def starts_as_image(content: bytes) -> bool:
    """Tell whether bytes begin as those of an image file do."""
    return content.startswith(tuple(_IMAGE_STARTS)) or content.startswith(b"RIFF")


_OTHER_STARTS = {
    b"PK\x03\x04": "ZIP archive",
    b"PK\x05\x06": "ZIP archive",
    b"\x1f\x8b": "gzip archive",
    b"BZh": "bzip2 archive",
    b"7z\xbc\xaf": "7-Zip archive",
    b"Rar!": "RAR archive",
    b"%PDF": "PDF",
    b"%!PS": "PostScript",
    b"8BPS": "Photoshop file",
    b"\x00\x00\x01\x00": "icon file",
    b"\x00\x05\x16\x07": "macOS resource file",
    b"\x00\x00\x00\x01Bud1": "macOS folder settings",
    b"\xd0\xcf\x11\xe0": "Windows OLE file (such as Thumbs.db)",
    b"\x93NUMPY": "NumPy array",
    b"\x89HDF": "HDF5 file",
    b"\x7fELF": "program",
    b"MZ": "program",
    b"SQLite format 3": "SQLite database",
    b"\x00\x00\x00\x0cjP": "JPEG 2000 image",
    b"\xff\x4f\xff\x51": "JPEG 2000 image",
    b"\xff\x0a": "JPEG XL image",
    b"\x00\x00\x00\x0cJXL": "JPEG XL image",
    b"II+\x00": "BigTIFF image",
    b"MM\x00+": "BigTIFF image",
    b"version https://git-lfs": "Git LFS pointer (run `git lfs pull`)",
}
#: How the reason begins where a file holds something else than an image.
NO_IMAGE = "not an image"

_BRANDS = {
    "heic": "HEIC",
    "heix": "HEIC",
    "mif1": "HEIC",
    "msf1": "HEIC",
    "avif": "AVIF",
    "avis": "AVIF",
}


def describe_content(path: str, start: bytes, size: int) -> str:
    """Say why a file is not read as an image, from its first bytes.

    Args:
        path: the file's path; only its extension is used.
        start: the first bytes, up to 512.
        size: the file's size in bytes.

    Returns:
        A reason such as "not an image: HTML text named .jpg" or "damaged PNG: header cut short (20
        bytes)".
    """
    image_format = _image_format(start)
    if image_format:
        state = f"header cut short ({size} bytes)" if size < 512 else "header cannot be read"
        return f"damaged {image_format}: {state}"
    extension = os.path.splitext(path)[1]
    # A name may hold anything, line ends and undecodable bytes included: reasons are for printing.
    plain = extension.isascii() and extension.isprintable()
    named = f" named {extension}" if extension and plain else ""
    kind = _other_kind(start)
    prefix = "unsupported image format" if kind.endswith("image") else NO_IMAGE
    return f"{prefix}: {kind}{named}"


def _image_format(start: bytes) -> str | None:
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    return next((name for magic, name in _IMAGE_STARTS.items() if start.startswith(magic)), None)


def _other_kind(start: bytes) -> str:
    brand = start[8:12].decode("latin-1")
    if start[4:8] == b"ftyp":
        return f"{_BRANDS[brand]} image" if brand in _BRANDS else "MP4 video"
    if not start.strip(b"\x00"):
        return "nothing but zero bytes"
    for magic, name in _OTHER_STARTS.items():
        if start.startswith(magic):
            return name
    return _text_kind(start) or "unknown binary data"


def _text_kind(start: bytes) -> str | None:
    # A character cut by the end of the 512 bytes must not make text look binary.
    text = start.decode("utf-8", errors="ignore").lstrip("\ufeff \t\r\n").lower()
    if len(text) < 0.7 * len(start.strip()) or any(
        each < " " and each not in "\t\r\n\f" for each in text
    ):
        return None
    if "<svg" in text:
        return "SVG image"
    if text.startswith(("<!doctype html", "<html", "<head", "<body")):
        return "HTML text"
    if text.startswith("<?xml"):
        return "XML text"
    return "JSON text" if text.startswith(("{", "[")) else "text"
