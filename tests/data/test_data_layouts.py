"""Folders as people have them: which are parts, which are classes, and what is said of it."""

import os

import numpy as np
import pytest
from PIL import Image

from ktransfer import examine
from ktransfer.data import read_data, read_folder, read_labelled, read_listing, read_paths
from ktransfer.data.reading.arranging import arranged
from ktransfer.data.reading.part_names import part_of
from ktransfer.errors import InputError

PETS = ("cats", "dogs")


def write(root, **folders):
    """Folders, by their names with / between, with so many images each, all different."""
    for at, (name, count) in enumerate(folders.items()):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = np.random.default_rng([at, number]).integers(0, 256, (4, 5, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return root


def nested(*levels, count=2):
    """Names of folders in folders: each of the first level holds each of the second, and so on."""
    names = [""]
    for level in levels:
        names = [os.path.join(name, each) for name in names for each in level]
    return dict.fromkeys(names, count)


def sizes(splits):
    return {part.name: len(part) for part in splits.parts}


def counts(listing):
    return {
        part: {name: len(files) for name, files in reading.by_class.items()}
        for part, reading in listing.parts.items()
    }


def note(splits, *words):
    """The one note that has all of the words."""
    (found,) = (each for each in splits.notes if all(word in each for word in words))
    return found


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train", "train"),
        ("TRAINING_SET", "train"),
        ("training-data", "train"),
        ("seg_train", "train"),
        ("TrainSet", "train"),
        ("train_images", "train"),
        ("train2017", "train"),
        ("1_train", "train"),
        ("val", "validation"),
        ("Valid", "validation"),
        ("validation set", "validation"),
        ("dev", "validation"),
        ("testing", "test"),
        ("test_set", "test"),
        ("seg_test", "test"),
        ("eval", "test"),
        ("invalid", None),
        ("train station", None),
        ("test tube", None),
        ("training wheels", None),
        ("trainer", None),
        ("train_test", None),
        ("cats", None),
        ("set", None),
        ("", None),
    ],
)
def test_parts_are_known_by_what_people_call_them(name, part):
    assert part_of(name) == part


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("training_set", "validation_set", "test_set"),
        ("seg_train/seg_train", "seg_val/seg_val", "seg_test/seg_test"),
        ("Train", "dev", "EVAL"),
        ("train/images", "valid/images", "test/images"),
        ("archive/photos/train", "archive/photos/val", "archive/photos/test"),
        ("flowers_train", "flowers_val", "flowers_test"),
    ],
)
def test_parts_are_found_and_what_is_not_plain_is_noted(tmp_path, train, validation, test):
    for count, part in zip((3, 2, 1), (train, validation, test), strict=True):
        write(tmp_path, **nested([part], PETS, count=count))
    splits = read_data(tmp_path)
    assert splits.class_names == PETS
    assert sizes(splits) == {"train": 6, "validation": 4, "test": 2}
    assert any(os.path.basename(train) in each for each in splits.notes)
    assert counts(read_listing(tmp_path)) == {
        part: dict.fromkeys(PETS, count)
        for part, count in (("train", 3), ("validation", 2), ("test", 1))
    }
    part, _, _ = read_labelled(tmp_path, PETS)
    assert (part.name, len(part)) == ("test", 2)


def test_plain_layouts_are_read_without_a_word(tmp_path):
    write(tmp_path, **nested(["train", "val", "test"], PETS))
    assert read_data(tmp_path).notes == ()


def test_classes_with_the_parts_inside_are_read_as_parts(tmp_path):
    write(tmp_path, **nested(PETS, ["train"], count=3), **nested(PETS, ["val"]))
    for names in (None, PETS[::-1]):
        splits = read_data(tmp_path, class_names=names)
        assert sizes(splits) == {"train": 6, "validation": 4}
        assert set(splits.class_names) == set(PETS)
        for part in splits.parts:
            for file, label in zip(part.files, part.labels, strict=True):
                folder = "train" if part.name == "train" else "val"
                assert f"/{splits.class_names[label]}/{folder}/" in file.path
        assert note(splits, "'cats', 'dogs' are read as classes", "train, validation")
    part, _, notes = read_labelled(tmp_path, PETS)
    assert (part.name, len(part)) == ("validation", 4)
    assert any("are read as classes" in each for each in notes)


