"""Names that look alike are said: of class folders, of labels in tables, of files."""

import unicodedata

import pytest
from conftest import write_pictures

from ktransfer import examine
from ktransfer.data import read_data, read_labelled
from ktransfer.data.reading.look_alikes import difference, look_alikes
from ktransfer.errors import InputError

NFC = unicodedata.normalize("NFC", "caf\u00e9")
NFD = unicodedata.normalize("NFD", NFC)

TWINS = {
    "capitals": ("Ants", "ants"),
    "blanks": ("ants", "ants "),
    "how accents are written, Unicode NFC and NFD": (NFC, NFD),
    "blanks, hyphens and underscores": ("red_fox", "red fox"),
}


@pytest.mark.parametrize("words", TWINS)
def test_class_folders_that_look_alike_are_noted_and_found_by_the_doctor(tmp_path, words):
    twins = TWINS[words]
    write_pictures(tmp_path, 2, classes=["red"])
    for seed, name in enumerate(twins):
        (write_pictures(tmp_path, 2, classes=["blue"], seed=seed) / "blue").rename(tmp_path / name)
    splits = read_data(tmp_path)
    assert len(splits.class_names) == 3
    (note,) = (each for each in splits.notes if "look alike" in each)
    assert f"differ in {words}: they are read as 2 classes" in note
    (finding,) = (each for each in examine(tmp_path).findings if each.kind == "look_alike")
    assert finding.severity == "warning"
    assert finding.reasons == (f"they differ in {words}",)
    assert set(finding.paths[0]) == {str(tmp_path / name) for name in twins}


def test_what_print_does_not_show_is_spelt_out(tmp_path):
    for name in (NFC, NFD):
        (write_pictures(tmp_path, 2, classes=["blue"]) / "blue").rename(tmp_path / name)
    (note,) = (each for each in read_data(tmp_path).notes if "look alike" in each)
    assert "'caf\\xe9'" in note
    assert "'cafe\\u0301'" in note


def test_labels_that_look_alike_are_noted_and_blanks_around_them_left_out(tmp_path):
    write_pictures(tmp_path, 6, classes=["red"])
    labels = ["Red", "red", "Red  ", "red", "Red", "red"]
    lines = [f"red/{at:03}.png,{label}" for at, label in enumerate(labels)]
    (tmp_path / "photos.csv").write_text("\n".join(["path,label", *lines]))
    splits = read_data(tmp_path / "photos.csv")
    assert splits.class_names == ("Red", "red")
    assert any("blanks around labels" in each and "'Red  '" in each for each in splits.notes)
    assert any("'Red' and 'red' look alike" in each for each in splits.notes)


def test_parts_and_runs_whose_classes_only_look_the_same_are_told_why(tmp_path):
    for part, name in (("train", NFC), ("val", NFD)):
        write_pictures(tmp_path / part, 2, classes=["blue", "red"])
        (tmp_path / part / "blue").rename(tmp_path / part / name)
    with pytest.raises(InputError, match=r"different class folders.*look alike and differ in how"):
        read_data(tmp_path)
    with pytest.raises(InputError, match=r"unknown class folder .*look alike and differ in how"):
        read_labelled(tmp_path / "val", (NFC, "red"))
    with pytest.raises(InputError, match=r"class_names are .*look alike and differ in capitals"):
        read_data(tmp_path / "val", class_names=(NFD, "Red"))


def test_files_that_are_one_on_other_systems_are_odd_names(tmp_path):
    write_pictures(tmp_path, 3, classes=["blue", "red"])
    (tmp_path / "red" / "000.png").rename(tmp_path / "red" / "A.png")
    (tmp_path / "red" / "001.png").rename(tmp_path / "red" / "a.png")
    (tmp_path / "blue" / "000.png").rename(tmp_path / "blue" / "end .png ")
    (finding,) = (each for each in examine(tmp_path).findings if each.kind == "odd_name")
    found = dict(zip(finding.paths, finding.reasons, strict=True))
    assert found[(str(tmp_path / "red" / "a.png"),)] == "differs from 'A.png' in capitals only"
    assert found[(str(tmp_path / "blue" / "end .png "),)] == "blanks at an end"


def test_names_that_differ_to_the_eye_are_left_alone():
    names = ["ants", "bees", "1-1", "11", "-1", "1", "class 1", "class 2", "r\u00e9d", "red"]
    assert look_alikes(names) == []
    assert difference(("a b", "a\u200bb")) == "capitals, blanks or characters that cannot be seen"
