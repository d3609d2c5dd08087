"""Manifests: what they name, what they leave out, and that nothing else is ever written."""

import csv
import json
import os

import pytest
from bad_folder import encoded, photo, write_bad_folder, write_clean_folder
from click.testing import CliRunner

from ktransfer import InputError
from ktransfer.cli import main
from ktransfer.data import read_listing
from ktransfer.doctor import inspect_data, write_manifest


def rows(path):
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return list(csv.DictReader(stream))


def run(*arguments):
    return CliRunner().invoke(main, ["doctor", *map(str, arguments)])


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    root = tmp_path_factory.mktemp("bad")
    planted = write_bad_folder(root)
    return root, planted, inspect_data(root)


def test_a_manifest_names_all_readable_images_with_their_findings(bad, tmp_path):
    root, planted, examined = bad
    written = write_manifest(tmp_path / "m.csv", examined, exclude=False)
    found = {row["path"]: row for row in rows(tmp_path / "m.csv")}
    assert len(found) == written == examined.report.num_images
    for (path,) in planted["unreadable"] + planted["oversized"]:
        assert path not in found
    for (path,) in planted["odd_name"]:
        assert os.path.isdir(path) or found[path]["findings"] == "odd_name"
    leaked = found[str(root / "train/ants/leak-exact-1.jpg")]
    assert (leaked["label"], leaked["split"]) == ("ants", "train")
    assert leaked["findings"].split() == ["leak", "duplicate"]


def test_exclude_leaves_out_what_should_not_be_trained_on(bad, tmp_path):
    _, planted, examined = bad
    write_manifest(tmp_path / "m.csv", examined, exclude=True)
    kept = {row["path"] for row in rows(tmp_path / "m.csv")}
    for group in planted["conflicting_labels"]:
        assert not kept & set(group)
    for group in planted["leak"]:
        assert kept & set(group) == {path for path in group if "/val/" in path}
    for group in planted["duplicate"]:
        assert len(kept & set(group)) == 1
    for group in planted["near_duplicate"]:
        assert set(group) <= kept


def test_a_manifest_is_read_as_the_folder_is(bad, tmp_path):
    root, _, examined = bad
    write_manifest(tmp_path / "m.csv", examined, exclude=False)
    folder, table = read_listing(root), read_listing(tmp_path / "m.csv")
    readable = {
        os.fsencode(examined.subject.files.name(at))
        for at in range(len(examined.subject))
        if examined.records["seen"][at]
    }

    def images(listing):
        return {
            (part, name, os.fsencode(file.path))
            for part, reading in listing.parts.items()
            for name, files in reading.by_class.items()
            for file in files
            if os.fsencode(file.path) in readable
        }

    assert images(table) == images(folder)


def test_excluded_near_duplicates_cannot_be_drawn_apart(tmp_path):
    root = tmp_path / "photos"
    for seed, name in enumerate(("a", "b")):
        (root / name).mkdir(parents=True)
        for number in range(3):
            photo(10 * seed + number).save(root / name / f"{number}.png")
        copy = encoded(photo(10 * seed).resize((80, 60)), "JPEG")
        (root / name / "copy.jpg").write_bytes(copy)
    examined = inspect_data(root)
    assert write_manifest(tmp_path / "m.csv", examined, exclude=True) == 6
    found = rows(tmp_path / "m.csv")
    assert "split" not in found[0]
    assert not any(row["path"].endswith("copy.jpg") for row in found)


def test_a_manifest_that_cannot_be_written_is_refused(tmp_path):
    write_clean_folder(tmp_path / "photos", per_class=1)
    examined = inspect_data(tmp_path / "photos")
    with pytest.raises(InputError, match=r"m\.txt' must end in \.csv"):
        write_manifest(tmp_path / "m.txt", examined, exclude=False)
    with pytest.raises(InputError, match=r"there is no folder '.*nowhere'"):
        write_manifest(tmp_path / "nowhere/m.csv", examined, exclude=False)
    with pytest.raises(InputError, match="is a folder; name a file"):
        write_manifest(tmp_path, examined, exclude=False)
    (tmp_path / "m.csv").write_text("mine")
    with pytest.raises(InputError, match=r"m\.csv' exists; .*--overwrite"):
        write_manifest(tmp_path / "m.csv", examined, exclude=False)
    assert (tmp_path / "m.csv").read_text() == "mine"
    assert write_manifest(tmp_path / "m.csv", examined, exclude=False, overwrite=True) == 4
    assert len(rows(tmp_path / "m.csv")) == 4


def test_the_command_prints_findings_and_one_json_object(tmp_path):
    root = write_clean_folder(tmp_path / "photos", per_class=2)
    (root / "train/ants/broken.jpg").write_bytes(b"<html>")
    result = run(root, "--out", tmp_path / "m.csv")
    assert result.exit_code == 0
    assert "error    unreadable: 1 entry that cannot be read as an image" in result.stdout
    assert "broken.jpg: not an image: HTML text named .jpg" in result.stdout
    assert "8 images in" in result.stdout
    result = run(root, "--json", "--strict")
    assert result.exit_code == 1
    found = json.loads(result.stdout.splitlines()[-1])
    (broken,) = [each for each in found["findings"] if each["kind"] == "unreadable"]
    assert broken["severity"] == "error"
    assert broken["count"] == 1
    assert broken["paths"] == [[str(root / "train/ants/broken.jpg")]]
    assert found["counts"]["train"] == {"ants": 2, "bees": 2}
    assert found["seconds"].keys() == {"scan", "look", "compare"}


def test_strict_is_content_with_a_clean_folder(tmp_path):
    root = write_clean_folder(tmp_path / "photos", per_class=10)
    result = run(root, "--strict")
    assert result.exit_code == 0
    assert "40 readable images; nothing wrong was found" in result.stdout


def test_the_command_refuses_what_it_cannot_do(tmp_path):
    root = write_clean_folder(tmp_path / "photos", per_class=2)
    result = run(root, "--exclude")
    assert (result.exit_code, "--exclude needs --out" in result.stderr) == (2, True)
    assert run(root, "--out", tmp_path / "m.csv").exit_code == 0
    before = (tmp_path / "m.csv").read_bytes()
    result = run(tmp_path / "m.csv", "--out", tmp_path / "m.csv")
    assert (result.exit_code, "which is read here and never replaced" in result.stderr) == (2, True)
    assert (tmp_path / "m.csv").read_bytes() == before
    result = run(tmp_path / "nowhere")
    assert (result.exit_code, "no such folder" in result.stderr) == (2, True)
