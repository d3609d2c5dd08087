"""Rows of files in arrays, and equal files among them."""

import os
import shutil
import tracemalloc

import numpy as np
import pytest

from ktransfer.data import ImageFile, ImageFiles, Part, image_dataset
from ktransfer.data.images.files import ChangedError
from ktransfer.data.images.header import Inspected
from ktransfer.data.images.held import HeldImages
from ktransfer.data.reading import duplicates as search
from ktransfer.data.reading.duplicates import duplicate_notes, identical_files

NAMES = ["a.jpg", "line\nbreak.png", os.fsdecode(b"not-utf8-\xff"), "\u05e9\u05dc.png", ""]


def files_of(folder, **contents):
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return ImageFiles.of([ImageFile(str(folder / name), "pillow") for name in contents])


def test_row_of_files_is_a_sequence_of_the_files_that_it_was_made_of():
    plain = [ImageFile(name, ("pillow", "tensorflow")[at % 2]) for at, name in enumerate(NAMES)]
    row = ImageFiles.of(plain)
    assert list(row) == plain
    assert row == plain
    assert row[-1] == plain[-1]
    assert row[1:3] == plain[1:3]
    assert row != plain[:-1]
    assert row != "files"
    assert row.plain.tolist() == [False, True, False, True, False]
    chosen = row.select(np.array([3, 0]))
    assert chosen == [plain[3], plain[0]]
    assert chosen + plain[:1] == [plain[3], plain[0], plain[0]]
    assert ImageFiles.joined([row, chosen, ImageFiles.of([])]) == [*plain, plain[3], plain[0]]
    assert ImageFiles.joined([ImageFiles.of(plain[3:]), row]) == [*plain[3:], *plain]
    assert len(ImageFiles.joined([])) == 0
    assert repr(chosen) == "ImageFiles(2 files)"
    assert ImageFiles.of([Inspected(plain[0], "GIF")]).format(0) == "GIF"
    assert row.format(0) is None


def test_row_of_files_takes_little_more_than_its_names():
    paths = [f"/photos/class_{number % 10}/IMG_{number:08}.jpg" for number in range(20_000)]
    tracemalloc.start()
    row = ImageFiles.of(ImageFile(path, "tensorflow") for path in paths)
    train = row.select(np.arange(0, 20_000, 2))
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    names = sum(map(len, paths))
    assert kept < 1.2 * names + 30 * (len(row) + len(train))


def test_a_file_that_was_digested_gives_no_other_bytes(tmp_path):
    row = files_of(tmp_path, a=b"one", b=b"two")
    os.unlink(row[1].path)
    assert row.changed(0) is None  # nothing was digested yet
    row.digests()
    assert row.encoded(0) == b"one"
    assert (row.changed(0), row.changed(1)) == (None, None)
    (tmp_path / "a").write_bytes(b"six")
    (tmp_path / "b").write_bytes(b"two")
    for at in (0, 1):  # the second could not be read when it was digested
        assert row.changed(at) == "its bytes are not those of before"
        with pytest.raises(ChangedError, match="its bytes are not those of before"):
            row.encoded(at)
    assert row.select(np.array([0])).changed(0)
    os.unlink(tmp_path / "a")
    assert row.changed(0) == "does not exist"
    with pytest.raises(ChangedError, match="does not exist"):
        row.encoded(0)
    (tmp_path / "a").write_bytes(b"one")
    assert row.encoded(0) == b"one"


def test_an_array_that_is_written_to_after_it_was_digested_is_no_longer_read():
    pixels = np.zeros((3, 4, 4, 3), np.uint8)
    held = HeldImages.of_pixels(pixels, "the data")
    held.digests()
    pixels[1] += 1
    assert [held.changed(at) for at in range(3)] == [
        None,
        "its bytes are not those of before",
        None,
    ]
    found = [each.numpy() for _, each in image_dataset(Part("train", held, np.zeros(3)), (4, 4))]
    assert np.concatenate(found).tolist() == [0, 2]


def test_digest_follows_content_and_route_and_survives_selection(tmp_path):
    row = files_of(tmp_path, a=b"one", b=b"two", c=b"one")
    first, second, third = (each.tobytes() for each in row.digests())
    assert first == third != second
    assert row.select(np.array([1])).digests()[0].tobytes() == second
    other = ImageFiles.of([ImageFile(row.name(0), "tensorflow")])
    assert other.digests()[0].tobytes() != first
    gone = ImageFiles.of([ImageFile(str(tmp_path / "gone"), "pillow")])
    assert gone.digests().shape == (1, 16)


def test_equal_files_are_found_as_by_comparing_all_their_bytes(tmp_path):
    random = np.random.default_rng(0)
    long = [random.bytes(9_000) for _ in range(3)]
    same_tail = long[0][:10] + b"x" + long[0][11:]
    contents = [*long, same_tail, long[1], b"", b"", b"a", b"b", long[1], b"b"]
    row = files_of(tmp_path, **{str(at): each for at, each in enumerate(contents)})
    groups = identical_files(row)
    for one, first in enumerate(contents):
        alone = contents.count(first) == 1
        assert (groups[one] == -1) == alone
        for other, second in enumerate(contents):
            if not alone:
                assert (groups[one] == groups[other]) == (first == second)


def test_links_are_one_file_and_no_file_is_read_twice(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    row = files_of(tmp_path, a=random.bytes(9_000), b=random.bytes(9_000))
    for number in range(40):
        os.link(tmp_path / "ab"[number % 2], tmp_path / f"{number}")
    shutil.copy(tmp_path / "a", tmp_path / "copy")
    paths = [str(tmp_path / each) for each in ("a", "b", *map(str, range(40)), "copy")]
    row = ImageFiles.of([ImageFile(each, "pillow") for each in paths])
    digested = []
    digest = search._digest
    monkeypatch.setattr(search, "_digest", lambda path: digested.append(path) or digest(path))
    groups = identical_files(row)
    assert len(set(groups)) == 2
    assert groups[0] == groups[-1] == groups[2] != groups[1]
    # Of each inode at most once; the other file has another end, and need not be read.
    assert len(digested) == 2


def test_file_that_has_gone_is_like_no_other(tmp_path):
    row = files_of(tmp_path, a=b"one", b=b"one", c=b"one", d=b"one")
    os.unlink(tmp_path / "b")
    os.unlink(tmp_path / "d")
    groups = identical_files(row)
    assert groups[0] == groups[2] >= 0
    assert groups[1] == groups[3] == -1
    assert identical_files(ImageFiles.of([])).tolist() == []


def test_notes_name_the_first_of_many_equal_images(tmp_path):
    row = files_of(tmp_path, **dict.fromkeys("abcdef", b"same"), g=b"own")
    parts = [
        Part("train", row[:3], np.array([0, 0, 1])),
        Part("validation", row[3:5], np.array([0, 0])),
        Part("test", row[5:], np.array([0, 1])),
    ]
    notes = duplicate_notes(parts, ["ants", "bees"])
    a, c, d, f = (repr(str(tmp_path / each)) for each in "acdf")
    assert notes == [
        f"1 image is in both train and validation, e.g. {a} and {d}",
        f"1 image is in both train and test, e.g. {a} and {f}",
        f"1 image is in both validation and test, e.g. {d} and {f}",
        f"1 image has two labels, e.g. {a} and {c} hold the same bytes",
    ]


def test_row_of_files_is_not_hashable():
    with pytest.raises(TypeError, match="unhashable type: 'ImageFiles'"):
        hash(ImageFiles.of([]))
