"""Pixels: every mode and orientation against values worked out by hand."""

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from ktransfer.data import ImageFile as File
from ktransfer.data import decode_image, read_paths

WHITE = [255, 255, 255]


def png(width, height, depth, colour, rows, before=b"", after=b""):
    """A PNG put together chunk by chunk, so that no library decides what it says."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    extra = [chunk(kind, data) for kind, data in before or []]
    late = [chunk(kind, data) for kind, data in after or []]
    parts = [b"\x89PNG\r\n\x1a\n", header, *extra, pixels, *late, chunk(b"IEND", b"")]
    return b"".join(parts)


def decoded(tmp_path, content):
    path = tmp_path / "image"
    path.write_bytes(content)
    return decode_image(File(str(path), "pillow"))


def saved(image, file_format, **options):
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def route(tmp_path, content):
    path = tmp_path / "image"
    path.write_bytes(content)
    part, skipped = read_paths([path])
    assert skipped == ()
    return part.files[0].route


CORNERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
# What EXIF says the stored picture is, in NumPy's words: how to turn the stored pixels upright.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_are_turned_upright(tmp_path, file_format, orientation):
    stored = np.repeat(np.repeat(CORNERS, 16, axis=0), 24, axis=1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 100}}
    content = saved(Image.fromarray(stored), file_format, exif=exif, **options[file_format])
    expected = UPRIGHT[orientation](stored)
    found = decoded(tmp_path, content)
    assert found.shape == expected.shape
    if file_format == "JPEG":
        # Chroma bleeds at the edges of the quarters; their middles are exact to 2 levels.
        rows = [expected.shape[0] // 4, 3 * expected.shape[0] // 4]
        columns = [expected.shape[1] // 4, 3 * expected.shape[1] // 4]
        found, expected = found[np.ix_(rows, columns)], expected[np.ix_(rows, columns)]
        assert np.abs(found.astype(int) - expected).max() <= 2
    else:
        np.testing.assert_array_equal(found, expected)


def test_orientation_behind_the_pixels_of_a_png_is_honoured(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    block = exif.tobytes().removeprefix(b"Exif\x00\x00")
    content = png(2, 1, 8, 0, [bytes([10, 200])], after=[(b"eXIf", block)])
    assert route(tmp_path, content) == "pillow"
    assert decoded(tmp_path, content)[0, :, 0].tolist() == [200, 10]


def test_impossible_or_damaged_exif_leaves_the_picture_as_it_lies(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 9
    image = Image.fromarray(np.full((8, 8, 3), 90, np.uint8))
    assert route(tmp_path, saved(image, "JPEG", exif=exif)) == "tensorflow"
    content = saved(image, "JPEG", exif=b"Exif\x00\x00MM\x00*garbage")
    assert np.abs(decoded(tmp_path, content).astype(int) - 90).max() <= 1


DEEP = struct.pack(">4H", 0, 257, 32768, 65535)
BY_HAND = {
    "16-bit grey": (png(4, 1, 16, 0, [DEEP]), [[0] * 3, [1] * 3, [128] * 3, WHITE]),
    "16-bit grey, one value transparent": (
        png(4, 1, 16, 0, [DEEP], [(b"tRNS", struct.pack(">H", 257))]),
        [[0] * 3, WHITE, [128] * 3, WHITE],
    ),
    "16-bit colour": (
        png(2, 1, 16, 2, [struct.pack(">6H", 0, 32896, 65535, 257, 514, 771)]),
        [[0, 128, 255], [1, 2, 3]],
    ),
    "16-bit colour, one value transparent": (
        png(
            2,
            1,
            16,
            2,
            [struct.pack(">6H", 0, 32896, 65535, 257, 514, 771)],
            [(b"tRNS", struct.pack(">3H", 0, 32896, 65535))],
        ),
        [WHITE, [1, 2, 3]],
    ),
    "16-bit with alpha": (
        png(2, 1, 16, 6, [struct.pack(">8H", 0, 32896, 65535, 0, 257, 514, 771, 65535)]),
        [WHITE, [1, 2, 3]],
    ),
    "16-bit grey with alpha": (
        png(2, 1, 16, 4, [struct.pack(">4H", 0, 0, 257 * 90, 65535)]),
        [WHITE, [90] * 3],
    ),
    "grey": (png(2, 1, 8, 0, [bytes([7, 200])]), [[7] * 3, [200] * 3]),
    "grey, one value transparent": (
        png(2, 1, 8, 0, [bytes([7, 200])], [(b"tRNS", struct.pack(">H", 7))]),
        [WHITE, [200] * 3],
    ),
    "2-bit grey": (png(4, 1, 2, 0, [bytes([0b00011011])]), [[0] * 3, [85] * 3, [170] * 3, WHITE]),
    "2-bit grey, one value transparent": (
        png(4, 1, 2, 0, [bytes([0b00011011])], [(b"tRNS", struct.pack(">H", 1))]),
        [[0] * 3, WHITE, [170] * 3, WHITE],
    ),
    "1-bit": (png(4, 1, 1, 0, [bytes([0b10100000])]), [WHITE, [0] * 3, WHITE, [0] * 3]),
    "palette": (
        png(2, 1, 8, 3, [bytes([0, 1])], [(b"PLTE", bytes([255, 0, 0, 0, 9, 8]))]),
        [[255, 0, 0], [0, 9, 8]],
    ),
    "palette with transparency": (
        png(
            3,
            1,
            8,
            3,
            [bytes([0, 1, 2])],
            [(b"PLTE", bytes([255, 0, 0, 0, 255, 0, 1, 2, 3])), (b"tRNS", bytes([0, 51]))],
        ),
        # 51 is a fifth: 0.2 * (0, 255, 0) + 0.8 * white.
        [WHITE, [204, 255, 204], [1, 2, 3]],
    ),
    "alpha": (png(2, 1, 8, 6, [bytes([0, 0, 0, 51, 10, 20, 30, 255])]), [[204] * 3, [10, 20, 30]]),
    "colour, one value transparent": (
        png(2, 1, 8, 2, [bytes([7, 8, 9, 1, 2, 3])], [(b"tRNS", struct.pack(">3H", 7, 8, 9))]),
        [WHITE, [1, 2, 3]],
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_png_of_every_mode_gives_the_colours_worked_out_by_hand(tmp_path, name):
    content, expected = BY_HAND[name]
    found = decoded(tmp_path, content)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [expected])
    assert route(tmp_path, content) == ("tensorflow" if name == "grey" else "pillow")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 127, 255]], np.float32), [0, 127, 255]),
        (np.array([[0, 257, 65535]], np.float32), [0, 1, 255]),
        (np.array([[0, 100, 255]], np.int32), [0, 100, 255]),
        (np.array([[0, 257, 65535]], np.int32), [0, 1, 255]),
        (np.array([[0, 2**30, 2**31 - 1]], np.int32), [0, 128, 255]),
        (np.array([[0, 257, 65535]], np.uint16), [0, 1, 255]),
    ],
)
def test_deep_tiff_is_scaled_to_its_smallest_usual_range(tmp_path, values, expected):
    content = saved(Image.fromarray(values), "TIFF")
    np.testing.assert_array_equal(decoded(tmp_path, content)[0], [[each] * 3 for each in expected])


@pytest.mark.parametrize("bad", [-1.0, np.nan, 1e9])
def test_values_without_an_agreed_scale_are_refused(tmp_path, bad):
    content = saved(Image.fromarray(np.array([[0, bad]], np.float32)), "TIFF")
    with pytest.raises(ValueError, match="no agreed scale"):
        decoded(tmp_path, content)


@pytest.mark.parametrize(
    ("ink", "expected"),
    [((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 0, 255), (0, 0, 0)), ((0, 0, 0, 0), WHITE)],
)
def test_cmyk_jpeg_is_not_inverted(tmp_path, ink, expected):
    content = saved(Image.new("CMYK", (8, 8), ink), "JPEG", quality=100)
    assert route(tmp_path, content) == "pillow"
    assert np.abs(decoded(tmp_path, content).astype(int) - expected).max() <= 2


def test_ycck_jpeg_is_read_through_its_colour_transform(tmp_path):
    content = bytearray(saved(Image.new("CMYK", (8, 8), (127, 127, 127, 55)), "JPEG", quality=100))
    # Adobe's transform flag 2 says YCCK. Stored inverted as (128, 128, 128, 200): neutral chroma,
    # so that R = G = B = 128 and K = 200 of 255 remains: 128 * 200 / 255 = 100.
    content[content.find(b"Adobe") + 11] = 2
    assert np.abs(decoded(tmp_path, bytes(content)).astype(int) - 100).max() <= 2


@pytest.mark.parametrize(
    ("file_format", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})]
)
def test_of_an_animation_the_first_frame_is_read(tmp_path, file_format, options):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    content = saved(
        frames[0], file_format, save_all=True, append_images=frames[1:], duration=50, **options
    )
    np.testing.assert_array_equal(decoded(tmp_path, content), np.full((4, 4, 3), [255, 0, 0]))


def test_transparent_gif_and_webp_are_put_on_white(tmp_path):
    gif = Image.new("P", (2, 1), 0)
    gif.putpalette([9, 9, 9, 0, 255, 0])
    gif.putpixel((1, 0), 1)
    found = decoded(tmp_path, saved(gif, "GIF", transparency=0))
    assert found.tolist() == [[WHITE, [0, 255, 0]]]
    webp = saved(Image.new("RGBA", (1, 1), (255, 0, 0, 0)), "WEBP", lossless=True, exact=True)
    assert decoded(tmp_path, webp).tolist() == [[WHITE]]


def test_picture_of_several_in_one_jpeg_is_read_as_a_plain_jpeg(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    content = saved(frames[0], "MPO", save_all=True, append_images=frames[1:], quality=100)
    assert route(tmp_path, content) == "tensorflow"
    assert np.abs(decoded(tmp_path, content).astype(int) - [255, 0, 0]).max() <= 2


def test_jpeg_with_bytes_behind_its_end_is_read(tmp_path):
    content = saved(Image.new("RGB", (8, 8), "white"), "JPEG") + b"trailing"
    np.testing.assert_array_equal(decoded(tmp_path, content), np.full((8, 8, 3), 255))


def test_named_pipe_is_refused_by_the_decoder_as_well(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(OSError, match="named pipe"):
        decode_image(File(str(tmp_path / "pipe.jpg"), "pillow"))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_bmp_is_read(tmp_path, mode):
    content = saved(Image.new("RGB", (3, 2), "white").convert(mode), "BMP")
    np.testing.assert_array_equal(decoded(tmp_path, content), np.full((2, 3, 3), 255))


def test_picture_above_pillows_warning_limit_is_read_under_warnings_as_errors(tmp_path):
    # 100 million pixels of 1 bit: the header alone is looked at.
    row = bytes(1250)
    path = tmp_path / "large.png"
    path.write_bytes(png(10_000, 10_000, 1, 0, [row] * 10_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        part, skipped = read_paths([path])
    assert len(part) == 1
    assert skipped == ()


@pytest.mark.parametrize("side", [14_000, 60_000])
def test_decompression_bomb_is_named_from_its_header(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side, 8, 2, [b""]))
    part, (skip,) = read_paths([path])
    assert len(part) == 0
    assert skip.reason.startswith("too large")
    assert "178,956,970" in skip.reason


def test_own_limit_holds_where_pillows_is_switched_off(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = tmp_path / "bomb.png"
    path.write_bytes(png(60_000, 60_000, 8, 2, [b""]))
    _, (skip,) = read_paths([path])
    assert skip.reason == "too large: 60000 x 60000 pixels, the limit is 178,956,970 in all"
    with pytest.raises(ValueError, match="60000 x 60000"):
        decode_image(File(str(path), "pillow"))


def test_pillows_truncation_switch_stays_off():
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
