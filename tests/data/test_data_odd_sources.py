"""What is no source, or nearly one: told what to give instead."""

import numpy as np
import pandas
import pytest
from conftest import write_pictures

from ktransfer import examine
from ktransfer.data import read_data
from ktransfer.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
LABELS = np.arange(12) % 2


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("https://a.org/photos.zip", "it is an address, and nothing is downloaded"),
        ("file:///photos", "it is an address"),
        ("", "the path is empty: give '.'"),
        ("~/photos", "are not replaced here: give '/home/of/mine/photos'"),
        ("$PLACE/photos", "are not replaced here: give '/data/photos'"),
        ("pictures/*", "it fits 'pictures/blue', 'pictures/green', 'pictures/red'"),
        ("picture", r"did you mean 'pictures'\?"),
    ],
)
def test_a_path_that_is_none_is_told_what_it_is(tmp_path, monkeypatch, path, match):
    monkeypatch.setenv("HOME", "/home/of/mine")
    monkeypatch.setenv("PLACE", "/data")
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "pictures", 1)
    with pytest.raises(InputError, match=f"no such folder: .*{match}"):
        read_data(path)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ((IMAGES, LABELS, IMAGES, LABELS), r"give \(\(x, y\), \(x_val, y_val\)\)"),
        ([(IMAGES[0], 0), (IMAGES[1], 1)], r"two lists: tuple\(map\(list, zip\(\*pairs\)\)\)"),
        (["photos/a", "photos/b"], "a dict with a path for each part"),
        ({"x": IMAGES, "y": LABELS}, r"Give a pair, \(data\['x'\], data\['y'\]\)"),
        ({"labels": LABELS, "images": IMAGES}, r"\(data\['images'\], data\['labels'\]\)"),
        ({"cats": "a", "dogs": "b"}, r"unknown part 'cats': did you mean [^?]*\?$"),
    ],
)
def test_other_forms_of_images_and_labels_are_told_how_to_give(data, match):
    with pytest.raises(InputError, match=match) as caught:
        read_data(data)
    assert "\n" not in str(caught.value)


def test_the_forms_that_messages_name_are_read():
    pairs = list(zip(IMAGES, LABELS.tolist(), strict=True))
    for data in (tuple(map(list, zip(*pairs, strict=True))), (IMAGES, LABELS)):
        assert read_data(data).class_names == ("0", "1")


@pytest.mark.parametrize("missing", [None, pandas.NA])
def test_missing_labels_of_arrays_are_named_with_what_to_do(missing):
    for labels in ([0, 1, missing] * 4, ["a", "b", missing] * 4):
        with pytest.raises(InputError, match=r"label 2 of the data is (None|<NA>).*leave out what"):
            read_data((IMAGES, labels))


def test_whole_numbers_as_text_are_one_class_however_they_are_written():
    of_text = read_data((IMAGES, [f"{each}.0" for each in LABELS]))
    plain = read_data((IMAGES, LABELS))
    assert of_text.class_names == plain.class_names == ("0", "1")
    assert of_text.train.labels.tolist() == plain.train.labels.tolist()
    named = read_data((IMAGES, [f"{each}.0" for each in LABELS]), class_names=["0.0", "1.0"])
    assert named.class_names == ("0.0", "1.0")


def test_the_doctor_says_where_classes_may_be_that_are_in_no_folders(tmp_path):
    pictures = write_pictures(tmp_path / "pictures", 3, classes=("red", "blue"))
    for file in list(pictures.rglob("*.png")):
        file.rename(pictures / f"{file.parent.name}_{file.name}")
    (found,) = (each for each in examine(pictures).findings if each.kind == "few_classes")
    assert "begin with 'blue', 'red': if these are the classes" in found.advice
