"""What the store takes, what makes room for it, and when it refuses."""

import errno
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from cache_entries import KEY, assert_holds, names_in, put

from ktransfer.cache import CacheUnavailable, Store, content_key


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_full_disk_is_an_error_that_leaves_nothing(store, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    expected = rf"{store.folder} cannot take an entry of 4\.0 MB \([\d,.]+ MB free .*limit 20,000"
    with pytest.raises(CacheUnavailable, match=rf"{expected}.*No space left.*KTRANSFER_CACHE_MB"):
        put(store, values=np.zeros(2**20, np.float32))
    assert names_in(store.folder) == []


def test_disk_that_fills_up_in_the_commit_leaves_nothing(store, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CacheUnavailable, match="No space left"):
        put(store)
    assert names_in(store.folder) == []


def test_more_than_the_disk_has_is_refused_without_filling_it(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "posix_fallocate", lambda *args: asked.append(args))
    store = Store(tmp_path, limit_mb=float("inf"))
    rows = int(shutil.disk_usage(tmp_path).total)
    with (
        pytest.raises(CacheUnavailable, match="No space left on device"),
        store.create(KEY, (rows,), "float32", {}),
    ):
        pass
    assert asked == []
    assert names_in(tmp_path) == []


def test_larger_than_the_limit_is_refused_before_anything_is_written(tmp_path):
    store = Store(tmp_path / "store", limit_mb=1)
    assert store.free_mb() == 1
    with pytest.raises(CacheUnavailable, match=r"limit 1\.0 MB\): it is larger than the limit"):
        put(store, values=np.zeros((2, 2**17), np.float32))  # 1 MB and two indices
    assert not store.folder.exists()


def test_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "taken").touch()
    store = Store(tmp_path / "taken" / "store")
    with pytest.raises(CacheUnavailable, match=r"Not a directory.*set KTRANSFER_CACHE to another"):
        put(store)
    with pytest.raises(CacheUnavailable, match=r"taken cannot take .*File exists"):
        put(Store(tmp_path / "taken"))
    assert store.load(KEY, budget_mb=1) is None
    assert store.free_mb() == 0


def test_free_is_what_the_disk_has_or_the_limit(tmp_path):
    free_mb = Store(tmp_path / "not" / "there", limit_mb=1e12).free_mb()
    assert free_mb == pytest.approx(shutil.disk_usage(tmp_path).free / 2**20, rel=0.1)
    assert Store(tmp_path, limit_mb=0.5).free_mb() == 0.5
    assert not (tmp_path / "not").exists()


def test_longest_unused_makes_room(tmp_path):
    store = Store(tmp_path, limit_mb=3.5)
    keys = [content_key(number=number) for number in range(4)]
    megabyte = np.ones((1, 2**18), np.float32)
    for age, key in enumerate(keys[:3]):
        put(store, key, megabyte)
        os.utime(tmp_path / key, (age, age))
    store.load(keys[0], budget_mb=1)
    put(store, keys[3], megabyte)
    assert names_in(tmp_path) == sorted([keys[0], keys[2], keys[3]])


def test_a_clock_that_goes_back_changes_nothing_of_the_order(tmp_path, monkeypatch):
    store = Store(tmp_path, limit_mb=3.5)
    keys = [content_key(number=number) for number in range(4)]
    megabyte = np.ones((1, 2**18), np.float32)
    for key in keys[:3]:
        put(store, key, megabyte)
    monkeypatch.setattr(time, "time_ns", lambda: 10**9)  # of 1970
    store.load(keys[0], budget_mb=1)
    put(store, keys[3], megabyte)
    assert names_in(tmp_path) == sorted([keys[0], keys[2], keys[3]])
    store.load(keys[2], budget_mb=1)
    put(store, keys[1], megabyte)
    assert names_in(tmp_path) == sorted([keys[1], keys[2], keys[3]])


def test_entry_just_written_stays_when_it_is_the_oldest(tmp_path):
    keys = [content_key(number=number) for number in range(3)]
    megabyte = np.ones((1, 2**18), np.float32)
    for key in keys[:2]:
        put(Store(tmp_path), key, megabyte)
        os.utime(tmp_path / key, (2**33, 2**33))
    put(Store(tmp_path, limit_mb=1.5), keys[2], megabyte)
    assert names_in(tmp_path) == [keys[2]]


def three_megabytes(store):
    """Three entries of a megabyte, the first used longest ago; their keys in this order."""
    keys = [content_key(number=number) for number in range(3)]
    for age, key in enumerate(keys):
        put(store, key, np.ones((1, 2**18), np.float32))
        os.utime(store.folder / key, (age, age))
    return keys


def fill_disk(monkeypatch, folder, free_mb):
    """Makes the disk small: beside the files of the folder it has so many megabytes free."""
    usage = shutil.disk_usage

    def taken():
        return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())

    size = taken() + int(free_mb * 2**20)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: usage(path)._replace(free=size - taken())
    )


@pytest.mark.parametrize(("free_mb", "num_evicted"), [(1.7, 0), (0.7, 1), (0.4, 2)])
def test_longest_unused_makes_room_on_a_full_disk(store, monkeypatch, free_mb, num_evicted):
    keys = three_megabytes(store)
    fill_disk(monkeypatch, store.folder, free_mb)
    with store.create(KEY, (3, 2**17), "float32", {}) as draft:  # 1.5 MB
        left = [name for name in names_in(store.folder) if not name.startswith(".partial-")]
        assert left == sorted(keys[num_evicted:])
        draft.values[:] = 3
        draft.commit(3, 2 * np.arange(3), budget_mb=0)
    assert_holds(store.load(KEY, budget_mb=0), np.full((3, 2**17), 3, np.float32))
    assert store.remarks == []


def test_indices_count_when_room_is_made(store, monkeypatch):
    keys = three_megabytes(store)
    fill_disk(monkeypatch, store.folder, 1.5)
    with store.create(KEY, (3, 2**17), "float32", {}):
        assert not (store.folder / keys[0]).exists()


def test_nothing_is_evicted_in_vain(store, monkeypatch):
    keys = three_megabytes(store)
    fill_disk(monkeypatch, store.folder, 0.9)
    with (
        pytest.raises(CacheUnavailable, match=r"entry of 4\.0 MB \(0\.9 MB free .*No space left"),
        store.create(KEY, (8, 2**17), "float32", {}),
    ):
        pass
    assert names_in(store.folder) == sorted(keys)


def test_evictions_that_set_nothing_free_end_in_a_refusal(store, monkeypatch):
    """As when other processes have the evicted values mapped: the disk gets them back later."""
    three_megabytes(store)
    usage = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(path)._replace(free=2**20))
    with (
        pytest.raises(CacheUnavailable, match=r"\(1\.0 MB free .*No space left on device"),
        store.create(KEY, (3, 2**17), "float32", {}),
    ):
        pass
    assert names_in(store.folder) == []


def test_free_counts_what_can_be_evicted(store, monkeypatch):
    three_megabytes(store)
    fill_disk(monkeypatch, store.folder, 0.5)
    assert store.free_mb() == pytest.approx(3.5, abs=0.01)
    assert Store(store.folder, limit_mb=2).free_mb() == 2
