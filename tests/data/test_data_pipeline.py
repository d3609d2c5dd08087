"""The tf.data pipeline: both routes, order, failures; and the real folders."""

import io
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ktransfer.data import ImageFile, Part, explain_failures, image_dataset, read_folder, read_paths
from ktransfer.data.images import resizing
from ktransfer.data.images.resizing import resize_array
from ktransfer.errors import InputError

ROOT = pathlib.Path(__file__).parents[2]


def smooth(height, width, seed=0):
    """A picture as photos are: low frequencies and a little noise, uint8 (height, width, 3)."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    large = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noise = generator.integers(-9, 10, (height, width, 3))
    return np.clip(np.asarray(large) + noise, 0, 255).astype(np.uint8)


def saved(pixels, file_format="JPEG", **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, file_format, **options)
    return stream.getvalue()


def part_of(folder, **contents):
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    part, skipped = read_paths([folder / name for name in contents])
    assert skipped == ()
    return part


def on_route(part, route):
    return Part(part.name, tuple(ImageFile(each.path, route) for each in part.files), part.labels)


def collected(part, size, **options):
    batches = list(image_dataset(part, size, **options).as_numpy_iterator())
    images = [image for batch, _ in batches for image in batch]
    indices = [int(index) for _, several in batches for index in several]
    return images, indices, [len(several) for _, several in batches]


def test_plain_files_give_their_own_pixels_where_the_size_fits(tmp_path):
    colour, grey = smooth(20, 30), smooth(20, 30, 1)[..., 0]
    part = part_of(tmp_path, a=saved(colour, "PNG"), b=saved(grey, "PNG"))
    assert [each.route for each in part.files] == ["tensorflow", "tensorflow"]
    images, _, _ = collected(part, (20, 30))
    np.testing.assert_array_equal(images[0], colour)
    np.testing.assert_array_equal(images[1], np.repeat(grey[..., None], 3, axis=-1))


@pytest.mark.parametrize(
    "options",
    [
        {"file_format": "PNG"},
        {"quality": 75},
        {"quality": 95, "subsampling": 0},
        {"quality": 50, "subsampling": 2, "progressive": True},
    ],
)
@pytest.mark.parametrize("size", [(101, 67), (50, 40)])
def test_both_routes_agree_on_a_plain_file(tmp_path, options, size):
    part = part_of(
        tmp_path, a=saved(smooth(101, 67), **options), b=saved(smooth(99, 70), **options)
    )
    fast = collected(on_route(part, "tensorflow"), size)[0]
    slow = collected(on_route(part, "pillow"), size)[0]
    tolerance = 0 if options.get("file_format") == "PNG" else 2
    assert np.abs(np.array(fast, int) - np.array(slow, int)).max() <= tolerance


def bilinear(pixels, height, width):
    """Bilinear interpolation by definition, between the centres of neighbouring pixels."""
    for axis, size in ((0, height), (1, width)):
        old = pixels.shape[axis]
        centres = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
        weights = np.clip(1.0 - np.abs(np.arange(old)[None] - centres[:, None]), 0.0, None)
        pixels = np.moveaxis(np.tensordot(weights, pixels, (1, axis)), 0, axis)
    return np.round(pixels)


@pytest.mark.parametrize(
    ("size", "centre", "factor"),
    [
        ((24, 24), np.s_[12:87, 0:75], 3),
        ((35, 35), np.s_[13:87, 0:74], 2),
        ((90, 60), np.s_[0:100, 4:71], 1),
        ((150, 150), np.s_[12:87, 0:75], 1),
        ((20, 40), np.s_[31:69, 0:75], 1),
    ],
)
def test_centre_is_cut_out_and_scaled_without_changing_its_aspect(tmp_path, size, centre, factor):
    pixels = smooth(100, 75)
    (image,), _, _ = collected(part_of(tmp_path, a=saved(pixels, "PNG")), size)
    assert image.dtype == np.uint8
    cut = pixels[centre].astype(float)
    rows, columns = cut.shape[0] // factor, cut.shape[1] // factor
    means = cut.reshape(rows, factor, columns, factor, 3).mean(axis=(1, 3))
    # One level where the exact value lies next to a half.
    assert np.abs(image.astype(int) - bilinear(means, *size)).max() <= 1


@pytest.mark.parametrize("size", [(24, 24), (30, 20), (9, 7)])
def test_large_images_shrunk_in_little_memory_have_the_same_pixels(monkeypatch, size):
    pixels = np.stack([smooth(100, 75), smooth(100, 75, 1)])
    as_a_whole = resize_array(pixels, size)
    monkeypatch.setattr(resizing, "_MOST_AT_ONCE", 0)
    np.testing.assert_array_equal(resize_array(pixels, size), as_a_whole)


@pytest.mark.slow
def test_a_large_image_takes_little_more_memory_than_its_pixels(tmp_path):
    Image.new("RGB", (9_000, 8_000), "red").save(tmp_path / "large.png", compress_level=1)
    Image.new("RGB", (300, 300), "red").save(tmp_path / "small.png")
    done = run_python(
        "import resource",
        "from ktransfer.data import image_dataset, read_paths",
        "def most(name):",
        f"    part, _ = read_paths({str(tmp_path)!r} + '/' + name)",
        "    list(image_dataset(part, (224, 224)))",
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024",
        "before = most('small.png')",
        "print((most('large.png') - before) / (9_000 * 8_000 * 3))",
    )
    # The pixels and their centre; as float32 it was another four times as much, twice.
    assert float(done.stdout) < 3.5


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_jpeg_decoded_at_a_fraction_equals_the_mean_of_its_pixels(tmp_path, factor):
    pixels = smooth(40 * factor, 40 * factor)
    part = part_of(tmp_path, a=saved(pixels, quality=95, subsampling=0))
    (image,), _, _ = collected(part, (40, 40))
    means = pixels.astype(float).reshape(40, factor, 40, factor, 3).mean(axis=(1, 3))
    assert np.abs(image - means).mean() < 1.5


@pytest.mark.parametrize("length", [0.5, 0.9, 0.99])
def test_truncated_jpeg_is_dropped_at_every_decoding_size(tmp_path, length):
    whole = saved(smooth(640, 640), quality=90)
    part = part_of(tmp_path, a=whole[: int(len(whole) * length)])
    for size in (640, 320, 160, 80):
        assert collected(part, (size, size))[1] == []


def test_array_is_resized_like_a_file(tmp_path):
    pixels = smooth(100, 75)
    (image,), _, _ = collected(part_of(tmp_path, a=saved(pixels, "PNG")), (30, 40))
    np.testing.assert_array_equal(resize_array(pixels[None], (30, 40))[0], image)


def test_order_is_that_of_the_part_and_the_last_batch_is_smaller(tmp_path):
    # Large and small alternate, so that a pipeline that does not keep order would show it.
    contents = {
        f"{at:02}": saved(np.full((900 if at % 3 == 0 else 5, 400, 3), at * 7, np.uint8), "PNG")
        for at in range(21)
    }
    part = part_of(tmp_path, **contents)
    for _ in range(2):
        images, indices, sizes = collected(part, (4, 4), batch_size=8)
        assert indices == list(range(21))
        assert sizes == [8, 8, 5]
        assert [int(image[0, 0, 0]) for image in images] == [at * 7 for at in range(21)]


def test_shapes_and_types_are_known_before_any_file_is_read(tmp_path):
    part = part_of(tmp_path, a=saved(smooth(9, 9)))
    images, indices = image_dataset(part, (6, 7)).element_spec
    assert images.shape.as_list() == [None, 6, 7, 3]
    assert images.dtype.name == "uint8"
    assert indices.dtype.name == "int32"


def test_an_empty_part_gives_no_batches(tmp_path):
    part, _ = read_paths(tmp_path)
    assert collected(part, (4, 4)) == ([], [], [])


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_turned_picture_comes_upright(tmp_path, file_format):
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"lossless": True} if file_format == "WEBP" else {}
    turned = saved(smooth(12, 20), file_format, exif=exif, **options)
    part = part_of(tmp_path, turned=turned, stored=saved(smooth(12, 20), file_format, **options))
    assert part.files[0].route == "pillow"
    stored = collected(part.select([1]), (12, 20))[0][0]
    np.testing.assert_array_equal(collected(part, (20, 12))[0][0], np.rot90(stored, -1))


def test_failures_are_dropped_and_named_and_their_batch_survives(tmp_path):
    whole, other = saved(smooth(60, 80)), saved(smooth(60, 80), "PNG")
    damaged = bytearray(other)
    damaged[len(other) // 2] ^= 0x55
    part = part_of(
        tmp_path,
        a=whole,
        b=whole[: len(whole) // 2],
        c=other,
        d=bytes(damaged),
        e=other[:-400],
        f=whole,
    )
    gone = part_of(tmp_path, g=whole)
    os.remove(gone.files[0].path)
    part = Part("test", part.files + gone.files, np.zeros(7, np.int32))
    _, indices, sizes = collected(part, (30, 30), batch_size=2)
    assert indices == [0, 2, 5]
    assert sizes == [2, 1]
    assert [each.reason for each in explain_failures(part, [1, 3, 4, 6])] == [
        "truncated JPEG: the file ends before its pixels do",
        "damaged PNG: broken data stream when reading image file",
        "truncated PNG: the file ends before its pixels do",
        "does not exist",
    ]


def test_file_refused_by_tensorflow_alone_is_told_so(tmp_path):
    part = part_of(tmp_path, a=saved(smooth(9, 9)))
    (skip,) = explain_failures(part, [0])
    assert skip.reason == "TensorFlow cannot decode it, Pillow can: save it anew"


@pytest.mark.parametrize("route", ["tensorflow", "pillow"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}])
def test_jpeg_cut_at_any_length_is_dropped_never_filled(tmp_path, route, options):
    content = saved(smooth(120, 160), quality=90, **options)
    start = content.index(b"\xff\xda")
    early = np.linspace(start + 20, len(content) * 0.9, 25).astype(int)
    late = np.linspace(len(content) * 0.9, len(content) - 1, 40).astype(int)
    cut = {str(length): content[:length] for length in sorted({*early, *late})}
    part = on_route(part_of(tmp_path, **cut), route)
    assert len(part) > 60
    assert collected(part, (120, 160))[1] == []


def test_png_cut_within_its_pixels_is_dropped(tmp_path):
    content = saved(smooth(60, 80), "PNG")
    # The last 20 bytes are checksums and the end mark: without them all pixels are there.
    lengths = np.linspace(200, len(content) - 24, 30).astype(int)
    part = part_of(tmp_path, **{str(each): content[:each] for each in sorted(set(lengths))})
    assert collected(part, (60, 80))[1] == []


def test_corrupted_bytes_never_crash_and_failures_have_reasons(tmp_path):
    generator = np.random.default_rng(0)
    for at, file_format in enumerate(["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"] * 8):
        content = bytearray(saved(smooth(40, 50, at), file_format))
        for place in generator.integers(0, len(content), 6):
            content[place] = generator.integers(0, 256)
        (tmp_path / f"{at:02}").write_bytes(bytes(content))
    part, skipped = read_paths(tmp_path)
    assert len(part) + len(skipped) == 48
    _, indices, _ = collected(part, (20, 20))
    lost = sorted(set(range(len(part))) - set(indices))
    assert all(each.reason for each in explain_failures(part, lost))


@pytest.mark.parametrize("name", [b"line\nbreak", b"not-utf8-\xff", "\u05e9\u05dc".encode()])
@pytest.mark.parametrize("route", ["tensorflow", "pillow"])
def test_strange_file_names_reach_both_decoders(tmp_path, name, route):
    path = os.path.join(os.fsencode(tmp_path), name)
    with open(path, "wb") as stream:
        stream.write(saved(smooth(9, 9), "PNG"))
    part, _ = read_paths(os.fsdecode(path))
    np.testing.assert_array_equal(collected(on_route(part, route), (9, 9))[0], [smooth(9, 9)])


@pytest.mark.parametrize("size", [(0, 5), (5,), 224, (5, "x"), (4, 4, 3)])
def test_impossible_input_size_is_refused(tmp_path, size):
    part, _ = read_paths(tmp_path)
    with pytest.raises(InputError, match=r"input_size must be \(height, width\).*got .*[0-9]"):
        image_dataset(part, size)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5])
def test_impossible_batch_size_is_refused(tmp_path, batch_size):
    part, _ = read_paths(tmp_path)
    with pytest.raises(InputError, match=f"batch_size must be .* got {batch_size!r}"):
        image_dataset(part, (4, 4), batch_size=batch_size)


def run_python(*lines):
    """A process of its own, whose modules and stderr are not this one's."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "1"}
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )


