"""What is written is whole, replaces nothing unasked, and is never what the same command reads."""

import contextlib
import os

import pytest
import served_models
import tensorflow  # noqa: F401 - before click's runner replaces the standard streams
from click.testing import CliRunner
from conftest import write_pictures

from ktransfer import InputError, cli
from ktransfer.data.inputs import check_not_read
from ktransfer.files.writing import aside, check_new_file, replacing, write_file


def run(*args):
    return CliRunner().invoke(cli.main, [os.fspath(each) for each in args])


def refused(done, said):
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def everything_in(folder):
    return {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.fixture
def photos(tmp_path):
    return write_pictures(tmp_path / "photos", 2)


@pytest.fixture
def photo(photos):
    return photos / "red" / "000.png"


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "new.txt"

    def fail(partial):
        partial.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"the text '.*new\.txt' cannot be written: No space left"):
        write_file(target, "the text", fail)
    with contextlib.suppress(KeyboardInterrupt), aside(target, "the text") as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    write_file(target, "the text", lambda partial: partial.write_text("whole"))
    assert [each.name for each in tmp_path.iterdir()] == ["new.txt"]
    assert target.read_text() == "whole"


@pytest.mark.parametrize("at", ["write", "fsync"])
def test_a_file_of_ours_is_the_old_or_the_new_one_and_half_of_none_stays(tmp_path, monkeypatch, at):
    target, previous = tmp_path / "state", tmp_path / "previous"
    for contents in ("first", "second"):
        with replacing(target, kept_as=previous) as partial:
            partial.write_text(contents)
    assert (target.read_text(), previous.read_text()) == ("second", "first")

    def full(*_):
        raise OSError(28, "No space left on device")

    def write():
        with replacing(target, kept_as=previous) as partial:
            partial.write_text("third")
            if at == "write":
                full()

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write()
    assert (target.read_text(), previous.read_text()) == ("second", "first")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["previous", "state"]


def test_what_came_there_in_the_meantime_is_not_replaced(tmp_path):
    target = check_new_file(tmp_path / "new.txt", "the text")

    def write(partial):
        partial.write_text("ours")
        target.write_text("mine")

    with pytest.raises(InputError, match=r"new\.txt' exists; name another file"):
        write_file(target, "the text", write)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["mine"]


def test_a_link_is_replaced_and_not_what_it_leads_to(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "link.txt").symlink_to("mine.txt")
    with pytest.raises(InputError, match=r"link\.txt' exists"):
        check_new_file(tmp_path / "link.txt", "the text")
    target = check_new_file(tmp_path / "link.txt", "the text", overwrite=True)
    write_file(target, "the text", lambda partial: partial.write_text("ours"), overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert (tmp_path / "link.txt").read_text() == "ours"


def test_places_that_cannot_be_written_to_are_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "folder.txt").mkdir()
    os.mkfifo(tmp_path / "pipe.txt")
    long = "n" * 251 + ".txt"
    write_file(tmp_path / long, "the text", lambda partial: partial.write_text("a long name"))
    for name, ending, said in (
        ("folder.txt", "", r"the text '.*folder\.txt' is a folder; name a file"),
        ("new.csv", ".txt", r"the text '.*new\.csv' must end in \.txt"),
        ("no/new.txt", ".txt", r"no/new\.txt': there is no folder '.*no'"),
        ("pipe.txt", ".txt", r"pipe\.txt' is no file that could be replaced"),
        (long, ".txt", "exists; name another file, or say overwrite=True"),
    ):
        with pytest.raises(InputError, match=said):
            check_new_file(tmp_path / name, "the text", ending=ending, overwrite=name == "pipe.txt")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(InputError, match=f"no permission to write to '{tmp_path}'"):
        check_new_file(tmp_path / "new.txt", "the text")


def test_an_image_is_known_under_each_of_its_names(tmp_path, photos, photo, monkeypatch):
    (tmp_path / "link.png").symlink_to(photo)
    os.link(photo, tmp_path / "second.png")
    (tmp_path / "all").symlink_to(photos)
    table = tmp_path / "table.csv"
    table.write_text("path,label\nphotos/red/000.png,red\n")
    monkeypatch.chdir(tmp_path)
    names = ("photos/red/../red/000.png", "link.png", "second.png", "all/red/000.png", photo)
    for name in names:
        for source in ("photos", "all", photo, [photos], {"train": photos}, table):
            with pytest.raises(InputError, match=r"000\.png', which is read here and never"):
                check_not_read(name, "--csv", source)
    with pytest.raises(InputError, match=r"--csv 'table\.csv' is .*table\.csv', which is read"):
        check_not_read("table.csv", "--csv", table)


def test_what_is_not_read_may_be_replaced(tmp_path, photos, photo):
    (photos / "found.csv").write_text("path,label\n")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    other = write_pictures(tmp_path / "other", 1) / "red" / "000.png"
    images = (photos, None, ([1, 2], [0, 1]))
    for name in (photos / "found.csv", photos / "new.png", tmp_path / "dangling.png", other):
        check_not_read(name, "--csv", *images)
    # All that lies in the folder of a run is read.
    with pytest.raises(InputError, match=r"found\.csv', which is read here"):
        check_not_read(photos / "found.csv", "--csv", models=[str(photos)])


def test_predict_replaces_no_file_unasked_and_no_photo_ever(tmp_path, photos, photo):
    model = served_models.write(tmp_path / "means.onnx")
    table = tmp_path / "found.csv"
    table.write_text("mine")
    before = everything_in(tmp_path)
    refused(run("predict", model, photos, "--csv", table), "found.csv' exists; name another file")
    # `--csv *.png` is one slip away: the first photo would be the table.
    refused(
        run("predict", model, "--csv", *sorted(photos.rglob("*.png")), "--overwrite"),
        "000.png' must end in .csv",
    )
    (tmp_path / "photo.csv").symlink_to(photo)
    (tmp_path / "model.csv").symlink_to(model)
    for name in ("photo.csv", "model.csv"):
        done = run("predict", model, photos, "--csv", tmp_path / name, "--overwrite")
        refused(done, "which is read here and never replaced")
        (tmp_path / name).unlink()
    assert everything_in(tmp_path) == before
    assert run("predict", model, photos, "--csv", table, "--overwrite").exit_code == 0
    assert table.read_text().startswith("path,label,probability,")


def test_doctor_and_look_replace_nothing_unasked(tmp_path, photos, photo):
    table, page = tmp_path / "clean.csv", tmp_path / "page.png"
    for each in (table, page):
        each.write_text("mine")
    before = everything_in(tmp_path)
    refused(run("doctor", photos, "--out", table), "clean.csv' exists; name another file, or say")
    refused(run("look", photos, "--out", page), "page.png' exists; name another file, or say")
    for extra in ([], ["--overwrite"]):
        refused(run("look", photos, "--out", photo, *extra), "which is read here and never")
    refused(
        run(
            "backbones", "--data", photos, "--plot", write(tmp_path / "a.svg"), "--weights", "none"
        ),
        "--plot",
    )
    (tmp_path / "a.svg").unlink()
    assert everything_in(tmp_path) == before
    assert run("doctor", photos, "--out", table, "--overwrite").exit_code == 0
    # The manifest's images are read, too, where it takes the place of the folder.
    refused(run("look", table, "--out", photo, "--overwrite"), "which is read here and never")
    refused(run("doctor", table, "--out", table, "--overwrite"), "which is read here and never")


def write(path):
    path.write_text("mine")
    return path
