"""CSV files and DataFrames of images: what is read, and what is refused by name."""

import csv
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import write_pictures

from ktransfer.data import read_data, read_folder, read_images, read_labelled, read_listing
from ktransfer.errors import InputError

CLASSES = ("blue", "green", "red")


def write_csv(path, header, rows, *, encoding="utf-8", delimiter=","):
    with open(path, "w", encoding=encoding, errors="surrogateescape", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        writer.writerows([header, *rows])
    return path


def rows_of(folder, root=None):
    """Relative path and label of every picture, sorted."""
    files = sorted(folder.rglob("*.png"))
    return [(os.path.relpath(each, root or folder), each.parent.name) for each in files]


def described(splits):
    """Everything of splits but where they were read from."""
    return [
        (part.name, [each.path for each in part.files], part.labels.tolist())
        for part in splits.parts
    ]


@pytest.fixture
def photos(tmp_path):
    return write_pictures(tmp_path / "photos", 5)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_gives_the_splits_of_the_folder_that_it_lists(photos, encoding, delimiter):
    table = write_csv(
        photos / "photos.csv",
        ["Path", "Label"],
        rows_of(photos),
        encoding=encoding,
        delimiter=delimiter,
    )
    found, expected = read_data(table, seed=3), read_folder(photos, seed=3)
    assert described(found) == described(expected)
    assert found.class_names == expected.class_names == CLASSES
    assert "6 of 15 images" not in found.notes[0]
    assert found.notes[0].startswith(f"validation was split from {str(table)!r}: 3 of 15 images")
    assert found.train.fingerprint() == expected.train.fingerprint()
    assert found.train.content_digest() == expected.train.content_digest()


def test_split_column_takes_the_names_that_folders_take(tmp_path):
    rows = []
    for part in ("Training", "VAL", "testing"):
        folder = write_pictures(tmp_path / part, 2)
        rows += [(path, label, part) for path, label in rows_of(folder, tmp_path)]
    table = write_csv(tmp_path / "photos.csv", ["path", "label", "split"], rows)
    found, expected = read_data(table), read_folder(tmp_path)
    assert [(part.name, len(part)) for part in found.parts] == [
        ("train", 6),
        ("validation", 6),
        ("test", 6),
    ]
    assert described(found) == described(expected)
    part, _, notes = read_labelled(table, CLASSES)
    assert (part.name, len(part)) == ("test", 6)
    assert notes == (f"read from {str(table)!r}",)


def test_frame_is_read_like_a_csv_with_paths_from_the_working_directory(photos, monkeypatch):
    monkeypatch.chdir(photos)
    frame = pd.DataFrame(rows_of(photos), columns=["path", "label"])
    found = read_data(frame)
    expected = read_data(write_csv(photos / "photos.csv", ["path", "label"], rows_of(photos)))
    assert [each.path for each in found.train.files] == [
        os.path.relpath(each.path) for each in expected.train.files
    ]
    assert found.train.content_digest() == expected.train.content_digest()


def test_integer_labels_are_positions_in_the_class_names(photos):
    numbers = {"blue": 2, "green": 0, "red": 1}
    frame = pd.DataFrame(
        [(str(photos / path), numbers[label]) for path, label in rows_of(photos)],
        columns=["path", "label"],
    )
    found = read_data(frame, class_names=["green", "red", "blue"])
    assert found.class_names == ("green", "red", "blue")
    for file, label in zip(found.train.files, found.train.labels, strict=True):
        assert found.class_names[label] in file.path
    assert read_data(frame).class_names == ("0", "1", "2")
    # A gap in the column makes floats of them, which are still the same classes.
    assert read_data(frame.astype({"label": float})).class_names == ("0", "1", "2")
    with pytest.raises(InputError, match=r"row 0 has the label 2, outside the class range 0 to 1"):
        read_data(frame, class_names=["a", "b"])


def test_strange_names_are_read_and_lines_counted_through_them(photos):
    names = [b"line\nbreak.png", b"not-utf8-\xff.png", "\u05e9\u05dc.png".encode(), b'a,"b".png']
    rows = rows_of(photos)
    for name in names:
        shutil.copy(photos / "red" / "000.png", os.path.join(os.fsencode(photos), name))
        rows.append((os.fsdecode(name), "red"))
    table = write_csv(photos / "photos.csv", ["path", "label"], rows)
    found = read_data(table)
    paths = {os.path.basename(each.path) for part in found.parts for each in part.files}
    assert {os.fsdecode(each) for each in names} < paths
    write_csv(table, ["path", "label"], [*rows, ("go\nne.png", "red")])
    # 15 pictures, then the names, of which one takes two lines; this one begins at its first.
    with pytest.raises(InputError, match="line 22 names a file that does not exist"):
        read_data(table)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty: expected a header with the columns path, label"),
        ("path,label\n", "is empty: it has no row below its header"),
        ("path,label\n,\n\n", "is empty: it has no row below its header"),
        ("path,lable\na.png,red\n", r"no column 'label': it has 'path', 'lable'.*rename 'lable'\?"),
        ("width,label\n7,red\n", r"no column 'path': it has 'width', 'label'"),
        ('path,label\n"a.png,red\n', "cannot be read as CSV: the quote that opens in line 2"),
        ("path,label\nred/000.png,nan\n", r"line 2 has no label: '.*red/000\.png'"),
        ("path,label\nred/000.png,\n", r"line 2 has no label"),
        ("path,label\nred/000.png\n", r"line 2 has no label"),
        ("path,label\n,red\n", r"line 2 has no path"),
        (
            "path,label\nred/x.png,red\nx,red\n",
            r"line 2 names .*/red/x\.png'; so does 1 further row",
        ),
        ("path,label\na,red\nb,red\nc,red\n", r"line 2 names .*; so do 2 further rows"),
        ("path,label,split\nred/000.png,red,new\n", r"line 2 has the split 'new', expected one of"),
        ("path,label,split\nred/000.png,red,val\n", "has the splits 'validation' but no row of"),
        ("path,label\nred/000.png,red\n", r"has only one class, 'red': expected at least two"),
        ("path,label\nred/000.png,a\nred/001.png,b\n", "class 'a' has 1 readable image in .*split"),
        ("path,label\nphotos.csv,red\n", r"no image of .*photos\.csv.* can be used: found 1"),
    ],
)
def test_faults_of_a_table_are_named(photos, text, match):
    table = photos / "photos.csv"
    table.write_text(text)
    with pytest.raises(InputError, match=match):
        read_data(table)


