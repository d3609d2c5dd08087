"""Damage is noticed and cleared away; what is not ours is left alone."""

import errno
import json
import os
import shutil
import zlib
from pathlib import Path

import pytest
from cache_entries import KEY, assert_holds, names_in, put, rows_of
from click.testing import CliRunner

from ktransfer import InputError
from ktransfer.cache import CacheUnavailable, Store, content_key
from ktransfer.cli import main


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def assert_noticed_and_rebuilt(store, reason, budget_mb=1.0):
    assert store.load(KEY, budget_mb=budget_mb) is None
    assert len(store.remarks) == 1
    assert KEY in store.remarks[0]
    assert "was damaged and is deleted" in store.remarks[0]
    assert reason in store.remarks[0]
    assert names_in(store.folder) == []
    put(store)
    assert_holds(store.load(KEY, budget_mb=budget_mb), rows_of())
    assert len(store.remarks) == 1


@pytest.mark.parametrize("budget_mb", [1, 0])
@pytest.mark.parametrize("name", ["values.bin", "indices.bin", "entry.json"])
def test_any_flipped_byte_is_noticed(store, tmp_path, name, budget_mb):
    put(store)
    folder, whole = store.folder / KEY, tmp_path / "whole"
    folder.rename(whole)
    for position in range((whole / name).stat().st_size):
        shutil.copytree(whole, folder)
        flip(folder / name, position)
        assert store.load(KEY, budget_mb=budget_mb) is None, position
        assert not folder.exists()
        assert len(store.remarks) == position + 1
        assert name in store.remarks[-1]
    shutil.copytree(whole, folder)
    assert_holds(store.load(KEY, budget_mb=budget_mb), rows_of())


@pytest.mark.parametrize("budget_mb", [1, 0])
@pytest.mark.parametrize("name", ["values.bin", "indices.bin", "entry.json"])
@pytest.mark.parametrize("change", [-1, 1, "empty", "missing"])
def test_file_of_another_length_is_noticed(store, name, change, budget_mb):
    put(store)
    path = store.folder / KEY / name
    if change == "missing":
        path.unlink()
    else:
        os.truncate(path, 0 if change == "empty" else path.stat().st_size + change)
    assert_noticed_and_rebuilt(store, name, budget_mb)


def reseal(store, **changes):
    """Changes the record and makes its own checksum right again, so that only the change counts."""
    path = store.folder / KEY / "entry.json"
    record = {**json.loads(path.read_text()), **changes}
    del record["record_crc32"]
    text = json.dumps(record, sort_keys=True, indent=1)
    record["record_crc32"] = zlib.crc32(text.encode())
    path.write_text(json.dumps(record, sort_keys=True, indent=1))


WRONG = [
    ({"format": 2}, "its format is 2, not 1"),
    ({"key": "0" * 64}, "its key is '000"),
    ({"shape": [6, 3, 4]}, "values.bin has 360 bytes instead of 288"),
    ({"shape": [5, 3, 6]}, "indices.bin has 24 bytes instead of 20"),
    ({"shape": [2**62, 2**62, 2**62]}, "its shape is [4611686018427387904,"),
    ({"shape": [0, 2**62, 2**62]}, "its shape is [0,"),
    ({"shape": [2**32, 2**32]}, "its shape is [4294967296,"),
    ({"shape": [-6, -3, 5]}, "its shape is [-6"),
    ({"shape": [6, 3, 5.0]}, "its shape is [6, 3, 5.0]"),
    ({"shape": [True, 90]}, "its shape is [True"),
    ({"shape": [6, 3, 5] + [1] * 60}, "its shape is [6"),
    ({"shape": []}, "its shape is []"),
    ({"shape": "65"}, "its shape is '65'"),
    ({"dtype": "float16"}, "values.bin has 360 bytes instead of 180"),
    ({"dtype": "object"}, "its dtype is 'object'"),
    ({"dtype": ["float32"]}, "its dtype is ['float32']"),
    ({"about": None}, "its about is None"),
    ({"values_crc32": 1}, "values.bin is not what was stored"),
    ({"values_crc32": None}, "its values_crc32 is None"),
    ({"indices_crc32": 1}, "indices.bin is not what was stored"),
]


@pytest.mark.parametrize(("changes", "reason"), WRONG, ids=str)
def test_record_that_does_not_fit_is_noticed(store, changes, reason):
    put(store)
    reseal(store, **changes)
    assert_noticed_and_rebuilt(store, reason)


def test_resealed_record_without_a_change_is_whole(store):
    put(store)
    reseal(store)
    assert_holds(store.load(KEY, budget_mb=1), rows_of())


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"a":' * 200_000, "[1]", "null", "9" * 10_000, "\xff", '{"shape": NaN}', ""],
    ids=lambda text: text[:6],
)
def test_record_that_is_no_record_is_noticed(store, text):
    put(store)
    (store.folder / KEY / "entry.json").write_bytes(text.encode("latin-1"))
    assert_noticed_and_rebuilt(store, "entry.json is n")


def test_empty_folder_in_the_place_of_an_entry_is_noticed(store):
    (store.folder / KEY).mkdir(parents=True)
    assert_noticed_and_rebuilt(store, "entry.json is missing")