def test_looking_at_folders_does_not_import_tensorflow():
    run_python(
        "import sys",
        "import ktransfer.data.sources.front, ktransfer.data as data",
        "data.read_folder, data.decode_image, dir(data)",
        "assert 'tensorflow' not in sys.modules, 'tensorflow'",
    )


def test_unknown_name_in_the_package_is_an_attribute_error():
    import ktransfer.data

    assert "read_folder" in dir(ktransfer.data)
    with pytest.raises(AttributeError, match="no attribute 'read_floder'"):
        _ = ktransfer.data.read_floder


def test_truncated_files_print_nothing_to_stderr(tmp_path):
    whole = saved(smooth(60, 80))
    for at, length in enumerate(np.linspace(1000, len(whole) - 1, 10).astype(int)):
        (tmp_path / f"{at}.jpg").write_bytes(whole[:length])
    (tmp_path / "z.jpg").write_bytes(whole)
    done = run_python(
        "import sys",
        "from ktransfer.data import image_dataset, read_paths",
        f"part, _ = read_paths({str(tmp_path)!r})",
        "batches = list(image_dataset(part, (30, 30)))",
        "print([int(each) for _, indices in batches for each in indices], len(part))",
    )
    assert done.stdout.strip() == "[10] 11"
    for word in ("JPEG", "jpeg", "Premature", "truncated", "Traceback"):
        assert word not in done.stderr