def test_class_without_readable_image_in_a_table_is_named(photos):
    (photos / "page.jpg").write_text("<html></html>")
    rows = [*rows_of(photos), ("page.jpg", "pink")]
    table = write_csv(photos / "photos.csv", ["path", "label"], rows)
    with pytest.raises(InputError, match=r"class 'pink' has no readable image .*HTML text"):
        read_data(table)
    write_csv(table, ["path", "label"], [*rows_of(photos), ("page.jpg", "red")])
    (skip,) = read_data(table).skipped
    assert skip.path == str(photos / "page.jpg")


@pytest.mark.parametrize("missing", [np.nan, None, pd.NA, pd.NaT, "", "NaN"])
def test_missing_labels_of_a_frame_are_named_by_row(photos, missing):
    rows = [(str(photos / path), label) for path, label in rows_of(photos)]
    frame = pd.DataFrame(rows, columns=["path", "label"], dtype=object)
    frame.loc[4, "label"] = missing
    with pytest.raises(InputError, match=r"the DataFrame: row 4 has no label: '.*blue/004\.png'"):
        read_data(frame)


def test_csv_that_does_not_exist_names_its_neighbours(photos):
    write_csv(photos / "photos.csv", ["path", "label"], [])
    with pytest.raises(InputError, match=r"no such file: .*foto\.csv'; did you mean 'photos\.csv'"):
        read_data(photos / "foto.csv")


def test_evaluated_table_may_not_have_classes_that_the_model_does_not_know(photos):
    table = write_csv(photos / "photos.csv", ["path", "label"], rows_of(photos))
    with pytest.raises(InputError, match=r"unknown class 'green': did you mean"):
        read_labelled(table, ("blue", "red"))
    part, _, notes = read_labelled(table, ("pink", *CLASSES))
    assert part.labels.tolist() == [1] * 5 + [2] * 5 + [3] * 5
    assert notes == (f"no images of 'pink' in {str(table)!r}",)


def test_unlabelled_table_is_read_in_its_order_to_predict(photos):
    rows = [(path,) for path, _ in rows_of(photos)][::-1]
    table = write_csv(photos / "photos.csv", ["path"], rows)
    expected = [str(photos / path) for (path,) in rows]
    frame = pd.DataFrame({"path": expected})
    for source in (table, [table], frame):
        part, skipped = read_images(source)
        assert [each.path for each in part.files] == expected
        assert set(part.labels) == {-1}
        assert skipped == ()
    write_csv(table, ["path"], [("gone.png",)])
    with pytest.raises(InputError, match="line 2 names a file that does not exist"):
        read_images(table)


def test_listing_refuses_nothing_for_its_content(tmp_path):
    write_pictures(tmp_path / "photos" / "val", 2, classes=["red"])
    write_pictures(tmp_path / "photos" / "validation", 2, classes=["blue"])
    (tmp_path / "photos" / "test" / "empty").mkdir(parents=True)
    (tmp_path / "photos" / "stray.txt").touch()
    found = read_listing(tmp_path / "photos")
    counts = {
        name: {label: len(files) for label, files in reading.by_class.items()}
        for name, reading in found.parts.items()
    }
    assert counts == {"validation": {"red": 2, "blue": 2}, "test": {"empty": 0}}
    assert [os.path.basename(each.path) for each in found.skipped] == ["stray.txt"]
    rows = [("photos/val/red/000.png", "red"), ("gone.png", "red"), ("photos/stray.txt", "")]
    found = read_listing(write_csv(tmp_path / "photos.csv", ["path", "label"], rows))
    assert len(found.parts["train"].by_class["red"]) == 1
    assert [each.reason for each in found.skipped] == [
        "line 3 names a file that does not exist",
        "line 4 has no label",
    ]
    for path in ("none", "photos/stray.txt", "none.csv"):
        with pytest.raises(InputError, match=os.path.basename(path)):
            read_listing(tmp_path / path)