def test_entry_under_another_key_is_noticed(store):
    put(store, content_key(test="other"))
    (store.folder / content_key(test="other")).rename(store.folder / KEY)
    assert_noticed_and_rebuilt(store, "its key is ")


def test_entry_that_cannot_be_read_now_is_not_deleted(store, monkeypatch):
    put(store)

    def too_many(*_, **__):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", too_many)
        assert store.load(KEY, budget_mb=1) is None
    assert "cannot be read: [Errno 24] Too many open files" in store.remarks[0]
    assert_holds(store.load(KEY, budget_mb=1), rows_of())


def test_unreadable_sector_counts_as_damage(store, monkeypatch):
    put(store)

    def broken(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", broken)
        assert store.load(KEY, budget_mb=1) is None
    assert "was damaged and is deleted: [Errno 5]" in store.remarks[0]
    assert names_in(store.folder) == []


def test_entry_evicted_between_the_look_and_the_open_is_just_not_there(store, monkeypatch):
    put(store)
    opened = Path.open

    def evicted_first(path, *args, **kwargs):
        if path.name == "values.bin" and "rb" in args:
            shutil.rmtree(store.folder / KEY)
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", evicted_first)
    assert store.load(KEY, budget_mb=1) is None
    assert store.remarks == []


def test_links_and_foreign_files_are_neither_followed_nor_deleted(store, tmp_path):
    put(store)
    whole, elsewhere = store.folder / KEY, tmp_path / "elsewhere"
    whole.rename(elsewhere)
    whole.symlink_to(elsewhere)
    (store.folder / "thesis.tex").write_text("years of work")
    (store.folder / ".partial-0123456789abcdef").symlink_to(elsewhere)
    (store.folder / ".partial-of-the-heart").mkdir()
    before = names_in(store.folder)
    assert store.load(KEY, budget_mb=1) is None
    assert "cannot be used and was left as it is: it is no folder" in store.remarks[0]
    put(store, content_key(test="two"))
    store.clear()
    assert names_in(store.folder) == before
    assert names_in(elsewhere) == ["entry.json", "indices.bin", "values.bin"]


def test_linked_values_are_not_followed(store, tmp_path):
    put(store)
    values = store.folder / KEY / "values.bin"
    values.rename(tmp_path / "moved")
    values.symlink_to(tmp_path / "moved")
    assert store.load(KEY, budget_mb=1) is None
    assert "left as it is: values.bin is no file" in store.remarks[0]
    with pytest.raises(CacheUnavailable, match=rf"{KEY} is in its place and none of ours: move it"):
        put(store)
    assert (tmp_path / "moved").read_bytes() == rows_of().tobytes()


def test_entry_with_a_foreign_file_is_read_but_never_deleted(store):
    put(store)
    (store.folder / KEY / ".DS_Store").touch()
    assert_holds(store.load(KEY, budget_mb=1), rows_of())
    store.clear()
    assert names_in(store.folder) == [KEY]


def test_store_may_be_a_link_to_a_folder(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    put(Store(tmp_path / "link"))
    assert names_in(tmp_path / "disk") == [KEY]


def test_verify_reads_every_entry_and_deletes_what_is_damaged(store):
    keys = [content_key(test=each) for each in ("one", "two", "three")]
    for key in keys:
        put(store, key)
    (store.folder / ".partial-0123456789abcdef").mkdir()
    os.utime(store.folder / ".partial-0123456789abcdef", (0, 0))
    flip(store.folder / keys[1] / "values.bin", 17)
    used = (store.folder / keys[0]).stat().st_mtime_ns
    entries, megabytes = store.verify()
    assert entries == 2
    assert megabytes == sum(size_of(store.folder / keys[at]) for at in (0, 2)) / 2**20
    (remark,) = store.remarks
    assert keys[1] in remark
    assert "was damaged and is deleted: values.bin" in remark
    assert names_in(store.folder) == sorted([keys[0], keys[2]])
    assert (store.folder / keys[0]).stat().st_mtime_ns == used  # looked at, not used
    assert Store(store.folder / "nothing").verify() == (0, 0.0)


def test_an_entry_that_is_whole_is_discarded_with_a_reason(store):
    put(store)
    store.discard(KEY, "it lacks an image")
    assert store.load(KEY, budget_mb=1) is None
    assert store.remarks == [
        f"the cache entry {store.folder / KEY} was incomplete and is deleted: it lacks an image"
    ]
    with pytest.raises(InputError, match="64 hexadecimal digits, from content_key; got 'no'"):
        store.discard("no", "")


def test_command_cache_verifies_and_clears(store, monkeypatch):
    monkeypatch.setenv("KTRANSFER_CACHE", str(store.folder))

    def run(*arguments):
        done = CliRunner().invoke(main, ["cache", *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    assert run().endswith("store: empty\n")
    put(store)
    put(store, content_key(test="two"))
    assert run().endswith("store: 2 whole entries, 0.0 MB\n")
    flip(store.folder / KEY / "indices.bin", 3)
    found = json.loads(run("--json"))
    assert found["entries"] == 1
    assert "indices.bin is not what was stored (checksum)" in found["remarks"][0]
    assert run("--clear").endswith("store: empty\n")
    assert names_in(store.folder) == []


def size_of(folder):
    return sum(each.stat().st_size for each in folder.iterdir())
