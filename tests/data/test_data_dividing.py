import dataclasses

import numpy as np
import pytest
from conftest import write_pictures

from ktransfer import InputError
from ktransfer.data import read_data
from ktransfer.data.reading.dividing import folds_of, in_fold

NAMES = ("ant", "bee", "cat")


def some_labels(counts=(11, 7, 5)):
    labels = np.repeat(np.arange(3, dtype=np.int32), counts)
    return np.random.default_rng(1).permutation(labels)


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_are_stratified_and_of_one_size(folds):
    labels = some_labels()
    found = folds_of(labels, NAMES, folds, 0)
    table = np.zeros((3, folds), int)
    np.add.at(table, (labels, found), 1)
    assert table.sum(axis=1).tolist() == [11, 7, 5]
    assert (np.ptp(table, axis=1) <= 1).all(), "of each class"
    assert np.ptp(table.sum(axis=0)) <= 1, "and in all"


def test_folds_are_drawn_and_the_same_for_a_seed():
    labels = some_labels((60, 60, 60))
    one, again, other = (folds_of(labels, NAMES, 5, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.5
    ants = one[labels == 0]
    assert not np.array_equal(ants, np.arange(60) % 5), "not simply in turn"
    assert np.bincount(ants).tolist() == [12] * 5


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        (1, "folds must be at least 2, got 1"),
        (6, "folds=6, but class 'cat' has 5 images in train and validation: give at most 5"),
    ],
)
def test_folds_that_cannot_be_are_refused(folds, message):
    with pytest.raises(InputError, match=message):
        folds_of(some_labels(), NAMES, folds, 0)


def digests(part):
    return [each.tobytes() for each in part.images.digests()]


def test_each_image_is_held_back_once_and_the_test_part_never(tmp_path):
    splits = read_data(write_pictures(tmp_path / "photos", 9))
    spare = splits.train.select([0, 12])
    splits = dataclasses.replace(splits, test=dataclasses.replace(spare, name="test"))
    every = sorted(digests(splits.train) + digests(splits.validation))
    held = []
    for fold in range(4):
        one = in_fold(splits, 4, fold, 3)
        assert one.test is splits.test
        assert (one.train.name, one.validation.name) == ("train", "validation")
        assert sorted(digests(one.train) + digests(one.validation)) == every
        for part in one.parts:
            folders = [part.images.raw_path(at).split(b"/")[-2].decode() for at in range(len(part))]
            assert folders == [splits.class_names[label] for label in part.labels]
        held += digests(one.validation)
    assert sorted(held) == every


def test_parts_of_two_kinds_make_no_folds(tmp_path):
    random = np.random.default_rng(0)
    arrays = random.integers(0, 256, (9, 16, 16, 3), np.uint8), np.arange(9) % 3
    folder = write_pictures(tmp_path / "photos", 4)
    names = sorted(each.name for each in folder.iterdir())
    splits = read_data({"train": folder, "validation": arrays}, class_names=names)
    with pytest.raises(InputError, match="one lie in files and those of the other in memory"):
        in_fold(splits, 2, 0, 0)
