"""Files that cannot be read: each is named with its reason, none crashes or hangs."""

import io
import os
import socket
import zipfile

import numpy as np
import pytest
from PIL import Image

from ktransfer.data import read_folder, read_paths


def jpeg():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def zip_archive():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", "a")
    return stream.getvalue()


def reason(path):
    part, skipped = read_paths([path])
    assert len(part) == 0
    (skip,) = skipped
    assert skip.path == str(path)
    return skip.reason


CONTENTS = {
    "a.jpg": (b"", "empty file (0 bytes)"),
    "b.jpg": (b"<!DOCTYPE html><p>403", "not an image: HTML text named .jpg"),
    "c.jpg": ("Größe: unbekannt\n".encode(), "not an image: text named .jpg"),
    "d.jpg": (zip_archive(), "not an image: ZIP archive named .jpg"),
    "e.jpg": (b"\0\0\0\x18ftypheic\0\0\0\0", "unsupported image format: HEIC image named .jpg"),
    "f.jpg": (b"\0\0\0\x18ftypisom\0\0\0\0", "not an image: MP4 video named .jpg"),
    "g.png": (b"<svg xmlns='x'/>", "unsupported image format: SVG image named .png"),
    "h.png": (b"<?xml version='1.0'?><svg/>", "unsupported image format: SVG image named .png"),
    "i.png": (b"<?xml version='1.0'?><a/>", "not an image: XML text named .png"),
    "j.png": (b'{"error": 404}', "not an image: JSON text named .png"),
    "k.png": (b"\x89PNG\r\n\x1a\n\0\0", "damaged PNG: header cut short (10 bytes)"),
    "l.jpg": (jpeg()[:30], "damaged JPEG: header cut short (30 bytes)"),
    "m.jpg": (bytes(3000), "not an image: nothing but zero bytes named .jpg"),
    "n.webp": (b"RIFF\x10\0\0\0WEBPVP8 ", "damaged WEBP: header cut short (16 bytes)"),
    "o.jpg": (bytes([1, 200, 3, 255]) * 99, "not an image: unknown binary data named .jpg"),
    ".DS_Store": (b"\0\0\0\x01Bud1\0", "not an image: macOS folder settings"),
    "Thumbs.db": (
        b"\xd0\xcf\x11\xe0\0",
        "not an image: Windows OLE file (such as Thumbs.db) named .db",
    ),
    "._a.jpg": (b"\0\x05\x16\x07\0", "not an image: macOS resource file named .jpg"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_content_that_is_no_image_is_named(tmp_path, name):
    content, expected = CONTENTS[name]
    (tmp_path / name).write_bytes(content)
    assert reason(tmp_path / name) == expected


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
def test_header_cut_at_any_length_is_skipped_or_left_to_the_decoder(tmp_path, file_format):
    stream = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(stream, file_format)
    content = stream.getvalue()
    for length in range(1, min(len(content), 700), 3):
        (tmp_path / f"{length}.jpg").write_bytes(content[:length])
    part, skipped = read_paths(tmp_path)
    assert len(skipped) > 0
    assert len(part) + len(skipped) == len(list(tmp_path.iterdir()))
    assert all(each.reason for each in skipped)


def test_named_pipe_socket_and_device_are_never_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "a.jpg")
    assert reason(tmp_path / "a.jpg") == "named pipe, not a regular file"
    # A socket's address is limited to about 100 characters: bind it from inside the folder.
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("b.jpg")
        assert reason(tmp_path / "b.jpg") == "socket, not a regular file"
    (tmp_path / "c.jpg").symlink_to("/dev/zero")
    assert reason(tmp_path / "c.jpg") == "device, not a regular file"


def test_links_that_lead_nowhere_are_named(tmp_path):
    (tmp_path / "a.jpg").symlink_to("gone.jpg")
    assert reason(tmp_path / "a.jpg") == "dangling link to 'gone.jpg'"
    (tmp_path / "b.jpg").symlink_to("b.jpg")
    assert reason(tmp_path / "b.jpg").startswith("link that cannot be followed, to 'b.jpg'")


def test_unreadable_file_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg())

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    # Simulated, because the superuser may read everything.
    monkeypatch.setattr("builtins.open", refuse)
    assert reason(path) == "no permission to read it"


def test_unreadable_folder_is_named(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    assert reason(tmp_path / "a") == "no permission to list this folder"


def test_file_that_disappears_or_fails_to_read_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg())

    def fail(*args, **kwargs):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("builtins.open", fail)
    assert reason(path) == "cannot be read: Input/output error"


STRANGE = [b"line\nbreak.jpg", b"not-utf8-\xff\xfe.jpg", "\u05e9\u05dc\u05d5\u05dd.jpg".encode()]


@pytest.mark.parametrize("name", STRANGE)
def test_strange_file_names_are_read_or_reported(tmp_path, name):
    for folder, content in ((b"ants", jpeg()), (b"bees", jpeg()[:-40] + b"xx" + jpeg()[-38:])):
        os.mkdir(os.path.join(os.fsencode(tmp_path), folder))
        for prefix in (b"1", b"2"):
            with open(os.path.join(os.fsencode(tmp_path), folder, prefix + name), "wb") as stream:
                stream.write(content)
    with open(os.path.join(os.fsencode(tmp_path), b"ants", b"x." + name), "wb") as stream:
        stream.write(b"text")
    splits = read_folder(tmp_path)
    assert len(splits.train) + len(splits.validation) == 4
    assert os.fsencode(splits.skipped[0].path).endswith(name)
    # Reasons and notes can be printed anywhere; only a path keeps what UTF-8 cannot say.
    for text in (*splits.notes, splits.skipped[0].reason):
        assert "\n" not in text
        text.encode()
