"""CSV files as spreadsheets, Kaggle, fastai, Hugging Face, Roboflow and Label Studio write them."""

import os
import unicodedata

import pandas as pd
import pytest
from conftest import write_pictures

from ktransfer.data import read_data, read_images, read_labelled, read_listing
from ktransfer.errors import InputError

CLASSES = ("blue", "red")


@pytest.fixture
def photos(tmp_path):
    """`photos/blue/000.png` to `photos/red/003.png`."""
    return write_pictures(tmp_path / "photos", 4, classes=CLASSES)


def table(folder, header, line, *more, name="photos.csv", encoding="utf-8", end="\n"):
    """A CSV file with a line for each picture, `line` with its path, label, stem and number."""
    rows = [
        line.format(path=f"{label}/{at:03}.png", label=label, stem=f"{label}/{at:03}", at=at)
        for label in CLASSES
        for at in range(4)
    ]
    text = end.join([header, *rows, *more, ""])
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def sizes(splits):
    return {part.name: len(part) for part in splits.parts}


def is_whole(splits):
    """Whether every picture is there, with the label of its folder."""
    found = {
        (os.path.relpath(os.path.realpath(file.path)).split(os.sep)[-2:][0], label)
        for part in splits.parts
        for file, label in zip(part.files, part.labels, strict=True)
    }
    return sum(sizes(splits).values()) == 8 and found == {("blue", 0), ("red", 1)}


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("path|label", "{path}|{label}"),
        ("path, label", "{path}, {label}"),
        ("sep=;\npath;label", "{path};{label}"),
        ('"sep=\t"\n\npath\tlabel', "{path}\t{label}"),
        ("\n\n  \npath,label", "{path},{label}\n"),
        ("path,label,,", "{path},{label},,"),
        ("path,label", "{path},{label},,"),
        (",path,label", "{at},{path},{label}"),
        ('path;"the, label"; label', '{path};"a, b";{label}'),
        ("path,label,fold", "{path},{label},{at}"),
    ],
)
def test_what_programs_write_around_the_cells_is_read_without_a_word(photos, header, line):
    splits = read_data(table(photos, header, line))
    assert is_whole(splits)
    assert len(splits.notes) == 1  # on the validation part


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_line_ends_and_encodings_of_all_systems_are_read(photos, end, encoding):
    path = table(photos, "path,label", "{path},{label}", end=end, encoding=encoding)
    assert is_whole(read_data(path))


@pytest.mark.parametrize(
    ("path", "label"),
    [
        *[(path, "label") for path in ("file_name", "filename", "image", "image_path", "filepath")],
        *[("image_id", label) for label in ("class", "target", "category", "species")],
        *[("File Name", "Class Name"), ("filepaths", "labels"), ("img", "breed"), ("id", "choice")],
        ("name", "label"),
    ],
)
def test_columns_go_by_the_names_that_people_give_them_and_that_is_said(photos, path, label):
    splits = read_data(table(photos, f"{path},{label}", "{path},{label}"))
    assert is_whole(splits)
    assert any(f"the column {path!r}" in each and "as path" in each for each in splits.notes)
    told = any(f"the column {label!r}" in each and "as label" in each for each in splits.notes)
    assert told == (label != "label")


def test_the_best_of_several_columns_is_taken(photos):
    header = "id,class_id,filepaths,labels,data set,scientific name"
    splits = read_data(table(photos, header, "{at},7,{path},{label},train,Avis"))
    assert is_whole(splits)
    frame = pd.read_csv(table(photos, "image_id,file_name,label,target", "{at},{path},{label},9"))
    frame["file_name"] = [str(photos / each) for each in frame["file_name"]]
    assert is_whole(read_data(frame))
    with pytest.raises(InputError, match="columns 'category', 'species', and each of them may be"):
        read_data(table(photos, "path,category,species", "{path},{label},{label}"))
    with pytest.raises(InputError, match="columns 'label', 'label', and each"):
        read_data(table(photos, "path,label,label", "{path},{label},x"))