def shared_folder(name):
    root = pathlib.Path(os.environ.get("KTRANSFER_SHARED", ROOT.parent / "shared"))
    if not (root / "data" / name).is_dir():
        pytest.skip(f"no {root / 'data' / name}: set KTRANSFER_SHARED to the folder of real photos")
    return root / "data" / name


# Counts as /work/shared/DATA.md states them: train and val, or all.
REAL = {
    "ants_bees": (245, 153, 2),
    "flowers": (2569, 550, 5),
    "steel_defects": (1440, 360, 6),
    "chest_xray": (899, 225, 3),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_real_folders_are_read_whole_and_their_faults_are_found(name):
    splits = read_folder(shared_folder(name))
    train, validation, classes = REAL[name]
    assert (len(splits.train), len(splits.validation)) == (train, validation)
    assert len(splits.class_names) == classes
    assert splits.skipped == ()
    pillow = [each.path for each in splits.train.files if each.route == "pillow"]
    expected = ["imageNotFound.gif"] if name == "ants_bees" else []
    assert [os.path.basename(each) for each in pillow] == expected
    shared = [each for each in splits.notes if "in both train and validation" in each]
    assert len(shared) == (1 if name in ("flowers", "steel_defects") else 0)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["ants_bees", "chest_xray"])
def test_real_photos_all_decode_and_both_routes_agree(name):
    validation = read_folder(shared_folder(name)).validation.select(range(60))
    # So large that no photo is decoded at a fraction of its size.
    size = (2_000, 2_000)
    for start in (0, 30):
        some = validation.select(range(start, start + 5))
        fast, indices, _ = collected(some, size)
        assert indices == list(range(5))
        slow = collected(on_route(some, "pillow"), size)[0]
        assert np.abs(np.array(fast, int) - np.array(slow, int)).max() <= 2
    assert collected(validation, (96, 96))[1] == list(range(60))
