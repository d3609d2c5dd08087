"""Processes that share a store, and what killed ones leave behind."""

import os
import subprocess
import sys
import textwrap
import time

import pytest
from cache_entries import KEY, names_in, partials, put

from ktransfer.cache import Store, content_key


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


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
    monkeypatch.setattr("ktransfer.files.scratch.fcntl", None)
    for number, age_s in enumerate([90_000, 80_000]):
        partial = store.folder / f".partial-{number:016x}"
        partial.mkdir(parents=True)
        (partial / "values.bin").touch()
        os.utime(partial, (time.time() - age_s,) * 2)
    put(store)
    assert partials(store) == [".partial-0000000000000001"]