@pytest.mark.parametrize(
    ("header", "line", "match"),
    [
        ("width,label", "3,{label}", r"no column 'path': it has 'width', 'label'"),
        ("paht,label", "{path},{label}", r"no column 'path': .*rename 'paht'\?$"),
        ("file_name,lable", "{path},{label}", r"no column 'label': .*rename 'lable'\?$"),
        ("path,has_cactus", "{path},{at}", r"no column 'label': .*rename 'has_cactus'\?$"),
        ("path,width,height", "{path},3,4", r"no column 'label': .*path, label\[, split\]$"),
        ("000,red", "{path},{label}", "or write such a line above '000,red', if this is no header"),
        ("img/1,red", "{path},{label}", "no column 'path': .*write such a line above 'img/1,red'"),
        ("red/000.png,red", "{path},{label}", "has no header: its first line is 'red/000.png,red'"),
        ("red/000.JPG,red", "{path},{label}", "write a line path,label.* above it"),
    ],
)
def test_hints_for_a_missing_column_name_only_what_can_be_meant(photos, header, line, match):
    with pytest.raises(InputError, match=match) as caught:
        read_data(table(photos, header, line))
    assert "rename 'label'" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("x.png,spruce, red", "line 10 has 3 cells, but the header has 2: put what holds the"),
        ("a,b.png,red", "line 10 has 3 cells, but the header has 2"),
        ("red/000.png", "line 10 has no label"),
        ("red/000.png, ", "line 10 has no label"),
        (" ,red", "line 10 has no path"),
        ("C:\\a\\b.png,red", "line 10 names a path of another machine.*from the table's folder"),
        ("https://a.org/b.png,red", "line 10 names a URL.*download the images first"),
        ("none,red", "line 10 names a file that does not exist: '.*none'"),
        ("000,red", r"line 10 fits several files \('blue/000.png', 'red/000.png'\): give more"),
    ],
)
def test_rows_that_cannot_be_read_are_named_by_their_lines(photos, line, match):
    path = table(photos, "path,label", "{path},{label}", line)
    with pytest.raises(InputError, match=match):
        read_data(path)
    listing = read_listing(path)
    assert [each.reason.split()[:2] for each in listing.skipped] == [["line", "10"]]
    frame = pd.read_csv(table(photos, "path,label", "{path},{label}"))
    frame["path"] = [str(photos / each) for each in frame["path"]]
    frame.loc[5, "path"] = "/none.png"
    with pytest.raises(InputError, match=r"row 5 names a file .* exist: '/none\.png'"):
        read_data(frame)


def test_lines_are_counted_through_what_comes_before_the_header(photos):
    path = table(photos, "sep=,\n\npath,label", '"{path}",{label}', '"a\nb.png",red', "c.png,red")
    with pytest.raises(InputError, match="line 12 names a file"):
        read_data(path)


def test_labels_of_old_spreadsheets_are_decoded_and_that_is_said(photos):
    path = table(photos, "path,label", "{path},{label}")
    path.write_bytes(path.read_bytes().replace(b",red", ",gr\u00fcn".encode("cp1252")))
    splits = read_data(path)
    assert splits.class_names == ("blue", "gr\u00fcn")
    assert any("are not UTF-8: read as Windows text (cp1252)" in each for each in splits.notes)


def test_paths_of_old_spreadsheets_are_found_in_either_encoding(photos):
    (photos / "red" / "000.png").rename(photos / "red" / "gr\u00fcn.png")
    path = table(photos, "path,label", "{path},{label}")
    path.write_bytes(path.read_bytes().replace(b"red/000", "red/gr\u00fcn".encode("cp1252")))
    splits = read_data(path)
    assert is_whole(splits)
    assert any("read as Windows text (cp1252)" in each for each in splits.notes)


@pytest.mark.parametrize(
    ("before", "after", "how"),
    [
        ("/", "\\", "read with their backslashes as slashes"),
        ("", "C:\\Users\\me\\", "found by the last names in them"),
        ("", "https://a.org/of%20mine/", "found by the last names in them"),
        ("", "/home/of/another/", "found by the last names in them"),
        ("", "../input/", "found by the last names in them"),
        ("", "photos/", "found from the folder above"),
        (".png", "", "found by the last names in them"),
        (".png", ".PNG", "found by the last names in them"),
        ("", "/data/local-files/?d=photos/", "found by the last names in them"),
    ],
)
def test_paths_of_other_places_are_found_and_that_is_said(photos, before, after, how):
    path = table(photos, "path,label", "{path},{label}")
    header, *lines = path.read_text().split("\n")
    changed = [
        after + each if not before else each.replace(before, after) for each in lines if each
    ]
    path.write_text("\n".join([header, *changed]))
    splits = read_data(path)
    assert is_whole(splits)
    assert any("8 paths of" in each and how in each for each in splits.notes)
    assert len(read_images(path)[0]) == 8


@pytest.mark.parametrize("folder", ["images", "img", "train_images"])
def test_images_may_lie_beside_the_folder_of_the_table(tmp_path, folder):
    write_pictures(tmp_path / folder, 4, classes=CLASSES)
    splits = read_data(table(tmp_path / "annotations", "path,label", "{path},{label}"))
    assert is_whole(splits)
    assert any("found in a folder beside the table" in each for each in splits.notes)
    assert is_whole(read_data(table(tmp_path / "meta", "id,label", "{stem},{label}")))


def test_ids_are_found_where_the_name_of_the_table_says(tmp_path):
    for part in ("train", "test"):
        write_pictures(tmp_path / part, 4, classes=["red"])
    lines = "\n".join(f"{at:03},{CLASSES[at % 2]}" for at in range(4))
    (tmp_path / "labels.csv").write_text(f"id,breed\n{lines}\n")
    with pytest.raises(InputError, match="line 2 fits several files"):
        read_data(tmp_path / "labels.csv")
    (tmp_path / "labels.csv").rename(tmp_path / "train.csv")
    splits = read_data(tmp_path / "train.csv")
    paths = {file.path for part in splits.parts for file in part.files}
    assert len(paths) == 4
    assert all("/train/red/" in each for each in paths)


