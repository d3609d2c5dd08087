"""What the store gives back, what it notices, and what it leaves behind."""

import errno
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from ktransfer import InputError
from ktransfer.cache import CacheUnavailable, Store, content_key, default_folder

KEY = content_key(test="one")
SHAPE = (6, 3, 5)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def rows_of(dtype="float32", shape=SHAPE, seed=0):
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def put(store, key=KEY, values=None, about=None, *, room=0, budget_mb=1.0):
    """Stores values in a draft with room for some more rows; row i is of image 2 i."""
    values = rows_of() if values is None else values
    shape = (len(values) + room, *values.shape[1:])
    with store.create(key, shape, values.dtype, about or {"network": "small"}) as draft:
        draft.values[: len(values)] = values
        return draft.commit(len(values), 2 * np.arange(len(values)), budget_mb=budget_mb)


def names_in(folder):
    return sorted(each.name for each in Path(folder).iterdir())


def partials(store):
    return [name for name in names_in(store.folder) if name.startswith(".partial-")]


def assert_holds(entry, values):
    np.testing.assert_array_equal(entry.values, values)
    assert entry.values.dtype == values.dtype
    np.testing.assert_array_equal(entry.indices, 2 * np.arange(len(values)))
    assert entry.indices.dtype == np.int32


# Round trips


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


def test_files_have_the_rights_of_the_umask(store):
    before = os.umask(0o027)
    try:
        put(store)
    finally:
        os.umask(before)
    folder = store.folder / KEY
    assert {oct(each.stat().st_mode & 0o777) for each in folder.iterdir()} == {"0o640"}
    assert oct(folder.stat().st_mode & 0o777) == "0o750"


# Damage


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


# What is not ours


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


# Drafts


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


# Space


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


def test_entry_just_written_stays_when_it_is_the_oldest(tmp_path):
    keys = [content_key(number=number) for number in range(3)]
    megabyte = np.ones((1, 2**18), np.float32)
    for key in keys[:2]:
        put(Store(tmp_path), key, megabyte)
        os.utime(tmp_path / key, (2**33, 2**33))
    put(Store(tmp_path, limit_mb=1.5), keys[2], megabyte)
    assert names_in(tmp_path) == [keys[2]]


# Processes


