"""Folders as data sets are published and as systems leave them: read, or told what to do."""

import contextlib
import json
import os
import pathlib
import re

import numpy as np
import pandas
import pytest
from PIL import Image

from ktransfer import examine
from ktransfer.data import read_data, read_labelled
from ktransfer.errors import InputError

PETS = ("cats", "dogs")


def draw(*paths):
    """Small images, all different."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(list(os.fsencode(path))).integers(0, 256, (4, 5, 3))
        with path.open("wb") as stream:
            Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
    return paths


def photos(root, *folders, count=3):
    """Folders of images."""
    for folder in folders:
        draw(*(root / folder / f"{number}.png" for number in range(count)))
    return root


def divided(root, parts=("train",), classes=PETS):
    return photos(root, *(f"{part}/{name}" for part in parts for name in classes))


def sizes(splits):
    return {part.name: len(part) for part in splits.parts}


def noted(found, *words):
    return any(all(word in note for word in words) for note in found.notes)


def nothing(folder):
    folder.mkdir()


def a_marker(folder):
    folder.mkdir()
    (folder / ".gitkeep").touch()


def empty_classes(folder):
    for name in PETS:
        (folder / name).mkdir(parents=True)


@pytest.mark.parametrize("fill", [nothing, a_marker, empty_classes])
@pytest.mark.parametrize(
    ("part", "left"),
    [
        ("val", {"train": 4, "validation": 2, "test": 6}),
        ("test", {"train": 6, "validation": 6}),
    ],
)
def test_an_empty_part_is_noted_and_read_as_if_it_were_not_there(tmp_path, fill, part, left):
    divided(tmp_path, {"train", "val", "test"} - {part})
    fill(tmp_path / part)
    found = read_data(tmp_path)
    assert sizes(found) == left
    assert noted(found, f"/{part}'", "not used")
    assert found.held_back == (part == "val")
    assert "empty_class" not in {each.kind for each in examine(tmp_path).findings}
    other, _, _ = read_labelled(tmp_path, PETS)
    assert other.name == ("test" if part == "val" else "validation")


def test_a_part_of_broken_images_is_not_empty(tmp_path):
    divided(tmp_path)
    for name in PETS:
        (tmp_path / "val" / name).mkdir(parents=True)
        (tmp_path / "val" / name / "0.png").write_text("gone")
    with pytest.raises(InputError, match=r"no images in class folders of '.*val'"):
        read_data(tmp_path)


def test_an_empty_part_is_as_if_it_were_not_there_however_parts_are_given(tmp_path):
    divided(tmp_path)
    empty_classes(tmp_path / "val")
    folders = {"train": tmp_path / "train", "validation": tmp_path / "val"}
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
    labels = np.arange(12) % 2
    arrays = {"train": (images, labels), "validation": (images[:0], labels[:0])}
    np.savez(tmp_path / "x.npz", x_train=images, y_train=labels, x_val=images[:0], y_val=labels[:0])
    for data, count in ((folders, 4), (arrays, 10), (tmp_path / "x.npz", 10)):
        found = read_data(data)
        assert sizes(found) == {"train": count, "validation": sum(sizes(found).values()) - count}
        assert found.held_back
        assert noted(found, "the validation part is empty: not used")
    both = {**arrays, "test": (images[:4], labels[:4])}
    assert read_labelled({**both, "test": (images[:0], labels[:0])}, ("0", "1"))[0].name == "train"
    assert read_labelled(both, ("0", "1"))[0].name == "test"


def listed_by(message, folder):
    """The frame that the code in a message makes, run where it was said."""
    first, second = re.search(
        r"(frame = .*?); (frame\['label'\] = .*?), and give", message
    ).groups()
    names = {"pandas": pandas, "pathlib": pathlib, "re": re}
    with contextlib.chdir(folder):
        exec(f"{first}\n{second}", names)
    return names["frame"]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("{name}_{at}.png", "begin with"),
        ("{name}.{at}.png", "begin with"),
        ("{name} ({at}).png", "begin with"),
        ("{name}{at:03}.png", "begin with"),
        ("{at:03}-{name}.png", "end with"),
    ],
)
@pytest.mark.parametrize("classes", [("cat", "dog"), ("Abyssinian", "american_bulldog", "pug")])
def test_classes_in_the_names_of_files_are_told_with_code_that_lists_them(
    tmp_path, monkeypatch, form, words, classes
):
    monkeypatch.chdir(tmp_path)
    for name in classes:
        draw(*(tmp_path / "flat" / form.format(name=name, at=at) for at in range(4)))
    (tmp_path / "flat" / "Thumbs.db").touch()
    shown = ", ".join(map(repr, classes))
    with pytest.raises(InputError, match=f"files {words} {shown}: if these are the cl") as caught:
        read_data("flat")
    found = read_data(listed_by(str(caught.value), tmp_path))
    assert found.class_names == classes
    assert sum(sizes(found).values()) == 4 * len(classes)


@pytest.mark.parametrize(
    "names", [["IMG_1", "IMG_2", "DSC_3"], ["a1", "b1", "c1"], ["1", "2"], ["ab1", "cd1", "ef1"]]
)
def test_names_that_tell_no_classes_are_not_taken_for_some(tmp_path, names):
    draw(*(tmp_path / f"{name}.png" for name in names))
    with pytest.raises(InputError, match="no images in class folders") as caught:
        read_data(tmp_path)
    assert "if these are the classes" not in str(caught.value)


def test_the_table_of_labels_and_no_other_is_pointed_at(tmp_path):
    draw(*(tmp_path / part / f"{at}.png" for part in ("train", "test") for at in range(3)))
    tables = {"train": "id,breed\n", "test": "id\n", "sample_submission": "id,pug,boxer\n"}
    for name, header in tables.items():
        (tmp_path / f"{name}.csv").write_text(header)
    for folder in (tmp_path, tmp_path / "train"):
        with pytest.raises(InputError, match=r"if '[^']*/train\.csv' has the labels, give it"):
            read_data(folder)


def test_labels_in_other_forms_are_pointed_at(tmp_path):
    photos(tmp_path, "train")
    (tmp_path / "train" / "metadata.jsonl").write_text(json.dumps({"file_name": "0.png"}))
    with pytest.raises(
        InputError, match=r"metadata\.jsonl' has the labels: it is JSON: give a Dat"
    ):
        read_data(tmp_path)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("photos.zip", "an archive: unpack it"),
        ("photos.tar.gz", "an archive: unpack it"),
        ("labels.xlsx", "a spreadsheet: save it as CSV"),
        ("labels.parquet", "pandas.read_parquet"),
        ("instances.json", "JSON: give a DataFrame"),
        ("images.txt", "begin it with the line path,label"),
        ("digits.mat", r"give arrays, \(images, labels\)"),
        ("data.yaml", "list these in a CSV file"),
    ],
)
def test_files_of_other_forms_are_named_with_what_to_give_instead(tmp_path, name, match):
    (tmp_path / name).write_bytes(b"PK\3\4")
    for read in (read_data, examine):
        with pytest.raises(InputError, match=f"{name}' is .*{match}"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("images", "notes"),
    [
        ("images", ["masks"]),
        ("images", ["annotations/trimaps"]),
        ("JPEGImages", ["Annotations", "SegmentationClass"]),
        ("train/images", ["train/labels"]),
    ],
)
def test_images_beside_masks_or_notes_are_no_classes(tmp_path, images, notes):
    photos(tmp_path, images, *notes)
    with pytest.raises(InputError, match="nothing says which class each image is of") as caught:
        read_data(tmp_path)
    assert f"{os.path.basename(images)!r} beside" in str(caught.value)
    if "/" not in "".join([images, *notes]):
        names = sorted([images, *notes])
        assert read_data(tmp_path, class_names=names).class_names == tuple(names)


def test_masks_of_divided_images_are_not_read_as_parts_or_classes(tmp_path):
    divided(tmp_path, ["train", "val", "train_masks"])
    found = read_data(tmp_path)
    assert sizes(found) == {"train": 6, "validation": 6}
    assert noted(found, "train_masks' is not read")


def test_class_folders_beside_folders_of_notes_are_read(tmp_path):
    photos(tmp_path, *(f"images/00{at}.{name}" for at, name in enumerate(PETS)))
    for folder in ("attributes", "parts"):
        (tmp_path / folder).mkdir()
    (tmp_path / "parts" / "parts.txt").touch()
    assert read_data(tmp_path).class_names == ("000.cats", "001.dogs")
    photos(tmp_path, *(f"masks/00{at}.{name}" for at, name in enumerate(PETS)))
    with pytest.raises(InputError, match=r"'images' beside .*: give '.*/images' instead"):
        read_data(tmp_path)


def test_masks_within_class_folders_are_noted(tmp_path):
    draw(*(tmp_path / name / f"{name} ({at}).png" for name in PETS for at in range(3)))
    draw(*(tmp_path / name / f"{name} ({at})_mask.png" for name in PETS for at in range(3)))
    found = read_data(tmp_path)
    assert noted(found, "6 files are named as a mask of the image beside", "cats (0)_mask.png")
    draw(*(tmp_path / "dogs" / f"{at}.png" for at in range(3)))
    draw(*(tmp_path / "other" / f"in_a_mask_{at}.png" for at in range(3)))
    assert noted(read_data(tmp_path), "6 files are named as a mask")


@pytest.mark.parametrize(
    "names",
    [("images_001/images", "images_002/images"), ("HAM_images_part_1", "HAM_images_part_2")],
)
def test_pieces_of_one_set_of_images_are_no_classes(tmp_path, names):
    photos(tmp_path, *names)
    (tmp_path / "labels.csv").write_text("image_id,dx\n")
    with pytest.raises(InputError, match=r"as pieces of images without classes.*labels\.csv' has"):
        read_data(tmp_path)
    outer = [each.split("/")[0] for each in names]
    assert read_data(tmp_path, class_names=outer).class_names == tuple(outer)


def test_numbered_classes_are_classes(tmp_path):
    photos(tmp_path, "class_1", "class_2", "class_3")
    assert len(read_data(tmp_path).class_names) == 3


def test_one_folder_of_all_images_is_told_where_labels_are(tmp_path):
    photos(tmp_path, "jpg")
    with pytest.raises(InputError, match="one class folder, 'jpg', perhaps of all images"):
        read_data(tmp_path)
    (tmp_path / "labels.csv").write_text("image_id,dx\n")
    with pytest.raises(InputError, match=r"perhaps of all images .*labels\.csv' has the labels"):
        read_data(tmp_path)


def test_links_to_class_folders_are_followed_and_lost_ones_are_told(tmp_path):
    photos(tmp_path / "away", *PETS)
    (tmp_path / "photos").mkdir()
    for name in (*PETS, "birds"):
        (tmp_path / "photos" / name).symlink_to(tmp_path / "away" / name)
    found = read_data(tmp_path / "photos")
    assert found.class_names == PETS
    assert noted(found, "photos/birds' is not read: dangling link to '", "away/birds'")
    divided(tmp_path / "parts")
    (tmp_path / "parts" / "val").symlink_to(tmp_path / "gone")
    assert noted(read_data(tmp_path / "parts"), "parts/val' is not read: dangling link")


def test_arrays_in_class_folders_are_told_to_be_given_as_arrays(tmp_path):
    for name in PETS:
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "0.npy", np.zeros((4, 4, 3)))
    with pytest.raises(InputError, match=r"as arrays, \(images, labels\), or as one \.npz"):
        read_data(tmp_path)


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (["cat", "dog", "cat|dog"], "'cat|dog' is called as several classes together"),
        (["cat", "dog", "dog cat"], "'dog cat' is called as several classes together"),
        (["cat", "dog", "polar bear"], None),
    ],
)
def test_labels_that_are_several_are_noted(tmp_path, labels, match):
    paths = draw(*(tmp_path / f"{at}.png" for at in range(2 * len(labels))))
    found = read_data(pandas.DataFrame({"path": paths, "label": labels * 2}))
    assert noted(found, match or "")
    assert noted(found, "together") == (match is not None)


def test_measured_numbers_and_lines_of_other_forms_are_told(tmp_path):
    paths = draw(*(tmp_path / f"{at}.png" for at in range(4)))
    frame = pandas.DataFrame({"path": paths, "label": [0.5, 1.25, 2.125, 9.0]})
    with pytest.raises(InputError, match=r"measured numbers are no classes: .* pandas\.cut"):
        read_data(frame)
    for text, match in (
        ("0.png cat\n1.png dog\n", "has no header: .*commas in place of the blanks"),
        ('"path,label"\n"0.png,cat"\n', "take away the quotes around its lines"),
    ):
        (tmp_path / "x.csv").write_text(text)
        with pytest.raises(InputError, match=match):
            read_data(tmp_path / "x.csv")