def test_two_paths_are_never_found_in_one_file(photos):
    lines = ["path,label", "/old/red/a.png,red", "/old/blue/a.png,blue"]
    (photos / "photos.csv").write_text("\n".join(lines))
    (photos / "red" / "000.png").rename(photos / "a.png")
    with pytest.raises(InputError, match="line 3 names a file that does not exist"):
        read_data(photos / "photos.csv")


def test_another_folder_of_this_machine_is_another_image(photos):
    path = table(photos, "path,label", "{path},{label}", "green/000.png,green", "red/9/000.png,red")
    with pytest.raises(InputError, match="line 10 names a file that does not exist"):
        read_data(path)


@pytest.mark.parametrize(("true", "false"), [("True", "False"), ("1", "0"), ("yes", "no")])
@pytest.mark.parametrize("flag", ["is_valid", "is_test", "is_train"])
def test_columns_of_truth_values_are_read_as_parts(photos, true, false, flag):
    held = flag != "is_train"
    rows = [
        (str(photos / name / f"{at:03}.png"), name, true if (at == 3) == held else false)
        for name in CLASSES
        for at in range(4)
    ]
    frame = pd.DataFrame(rows, columns=["name of file", "label", flag]).rename(
        columns={"name of file": "fname"}
    )
    splits = read_data(frame) if flag != "is_test" else None
    part, _, notes = read_labelled(frame, CLASSES)
    assert part.name == ("test" if flag == "is_test" else "validation")
    assert [file.path[-7:] for file in part.files] == ["003.png", "003.png"]
    assert any(f"the column {flag!r}" in each and "as split" in each for each in notes)
    if splits is not None:
        assert sizes(splits) == {"train": 6, "validation": 2}
    frame.loc[0, flag] = "maybe"
    with pytest.raises(InputError, match="row 0 has the split 'maybe', expected True or False"):
        read_data(frame)


def test_a_column_for_each_class_is_read_as_labels(photos):
    lines = [f"{name}/{at:03}.png, {int(name == 'blue')}, {int(name == 'red')}" for name in CLASSES
             for at in range(4)]  # fmt: skip
    path = photos / "_classes.csv"
    path.write_text("\n".join(["filename, blue, red", *lines]))
    splits = read_data(path)
    assert is_whole(splits)
    assert any("each of the columns 'blue', 'red'" in each for each in splits.notes)
    path.write_text("\n".join(["filename, blue, red", *lines, "red/000.png, 1, 1"]))
    with pytest.raises(InputError, match="line 10 has not one 1, but none or several"):
        read_data(path)


def test_rows_of_test_without_a_label_are_noted_and_not_used(photos):
    path = table(
        photos, "path,label,split", "{path},{label},train", "red/000.png,,test", "b.png,,Test"
    )
    splits = read_data(path)
    assert sizes(splits) == {"train": 6, "validation": 2}
    assert any("2 rows of" in each and "test without a label" in each for each in splits.notes)
    with pytest.raises(InputError, match="line 10 has no label"):
        read_data(table(photos, "path,label,split", "{path},{label},train", "red/000.png,,train"))


def test_a_test_part_of_a_table_that_lacks_a_class_is_not_used_in_training(photos):
    lines = [f"{name}/{at:03}.png,{name},{'test' if at == 3 and name == 'red' else 'train'}"
             for name in CLASSES for at in range(4)]  # fmt: skip
    (photos / "photos.csv").write_text("\n".join(["path,label,split", *lines]))
    splits = read_data(photos / "photos.csv")
    assert splits.test is None
    assert any("is not used in training: it has no image of 'blue'" in e for e in splits.notes)


def test_a_frame_is_read_as_its_csv_is(photos, monkeypatch):
    monkeypatch.chdir(photos)
    path = table(photos, "file_name,species", "{stem},{label}")
    found, expected = read_data(pd.read_csv(path)), read_data(path)
    assert is_whole(found)
    assert [each.content_digest() for each in found.parts] == [
        each.content_digest() for each in expected.parts
    ]
    assert [each.split(" of ")[0] for each in found.notes[1:]] == [
        each.split(" of ")[0] for each in expected.notes[1:]
    ]


def test_names_with_accents_are_found_however_they_are_written(photos):
    composed = unicodedata.normalize("NFC", "caf\u00e9.png")
    (photos / "red" / "000.png").rename(photos / "red" / unicodedata.normalize("NFD", composed))
    path = table(photos, "path,label", "{path},{label}")
    path.write_text(path.read_text().replace("red/000.png", f"red/{composed}"))
    splits = read_data(path)
    assert is_whole(splits)
    assert any("1 path of" in each and "found by the last names" in each for each in splits.notes)
