"""Tables that are not quite what they should be: each is read rightly, or told what is wrong."""

import csv
import re

import numpy as np
import pandas as pd
import pytest
from conftest import write_pictures

from ktransfer import examine
from ktransfer.data import read_data, read_labelled, read_listing
from ktransfer.errors import InputError

CLASSES = ("blue", "red")


@pytest.fixture
def photos(tmp_path):
    """`photos/blue/000.png` to `photos/red/003.png`."""
    return write_pictures(tmp_path / "photos", 4, classes=CLASSES)


def rows(**labels):
    """Path and label of each picture; classes may be called otherwise."""
    return [(f"{name}/{at:03}.png", labels.get(name, name)) for name in CLASSES for at in range(4)]


def written(folder, header, lines, name="photos.csv"):
    path = folder / name
    path.write_text("\n".join([header, *(",".join(map(str, each)) for each in lines), ""]))
    return path


def frame_of(folder, lines):
    whole = [(str(folder / path), *others) for path, *others in lines]
    return pd.DataFrame(whole, columns=["path", "label"])


def sizes(splits):
    return {part.name: len(part) for part in splits.parts}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('red/0.png,red\n"a.png,red\nb.png,red\n', "quote that opens in line 3 is never closed"),
        ('a.png,red\n"b.png,red\n"c.png",red\n', "opens in line 3 closes in line 4 before other"),
        ('a.png,"of\ntwo"\n"b\nc",d,"red\n', "quote that opens in line 5 is never closed"),
        ('a.png,"a ""quoted"" word\nb.png,red\n', "quote that opens in line 2 is never closed"),
        ('a.png, "red\n', "quote that opens in line 2 is never closed"),
        ('a.png,5"\nb.png,"red\n', "quote that opens in line 3 is never closed"),
        ('"a.png,red\n' + "b.png,red\n" * 20_000, "in line 2 is still open 131,072 characters"),
        (f"{'a' * 200_000},red\n", "line 2: field larger than field limit"),
    ],
)
def test_a_quote_that_is_not_closed_is_named_by_its_line(photos, text, match):
    path = photos / "photos.csv"
    path.write_text(f"path,label\n{text}")
    with pytest.raises(InputError, match=f"cannot be read as CSV: .*{match}"):
        read_data(path)


@pytest.mark.parametrize(
    "above",
    [
        "# made by hand\n",
        "# two lines,\n# of words\n\n",
        "\n# photos, and what they show\n",
        ",,\n",
        "#\n",
    ],
)
def test_comments_and_blank_lines_above_the_header_are_read_past(photos, above):
    path = written(photos, f"{above}path,label", [*rows(), ("gone.png", "red")])
    line = above.count("\n") + 10
    with pytest.raises(InputError, match=f"line {line} names a file that does not exist"):
        read_data(path)
    written(photos, f"{above}path,label", rows())
    assert read_data(path).class_names == CLASSES


def test_a_header_may_begin_with_a_hash(photos):
    numbered = [(at, *each) for at, each in enumerate(rows())]
    for header, lines in (("#,path,label", numbered), ("# path,label", rows())):
        assert read_data(written(photos, header, lines)).class_names == CLASSES
    with pytest.raises(InputError, match=r"first line is 'blue/000\.png,blue'; write a line path"):
        read_data(written(photos, "# of the garden", rows()))


def test_a_title_above_the_header_is_named(photos):
    path = written(photos, "Photos of 2020\npath,label", rows())
    with pytest.raises(InputError, match=r"begins with 'Photos of 2020'.*'path,label' below: rem"):
        read_data(path)


def test_whole_numbers_are_the_same_classes_however_they_are_written(photos):
    plain = rows(blue=0, red=1)
    of_gap = rows(blue="0.0", red="1.0")
    found = [
        read_data(source)
        for source in (
            written(photos, "path,label", plain),
            written(photos, "path,label", of_gap, name="gap.csv"),
            frame_of(photos, plain).astype({"label": float}),
            frame_of(photos, plain).astype({"label": "float32"}),
            frame_of(photos, of_gap),
        )
    ]
    for each in found:
        assert each.class_names == ("0", "1")
        assert each.train.labels.tolist() == found[0].train.labels.tolist()
    assert any("'0.0', '1.0' are read as '0', '1'" in note for note in found[1].notes)
    assert not any("are read as" in note for note in found[0].notes)


def test_fractions_and_names_stay_as_they_are_written(photos):
    for labels in (("1.0", "1.5"), ("1.0", "v2"), ("01", "02")):
        lines = rows(blue=labels[0], red=labels[1])
        assert read_data(written(photos, "path,label", lines)).class_names == labels
        assert read_data(frame_of(photos, lines)).class_names == labels
    assert read_data(frame_of(photos, rows(blue=1.0, red=1.5))).class_names == ("1.0", "1.5")


def test_a_model_of_classes_called_1_0_is_still_evaluated_on_its_table(photos):
    path = written(photos, "path,label", rows(blue="1.0", red="2.0"))
    part, _, _ = read_labelled(path, ("1.0", "2.0"))
    assert part.labels.tolist() == [0] * 4 + [1] * 4


