"""Colours of 16 bits that use a part of them: read as their 8-bit twins, as grey is."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from conftest import small_network
from PIL import Image

from ktransfer import FineTuner, OnnxClassifier, examine
from ktransfer.data import image_dataset, read_data, read_images
from ktransfer.data.images.deep_colour import colour_extremes, deep_colours
from ktransfer.data.images.host import read_on_host

TWELVE = (0.0, 4095.0)
CLASSES = ("clear", "shadow")


def picture(seed, shadow=0):
    """Colours, uint8 (20, 24, 3), with black and white in them."""
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3)) // (1 + 2 * shadow)
    pixels[0, :2] = [[0, 0, 0], [255, 255, 255]]
    return pixels.astype(np.uint8)


def twelve(pixels):
    """The same picture by a 12-bit sensor."""
    return np.rint(pixels * (4095 / 255)).astype(np.uint16)


def png(values, **_):
    return tf.io.encode_png(values).numpy()


def tiff(values, order="<", compression=1, turn=1):
    """A TIFF file of one strip, written by hand: Pillow writes no colours of 16 bits."""
    height, width, channels = values.shape
    data = values.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if compression == 8 else data
    tags = {
        256: width, 257: height, 258: None, 259: compression, 262: 2, 273: None, 274: turn,
        277: channels, 278: height, 279: len(data), 284: 1,
    }  # fmt: skip
    if channels == 4:
        tags[338] = 2
    behind = 8 + 2 + 12 * len(tags) + 4
    tags |= {258: behind, 273: behind + 2 * channels}
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, 3, channels) + struct.pack(f"{order}I", value)
        if tag == 258
        else struct.pack(f"{order}HHII", tag, 4, 1, value)
        for tag, value in sorted(tags.items())
    )
    head = b"II*\0" if order == "<" else b"MM\0*"
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    count = struct.pack(f"{order}H", len(tags))
    return head + struct.pack(f"{order}I", 8) + count + entries + bytes(4) + bits + data


FORMS = {
    "png": png,
    "tiff": tiff,
    "tiff of another order": lambda values: tiff(values, ">"),
    "compressed tiff": lambda values: tiff(values, compression=8),
    "compressed tiff of another order": lambda values: tiff(values, ">", 8),
}
each_form = pytest.mark.parametrize("encode", FORMS.values(), ids=FORMS)


def write(folder, make, encode=png, *, per_class=6):
    for at, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            content = encode(make(picture(10 * number + at, at)))
            (folder / name / f"{number}.png").write_bytes(content)
    return folder


def pixels(part, size=(20, 24)):
    return np.concatenate([images.numpy() for images, _ in image_dataset(part, size)])


@each_form
@pytest.mark.parametrize("channels", [3, 4])
def test_every_bit_is_read(encode, channels):
    values = np.random.default_rng(channels).integers(0, 65536, (13, 17, channels), np.uint16)
    with Image.open(io.BytesIO(encode(values))) as image:
        np.testing.assert_array_equal(deep_colours(image).values, values)
        np.testing.assert_array_equal(np.asarray(image), values >> 8)  # it loads as ever
        assert deep_colours(image) is None
    if encode is png:
        np.testing.assert_array_equal(tf.io.decode_png(png(values), dtype=tf.uint16), values)


@each_form
@pytest.mark.parametrize("high", [255, 4095, 16_383])
def test_extremes_are_those_of_the_colours(encode, high):
    values = np.random.default_rng(0).integers(3, high + 1, (9, 9, 4), np.uint16)
    values[0, 0, :3], values[..., 3] = high, 65535
    with Image.open(io.BytesIO(encode(values))) as image:
        assert colour_extremes(image)[:2] == (values[..., :3].min(), high)


@each_form
def test_colours_of_12_bits_are_read_as_their_8_bit_twins(tmp_path, encode):
    twin = read_data(write(tmp_path / "eight", lambda colours: colours))
    found = read_data(write(tmp_path / "twelve", twelve, encode))
    assert found.value_range == TWELVE
    assert any("12 16-bit images hold values from 0 to 4095" in note for note in found.notes)
    for part, other in zip(found.parts, twin.parts, strict=True):
        np.testing.assert_array_equal(pixels(part), pixels(other))
        for row in range(len(part)):
            expected = read_on_host(other.images, row, (16, 16))
            np.testing.assert_array_equal(read_on_host(part.images, row, (16, 16)), expected)


def test_colours_that_use_their_16_bits_are_read_as_ever(tmp_path):
    root = write(tmp_path / "whole", lambda colours: colours.astype(np.uint16) * 257)
    found = read_data(root)
    assert found.value_range is None
    assert not any("value_range" in note for note in found.notes)
    twin = read_data(write(tmp_path / "eight", lambda colours: colours))
    np.testing.assert_array_equal(pixels(found.train), pixels(twin.train))


def test_arrays_encoded_images_and_open_files_are_read_alike(tmp_path):
    root = write(tmp_path / "twelve", twelve)
    files = sorted(root.rglob("*.png"))
    expected = pixels(read_images(root, value_range=TWELVE)[0])
    values = np.stack([tf.io.decode_png(each.read_bytes(), dtype=tf.uint16) for each in files])
    for given in (values, [each.read_bytes() for each in files], [Image.open(e) for e in files]):
        found, _ = read_images(given, value_range=TWELVE)
        np.testing.assert_array_equal(pixels(found), expected)
        labels = np.arange(12) % 2
        if isinstance(given, np.ndarray):
            assert read_data((given, labels)).value_range == TWELVE


def test_what_is_transparent_is_laid_on_white_and_what_is_turned_is_upright(tmp_path):
    values = twelve(picture(3))
    opacity = np.full((20, 24, 1), 65535, np.uint16)
    opacity[5], opacity[6] = 0, 32768
    (tmp_path / "x.png").write_bytes(png(np.concatenate([values, opacity], axis=-1)))
    found = read_images(tmp_path / "x.png", value_range=TWELVE)[0].images.full_size(0)
    plain = picture(3).astype(float)
    plain[5], plain[6] = 255, (plain[6] + 255) / 2
    assert np.abs(found - plain).max() <= 1
    for turn, expected in ((3, plain[::-1, ::-1]), (6, np.rot90(plain, -1))):
        (tmp_path / "x.tif").write_bytes(tiff(values, turn=turn))
        found = read_images(tmp_path / "x.tif", value_range=TWELVE)[0].images.full_size(0)
        rows = np.ones(20, bool)
        rows[5:7] = False
        straight = found[::-1, ::-1] if turn == 3 else np.rot90(found)
        assert found.shape == expected.shape
        np.testing.assert_array_equal(straight[rows], picture(3)[rows])


def test_one_transparent_colour_and_a_turn_of_a_png_are_minded(tmp_path):
    values = twelve(picture(4))
    values[2, 3] = 7, 8, 9
    content = png(values)
    chunk = b"tRNS" + struct.pack(">3H", 7, 8, 9)
    orientation = Image.Exif()
    orientation[0x0112] = 8
    exif = b"eXIf" + orientation.tobytes()[6:]
    extra = b"".join(
        struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each))
        for each in (chunk, exif)
    )
    (tmp_path / "x.png").write_bytes(content[:33] + extra + content[33:])
    found = read_images(tmp_path / "x.png", value_range=TWELVE)[0].images.full_size(0)
    expected = picture(4)
    expected[2, 3] = 255
    np.testing.assert_array_equal(found, np.rot90(expected))


def test_a_damaged_file_is_named(tmp_path):
    content = png(twelve(np.random.default_rng(0).integers(0, 256, (90, 90, 3))))
    root = write(tmp_path / "twelve", twelve)
    (root / "clear" / "cut.png").write_bytes(content[: len(content) // 2])
    found = read_data(root)
    assert found.value_range == TWELVE
    (fault,) = (each for part in found.parts for at in range(len(part))
                if (each := part.images.fault(at)))  # fmt: skip
    assert "truncated PNG" in fault


def test_the_doctor_measures_and_sees_colours_as_grey(tmp_path):
    report = examine(write(tmp_path / "twelve", twelve))
    (found,) = (each for each in report.findings if each.kind == "bit_depth")
    assert "values from 0 to 4095" in found.message
    assert "0 is black and 4095 is white" in found.advice
    (full,) = (
        each
        for each in examine(tmp_path / "twelve", value_range="full").findings
        if each.kind == "bit_depth"
    )
    assert "up to 4,095, where 65,535 is white" in full.message
    whole = write(tmp_path / "whole", lambda colours: colours.astype(np.uint16) * 257)
    assert not [each for each in examine(whole).findings if each.kind == "bit_depth"]


def test_a_model_keeps_the_range_of_its_colours(tmp_path):
    tuner = FineTuner(small_network(), verbose=False)
    root = write(tmp_path / "twelve", twelve)
    tuner.fit(root, plan="linear_probe", epochs=1, cache="off", check="off")
    assert tuner.value_range == TWELVE
    eight = write(tmp_path / "eight", lambda colours: colours)
    np.testing.assert_array_equal(
        tuner.predict(root).probabilities, tuner.predict(eight).probabilities
    )


def test_a_file_that_serves_reads_colours_without_tensorflow(tmp_path):
    import served_models

    metadata = served_models.describe(format=2, value_range=[0, 4095])
    model = OnnxClassifier(served_models.write(tmp_path / "x.onnx", metadata))
    found = model.predict(write(tmp_path / "twelve", twelve)).probabilities
    expected = model.predict(write(tmp_path / "eight", lambda colours: colours)).probabilities
    np.testing.assert_array_equal(found, expected)
