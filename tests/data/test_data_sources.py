"""Arrays, datasets, TFDS and explicit parts: the same splits as from files, and what is refused."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import write_pictures

from ktransfer.data import (
    Part,
    decode_image,
    explain_failures,
    image_dataset,
    joined,
    read_data,
    read_folder,
    read_images,
    read_labelled,
)
from ktransfer.data.images import held as held_images
from ktransfer.data.sources import dataset as dataset_reader
from ktransfer.data.sources import front
from ktransfer.data.sources.arrays import Arrays
from ktransfer.doctor import examine
from ktransfer.errors import InputError
from ktransfer.runs.seen import record_of

CLASSES = ("blue", "green", "red")


class Batches(keras.utils.PyDataset):
    """Batches of 4."""

    def __init__(self, images, labels):
        super().__init__()
        self.images, self.labels = images, labels

    def __len__(self):
        return -(-len(self.images) // 4)

    def __getitem__(self, index):
        chosen = slice(4 * index, 4 * index + 4)
        return self.images[chosen], self.labels[chosen]


@pytest.fixture
def splits(tmp_path):
    for at, name in enumerate(("train", "val", "test")):
        write_pictures(tmp_path / name, 3, seed=at)
    return read_folder(tmp_path)


@pytest.fixture
def arrays(splits):
    return {
        part.name: (np.stack([decode_image(each) for each in part.files]), part.labels)
        for part in splits.parts
    }


def pixels(part, size=(16, 16)):
    batches = list(image_dataset(part, size, batch_size=4).as_numpy_iterator())
    return np.concatenate([images for images, _ in batches])


def one_hot(labels):
    return np.eye(3, dtype=np.float32)[labels]


def as_dataset(images, labels):
    return tf.data.Dataset.from_tensor_slices((images, labels))


FORMS = {
    "arrays": lambda x, y: (x, y),
    "float arrays": lambda x, y: (x.astype(np.float32), y.astype(np.float64)),
    "one-hot": lambda x, y: (x, one_hot(y)),
    "columns": lambda x, y: (x, y[:, None]),
    "names": lambda x, y: (x, np.array(CLASSES)[y]),
    "lists": lambda x, y: (list(x), list(y)),
    "dataset": lambda x, y: as_dataset(x, y),
    "batches": lambda x, y: as_dataset(x, y).batch(4),
    "one-hot batches": lambda x, y: as_dataset(x, one_hot(y)).batch(4),
    "encoded": lambda x, y: as_dataset(x, y).map(lambda a, b: (tf.io.encode_png(a), b)),
    "PyDataset": lambda x, y: Batches(x, y),
    "one-hot PyDataset": lambda x, y: Batches(x.astype(np.float32), one_hot(y)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_source_gives_the_splits_of_the_folder(splits, arrays, form):
    made = {name: FORMS[form](*pair) for name, pair in arrays.items()}
    for source in (made, tuple(made.values())):
        found = read_data(source, class_names=CLASSES)
        assert found.class_names == CLASSES
        assert not found.held_back
        for part, expected in zip(found.parts, splits.parts, strict=True):
            assert part.name == expected.name
            np.testing.assert_array_equal(part.labels, expected.labels)
            assert part.labels.dtype == np.int32
            np.testing.assert_array_equal(pixels(part), pixels(expected))


@pytest.mark.parametrize("form", ["arrays", "dataset", "PyDataset"])
def test_without_validation_the_split_is_that_of_a_folder_in_the_same_order(tmp_path, form):
    whole = read_folder(write_pictures(tmp_path, 10), seed=2)
    every = joined([whole.train, whole.validation])
    order = np.argsort([each.path for each in every.files])
    every = every.select(order)
    images = np.stack([decode_image(each) for each in every.files])
    found = read_data(FORMS[form](images, every.labels), seed=2, class_names=CLASSES)
    assert found.held_back
    assert "6 of 30 images" in found.notes[0]
    np.testing.assert_array_equal(pixels(found.validation), pixels(whole.validation))
    np.testing.assert_array_equal(pixels(found.train), pixels(whole.train))


@pytest.mark.parametrize("form", ["dataset", "batches", "PyDataset"])
@pytest.mark.parametrize("shape", [(20, 24), (20, 24, 1)])
def test_grey_images_become_rgb(form, shape):
    grey = np.random.default_rng(0).integers(0, 256, (6, *shape), dtype=np.uint8)
    labels = np.array([0, 1] * 3)
    for source in (FORMS[form](grey, labels), (grey, labels)):
        part, _, _ = read_labelled(source, ("0", "1"))
        expected = np.repeat(grey.reshape(6, 20, 24, 1), 3, axis=-1)
        np.testing.assert_array_equal(pixels(part, (20, 24)), expected)


def test_uint8_arrays_are_not_copied():
    images = np.zeros((10, 8, 8, 3), np.uint8)
    part = read_data((images, np.arange(10) % 2)).train
    assert np.shares_memory(part.images.content(0), images)


def test_dataset_is_read_once_and_goes_to_a_file_over_the_budget(arrays, monkeypatch):
    monkeypatch.setattr(held_images.HeldBuilder.__init__, "__defaults__", (0.001,))
    passes = []

    def generate():
        passes.append(1)
        yield from zip(*arrays["train"], strict=True)

    signature = (tf.TensorSpec((20, 24, 3), tf.uint8), tf.TensorSpec((), tf.int32))
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    part = read_data({"train": dataset, "validation": arrays["validation"]}).train
    assert isinstance(part.images._contents[0], np.memmap)
    for _ in range(2):
        np.testing.assert_array_equal(pixels(part, (20, 24)), arrays["train"][0])
    assert passes == [1]


def test_full_disk_is_named(arrays, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(held_images.HeldBuilder.__init__, "__defaults__", (0.001,))
    monkeypatch.setattr(held_images.tempfile, "TemporaryFile", full)
    with pytest.raises(InputError, match=r"MB of disk in .*No space left.*Does the dataset end\?"):
        read_data(as_dataset(*arrays["train"]))


def test_parts_of_different_kinds_go_together(splits, arrays, tmp_path):
    found = read_data(
        {"Training": tmp_path / "train", "val": arrays["validation"], "test": tmp_path}
    )
    assert found.class_names == CLASSES
    assert [len(part) for part in found.parts] == [9, 9, 9]
    np.testing.assert_array_equal(pixels(found.test), pixels(splits.test))
    part, _, _ = read_labelled({"train": tmp_path / "train", "val": arrays["validation"]}, CLASSES)
    assert part.name == "validation"


def test_same_image_in_two_parts_of_arrays_is_noted(arrays):
    images, labels = arrays["train"]
    found = read_data({"train": (images, labels), "validation": (images[2:3], labels[2:3])})
    shared = [note for note in found.notes if "in both train and validation" in note]
    assert shared == [
        "1 image is in both train and validation, e.g. 'image 2 of the data' and 'image 0 of the "
        "validation data'"
    ]


def test_encoded_images_that_cannot_be_read_are_skipped_and_named(arrays):
    images, labels = arrays["train"]
    encoded = [tf.io.encode_png(each).numpy() for each in images]
    encoded[1], encoded[4] = b"<html>", encoded[4][:-300]
    source = as_dataset(np.array(encoded, object), labels)
    part, skipped, _ = read_labelled(source, CLASSES)
    assert [(each.path, each.reason) for each in skipped] == [
        ("image 1 of the data", "not an image: HTML text")
    ]
    np.testing.assert_array_equal(part.labels, np.delete(labels, 1))
    np.testing.assert_array_equal(pixels(part, (20, 24)), np.delete(images, [1, 4], axis=0))
    (failed,) = explain_failures(part, [3])
    assert failed.path == "image 4 of the data"
    assert failed.reason.startswith("truncated PNG")


def test_parts_of_arrays_select_join_and_fingerprint_like_those_of_files(arrays):
    part = read_data(arrays).train
    chosen = part.select([4, 0])
    np.testing.assert_array_equal(pixels(chosen, (20, 24)), arrays["train"][0][[4, 0]])
    assert chosen.images.name(0) == "image 4 of the data"
    assert joined([chosen, part]).images.name(2) == "image 0 of the data"
    np.testing.assert_array_equal(
        pixels(joined([chosen, part]), (20, 24))[2:], pixels(part, (20, 24))
    )
    test = read_data(arrays).test
    both = pixels(joined([part, test]), (20, 24))
    np.testing.assert_array_equal(both[len(part) :], arrays["test"][0])
    again = read_data(arrays).train
    backwards = again.select(np.arange(len(again))[::-1])
    assert part.content_digest() == again.content_digest() != backwards.content_digest()
    assert part.fingerprint() == backwards.fingerprint() != chosen.fingerprint()
    with pytest.raises(InputError, match="the train part has no files"):
        _ = part.files


def test_images_to_predict_need_no_labels(arrays):
    images, labels = arrays["test"]
    alone = tf.data.Dataset.from_tensor_slices(images)
    for source in (alone, alone.batch(2), as_dataset(images, labels), (images, labels), arrays):
        part, skipped = read_images(source)
        np.testing.assert_array_equal(pixels(part, (20, 24)), images)
        assert (part.name, set(part.labels), skipped) == ("prediction", {-1}, ())


def test_lists_and_pairs_of_arrays_are_images(arrays):
    images = arrays["test"][0]
    np.testing.assert_array_equal(pixels(read_images(list(images))[0], (20, 24)), images)
    pair = read_images((images[0], images[1]))[0]
    np.testing.assert_array_equal(pixels(pair, (20, 24)), images[:2])
    match = r"two arrays are images and labels, got the shapes \(\d+, 20, 24, 3\) and \(2,\)"
    with pytest.raises(InputError, match=match):
        read_images((images, [0, 1]))


X, Y = np.full((6, 8, 8, 3), 200, np.uint8), np.array([0, 1] * 3)
HALF = np.linspace(0, 1, 6 * 192, dtype=np.float32).reshape(6, 8, 8, 3)

BAD_ARRAYS = {
    "rank": ((X[0, 0], Y), r"has the shape \(8, 3\); expected RGB \(n, height, width, 3\)"),
    "channels": ((np.zeros((6, 8, 8, 2), np.uint8), Y), r"has the shape \(6, 8, 8, 2\)"),
    "empty": ((X[:0], Y[:0]), r"has the shape \(0, 8, 8, 3\)"),
    "dtype": ((X.astype(str), Y), "has the dtype <U3; expected RGB .*uint8 or float"),
    "ragged": (([X[0], [[1], [2, 3]]], [0, 1]), "image 1 of the data holds images of different"),
    "scaled": ((HALF, Y), r"values from 0 to 1: they look scaled to \[0, 1\]; multiply by 255"),
    "centred": ((HALF * 2 - 1, Y), r"values from -1 to 1: they look scaled to \[-1, 1\]"),
    "too large": ((X.astype(int) + 100, Y), r"must be RGB in \[0, 255\], got values from 300"),
    "nan pixel": ((np.where(HALF > 0.5, np.nan, HALF), Y), "must be finite, got nan"),
    "counts": ((X, Y[:5]), r"has 6 images of shape \(8, 8, 3\) and 5 labels"),
    "nan label": ((X, np.array([0, 1, np.nan, 1, 0, 1])), "label 2 of the data is nan"),
    "fraction": ((X, Y / 2), r"must be integers, got 0\.5 at 1"),
    "negative": ((X, Y - 1), r"label -1 of the data \(at 0\) lies outside the class range"),
    "gap": ((X, Y * 2), "go up to 2, but there is no image of 1: labels must be 0, 1"),
    "huge": ((X, Y * 10**12), "go up to 1000000000000, but there is no image of 1"),
    "soft": ((X, np.full((6, 2), 0.5)), r"label 0 of the data is \[0\.5, 0\.5\]: expected a one"),
    "complex": ((X, Y.astype(complex)), r"must be integers .*, got complex128 of shape \(6,\)"),
    "label rank": ((X, np.zeros((6, 2, 2))), r"got float64 of shape \(6, 2, 2\)"),
    "no name": ((X, np.array(["a", None] * 3, object)), "label 1 of the data is None: expected a"),
    "one class": ((X, Y * 0), "has only one class, '0': expected at least two"),
    "too few": ((X, np.array([0, 0, 0, 0, 0, 1])), "class '1' has 1 image to train on: at least 2"),
    "no labels": (X, r"images of shape \(6, 8, 8, 3\) come without labels; expected a folder"),
    "number": (7, "cannot read images from int 7; expected a folder, a CSV file"),
    "no train": ({"val": (X, Y)}, "has the parts 'validation' but no train"),
    "part": ({"train": (X, Y), "more": (X, Y)}, "unknown part 'more': did you mean"),
    "twice": ({"train": (X, Y), "val": 1, "validation": 1}, "two parts named validation"),
    "no parts": ({}, "the data has no parts"),
    "nested": ({"train": {"train": (X, Y)}}, "the train part is made of parts again"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_arrays_that_cannot_be_used_are_refused(case):
    source, match = BAD_ARRAYS[case]
    with pytest.raises(InputError, match=match):
        read_data(source)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ("ab", "class_names must be several strings, got 'ab'"),
        ([1, 2], r"class_names must be several strings, got \[1, 2\]"),
        (["a", "a"], "two or more different names: 'a' come twice"),
        (["a"], "two or more different names: got 1"),
        (["a", "b"], None),
        (["a", "b", "c"], "class 'c' has no images to train on"),
    ],
)
def test_class_names_fit_the_labels(names, match):
    if match is None:
        assert read_data((X, Y), class_names=names).class_names == tuple(names)
        return
    with pytest.raises(InputError, match=match):
        read_data((X, Y), class_names=names)


def test_labels_outside_the_class_range_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"label 2 .*\(at 1, one of 3\).*range 0 to 1 of the 2"):
        read_data((X, Y * 2), class_names=["a", "b"])
    with pytest.raises(InputError, match="one-hot labels of the data have 3 classes, class_names"):
        read_data((X, one_hot(Y)), class_names=["a", "b"])
    with pytest.raises(InputError, match=r"unknown class 'b': did you mean"):
        read_labelled((X, np.array(["a", "b"] * 3)), ("a", "c"))
    with pytest.raises(InputError, match="class_names are 'a', 'b', but the classes of"):
        read_data(write_pictures(tmp_path, 2), class_names=["a", "b"])


def test_integers_are_names_where_the_classes_are_numbers_in_another_order():
    # A folder of 11 classes sorts them as "0", "1", "10", "2", ...
    names = tuple(sorted(str(each) for each in range(11)))
    part, _, _ = read_labelled((X[:3], np.array([2, 10, 0])), names)
    assert [names[label] for label in part.labels] == ["2", "10", "0"]


class Endless(Batches):
    @property
    def num_batches(self):
        return None


class Uneven(Batches):
    def __getitem__(self, index):
        return self.images[:2], np.array([0, 1]) if index else np.eye(2)


def unbatched(*elements):
    return tf.data.Dataset.from_tensors(elements)


BAD_DATASETS = {
    "repeat": (lambda: as_dataset(X, Y).repeat(), "infinite length .it repeats for ever.: leave"),
    "PyDataset": (lambda: Endless(X, Y), "is of infinite length .it has no number of batches"),
    "empty": (lambda: as_dataset(X, Y).take(0), "the data is empty: expected elements"),
    "no label": (lambda: tf.data.Dataset.from_tensor_slices(X), "has elements without a label"),
    "weights": (lambda: unbatched(X, Y, Y), r"elements of 3 values \(sample weights are not"),
    "keys": (
        lambda: tf.data.Dataset.from_tensor_slices({"image": X, "label": Y}),
        r"has elements with the keys 'image', 'label'; .*map them to",
    ),
    "rank": (lambda: as_dataset(X[:, 0, 0], Y), r"has an image of shape \(3,\)"),
    "text": (lambda: Batches(X.astype("U3"), Y), "has the dtype <U3"),
    "counts": (lambda: unbatched(X, Y[:2]), r"has 6 images with labels of shape \(2,\) in one"),
    "shapes": (lambda: Uneven(X, Y), "has labels of different shapes"),
    "scaled": (lambda: as_dataset(HALF, Y), r"the data: images must be RGB .*scaled to \[0, 1\]"),
    "error": (
        lambda: as_dataset(X, Y).map(lambda x, y: (tf.reshape(x, (y, -1)), y)),
        "cannot be read to its end",
    ),
}


@pytest.mark.parametrize("case", BAD_DATASETS)
def test_datasets_that_cannot_be_used_are_refused(case):
    make, match = BAD_DATASETS[case]
    with pytest.raises(InputError, match=match):
        read_data(make())


def test_endless_generator_is_stopped(monkeypatch):
    monkeypatch.setattr(dataset_reader, "MOST_IMAGES", 20)

    def generate():
        while True:
            yield X[0], 1

    signature = (tf.TensorSpec((8, 8, 3), tf.uint8), tf.TensorSpec((), tf.int32))
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    with pytest.raises(InputError, match=r"infinite length \(it has given more than 20 images\)"):
        read_data(dataset)


def test_part_of_plain_image_files_is_still_one(splits):
    files = tuple(splits.train.files)
    part = Part("train", files, splits.train.labels)
    assert part.files == files
    np.testing.assert_array_equal(pixels(part), pixels(splits.train))


class Camera:
    """A source that nobody has thought of."""


class CameraSource(Arrays):
    """What it has taken."""

    name = "camera 1"

    @classmethod
    def accepts(cls, data, *, labelled):
        return isinstance(data, Camera)

    def __init__(self, data, source_of):
        labels = np.repeat([0, 1], 6)
        super().__init__(
            (np.arange(12 * 192, dtype=np.uint8).reshape(12, 8, 8, 3), labels), source_of
        )


def test_a_new_kind_of_source_is_a_class_and_a_line_in_the_list(monkeypatch):
    for read in (read_data, read_images):
        with pytest.raises(InputError, match=r"cannot read images from Camera <"):
            read(Camera())
    monkeypatch.setattr(front, "KINDS", (CameraSource, *front.KINDS))
    splits = read_data(Camera(), seed=1)
    assert (len(splits.train), len(splits.validation), splits.source) == (10, 2, "camera 1")
    assert record_of(Camera(), splits)["source"] == "camera 1"
    assert len(read_data({"train": Camera(), "val": Camera()}).validation) == 12
    assert read_labelled({"test": Camera()}, ("0", "1"))[0].name == "test"
    assert len(read_images(Camera())[0]) == 12
    assert examine(Camera()).counts["train"] == {"0": 5, "1": 5}


def test_tfds_that_is_not_installed_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match=r"'tfds:mnist' needs .*pip install \"ktransfer\[tfds\]\""):
        read_data("tfds:mnist")
