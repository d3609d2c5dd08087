"""Layouts, splits and errors of folders of images."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from ktransfer.data import read_folder, read_part, read_paths
from ktransfer.errors import InputError


def save(path, seed=0, file_format="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, file_format)


def fill(folder, **counts):
    """Class folders with so many images each, all different."""
    for at, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            save(folder / name / f"{number:03}.png", seed=[at, number, len(str(folder))])


def names(part):
    return [os.path.basename(each.path) for each in part.files]


def tree(folder):
    return sorted((str(each), each.stat().st_mtime_ns) for each in folder.rglob("*"))


def test_class_folders_alone_are_split_within_each_class(tmp_path):
    fill(tmp_path, bees=10, ants=20)
    splits = read_folder(tmp_path)
    assert splits.class_names == ("ants", "bees")
    assert np.bincount(splits.train.labels).tolist() == [16, 8]
    assert np.bincount(splits.validation.labels).tolist() == [4, 2]
    assert splits.train.labels.dtype == np.int32
    assert splits.test is None
    assert splits.skipped == ()
    assert "6 of 30 images (validation_fraction=0.2, seed=0)" in splits.notes[0]
    paths = {each.path for part in (splits.train, splits.validation) for each in part.files}
    assert len(paths) == 30
    for part in (splits.train, splits.validation):
        for file, label in zip(part.files, part.labels, strict=True):
            assert os.sep + splits.class_names[label] + os.sep in file.path


def test_split_depends_on_files_and_seed_not_on_place_or_listing_order(tmp_path, monkeypatch):
    fill(tmp_path / "a", ants=30, bees=30)
    shutil.copytree(tmp_path / "a", tmp_path / "elsewhere")
    first = names(read_folder(tmp_path / "a").validation)
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listdir(path)[::-1])
    assert names(read_folder(tmp_path / "elsewhere").validation) == first
    assert names(read_folder(tmp_path / "a", seed=1).validation) != first


def test_adding_to_one_class_leaves_the_split_of_the_other(tmp_path):
    fill(tmp_path, ants=20, bees=20)
    before = [each for each in read_folder(tmp_path).validation.files if "ants" in each.path]
    save(tmp_path / "bees" / "more.png", seed=99)
    after = [each for each in read_folder(tmp_path).validation.files if "ants" in each.path]
    assert after == before


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_each_class_keeps_an_image_on_either_side(tmp_path, fraction):
    fill(tmp_path, ants=2, bees=5)
    splits = read_folder(tmp_path, validation_fraction=fraction)
    assert set(splits.train.labels) == set(splits.validation.labels) == {0, 1}


@pytest.mark.parametrize(
    "parts",
    [("train", "val", "test"), ("Training", "VALID", "Testing"), ("TRAIN", "Validation", "test")],
)
def test_parts_are_known_by_their_synonyms_in_any_case(tmp_path, parts):
    for count, part in zip((3, 2, 1), parts, strict=True):
        fill(tmp_path / part, ants=count, bees=count)
    splits = read_folder(tmp_path)
    assert [len(each) for each in (splits.train, splits.validation, splits.test)] == [6, 4, 2]
    assert splits.train.name == "train"
    assert splits.validation.name == "validation"
    assert splits.test.name == "test"


def test_without_val_validation_is_split_from_train_and_noted(tmp_path):
    fill(tmp_path / "train", ants=10, bees=10)
    fill(tmp_path / "test", ants=1, bees=1)
    splits = read_folder(tmp_path)
    assert [len(each) for each in (splits.train, splits.validation, splits.test)] == [16, 4, 2]
    assert "split from 'train' (no val folder)" in splits.notes[0]


def test_a_class_may_be_called_train(tmp_path):
    fill(tmp_path, train=3, bus=3, car=3)
    assert read_folder(tmp_path).class_names == ("bus", "car", "train")


def test_class_folders_are_walked_recursively_and_links_followed(tmp_path):
    fill(tmp_path / "photos", ants=2, bees=2)
    save(tmp_path / "photos" / "ants" / "x.jpg" / "deep" / "a.png", seed=7)
    save(tmp_path / "store" / "b.png", seed=8)
    (tmp_path / "photos" / "bees" / "link.png").symlink_to(tmp_path / "store" / "b.png")
    (tmp_path / "photos" / "bees" / "folder").symlink_to(tmp_path / "store")
    (tmp_path / "photos" / "bees" / "again").symlink_to(tmp_path / "photos" / "bees")
    splits = read_folder(tmp_path / "photos", validation_fraction=0.3)
    assert len(splits.train) + len(splits.validation) == 3 + 4
    assert [each.reason for each in splits.skipped] == ["link that loops back to a folder above it"]


def test_what_lies_outside_the_class_folders_is_skipped_and_named(tmp_path):
    fill(tmp_path / "train", ants=2, bees=2)
    fill(tmp_path / "val", ants=2, bees=2)
    save(tmp_path / "train" / "stray.png")
    save(tmp_path / "train" / ".cache" / "a.png")
    save(tmp_path / "train" / "ants" / ".ipynb_checkpoints" / "a.png")
    (tmp_path / "README.txt").write_text("hello")
    reasons = {os.path.basename(each.path): each.reason for each in read_folder(tmp_path).skipped}
    assert reasons == {
        "README.txt": "lies outside the folders 'train', 'validation'",
        "stray.png": "lies outside every class folder",
        ".cache": "hidden folder",
        ".ipynb_checkpoints": "hidden folder",
    }


def test_reading_writes_nothing(tmp_path):
    fill(tmp_path, ants=3, bees=3)
    before = tree(tmp_path)
    read_folder(tmp_path)
    read_part(tmp_path, ["ants", "bees"])
    read_paths([tmp_path])
    assert tree(tmp_path) == before


def test_lying_extension_is_read_by_content_and_noted(tmp_path):
    fill(tmp_path, ants=2, bees=2)
    save(tmp_path / "ants" / "a.jpg", seed=5)
    save(tmp_path / "ants" / "b.jpg", seed=6)
    save(tmp_path / "bees" / "c.png", seed=7, file_format="GIF")
    splits = read_folder(tmp_path)
    assert len(splits.train) + len(splits.validation) == 7
    told = [each for each in splits.notes if "read by content" in each]
    example = str(tmp_path / "ants" / "a.jpg")
    assert told[0] == f"2 files are named .jpg but hold PNG, e.g. {example!r}: read by content"
    assert told[1].startswith("1 file is named .png but holds GIF")


def test_images_in_two_parts_or_with_two_labels_are_noted(tmp_path):
    fill(tmp_path / "train", ants=2, bees=2)
    fill(tmp_path / "val", ants=2, bees=2)
    shutil.copy(tmp_path / "train/ants/000.png", tmp_path / "val/ants/copy.png")
    shutil.copy(tmp_path / "train/ants/001.png", tmp_path / "train/bees/copy.png")
    shared, torn = read_folder(tmp_path).notes
    assert shared.startswith("1 image is in both train and validation, e.g. ")
    assert "copy.png" in shared
    assert torn.startswith("1 image has two labels, e.g. ")


def test_part_selects_files_with_their_labels(tmp_path):
    fill(tmp_path, ants=3, bees=3)
    train = read_folder(tmp_path).train
    chosen = train.select([3, 0])
    assert chosen.files == (train.files[3], train.files[0])
    assert chosen.labels.tolist() == [1, 0]
    assert len(train.select([])) == 0


def test_read_part_prefers_test_to_val_and_knows_plain_class_folders(tmp_path):
    fill(tmp_path / "val", ants=1, bees=2)
    for expected in (3, 5):
        part, skipped, notes = read_part(tmp_path, ["bees", "ants"])
        assert len(part) == expected
        assert skipped == ()
        assert notes[0].startswith("read from ")
        fill(tmp_path / "test", ants=3, bees=2)
    plain, _, notes = read_part(tmp_path / "test", ["bees", "ants"])
    assert plain.labels.tolist() == [0, 0, 1, 1, 1]
    assert notes == ()


def test_read_part_notes_missing_classes(tmp_path):
    fill(tmp_path, ants=1)
    part, _, notes = read_part(tmp_path, ["ants", "bees"])
    assert part.labels.tolist() == [0]
    assert notes == (f"no images of 'bees' in {str(tmp_path)!r}",)


def test_read_part_refuses_unknown_classes_and_folders_without_images(tmp_path):
    fill(tmp_path / "a", ants=1, bee=1)
    with pytest.raises(InputError, match=r"unknown class folder 'bee': did you mean bees"):
        read_part(tmp_path / "a", ["ants", "bees"])
    save(tmp_path / "b" / "stray.png")
    with pytest.raises(InputError, match=r"no images in class folders of .*stray.png"):
        read_part(tmp_path / "b", ["ants", "bees"])


def test_read_paths_keeps_the_order_and_walks_folders(tmp_path):
    for name in ("z.png", "a.png", "folder/c.png", "folder/deep/b.png"):
        save(tmp_path / name)
    given = [tmp_path / "z.png", tmp_path / "folder", str(tmp_path / "a.png")]
    part, skipped = read_paths(given)
    assert names(part) == ["z.png", "c.png", "b.png", "a.png"]
    assert part.labels.tolist() == [-1] * 4
    assert skipped == ()
    assert names(read_paths(tmp_path / "a.png")[0]) == ["a.png"]


def test_read_paths_refuses_what_does_not_exist(tmp_path):
    save(tmp_path / "photo.png")
    with pytest.raises(InputError, match=r"no such file or folder: .*foto\.png.*'photo\.png'"):
        read_paths([tmp_path / "foto.png"])


def test_missing_folder_names_its_neighbours(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match=r"no such folder: .*fotos'; did you mean 'photos'"):
        read_folder(tmp_path / "fotos")
    with pytest.raises(InputError, match=r"no such folder: .*none/here'; nothing like it"):
        read_folder(tmp_path / "none" / "here")
    # A table would do as well, other files would not.
    (tmp_path / "flowers.csv").touch()
    (tmp_path / "flowers.cvs.txt").touch()
    with pytest.raises(
        InputError,
        match=r"no such folder: .*flowers\.cvs'; did you mean 'flowers\.csv', 'photos'\?",
    ):
        read_folder(tmp_path / "flowers.cvs")


def test_a_file_is_no_folder(tmp_path):
    save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png' is not a folder; expected a folder of images"):
        read_folder(tmp_path / "a.png")


def test_folder_without_class_folders_is_told_the_layout(tmp_path):
    with pytest.raises(InputError, match=r"no images in class folders of .*it is empty"):
        read_folder(tmp_path)
    save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"'a\.png': lies outside every class.*PATH/ants"):
        read_folder(tmp_path)


def test_one_class_is_refused_and_a_folder_too_high_is_recognised(tmp_path):
    fill(tmp_path / "photos", ants=3)
    with pytest.raises(InputError, match="only one class folder, 'ants': expected at least two"):
        read_folder(tmp_path / "photos")
    fill(tmp_path / "photos", bees=3)
    splits = read_folder(tmp_path)
    assert splits.class_names == ("ants", "bees")
    assert any(note.startswith("read from") and "photos'" in note for note in splits.notes)


def test_class_too_small_to_split_is_named(tmp_path):
    fill(tmp_path, ants=3, bees=1)
    with pytest.raises(InputError, match=r"class 'bees' has 1 readable image .*at least 2"):
        read_folder(tmp_path)


def test_parts_with_different_classes_are_refused(tmp_path):
    fill(tmp_path / "train", ants=2, bees=2)
    fill(tmp_path / "val", ants=2, wasps=2)
    match = "train and validation have .*only in train: 'bees'; only in validation: 'wasps'"
    with pytest.raises(InputError, match=match):
        read_folder(tmp_path)


def test_class_without_readable_image_is_named_with_its_reasons(tmp_path):
    fill(tmp_path, ants=2, bees=0)
    with pytest.raises(InputError, match=r"class 'bees' has no readable image .*it is empty"):
        read_folder(tmp_path)
    (tmp_path / "bees" / "a.jpg").write_text("<html></html>")
    with pytest.raises(InputError, match=r"'bees' has no .*'a\.jpg': not an image: HTML text"):
        read_folder(tmp_path)


def test_parts_without_train_or_named_twice_are_refused(tmp_path):
    fill(tmp_path / "val", ants=2, bees=2)
    with pytest.raises(InputError, match="has 'val' but no train folder"):
        read_folder(tmp_path)
    fill(tmp_path / "train", ants=2, bees=2)
    fill(tmp_path / "validation", ants=2, bees=2)
    with pytest.raises(InputError, match="has 'val', 'validation', all of them names for"):
        read_folder(tmp_path)


@pytest.mark.parametrize("fraction", [0, 1, -0.2, 1.5, float("nan"), "0.2"])
def test_validation_fraction_out_of_range_is_refused(tmp_path, fraction):
    with pytest.raises(InputError, match=f"between 0 and 1, got {fraction!r}"):
        read_folder(tmp_path, validation_fraction=fraction)


@pytest.mark.parametrize("seed", [-1, 0.5, None])
def test_impossible_seed_is_refused(tmp_path, seed):
    with pytest.raises(InputError, match=f"seed must be an integer of at least 0, got {seed!r}"):
        read_folder(tmp_path, seed=seed)


def test_fingerprint_moves_with_the_folder_and_changes_with_its_files(tmp_path):
    fill(tmp_path / "here", a=3, b=3)
    first = read_folder(tmp_path / "here").train.fingerprint()
    (tmp_path / "here").rename(tmp_path / "there")
    assert read_folder(tmp_path / "there").train.fingerprint() == first
    fill(tmp_path / "there", c=3)
    assert read_folder(tmp_path / "there").train.fingerprint() != first