@pytest.mark.parametrize(
    ("folders", "both"),
    [
        (nested(["fold_0", "fold_1"], PETS), (("fold_0", "fold_1"), PETS)),
        (nested(["site a", "site b"], PETS), (("site a", "site b"), PETS)),
        (nested(PETS, ["2021", "2022"]), (PETS, ("2021", "2022"))),
        (nested(["train"], ["fold_0", "fold_1"], PETS), (("fold_0", "fold_1"), PETS)),
    ],
)
def test_folders_that_all_hold_the_same_folders_are_read_as_class_names_say(
    tmp_path, folders, both
):
    write(tmp_path, **folders)
    for names in both:
        splits = read_data(tmp_path, class_names=names)
        assert splits.class_names == names
        assert sum(sizes(splits).values()) == 8
        for file, label in zip(splits.train.files, splits.train.labels, strict=True):
            assert f"/{names[label]}/" in file.path
    with pytest.raises(InputError, match="can be read in two ways: as classes") as caught:
        read_data(tmp_path)
    for names in both:
        assert f"class_names=[{', '.join(map(repr, names))}]" in str(caught.value)


def test_folds_can_be_given_as_parts(tmp_path):
    write(tmp_path, **nested(["fold_0", "fold_1"], PETS))
    with pytest.raises(InputError, match=r"give them as parts: \{'train': '.*fold_0', 'valid"):
        read_data(tmp_path)
    splits = read_data({"train": tmp_path / "fold_0", "validation": tmp_path / "fold_1"})
    assert sizes(splits) == {"train": 4, "validation": 4}
    # The classes of a run tell which reading is meant.
    part, _, notes = read_labelled(tmp_path, PETS)
    assert len(part) == 8
    assert any("are read together" in each for each in notes)


