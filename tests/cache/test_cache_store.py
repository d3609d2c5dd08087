"""What the store gives back, and what a draft leaves behind."""

import json
import os
import zlib

import numpy as np
import pytest
from cache_entries import KEY, SHAPE, assert_holds, names_in, partials, put, rows_of

from ktransfer import InputError
from ktransfer.cache import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("budget_mb", [1, 0])
def test_what_was_stored_is_read_back(store, dtype, budget_mb):
    values, about = rows_of(dtype), {"network": "small", "cut": 3, "mean": [0.1, None, True]}
    written = put(store, values=values, about=about, room=2, budget_mb=budget_mb)
    read = Store(store.folder).load(KEY, budget_mb=budget_mb)
    for entry in (written, read):
        assert_holds(entry, values)
        assert isinstance(entry.values, np.memmap) == (budget_mb == 0)
        assert entry.about == about
    assert store.remarks == []


def test_values_of_several_megabytes_are_read_back(store):
    values = rows_of("uint8", (5, 1_000_003))
    put(store, values=values, room=1)
    for budget_mb in (0, 100):
        assert_holds(store.load(KEY, budget_mb=budget_mb), values)


def test_mapped_values_are_read_only_and_outlive_their_entry(store):
    put(store)
    entry = store.load(KEY, budget_mb=0)
    with pytest.raises(ValueError, match="read-only"):
        entry.values[0] = 1
    store.clear()
    assert names_in(store.folder) == []
    assert_holds(entry, rows_of())


def test_files_are_raw_numbers_and_json_with_only_the_written_rows(store):
    put(store, room=4)
    folder = store.folder / KEY
    assert names_in(folder) == ["entry.json", "indices.bin", "values.bin"]
    assert (folder / "values.bin").read_bytes() == rows_of().tobytes()
    assert (folder / "indices.bin").read_bytes() == np.arange(0, 12, 2, np.int32).tobytes()
    record = json.loads((folder / "entry.json").read_text())
    assert record["shape"] == list(SHAPE)
    assert record["values_crc32"] == zlib.crc32(rows_of().tobytes())


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0,)])
@pytest.mark.parametrize("budget_mb", [1, 0])
def test_entry_without_a_single_number_is_kept(store, shape, budget_mb):
    values = np.empty(shape, np.float16)
    put(store, values=values, budget_mb=budget_mb)
    assert_holds(store.load(KEY, budget_mb=budget_mb), values)


def test_none_of_the_rows_may_have_been_written(store):
    put(store, values=rows_of()[:0], room=3, budget_mb=0)
    assert store.load(KEY, budget_mb=0).values.shape == (0, 3, 5)


def test_key_that_is_not_there_gives_none_and_makes_no_folder(store):
    assert store.load(KEY, budget_mb=1) is None
    assert store.remarks == []
    assert not store.folder.exists()


def test_a_store_says_what_it_has(store):
    assert not store.has(KEY)
    put(store)
    assert store.has(KEY)
    with pytest.raises(InputError, match="'no key'"):
        store.has("no key")


def test_files_have_the_rights_of_the_umask(store):
    before = os.umask(0o027)
    try:
        put(store)
    finally:
        os.umask(before)
    folder = store.folder / KEY
    assert {oct(each.stat().st_mode & 0o777) for each in folder.iterdir()} == {"0o640"}
    assert oct(folder.stat().st_mode & 0o777) == "0o750"


def fail_in_draft(store, error, *, committed):
    with store.create(KEY, SHAPE, "float32", {}) as draft:
        draft.values[:] = rows_of()
        assert len(partials(store)) == 1
        assert store.load(KEY, budget_mb=1) is None
        if committed:
            draft.commit(6, 2 * np.arange(6), budget_mb=1)
        raise error


def test_draft_that_is_left_without_commit_leaves_nothing(store):
    for error in (KeyboardInterrupt, RuntimeError):
        with pytest.raises(error):
            fail_in_draft(store, error, committed=False)
    with store.create(KEY, SHAPE, "float32", {}):
        pass
    assert names_in(store.folder) == []