def test_whole_numbers_are_positions_in_the_class_names(photos):
    path = written(photos, "path,label", rows(blue="1.0", red="0.0"))
    found = read_data(path, class_names=["red", "blue"])
    for file, label in zip(found.train.files, found.train.labels, strict=True):
        assert found.class_names[label] in file.path


@pytest.mark.parametrize("name", ["NA", "None", "null", "N/A", "<NA>"])
def test_a_class_that_is_called_as_a_missing_value_is_noted_with_its_images(photos, name):
    path = written(photos, "path,label", rows(red=name))
    found = read_data(path)
    assert set(found.class_names) == {"blue", name}
    (note,) = (each for each in found.notes if "there is no label" in each)
    assert note.startswith(f"{name!r} (4 images) is read as a class")
    assert "leave these images out" in note
    (finding,) = (each for each in examine(path).findings if each.kind == "no_label")
    assert finding.message.startswith(f"{name!r} (4 images)")
    assert not any("no_label" in each.kind for each in examine(photos).findings)


def test_a_single_image_of_such_a_class_is_told_to_be_left_out(photos):
    path = written(photos, "path,label", [*rows(), ("red/000.png", "NA")])
    with pytest.raises(InputError, match=r"'NA' has 1 readable image .*leave it out, if 'NA' says"):
        read_data(path)


def test_folders_and_arrays_of_such_a_name_are_noted_too(tmp_path):
    write_pictures(tmp_path / "photos", 2, classes=("blue", "red"))
    (tmp_path / "photos" / "red").rename(tmp_path / "photos" / "nan")
    assert any("'nan' (2 images) is read as a class" in e for e in read_data(tmp_path).notes)
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    notes = read_data((images, ["a", "null"] * 3)).notes
    assert any("'null' (3 images) is read as a class" in each for each in notes)


def test_a_row_without_a_label_is_told_to_be_left_out_and_what_pandas_takes_for_one(photos):
    empty = [*rows(), ("red/000.png", "")]
    with pytest.raises(InputError, match=r"line 10 has no label: .*; leave such rows out$"):
        read_data(written(photos, "path,label", empty))
    for missing in (None, np.nan, pd.NA):
        frame = frame_of(photos, [*rows(), ("red/000.png", missing)])
        with pytest.raises(InputError, match=r"row 8 has no label: .*keep_default_na=False\)$"):
            read_data(frame)
        assert [each.reason for each in read_listing(frame).skipped] == ["row 8 has no label"]


@pytest.mark.parametrize("column", ["Usage", "subset", "set", "partition", "fold", "data_split"])
def test_parts_are_read_from_columns_of_other_names(photos, column):
    values = ("Training", "TRAIN", "PublicTest", "PrivateTest")
    lines = [(*each, values[at % 4]) for at, each in enumerate(rows())]
    found = read_data(written(photos, f"path,label,{column}", lines))
    assert sizes(found) == {"train": 4, "validation": 2, "test": 2}
    assert [file.path[-7:] for file in found.validation.files] == ["002.png", "002.png"]
    assert any(f"the column {column!r}" in note and "as split" in note for note in found.notes)


def test_of_several_columns_the_one_with_names_of_parts_is_read(photos):
    lines = [(*each, "FER", ("train", "val")[at % 2]) for at, each in enumerate(rows())]
    found = read_data(written(photos, "path,label,dataset,subset", lines))
    assert sizes(found) == {"train": 4, "validation": 4}
    lines = [(*each, at % 4, "a") for at, each in enumerate(rows())]
    assert read_data(written(photos, "path,label,fold,set", lines)).held_back


def own_images(message, path):
    """What the code in a message makes of the table that it was said of."""
    code = re.search(r"images = (numpy.*|frame.*)\.reshape", message)[1]
    return eval(code, {"numpy": np, "frame": pd.read_csv(path)})


def test_a_table_that_holds_pixels_says_how_to_hand_them_over(photos):
    pixels = np.arange(3 * 16).reshape(3, 16)
    of_text = [(at, " ".join(map(str, row)), "Training") for at, row in enumerate(pixels)]
    named = ",".join(f"pixel{at}" for at in range(16))
    placed = ",".join(f"1x{at}" for at in range(16))
    for header, lines in (
        ("emotion,pixels,Usage", of_text),
        (f"label,{named}", [(7, *row) for row in pixels]),
        (f"id,label,{placed}", [(at, 7, *row) for at, row in enumerate(pixels)]),
    ):
        path = written(photos, header, lines)
        with pytest.raises(InputError, match=r"the images themselves.*give arrays") as caught:
            read_data(path)
        np.testing.assert_array_equal(own_images(str(caught.value), path), pixels)


def test_a_column_of_pixel_counts_beside_paths_is_no_image(photos):
    path = photos / "photos.csv"
    with path.open("w") as stream:
        csv.writer(stream).writerows([("path", "label", "pixels"), *((*e, 480) for e in rows())])
    assert read_data(path).class_names == CLASSES