@pytest.mark.parametrize(
    ("folders", "match"),
    [
        ({"fold_0": 2, "fold_1": 2}, "'fold_0', 'fold_1' as folds of images without classes"),
        ({"train/cv1": 2, "train/cv2": 2}, "'cv1', 'cv2' as folds of images without classes"),
        (
            nested(["a", "b"], ["train", "val"], PETS),
            "as sets of the parts 'train', 'val' with the classes 'cats', 'dogs'.*or give one of",
        ),
        (
            dict.fromkeys(["cats_train", "cats_test", "dogs_train", "dogs_test"], 2),
            "as classes and parts in one name 'cats', 'dogs'",
        ),
        (
            {**dict.fromkeys(["a", "b", "c"], 2), **nested(["whole"], ["a", "b", "c"])},
            "'whole' in it has folders of the same names: it looks like a copy",
        ),
        (
            {"bus": 2, "car": 2, **nested(["train"], ["steam", "diesel"])},
            "as classes 'bus', 'car', 'train', or 'train' as parts with the classes 'diesel', 'st",
        ),
        (
            {"ants": 2, "bees": 2, "test": 2},
            "or without 'test', which has no class folders, as classes 'ants', 'bees'",
        ),
        (
            {"test": 2, **nested(["labeled"], PETS)},
            "or without 'test', which has no class folders, as classes 'labeled'",
        ),
        (
            {"val": 2, **nested(["train"], PETS)},
            "val' holds images and no class folders: sort them .* held back for validation",
        ),
        (nested(["train", "val", "dev"], PETS), "has 'dev', 'val', all of them names for valid"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_and_the_doctor_says_why(tmp_path, folders, match):
    write(tmp_path, **folders)
    with pytest.raises(InputError, match=match):
        read_data(tmp_path)
    assert read_listing(tmp_path).fault is not None


def test_classes_may_be_named_as_parts_and_class_names_settle_it(tmp_path):
    vehicles = write(tmp_path / "vehicles", train=2, bus=2, car=2)
    splits = read_data(vehicles)
    assert splits.class_names == ("bus", "car", "train")
    assert note(splits, "train' is read as a class, not as a part")
    assert read_data(write(tmp_path / "two", valid=2, invalid=2)).class_names == (
        "invalid",
        "valid",
    )
    write(vehicles, **nested(["train"], ["steam", "diesel"]))
    assert sizes(read_data(vehicles, class_names=["bus", "car", "train"])) == {
        "train": 7,
        "validation": 3,
    }
    inner = read_data(vehicles, class_names=["diesel", "steam"])
    assert inner.class_names == ("diesel", "steam")
    assert note(inner, "bus' lies beside the parts: not read")
    part, _, _ = read_labelled(vehicles, ("bus", "car", "train"))
    assert len(part) == 10


def test_class_names_say_whether_a_flat_test_folder_is_a_class(tmp_path):
    write(tmp_path, ants=2, bees=2, test=3)
    splits = read_data(tmp_path, class_names=["ants", "bees"])
    assert sizes(splits) == {"train": 2, "validation": 2}
    assert note(splits, "test' is none of the classes: not read")
    assert len(read_data(tmp_path, class_names=["ants", "bees", "test"]).class_names) == 3
    assert len(read_labelled(tmp_path, ("ants", "bees"))[0]) == 4


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ({"test": 3}, ("holds no class folders: its 3 files are not used",)),
        ({"test": 0}, ("is empty: not used",)),
        ({"test1": 2}, ("test1' holds no class folders: its 2 files are not used",)),
        ({"test/images": 1}, ("holds 'images', none of them a class", "its one file is not used")),
        (
            {"test/Cats": 1, "test/Dogs": 1},
            ("none of them a class", "'Cats' and 'cats' look alike"),
        ),
        ({"test/cats": 2}, ("is not used in training", "it has no image of 'dogs'")),
        ({"test/cats": 2, "test/dogs": 0}, ("is not used in training", "no image of 'dogs'")),
        (nested(["test"], [*PETS, "birds"]), ("train has no class 'birds'",)),
    ],
)
def test_a_test_part_that_cannot_be_used_is_noted_and_training_goes_on(tmp_path, test, words):
    write(tmp_path, **nested(["train", "val"], PETS), **test)
    splits = read_data(tmp_path)
    assert sizes(splits) == {"train": 4, "validation": 4}
    assert note(splits, *words)
    assert read_folder(tmp_path).test is None


def test_what_has_no_labels_is_not_evaluated_where_validation_has(tmp_path):
    write(tmp_path, **nested(["train", "val"], PETS), test=3)
    part, _, notes = read_labelled(tmp_path, PETS)
    assert (part.name, len(part)) == ("validation", 4)
    assert any("its 3 files are not used" in each for each in notes)
    # What a test part lacks is no reason not to evaluate what it has.
    write(tmp_path, **{"test/cats": 2})
    part, _, notes = read_labelled(tmp_path, PETS)
    assert (part.name, len(part)) == ("test", 2)
    assert any("no images of 'dogs'" in each for each in notes)


def test_flat_parts_are_told_what_to_do(tmp_path):
    write(tmp_path, train=0, test=2)
    for kind in PETS:
        for number in range(3):
            write(tmp_path, train=1)
            (tmp_path / "train/000.png").rename(tmp_path / "train" / f"{kind[:-1]}.{number}.png")
    with pytest.raises(InputError, match=r"begin with 'cat', 'dog': .*sort .* in '.*train/cat'"):
        read_data(tmp_path)
    (tmp_path / "sampleSubmission.csv").write_text("id,label\n")
    (tmp_path / "labels.csv").write_text("id,label\n")
    with pytest.raises(InputError, match=r"if '[^ ]*/labels\.csv' has the labels, give it"):
        read_data(tmp_path)
    splits = read_data(tmp_path, class_names=["test", "train"])
    assert splits.class_names == ("test", "train")


def test_a_table_beside_flat_images_is_pointed_at(tmp_path):
    write(tmp_path / "photos", **{"": 2})
    (tmp_path / "photos" / "metadata.csv").write_text("file_name,label\n")
    with pytest.raises(InputError, match=r"if '.*metadata\.csv' has the labels, give it instead"):
        read_data(tmp_path / "photos")


def test_folders_of_systems_and_unlabelled_images_are_no_classes(tmp_path):
    litter = (
        *("@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX"),
        *(".ipynb_checkpoints", ".thumbnails", "#recycle", "@Recycle"),
    )
    write(tmp_path, cats=3, dogs=3, no_label=2, **dict.fromkeys(litter, 1))
    write(tmp_path / "cats", **{"@eaDir/000.png": 2})
    splits = read_data(tmp_path)
    assert splits.class_names == PETS
    assert sum(sizes(splits).values()) == 6
    assert note(splits, "no_label' is not read: by its name it holds what has no label")
    skipped = {os.path.relpath(each.path, tmp_path) for each in splits.skipped}
    assert skipped == {*litter, "no_label", "cats/@eaDir"}
    assert len(read_paths(tmp_path)[0]) == 8
    named = read_data(tmp_path, class_names=[*PETS, "no_label"])
    assert len(named.class_names) == 3


def test_only_folders_that_say_nothing_are_gone_through(tmp_path):
    write(tmp_path / "a", **nested(["images"], PETS))
    (tmp_path / "a" / "annotations").mkdir()
    (tmp_path / "a" / "annotations" / "1.xml").write_text("<a/>")
    splits = read_data(tmp_path / "a")
    assert splits.class_names == PETS
    assert note(splits, "read from", "a/images'", "the only folder with images")
    assert "lies beside the folder that is read" in {each.reason for each in splits.skipped}
    # An empty folder is a class whose images are missing.
    write(tmp_path / "b", **nested(["ants"], ["near", "far"]), bees=0)
    with pytest.raises(InputError, match=r"class 'bees' has no readable image .*it is empty"):
        read_data(tmp_path / "b")
    write(tmp_path / "c", **nested(["ants"], ["near"]))
    with pytest.raises(InputError, match="has only one class folder, 'ants'"):
        read_data(tmp_path / "c")


def test_a_copy_of_the_parts_inside_them_is_left_out(tmp_path):
    write(tmp_path, **nested(["train", "test", "chest/train", "chest/test"], PETS))
    splits = read_data(tmp_path)
    assert sum(sizes(splits).values()) == 8
    assert note(splits, "chest' lies beside the parts: not read")


def test_parts_of_a_dict_are_read_as_the_folders_they_are(tmp_path):
    write(tmp_path, **nested(["seg_train"], ["seg_train"], PETS), **nested(["valid"], PETS))
    splits = read_data({"training_set": tmp_path / "seg_train", "dev": tmp_path / "valid"})
    assert sizes(splits) == {"train": 4, "validation": 4}
    with pytest.raises(InputError, match="has the parts 'validation', expected 'train'"):
        read_data({"train": write(tmp_path / "more", **nested(["val"], PETS))})


def test_classes_of_one_part_tell_what_the_folders_in_the_other_are(tmp_path):
    write(tmp_path, **nested(["train"], PETS), **nested(["test"], PETS, ["near", "far"]))
    splits = read_data(tmp_path)
    assert splits.class_names == PETS
    assert len(splits.test) == 8


def test_links_in_a_circle_end_the_search_for_images(tmp_path):
    write(tmp_path, **nested(["train"], PETS), test=0)
    (tmp_path / "test" / "again").symlink_to(tmp_path / "test")
    assert "test" not in arranged(str(tmp_path)).parts
    assert sum(sizes(read_data(tmp_path)).values()) == 4


def test_the_doctor_says_how_a_folder_is_read_and_what_stands_against_it(tmp_path):
    write(tmp_path / "torn", **nested(["fold_0", "fold_1"], PETS))
    (torn,) = (each for each in examine(tmp_path / "torn").findings if each.kind == "layout")
    assert torn.severity == "error"
    assert "can be read in two ways" in torn.message
    write(tmp_path / "odd", **nested(["train", "dev"], PETS), **{"test/cats": 2})
    found = {each.kind: each for each in examine(tmp_path / "odd").findings}
    assert found["layout"].severity == "info"
    assert "validation from 'dev'" in found["layout"].message
    # Training leaves out a test part that lacks a class; train and validation must agree.
    assert found["class_mismatch"].severity == "warning"
    write(tmp_path / "odd", **{"dev/birds": 2})
    found = {each.kind: each for each in examine(tmp_path / "odd").findings}
    assert found["class_mismatch"].severity == "error"