def test_entry_is_there_from_the_commit_on_whatever_follows(store):
    with pytest.raises(RuntimeError):
        fail_in_draft(store, RuntimeError, committed=True)
    assert_holds(store.load(KEY, budget_mb=1), rows_of())


def test_first_of_two_drafts_stays(store):
    with store.create(KEY, SHAPE, "float32", {}) as late:
        late.values[:] = rows_of()
        put(store)
        first = (store.folder / KEY).stat().st_ino
        assert_holds(late.commit(6, 2 * np.arange(6), budget_mb=0), rows_of())
    assert (store.folder / KEY).stat().st_ino == first
    assert names_in(store.folder) == [KEY]
    assert store.load(KEY, budget_mb=1).about == {"network": "small"}


def test_disk_space_is_reserved_before_the_first_write(store):
    with store.create(KEY, (2**20,), "float32", {}):
        [partial] = partials(store)
        status = (store.folder / partial / "values.bin").stat()
        assert status.st_size == status.st_blocks * 512 == 4 * 2**20


@pytest.mark.parametrize(
    ("rows", "indices", "message"),
    [
        (7, np.arange(7), "rows must be a whole number from 0 to 6, got 7"),
        (-1, np.arange(0), "got -1"),
        (2.0, np.arange(2), r"got 2\.0"),
        (3, np.arange(2), r"indices must be 3 whole numbers.*got shape \(2,\)"),
        (2, np.array([0.0, 1.0]), "dtype float64"),
        (2, np.array([0, 2**31]), "indices must fit int32, got 0 to 2147483648"),
    ],
)
def test_rows_and_indices_that_do_not_fit_are_refused(store, rows, indices, message):
    with store.create(KEY, SHAPE, "float32", {}) as draft:
        with pytest.raises(InputError, match=message):
            draft.commit(rows, indices, budget_mb=1)
        draft.commit(1, np.arange(1), budget_mb=1)


def test_draft_is_committed_once_and_inside_its_with(store):
    with store.create(KEY, SHAPE, "float32", {}) as draft:
        draft.commit(1, np.arange(1), budget_mb=1)
        with pytest.raises(InputError, match="this draft is closed"):
            draft.commit(1, np.arange(1), budget_mb=1)


@pytest.mark.parametrize(
    ("shape", "dtype", "about", "message"),
    [
        ((2, 3), "float64", {}, r"dtype of float32, float16, uint8; got .* dtype 'float64'"),
        ((2, 3), "rubbish", {}, "dtype 'rubbish'"),
        ((2, -3), "uint8", {}, r"got shape \(2, -3\)"),
        ((), "uint8", {}, r"got shape \(\)"),
        ((0, 2**62, 2**62), "uint8", {}, r"got shape \(0, 46"),
        ((2, 3), "uint8", {"a": np.float32(1)}, r"stored about an entry .* got np.float32\(1.0\)"),
        ((2, 3), "uint8", None, "must be a mapping, got None"),
        ((2, 3), "uint8", {"a": "x" * 2**24}, "stored about an entry is over 16 MB"),
    ],
)
def test_draft_that_cannot_be_stored_is_refused(store, shape, dtype, about, message):
    with pytest.raises(InputError, match=message), store.create(KEY, shape, dtype, about):
        pass
    assert not store.folder.exists()


@pytest.mark.parametrize("key", ["", "../../etc", "A" * 64, "0" * 63, KEY + "\n", None])
def test_key_that_is_no_key_is_refused(store, key):
    with pytest.raises(InputError, match=r"64 hexadecimal digits.* got"):
        store.load(key, budget_mb=1)
    with pytest.raises(InputError, match=r"64 hexadecimal digits.* got"):
        put(store, key)


@pytest.mark.parametrize("budget_mb", [-1, float("nan"), None])
def test_budget_that_is_no_number_is_refused(store, budget_mb):
    with pytest.raises(InputError, match=f"budget_mb must be .* got {budget_mb}"):
        store.load(KEY, budget_mb=budget_mb)