def start(store, code):
    """A process with `store`, KEY and rows; `code` talks through standard input and output."""
    program = f"""
import sys
import numpy as np
from ktransfer.cache import Store
store, key = Store({str(store.folder)!r}), {KEY!r}
def say(word): print(word, flush=True)
def wait(): sys.stdin.readline()
"""
    return subprocess.Popen(
        [sys.executable, "-c", program + textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def tell(process):
    process.stdin.write("\n")
    process.stdin.flush()


WRITER = """
    with store.create(key, (6, 50_000), "float32", {}) as draft:
        draft.values[:3] = 1
        say("half")
        wait()
        draft.values[3:] = 1
        entry = draft.commit(6, 2 * np.arange(6), budget_mb=0)
    say(float(entry.values.sum()))
    say(float(store.load(key, budget_mb=1).values.sum()))
    say(len(store.remarks))
"""


def test_two_processes_that_make_the_same_entry_both_have_it(store):
    processes = [start(store, WRITER) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "half\n"
    assert len(partials(store)) == 2
    for process in processes:
        tell(process)
    for process in processes:
        assert process.communicate(timeout=30)[0].split() == ["300000.0", "300000.0", "0"]
        assert process.returncode == 0
    assert names_in(store.folder) == [KEY]


def test_killed_process_leaves_no_entry_and_the_next_create_clears_up(store):
    killed, living = start(store, WRITER), start(store, WRITER)
    assert killed.stdout.readline() == living.stdout.readline() == "half\n"
    killed.kill()
    killed.communicate()
    assert len(partials(store)) == 2
    assert store.load(KEY, budget_mb=1) is None
    put(store, content_key(test="another"))
    assert len(partials(store)) == 1
    tell(living)
    assert living.communicate(timeout=30)[0].split() == ["300000.0", "300000.0", "0"]
    assert sorted([KEY, content_key(test="another")]) == names_in(store.folder)
    assert store.remarks == []


KILLED_AT_EACH_STEP = """
    import os, signal
    def live(step):
        left = step
        def step_taken(event, args):
            nonlocal left
            left -= event.startswith(("open", "os.", "mmap.", "fcntl."))
            if left < 0 and event != "os.kill":
                os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(step_taken)
        with store.create(key, (6, 50), "float32", {}) as draft:
            draft.values[:] = 1
            draft.commit(6, 2 * np.arange(6), budget_mb=0)
        store.clear()
        os._exit(0)
    for step in range(1000):
        if not (child := os.fork()):
            live(step)
        status = os.waitpid(child, 0)[1]
        assert status in (0, signal.SIGKILL), (step, status)
        if status == 0:
            break
        entry = store.load(key, budget_mb=0)
        assert entry is None or entry.values.sum() == 300, step
        assert store.remarks == [], (step, store.remarks)
        store.clear()
        # A folder without its file of values says nothing of its process, and waits for a day.
        for left in store.folder.iterdir() if store.folder.exists() else ():
            assert left.name.startswith(".partial-"), (step, left)
            left.rmdir()
        say("none" if entry is None else "whole")
"""


def test_process_killed_at_any_step_leaves_a_whole_entry_or_none(store):
    """Steps are what Python reports to its audit hooks: every open, rename, removal and map."""
    process = start(store, KILLED_AT_EACH_STEP)
    steps = process.communicate(timeout=60)[0].split()
    assert process.returncode == 0
    first, last = steps.index("whole"), len(steps) - steps[::-1].index("whole")
    assert 0 < first < last < len(steps)
    assert set(steps[first:last]) == {"whole"}


def test_processes_that_load_create_and_evict_at_once_never_see_damage(store):
    loop = """
        store.limit_mb, seen = 2.5, 0
        for turn in range(40):
            number = turn % 3
            key = format(number, "064x")
            entry = store.load(key, budget_mb=turn % 2)
            if entry is None:
                with store.create(key, (2, 2**17), "float32", {}) as draft:
                    draft.values[:] = number
                    entry = draft.commit(2, np.arange(2), budget_mb=turn % 2)
            seen += bool((np.asarray(entry.values) == number).all())
        say(seen)
        say(len(store.remarks))
    """
    processes = [start(store, loop) for _ in range(3)]
    assert [each.communicate(timeout=60)[0].split() for each in processes] == [["40", "0"]] * 3
    assert len(names_in(store.folder)) == 2


def test_without_locks_a_partial_folder_is_removed_after_a_day(store, monkeypatch):
    monkeypatch.setattr("ktransfer.cache.fcntl", None)
    for number, age_s in enumerate([90_000, 80_000]):
        partial = store.folder / f".partial-{number:016x}"
        partial.mkdir(parents=True)
        (partial / "values.bin").touch()
        os.utime(partial, (time.time() - age_s,) * 2)
    put(store)
    assert partials(store) == [".partial-0000000000000001"]


# Keys and places


def test_key_is_the_same_on_every_machine_and_day():
    found = content_key(network="small", cut=3, size=(16, 16), mean=[0.5, None, True], more={})
    text = (
        '{"format":1,"parts":{"cut":3,"mean":[0.5,null,true],"more":{},"network":"small",'
        '"size":[16,16]}}'
    )
    expected = subprocess.run(["sha256sum"], input=text, capture_output=True, text=True, check=True)
    assert found == expected.stdout.split()[0]
    assert found == "50a81db3f0288dc60ea15f803ef07cf6dec397e8b28ce297549313a1d2b42487"


def test_order_of_the_parts_does_not_count():
    assert content_key(a=1, b={"c": 2, "d": 3}) == content_key(b={"d": 3, "c": 2}, a=1)


def test_every_change_of_a_part_changes_the_key():
    parts = [
        {},
        {"a": None},
        {"a": 1},
        {"a": 1.0},
        {"a": True},
        {"a": "1"},
        {"a": [1]},
        {"a": [[1]]},
        {"a": [1, 2]},
        {"a": [2, 1]},
        {"a": {"1": 1}},
        {"b": 1},
        {"a": 1, "b": 1},
        {"a": "\u00e9"},
        {"a": "e\u0301"},
        {"parts": {"a": 1}},
    ]
    assert len({content_key(**each) for each in parts}) == len(parts)


def test_format_enters_the_key(monkeypatch):
    monkeypatch.setattr("ktransfer.cache.FORMAT", 2)
    assert content_key(test="one") != KEY


ENDLESS: list = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (float("nan"), "nan"),
        ([{"x": float("inf")}], "inf"),
        (np.int64(3), r"np.int64\(3\) \(int64\)"),
        (np.zeros(1), r"array\(\[0.\]\) \(ndarray\)"),
        ({1: 2}, "the key 1"),
        (b"x", r"b'x' \(bytes\)"),
        ({"a"}, r"{'a'} \(set\)"),
        (Path("x"), "PosixPath"),
        (ENDLESS, "nesting without end"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_part_that_is_not_plain_data_is_named(value, found):
    with pytest.raises(InputError, match=rf"the part 'cut' of a cache key must .* got {found}"):
        content_key(network="small", cut=value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"KTRANSFER_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"KTRANSFER_CACHE": "~/a"}, "/home/me/a"),
        ({"KTRANSFER_CACHE": "", "XDG_CACHE_HOME": "/b"}, "/b/ktransfer"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/ktransfer"),
        ({}, "/home/me/.cache/ktransfer"),
    ],
)
def test_default_folder_follows_the_environment(monkeypatch, variables, expected):
    for name in ("KTRANSFER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_folder() == Path(expected)
    assert Store().folder == Path(expected)


def test_user_without_a_home_is_told_what_to_set(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("KTRANSFER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(CacheUnavailable, match=r"home directory\. Set KTRANSFER_CACHE"):
        default_folder()


def test_limit_comes_from_the_argument_the_environment_or_the_default(monkeypatch, tmp_path):
    monkeypatch.delenv("KTRANSFER_CACHE_MB", raising=False)
    assert Store(tmp_path).limit_mb == 20_000
    monkeypatch.setenv("KTRANSFER_CACHE_MB", "12.5")
    assert Store(tmp_path).limit_mb == 12.5
    assert Store(tmp_path, limit_mb=3).limit_mb == 3
    monkeypatch.setenv("KTRANSFER_CACHE_MB", "lots")
    with pytest.raises(InputError, match=r"KTRANSFER_CACHE_MB must be .* from 0, got 'lots'"):
        Store(tmp_path)
    with pytest.raises(InputError, match="limit_mb must be a number of megabytes from 0, got -1"):
        Store(tmp_path, limit_mb=-1)
