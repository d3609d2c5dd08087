"""Images one by one, as people hold them: all of them are the pixels of the same file."""

import io
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from conftest import small_network
from PIL import Image

from ktransfer import FineTuner, InputError, OnnxClassifier, examine
from ktransfer.cli import main
from ktransfer.data import decode_image, image_dataset, read_data, read_images, read_paths
from ktransfer.data.inputs import check_not_read
from ktransfer.data.reading.items import is_path
from ktransfer.data.reading.labels import positions
from ktransfer.data.sources.front import read_labelled

SIZE = (8, 8)


def noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A photo that is not square."""
    path = tmp_path_factory.mktemp("one") / "photo.png"
    Image.fromarray(noise(0, 12, 9, 3)).save(path)
    return path


def seen(images):
    """What the network sees of them, (n, 8, 8, 3)."""
    part, _ = read_images(images)
    batches = [batch.numpy() for batch, _ in image_dataset(part, SIZE)]
    return np.concatenate([np.empty((0, *SIZE, 3), np.uint8), *batches])


def buffer_at_its_end(path):
    stream = io.BytesIO()
    stream.write(path.read_bytes())
    return stream


FORMS = {
    "str": str,
    "path": lambda path: path,
    "bytes path": os.fsencode,
    "array": lambda path: np.asarray(Image.open(path)),
    "batch": lambda path: np.asarray(Image.open(path))[None],
    "float": lambda path: np.asarray(Image.open(path)).astype(np.float32),
    "uint16": lambda path: np.asarray(Image.open(path)).astype(np.uint16) * 257,
    "big endian": lambda path: (np.asarray(Image.open(path)).astype(">u2") * 257).astype(">u2"),
    "tensor": lambda path: tf.constant(np.asarray(Image.open(path))),
    "lists of numbers": lambda path: np.asarray(Image.open(path)).tolist(),
    "opaque": lambda path: np.asarray(Image.open(path).convert("RGBA")),
    "pillow": Image.open,
    "pillow, loaded": lambda path: Image.open(path).copy(),
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "buffer": lambda path: io.BytesIO(path.read_bytes()),
    "buffer at its end": buffer_at_its_end,
}


@pytest.mark.parametrize("form", FORMS)
def test_an_image_is_the_pixels_of_its_file_however_it_is_held(file, form):
    expected = seen(file)
    single = FORMS[form](file)
    # Lists of numbers alone would be the rows of an image.
    if form != "lists of numbers":
        np.testing.assert_array_equal(seen(single), expected)
    np.testing.assert_array_equal(seen([FORMS[form](file)]), expected)
    several = (FORMS[form](file) for _ in range(2))
    np.testing.assert_array_equal(seen(several), np.repeat(expected, 2, axis=0))


def test_open_files_are_read_from_their_beginning(file):
    with open(file, "rb") as stream:
        np.testing.assert_array_equal(seen(stream), seen(file))
    with (
        open(file, encoding="latin-1") as stream,
        pytest.raises(InputError, match=r"image 0 of the images is a file that is open as text"),
    ):
        read_images(stream)


@pytest.mark.parametrize("make", [list, tuple, iter, lambda each: (one for one in each)])
def test_all_of_them_together_keep_their_order_and_names(file, tmp_path, make):
    Image.fromarray(noise(1, 20, 20)).save(tmp_path / "grey.png")
    grey = np.asarray(Image.open(tmp_path / "grey.png"))
    mixed = [str(file), grey, Image.open(file), b"no\0image", file.read_bytes(), tmp_path / "x.txt"]
    (tmp_path / "x.txt").write_text("text")
    part, skipped = read_images(make(mixed))
    names = [part.images.name(row) for row in range(len(part))]
    assert names == [str(file), *(f"image {at} of the images" for at in (1, 2, 4))]
    assert [each.path for each in skipped] == ["image 3 of the images", str(tmp_path / "x.txt")]
    expected = np.concatenate([seen(each) for each in (file, tmp_path / "grey.png", file, file)])
    np.testing.assert_array_equal(seen(make(mixed)), expected)


def test_paths_alone_are_files_as_ever_also_from_a_generator(file):
    part, _ = read_images(iter([file, str(file)]))
    assert part.images == read_paths([file, file])[0].images


@pytest.mark.parametrize(
    "nothing",
    [[], (), iter(()), np.empty((0, 8, 8, 3)), np.empty((0, 8, 8)), tf.data.Dataset.range(0)],
)
def test_no_images_are_an_empty_part(nothing):
    part, skipped = read_images(nothing)
    assert len(part) == 0
    assert skipped == ()


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ((9, 7), 1),
        ((9, 7, 1), 1),
        ((9, 7, 3), 1),
        ((9, 7, 4), 1),
        ((5, 9, 7), 5),
        ((3, 9, 7), 3),
        ((28, 28, 3), 1),
        ((28, 28, 28), 28),
        ((5, 9, 7, 1), 5),
        ((5, 9, 7, 3), 5),
        ((5, 9, 7, 4), 5),
    ],
)
def test_the_last_axis_says_whether_there_is_one_image_or_several(shape, count):
    assert len(read_images(noise(2, *shape))[0]) == count


def test_grey_is_the_same_in_all_three_channels():
    grey = noise(3, 4, 8, 8)
    expected = np.repeat(grey[..., None], 3, axis=-1)
    for each in (grey, grey[..., None], list(grey), expected):
        np.testing.assert_array_equal(seen(each), expected)


def test_what_is_transparent_lies_on_white_in_arrays_as_in_files(tmp_path):
    pixels = noise(4, 8, 8, 4)
    Image.fromarray(pixels).save(tmp_path / "glass.png")
    expected = decode_image(read_paths(tmp_path / "glass.png")[0].files[0])
    np.testing.assert_array_equal(seen(pixels)[0], expected)
    for wide in (pixels.astype(np.float32), pixels.astype(np.uint16) * 257):
        assert np.abs(seen(wide)[0].astype(int) - expected).max() <= 1
    labels = np.arange(4) % 2
    train = read_data((np.stack([pixels] * 4), labels)).train
    np.testing.assert_array_equal(train.images.full_size(0), expected)


def test_pillow_images_are_turned_as_their_exif_says_and_left_as_they_were(tmp_path):
    image = Image.fromarray(noise(5, 8, 16, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    opened = Image.open(tmp_path / "turned.png")
    part, _ = read_images([opened])
    expected = decode_image(read_paths(tmp_path / "turned.png")[0].files[0])
    assert expected.shape == (16, 8, 3)
    np.testing.assert_array_equal(part.images.full_size(0), expected)
    assert opened.size == (16, 8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F"])
def test_every_mode_of_pillow_is_read_as_its_file(tmp_path, mode):
    suffix = ".tif" if mode in ("CMYK", "YCbCr", "F", "I") else ".png"
    image = Image.fromarray(noise(6, 8, 8, 3)).convert(mode)
    image.save(tmp_path / f"x{suffix}")
    expected = seen(tmp_path / f"x{suffix}")
    np.testing.assert_array_equal(seen(Image.open(tmp_path / f"x{suffix}")), expected)


def test_a_pillow_image_that_cannot_be_decoded_is_named(file, tmp_path):
    content = file.read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    with Image.open(tmp_path / "cut.png") as cut:
        part, skipped = read_images([cut, file])
    assert len(part) == 1
    assert skipped[0].path == "image 0 of the images"
    assert "truncated PNG" in skipped[0].reason


class Tensor:
    """As one of torch, in all that is looked at: torch itself is not needed here."""

    def __init__(self, values, error=None):
        self.values, self.error = values, error

    def __array__(self, dtype=None, copy=None):
        if self.error:
            raise self.error
        return self.values


Tensor.__module__ = "torch"


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (noise(7, 5, 3, 9, 8), r"\(5, 3, 9, 8\).*channels come first: give numpy.moveaxis"),
        (Tensor(noise(7, 5, 3, 9, 8)), r"\(5, 3, 9, 8\).*give images.permute\(0, 2, 3, 1\)"),
        (Tensor(noise(7, 3, 9, 8)), r"\(3, 9, 8\).*give image.permute\(1, 2, 0\)"),
        (Tensor(noise(7, 5, 1, 9, 8)), r"\(5, 1, 9, 8\).*channels come first"),
        (Tensor(None, TypeError("on cuda:0")), "type Tensor, cannot be read as an array: on cuda"),
        (noise(7, 9), r"the shape \(9,\)"),
        (noise(7, 2, 2, 2, 2, 2), r"the shape \(2, 2, 2, 2, 2\)"),
        (noise(7, 5, 9, 8, 2), r"the shape \(5, 9, 8, 2\)"),
        (np.ones((2, 8, 8), bool), "dtype bool"),
        ([np.ones((8, 8), complex)], "image 0 of the images has the dtype complex128"),
        ([noise(7, 8, 8), 3.5], "image 1 of the images is of type float: an image is an array"),
        ([noise(7, 8, 8), "absent.png"], "no such file: 'absent.png'"),
        ([noise(7, 8, 8), os.curdir], "image 1 of the images is the folder"),
        (np.full((1, 8, 8, 3), 0.5), "they look scaled to .0, 1.; multiply by 255"),
        ([np.full((8, 8, 3), -0.5)], "they look scaled to .-1, 1."),
        (object(), "cannot read images from object"),
    ],
)
def test_what_cannot_be_an_image_is_refused_with_what_was_received(images, said):
    with pytest.raises(InputError, match=said):
        read_images(images)


def test_tensors_of_torch_with_the_channels_last_are_arrays():
    pixels = noise(8, 2, 8, 8, 3)
    np.testing.assert_array_equal(seen(Tensor(pixels)), pixels)
    np.testing.assert_array_equal(seen([Tensor(each) for each in pixels]), pixels)


def test_bytes_are_a_path_or_an_image_by_what_they_hold(file):
    assert is_path(os.fsencode(file))
    assert not is_path(file.read_bytes())
    assert not is_path(b"\xff\xd8\xff short")
    assert not is_path(b"")


def test_a_pair_is_images_and_labels_or_two_images():
    images = noise(9, 4, 8, 8, 3)
    assert len(read_images((images, [0, 1, 0, 1]))[0]) == 4
    assert len(read_images((images, np.eye(4)))[0]) == 4
    assert len(read_images((list(images), ["a", "b", "a", "b"]))[0]) == 4
    assert len(read_images((images[0], images[1]))[0]) == 2
    assert len(read_images((images[0, ..., 0], images[1, ..., 0]))[0]) == 2


def test_labelled_images_come_one_by_one_too_and_keep_their_labels(file, tmp_path):
    Image.fromarray(noise(1, 20, 20)).save(tmp_path / "grey.png")
    several = [file, b"no\0image", noise(2, 9, 9), Image.open(file), file.read_bytes(), str(file)]
    found = read_data((several, ["a", "b", "b", "a", "b", "a"]), validation_fraction=0.4)
    assert [each.path for each in found.skipped] == ["image 1 of the data"]
    named = {
        part.images.name(row): found.class_names[part.labels[row]]
        for part in found.parts
        for row in range(len(part))
    }
    assert named[str(file)] == "a"
    assert named["image 2 of the data"] == "b"
    with pytest.raises(InputError, match="the data has 6 images and 2 labels"):
        read_data((several, [0, 1]))


@pytest.mark.parametrize(
    ("labels", "expected", "names"),
    [
        (np.array([1, 0, 1], object), [1, 0, 1], ("0", "1")),
        (np.array([np.int64(1), 0, True], object), [1, 0, 1], ("0", "1")),
        (np.array([1.0, 0.0, 1.0], object), [1, 0, 1], ("0", "1")),
        (np.array([[1], [0]], object), [1, 0], ("0", "1")),
        ([True, False], [1, 0], ("0", "1")),
        (np.array(["b", "a"]), [1, 0], ("a", "b")),
        (np.array([b"b", "a"], object), [1, 0], ("a", "b")),
    ],
)
def test_labels_are_numbers_or_names_whatever_holds_them(labels, expected, names):
    found, classes = positions(labels, None, "the data")
    assert found.tolist() == expected
    assert classes == names


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (1.5, "got 1.5 at 1"),
        (float("nan"), "label 1 of the data is nan"),
        (None, "label 1 of the data is None: expected a name, or whole numbers alone"),
        ("one", "label 0 of the data is 0: expected a name, or whole numbers alone"),
    ],
)
def test_objects_that_are_no_labels_are_named(label, said):
    with pytest.raises(InputError, match=said):
        positions(np.array([0, label], object), None, "the data")


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    root = tmp_path_factory.mktemp("classes")
    for at, name in enumerate(("ant", "bee")):
        (root / name).mkdir()
        for number in range(4):
            Image.fromarray(noise(10 * at + number, 8, 8, 3)).save(root / name / f"{number}.png")
    return root


def from_directory(root, **options):
    return keras.utils.image_dataset_from_directory(root, image_size=SIZE, verbose=False, **options)


@pytest.mark.parametrize(
    "options",
    [{}, {"label_mode": "categorical"}, {"label_mode": "binary"}, {"class_names": ["bee", "ant"]}],
)
def test_the_class_names_of_a_keras_dataset_are_kept(classes, options):
    found = read_data(from_directory(classes, shuffle=False, **options))
    assert found.class_names == tuple(options.get("class_names", ("ant", "bee")))
    files = {decode_image(each).tobytes(): os.path.basename(os.path.dirname(each.path))
             for each in read_paths(classes)[0].files}  # fmt: skip
    for part in found.parts:
        for row in range(len(part)):
            name = found.class_names[part.labels[row]]
            assert files[np.ascontiguousarray(part.images.full_size(row)).tobytes()] == name


def test_a_model_meets_the_classes_of_a_dataset_by_name(classes):
    data = from_directory(classes, shuffle=False)
    part, _, _ = read_labelled(data, ("bee", "ant"))
    assert part.labels.tolist() == [1] * 4 + [0] * 4
    # A model that was trained without names knows them by number.
    assert read_labelled(data, ("0", "1"))[0].labels.tolist() == [0] * 4 + [1] * 4
    with pytest.raises(InputError, match="unknown class 'ant'"):
        read_labelled(data, ("bee", "wasp"))
    assert read_data(data, class_names=("bee", "ant")).class_names == ("bee", "ant")


def test_the_class_indices_of_an_older_iterator_are_kept(classes):
    class Iterator(keras.utils.PyDataset):
        def __init__(self):
            super().__init__()
            self.class_indices = {"bee": 1, "ant": 0}

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return noise(index, 4, 8, 8, 3), np.array([0, 1, 0, 1])

    assert read_data(Iterator()).class_names == ("ant", "bee")


IMAGES, LABELS = noise(20, 8, 8, 8, 3), np.arange(8) % 2
PARTS = {"train": slice(0, 4), "val": slice(4, 6), "test": slice(6, 8)}


def by_part(pattern):
    return {
        pattern.format(part=part, kind=kind): values[rows]
        for part, rows in PARTS.items()
        for kind, values in (("images", IMAGES), ("labels", LABELS))
    }


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y"), ("X", "Y")])
def test_an_npz_file_is_images_and_labels(tmp_path, names):
    np.savez(tmp_path / "data.npz", **dict(zip(names, (IMAGES, LABELS), strict=True)))
    found, expected = read_data(tmp_path / "data.npz"), read_data((IMAGES, LABELS))
    assert found.train.fingerprint() == expected.train.fingerprint()
    assert found.source == os.path.realpath(tmp_path / "data.npz")
    np.testing.assert_array_equal(seen(str(tmp_path / "data.npz")), IMAGES)
    part, _, _ = read_labelled(tmp_path / "data.npz", ("0", "1"))
    assert part.labels.tolist() == LABELS.tolist()


def test_an_npz_file_without_names_is_images_and_labels(tmp_path):
    np.savez_compressed(tmp_path / "data.npz", IMAGES, LABELS[:, None])
    assert len(read_data(str(tmp_path / "data.npz")).train) == 6


@pytest.mark.parametrize("pattern", ["{part}_{kind}", "{kind}_{part}"])
def test_an_npz_file_may_hold_parts(tmp_path, pattern):
    np.savez(tmp_path / "data.npz", **by_part(pattern))
    found = read_data(tmp_path / "data.npz")
    assert [len(part) for part in found.parts] == [4, 2, 2]
    np.testing.assert_array_equal(seen(tmp_path / "data.npz"), IMAGES[6:])
    assert read_labelled(tmp_path / "data.npz", ("0", "1"))[0].name == "test"


def test_images_alone_in_a_file_of_numpy_are_predicted_on(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    np.savez(tmp_path / "images.npz", images=IMAGES)
    np.testing.assert_array_equal(seen(tmp_path / "images.npy"), IMAGES)
    np.testing.assert_array_equal(seen(tmp_path / "images.npz"), IMAGES)
    with pytest.raises(InputError, match=r"images.npy' holds one array, images without labels"):
        read_data(tmp_path / "images.npy")
    with pytest.raises(InputError, match=r"images.npz' has the arrays 'images'; expected arrays"):
        read_data(tmp_path / "images.npz")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"pictures": IMAGES, "labels": LABELS}, "the arrays 'pictures', 'labels'; expected"),
        ({"images": IMAGES, "x": IMAGES, "y": LABELS}, "'images' and 'x', both of them images"),
        ({"images": IMAGES, "y": LABELS, "x_test": IMAGES, "y_test": LABELS}, "has the arrays"),
        ({"images": IMAGES, "y": np.array([0, None] * 4, object)}, "never unpickled"),
        ({"images": IMAGES, "y": LABELS[:3]}, "8 images of shape .8, 8, 3. and 3 labels"),
    ],
)
def test_an_npz_file_that_is_not_understood_says_what_it_holds(tmp_path, arrays, said):
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(InputError, match=said):
        read_data(tmp_path / "data.npz")


def test_a_file_that_is_no_npz_is_named(tmp_path):
    (tmp_path / "data.npz").write_text("text")
    with pytest.raises(InputError, match=r"data.npz' cannot be read as a file of NumPy"):
        read_data(tmp_path / "data.npz")
    with pytest.raises(InputError, match=r"no such file: .*'absent.npz'"):
        read_data("absent.npz")


@pytest.mark.slow
def test_a_model_predicts_every_form_as_the_file_and_an_exported_file_does_too(file, tmp_path):
    tuner = FineTuner(small_network(), verbose=False)
    images = noise(30, 12, 8, 8, 3)
    tuner.fit((images, np.arange(12) % 2), plan="linear_probe", epochs=1, cache="off", check="off")
    tuner.export(tmp_path / "x.onnx", validation=images)
    classifier = OnnxClassifier(tmp_path / "x.onnx")
    for predict in (tuner.predict, classifier.predict):
        expected = predict(file).probabilities
        for form in ("array", "uint16", "opaque", "tensor", "bytes", "buffer", "pillow, loaded"):
            found = predict(FORMS[form](file))
            np.testing.assert_array_equal(found.probabilities, expected)
            named = form not in ("array", "uint16", "opaque", "tensor")
            assert found.paths == (("image 0 of the images",) if named else ())
        mixed = predict([file, images[0], io.BytesIO(file.read_bytes())])
        assert mixed.paths[0] == str(file)
        np.testing.assert_allclose(mixed.probabilities[[0, 2]], expected.repeat(2, axis=0))
        for nothing in ([], iter(()), images[:0]):
            none = predict(nothing)
            assert none.probabilities.shape == (0, 2)
            assert (none.paths, none.skipped, none.labels) == ((), (), [])
        with pytest.raises(InputError, match="channels come first"):
            predict(np.moveaxis(images, -1, 1))


def test_an_npz_file_is_trained_on_and_evaluated_as_its_arrays(tmp_path):
    np.savez(tmp_path / "data.npz", **by_part("{part}_{kind}"))
    tuner = FineTuner(small_network(), verbose=False)
    options = {"plan": "linear_probe", "epochs": 1, "cache": "off", "check": "off"}
    result = tuner.fit(str(tmp_path / "data.npz"), **options)
    assert result.part_sizes == {"train": 4, "validation": 2, "test": 2}
    assert tuner.evaluate(tmp_path / "data.npz").score.num_images == 2
    kinds = {each.kind for each in examine(tmp_path / "data.npz").findings}
    assert "few_images" in kinds
    shown = CliRunner().invoke(main, ["evaluate", "run", str(tmp_path / "absent.npz")])
    assert shown.exit_code == 2


def test_encoded_images_are_no_inputs_that_a_picture_could_replace(file, tmp_path):
    (tmp_path / "page.png").write_bytes(b"")
    encoded = file.read_bytes()
    for each in (encoded, bytearray(encoded), [encoded, str(file)], ([encoded], [0])):
        check_not_read(tmp_path / "page.png", "the page", each)
    with pytest.raises(InputError, match=r"photo.png', which is read here"):
        check_not_read(file, "the page", [encoded, str(file)])
