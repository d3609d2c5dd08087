"""Draws a folder with every fault that `ktransfer doctor` is to find, and lists them."""

import io
import os
import socket
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

CLASSES = ("ants", "bees")


def photo(seed: int, size=(160, 120)) -> Image.Image:
    """A picture of coloured blobs with some noise; two seeds have nothing in common."""
    random = np.random.default_rng(seed)
    blobs = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    pixels = np.asarray(blobs.resize(size, Image.Resampling.BICUBIC), np.float32)
    noisy = pixels * 0.8 + 25 + random.normal(0, 4, pixels.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, file_format: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def write_clean_folder(root: Path, per_class: int = 12) -> Path:
    """`train/` and `val/` of two classes, JPEG photos, nothing wrong with them."""
    seed = 0
    for part in ("train", "val"):
        for name in CLASSES:
            (root / part / name).mkdir(parents=True)
            for number in range(per_class):
                photo(seed).save(root / part / name / f"{number:02}.jpg", quality=90)
                seed += 1
    return root


def _png(width: int, height: int, *chunks: tuple[bytes, bytes], depth=1, colour=0) -> bytes:
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = b"".join(chunk(*each) for each in ((b"IHDR", header), *chunks, (b"IEND", b"")))
    return b"\x89PNG\r\n\x1a\n" + body


def _png_bomb() -> bytes:
    """30,000 x 30,000 pixels, all there, in 110 kB."""
    packer = zlib.compressobj(1)
    rows = bytes(1 + 30_000 // 8)
    packed = [packer.compress(rows * 1000) for _ in range(30)] + [packer.flush()]
    return _png(30_000, 30_000, (b"IDAT", b"".join(packed)))


def _tiff_bomb() -> bytes:
    tags = [(256, 40_000), (257, 40_000), (258, 8), (259, 1), (262, 1), (273, 8), (278, 40_000)]
    tags += [(279, 10)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def _webp_bomb() -> bytes:
    side = struct.pack("<I", 16_382)[:3]
    extended = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + side * 2
    animation = b"ANIM" + struct.pack("<I", 6) + bytes(6)
    real = encoded(Image.new("RGB", (16, 16)), "WEBP")[12:]
    frame = bytes(6) + struct.pack("<I", 15)[:3] * 2 + bytes(4) + real
    body = b"WEBP" + extended + animation + b"ANMF" + struct.pack("<I", len(frame)) + frame
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _bmp_bomb() -> bytes:
    content = bytearray(encoded(photo(0), "BMP"))
    content[18:26] = struct.pack("<ii", 40_000, 40_000)
    return bytes(content)


def _jpeg_bomb() -> bytes:
    content = bytearray(encoded(photo(0), "JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", 65_000, 65_000)
    return bytes(content)


def _gif_bomb() -> bytes:
    content = bytearray(encoded(photo(0).convert("P"), "GIF"))
    content[6:10] = struct.pack("<HH", 60_000, 60_000)
    return bytes(content)


def _float_tiff(low: float, high: float, *, nan: bool = False) -> bytes:
    values = np.linspace(low, high, 64 * 48, dtype=np.float32).reshape(48, 64)
    if nan:
        values[10, 10] = np.nan
    return encoded(Image.fromarray(values), "TIFF")


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", "a")
    return stream.getvalue()


def _deep_png() -> bytes:
    grey = np.asarray(photo(900).convert("L"), np.uint16) * 257
    return encoded(Image.fromarray(grey), "PNG")


def _damaged_png() -> bytes:
    """Whole, with the checksum of its pixels wrong."""
    content = bytearray(encoded(photo(901), "PNG"))
    content[content.index(b"IDAT") + 40] ^= 0xFF
    return bytes(content)


def _cut(content: bytes) -> bytes:
    return content[: len(content) * 6 // 10]


def _brand(name: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + name + bytes(200)


#: Files of train/ants that cannot be read.
UNREADABLE = {
    "empty.jpg": lambda: b"",
    "one-byte.jpg": lambda: b"\xff",
    "cut.jpg": lambda: _cut(encoded(photo(100), "JPEG")),
    "cut.png": lambda: _cut(encoded(photo(101), "PNG")),
    "cut.webp": lambda: _cut(encoded(photo(102), "WEBP", lossless=True)),
    "cut.gif": lambda: _cut(encoded(photo(103), "GIF")),
    "cut.tif": lambda: _cut(encoded(photo(104), "TIFF")),
    "cut.bmp": lambda: _cut(encoded(photo(105), "BMP")),
    "header-only.png": lambda: encoded(photo(106), "PNG")[:33],
    "header-only.jpg": lambda: encoded(photo(107), "JPEG")[:200],
    "checksum.png": _damaged_png,
    "no-pixels.png": lambda: _png(64, 64),
    "text-bomb.png": lambda: _png(
        64, 64, (b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000_000), 1))
    ),
    "nan.tif": lambda: _float_tiff(0, 1, nan=True),
    "below-zero.tif": lambda: _float_tiff(-3, 4),
    "html.jpg": lambda: b"<!DOCTYPE html><html><title>404</title></html>",
    "xml.jpg": lambda: b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "text.jpg": lambda: b"see the other folder\n",
    "json.png": lambda: b'{"error": "rate limit"}',
    "lfs.jpg": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "heic.jpg": lambda: _brand(b"heic"),
    "avif.jpg": lambda: _brand(b"avif"),
    "video.jpg": lambda: _brand(b"isom"),
    "svg.png": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "pdf.jpg": lambda: b"%PDF-1.7\n" + bytes(300),
    "zip.jpg": _zip,
    "gzip.jpg": lambda: b"\x1f\x8b\x08" + bytes(90),
    "photoshop.jpg": lambda: b"8BPS\0\1" + bytes(90),
    "jpeg2000.jpg": lambda: b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(90),
    "array.png": lambda: b"\x93NUMPY\1\0" + bytes(90),
    "zeros.jpg": lambda: bytes(5_000),
    "random.jpg": lambda: np.random.default_rng(0).bytes(5_000),
    "notes.txt": lambda: b"taken in May\n",
}
OVERSIZED = {
    "bomb.png": _png_bomb,
    "bomb.gif": _gif_bomb,
    "bomb.tif": _tiff_bomb,
    "bomb.webp": _webp_bomb,
    "bomb.bmp": _bmp_bomb,
    "bomb.jpg": _jpeg_bomb,
}
#: What systems leave behind.
SYSTEM = {
    "Thumbs.db": lambda: b"\xd0\xcf\x11\xe0" + bytes(90),
    ".DS_Store": lambda: b"\0\0\0\x01Bud1" + bytes(90),
    "desktop.ini": lambda: b"[.ShellClassInfo]\r\n",
    "._cut.jpg": lambda: b"\0\5\x16\7" + bytes(90),
}
#: Readable, and yet worth a word: by kind.
PECULIAR = {
    "wrong_extension": {
        "jpeg.png": lambda: encoded(photo(200), "JPEG"),
        "png.jpg": lambda: encoded(photo(201), "PNG"),
        "webp.jpg": lambda: encoded(photo(202), "WEBP"),
        "gif.png": lambda: encoded(photo(203), "GIF"),
        "tiff.jpg": lambda: encoded(photo(204), "TIFF"),
    },
    "channel_mismatch": {
        "cmyk.jpg": lambda: encoded(photo(210).convert("CMYK"), "JPEG"),
        "alpha.png": lambda: encoded(photo(211).convert("RGBA"), "PNG"),
        "grey-alpha.png": lambda: encoded(photo(212).convert("LA"), "PNG"),
        "palette.gif": lambda: encoded(photo(213), "GIF"),
        "palette-alpha.png": lambda: encoded(photo(214).convert("P"), "PNG", transparency=3),
        "one-bit.png": lambda: encoded(photo(215).convert("1"), "PNG"),
    },
    "value_range": {
        "deep.png": _deep_png,
        "float.tif": lambda: _float_tiff(0, 1),
        "black.png": lambda: encoded(Image.new("RGB", (64, 64)), "PNG"),
        "white.png": lambda: encoded(Image.new("RGB", (64, 64), "white"), "PNG"),
        "clear.png": lambda: encoded(Image.new("RGBA", (64, 64)), "PNG"),
    },
    "tiny": {
        "pixel.png": lambda: encoded(Image.new("RGB", (1, 1), "red"), "PNG"),
        "icon.png": lambda: encoded(photo(220, (12, 12)), "PNG"),
        "strip.png": lambda: encoded(photo(221, (900, 30)), "PNG"),
    },
    "grey": {"grey.jpg": lambda: encoded(photo(230).convert("L"), "JPEG")},
    "animated": {
        "moving.gif": lambda: encoded(
            photo(240), "GIF", save_all=True, append_images=[photo(241), photo(242)]
        )
    },
    "odd_name": {
        "line\nbreak.jpg": lambda: encoded(photo(250), "JPEG"),
        "not-utf8-\udcff\udcfe.jpg": lambda: encoded(photo(251), "JPEG"),
        "\u05e9\u05dc\u05d5\u05dd.jpg": lambda: encoded(photo(252), "JPEG"),
        "\u202egpj.exe": lambda: encoded(photo(253), "JPEG"),
        "zero\u200bwidth.jpg": lambda: encoded(photo(254), "JPEG"),
        "l" + "o" * 240 + "ng.jpg": lambda: encoded(photo(255), "JPEG"),
    },
}


def _turned(image: Image.Image) -> bytes:
    """The same photo as a phone may keep it: lying on its side, with a note on how to turn it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)


def _cropped(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((width // 30, height // 30, width - width // 30, height - height // 30))


#: Copies that only look the same, each of a photo of its own.
COPIES = {
    "turned": _turned,
    "resized": lambda image: encoded(image.resize((80, 60)), "JPEG"),
    "enlarged": lambda image: encoded(image.resize((320, 240)), "JPEG"),
    "squeezed": lambda image: encoded(image.resize((128, 128)), "JPEG"),
    "encoded": lambda image: encoded(image, "JPEG", quality=40),
    "format": lambda image: encoded(image, "WEBP", quality=80),
    "brighter": lambda image: encoded(ImageEnhance.Brightness(image).enhance(1.2), "JPEG"),
    "darker": lambda image: encoded(ImageEnhance.Brightness(image).enhance(0.7), "JPEG"),
    "contrast": lambda image: encoded(ImageEnhance.Contrast(image).enhance(1.3), "JPEG"),
    "decoloured": lambda image: encoded(image.convert("L"), "JPEG"),
    "cropped": lambda image: encoded(_cropped(image), "JPEG"),
}


def write_bad_folder(root: Path) -> dict[str, list[tuple[str, ...]]]:
    """A clean folder with all faults planted in it.

    Returns:
        By kind the groups of paths that are to be found.
    """
    write_clean_folder(root)
    ants, bees, val = (str(root / each) for each in ("train/ants", "train/bees", "val/ants"))
    planted: dict[str, list[tuple[str, ...]]] = {}

    def plant(kind, *paths):
        planted.setdefault(kind, []).append(tuple(sorted(paths)))

    def write(folder, name, content):
        path = os.path.join(folder, name)
        with open(path, "wb") as stream:
            stream.write(content)
        return path

    for kind, files in (
        ("unreadable", UNREADABLE),
        ("oversized", OVERSIZED),
        ("skipped", SYSTEM),
        *PECULIAR.items(),
    ):
        for name, content in files.items():
            plant(kind, write(ants, name, content()))
    for path in _special_files(ants):
        plant("skipped", path)
    for seed, (name, change) in enumerate(COPIES.items(), 300):
        original = write(bees, f"{name}-a.jpg", encoded(photo(seed), "JPEG", quality=95))
        plant("near_duplicate", original, write(bees, f"{name}-b.jpg", change(photo(seed))))
    plant("wrong_extension", os.path.join(bees, "format-b.jpg"))
    _plant_copies(plant, write, ants, bees, val)
    _plant_folders(plant, write, root)
    return planted


def _special_files(folder: str) -> list[str]:
    names = ("pipe.jpg", "socket.jpg", "dangling.jpg", "loop.jpg", "zero.jpg", "folder-loop")
    pipe, sock, dangling, loop, device, folder_loop = (os.path.join(folder, each) for each in names)
    os.mkfifo(pipe)
    # The address of a socket is limited to about 100 characters: bind it from inside the folder.
    before = os.getcwd()
    os.chdir(folder)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket.jpg")
    finally:
        os.chdir(before)
    os.symlink("gone.jpg", dangling)
    os.symlink("loop.jpg", loop)
    os.symlink("/dev/zero", device)
    os.symlink("..", folder_loop)
    return [pipe, sock, dangling, loop, device, folder_loop]


def _plant_copies(plant, write, ants, bees, val):
    def jpeg(seed):
        return encoded(photo(seed), "JPEG", quality=95)

    def small(seed):
        return encoded(photo(seed).resize((100, 75)), "JPEG", quality=85)

    one = write(bees, "same-1.jpg", jpeg(400))
    plant("duplicate", one, write(bees, "same-2.jpg", jpeg(400)))
    linked = write(bees, "linked-1.jpg", jpeg(401))
    os.symlink(linked, os.path.join(bees, "linked-2.jpg"))
    plant("duplicate", linked, os.path.join(bees, "linked-2.jpg"))
    for kind, content in (("exact", jpeg), ("near", small)):
        seed = {"exact": 410, "near": 411}[kind]
        here = write(ants, f"leak-{kind}-1.jpg", jpeg(seed))
        plant("leak", here, write(val, f"leak-{kind}-2.jpg", content(seed)))
        ant = write(ants, f"torn-{kind}-1.jpg", jpeg(seed + 10))
        plant("conflicting_labels", ant, write(bees, f"torn-{kind}-2.jpg", content(seed + 10)))


def _plant_folders(plant, write, root):
    hidden = root / "train/ants/.ipynb_checkpoints"
    rubbish = root / "train/ants/__MACOSX"
    for folder in (hidden, rubbish):
        folder.mkdir()
        write(str(folder), "0.jpg", encoded(photo(500), "JPEG"))
        plant("skipped", str(folder))
    plant("skipped", write(str(root / "train"), "labels.csv", b"a,b\n"))
    plant("skipped", write(str(root), "README.md", b"# Insects\n"))
    folder = root / "train/ants/x.jpg"
    folder.mkdir()
    plant("odd_name", str(folder))
    (root / "train/empty").mkdir()
    plant("empty_class", str(root / "train/empty"))
    plant("class_mismatch", str(root / "train/empty"))
    (root / "val/wasps").mkdir()
    write(str(root / "val/wasps"), "0.jpg", encoded(photo(501), "JPEG"))
    plant("class_mismatch", str(root / "val/wasps"))
    (root / "train/few").mkdir()
    (root / "val/few").mkdir()
    for at, part in enumerate(("train", "val")):
        write(str(root / part / "few"), "0.jpg", encoded(photo(502 + at), "JPEG"))
    plant("few_images", str(root / "train/few"))
