"""Images that nothing holds: the pixels, the order and the views of those that are held."""

import itertools
import os

import numpy as np
import pytest
import tensorflow as tf
from conftest import write_pictures

from ktransfer import RunError
from ktransfer.data import image_dataset, read_folder
from ktransfer.data.batches.rows import in_pieces, ordered_batches, shuffled_batches
from ktransfer.data.batches.streaming import ImageRows, faults_named

SIZE = (16, 12)


@pytest.fixture
def part(tmp_path):
    return read_folder(write_pictures(tmp_path / "pictures", 9)).train


@pytest.fixture
def images(part):
    return np.concatenate([batch for batch, _ in image_dataset(part, SIZE)])


def test_rows_are_the_decoded_images_however_they_are_picked(part, images):
    rows = ImageRows(part, SIZE)
    assert (rows.shape, rows.dtype, len(rows)) == (images.shape, images.dtype, len(images))
    for picked in (slice(None), slice(3, 7), slice(0), np.array([5, 0, 5])):
        found = rows[picked]
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, images[picked])


def test_pieces_are_those_of_the_held_images_in_order(part, images):
    for values in (ImageRows(part, SIZE), images):
        pieces = list(in_pieces(values, 4))
        assert [len(each) for each in pieces] == [4] * (len(part) // 4) + [len(part) % 4]
        np.testing.assert_array_equal(np.concatenate(pieces), images)


def assert_same(found, expected, count):
    pairs = zip(found.take(count), expected.take(count), strict=True)
    for (values, labels), (held, held_labels) in pairs:
        np.testing.assert_array_equal(values, held)
        np.testing.assert_array_equal(labels, held_labels)


def test_ordered_batches_are_those_of_the_held_images(part, images):
    batches = [
        ordered_batches(values, part.labels, batch_size=4)
        for values in (ImageRows(part, SIZE), images)
    ]
    assert_same(*batches, 100)
    assert batches[0].element_spec == batches[1].element_spec


def brighter(image, row, view):
    return tf.cast(image, tf.float32) + tf.cast(row + 1000 * view, tf.float32)


@pytest.mark.parametrize(
    "options",
    [{}, {"render": brighter, "views": None}, {"render": brighter, "views": 3}],
    ids=["plain", "endless views", "three views"],
)
def test_every_epoch_is_that_of_the_held_images(part, images, options):
    batches = [
        shuffled_batches(values, part.labels, batch_size=5, seed=3, first_epoch=1, **options)
        for values in (ImageRows(part, SIZE), images)
    ]
    assert_same(*batches, 3 * (len(part) // 5 + 1))


def test_a_file_is_read_again_in_every_epoch(part):
    batches = iter(ordered_batches(ImageRows(part, SIZE), part.labels, batch_size=3).repeat())
    list(itertools.islice(batches, len(part) // 3))
    for file in part.files:
        os.unlink(file.path)
    with pytest.raises(tf.errors.OpError):
        list(itertools.islice(batches, len(part)))


def test_an_image_that_can_no_longer_be_read_is_an_error_that_names_it(part):
    rows = ImageRows(part, SIZE)
    os.unlink(part.files[2].path)
    name = os.path.basename(part.files[2].path)
    with pytest.raises(
        RunError, match=f"cannot be read now: .*{name}': does not exist.*resume=True"
    ):
        rows[:4]


def test_an_image_that_was_replaced_is_named_where_a_pass_ends(part):
    part.images.digests()
    rows, path = ImageRows(part, SIZE), part.files[3].path
    with open(path, "ab") as file:
        file.write(b"more")
    batches = ordered_batches(rows, part.labels, batch_size=4)
    said = f"{os.path.basename(path)}': its bytes are not those of before"
    with pytest.raises(RunError, match=said), faults_named([rows]):
        list(batches)


def test_errors_that_are_none_of_an_image_are_left_as_they_are(part):
    with pytest.raises(KeyError, match="'other'"), faults_named([ImageRows(part, SIZE)]):
        raise KeyError("other")
