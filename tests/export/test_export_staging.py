"""Files and folders that appear in one step, or not at all."""

import pytest

from ktransfer import RunError
from ktransfer.export.staging import put_in_place, staged


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


def test_folder_to_work_in_is_gone_afterwards_and_so_are_new_folders_above(tmp_path):
    with staged(tmp_path / "a" / "b" / "model.onnx") as folder:
        assert folder.parent == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == []


def test_new_folders_stay_where_something_came_of_them(tmp_path):
    target = tmp_path / "a" / "model.onnx"
    with staged(target) as folder:
        put_in_place(folder, {write(folder, "x", "new"): target})
    assert [each.name for each in target.parent.iterdir()] == ["model.onnx"]


def test_folder_takes_the_place_of_a_folder(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    write(target, "old", "old")
    with staged(target) as folder:
        (folder / "new").mkdir()
        write(folder / "new", "new", "new")
        put_in_place(folder, {folder / "new": target})
    assert [each.name for each in target.iterdir()] == ["new"]
    assert [each.name for each in tmp_path.iterdir()] == ["model"]


def test_of_several_files_all_or_none_are_replaced(tmp_path):
    one, two = write(tmp_path, "one", "old"), tmp_path / "two"
    two.mkdir()
    write(two, "file", "old")

    def replace_both():
        with staged(one) as folder:
            put_in_place(folder, {write(folder, "1", "new"): one, folder / "is missing": two})

    with pytest.raises(RunError, match="could not be written"):
        replace_both()
    assert one.read_text() == "old"
    assert (two / "file").read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["one", "two"]


def test_interruption_after_the_first_move_undoes_it(tmp_path, monkeypatch):
    one, two = tmp_path / "one", write(tmp_path, "two", "old")

    def interrupt(target, old):
        raise KeyboardInterrupt

    monkeypatch.setattr("ktransfer.export.staging._keep", interrupt)

    def replace_both():
        with staged(one) as folder:
            put_in_place(folder, {write(folder, "1", "new"): one, write(folder, "2", "new"): two})

    with pytest.raises(KeyboardInterrupt):
        replace_both()
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("two", "old")]
