"""Folders to work in: gone afterwards, and what killed processes left goes with the next one."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from ktransfer.files.scratch import keep, scratch
from ktransfer.tuner.search import _log_folder

ROOT = Path(__file__).resolve().parents[2]
DEAD = f".ktransfer-{'0' * 16}.partial"


def left_by_a_killed_process(place, code="pass"):
    """The folder of a process that was killed while it worked in it."""
    program = (
        "import os, pathlib, signal\n"
        "from ktransfer.files.scratch import scratch\n"
        f"with scratch(pathlib.Path({str(place)!r})) as folder:\n"
        "    (folder / 'weights').write_bytes(bytes(100))\n"
        f"    {code}\n"
        "    print(folder, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment)
    folder = Path(done.stdout.decode().strip())
    assert (folder / "weights").is_file()
    return folder


def test_a_folder_is_gone_afterwards_also_after_an_error(tmp_path):
    def fails():
        with scratch(tmp_path) as folder:
            (folder / "file").touch()
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_is_worked_in_is_not(tmp_path):
    dead = left_by_a_killed_process(tmp_path)
    with scratch(tmp_path) as one:
        assert not dead.exists()
        with scratch(tmp_path) as two:
            assert sorted(tmp_path.iterdir()) == sorted([one, two])
        assert one.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_what_was_being_replaced_goes_back_unless_something_took_its_place(tmp_path):
    dead = left_by_a_killed_process(tmp_path, "(folder / 'replaced' / 'model').mkdir(parents=True)")
    (dead / "replaced" / "model" / "old").touch()
    (dead / "replaced" / "card.md").write_text("old")
    (tmp_path / "card.md").write_text("new")
    with scratch(tmp_path):
        assert [each.name for each in (tmp_path / "model").iterdir()] == ["old"]
    assert (tmp_path / "card.md").read_text() == "new"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["card.md", "model"]


def test_nothing_else_is_removed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    for each in (tmp_path / ".ktransfer-mine.partial", tmp_path / "other", elsewhere):
        each.mkdir()
        (each / "in-use").touch()
    (tmp_path / DEAD).symlink_to(elsewhere)
    # Perhaps just made by another process, which has yet to lock it.
    (tmp_path / DEAD.replace("0", "1")).mkdir()
    before = sorted(tmp_path.rglob("*"))
    with scratch(tmp_path):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_without_locks_a_folder_is_removed_after_a_day(tmp_path, monkeypatch):
    monkeypatch.setattr("ktransfer.files.scratch.fcntl", None)
    for number, age_s in enumerate([90_000, 80_000, -90_000]):
        file = tmp_path / DEAD.replace("0", str(number)) / "in-use"
        file.parent.mkdir()
        file.touch()
        os.utime(file, (time.time() - age_s,) * 2)
    with scratch(tmp_path):
        pass
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == [DEAD.replace("0", "1"), DEAD.replace("0", "2")]


def test_a_folder_that_is_kept_stays_where_it_is_and_is_not_swept(tmp_path):
    with scratch(tmp_path) as folder:
        (folder / "log").write_text("what went wrong")
        keep(folder)
    with scratch(tmp_path):
        pass
    assert (folder / "log").read_text() == "what went wrong"
    assert [each.name for each in folder.iterdir()] == ["log"]


def in_temporary(place, code):
    """Runs code in another process whose temporary folder is `place`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)


@pytest.mark.parametrize(
    "opened",
    [
        "from ktransfer.cli.demo import _demo_folder as opened",
        "from ktransfer.tuner.search import _log_folder as opened",
    ],
)
def test_what_a_kill_leaves_of_a_command_in_the_temporary_folder_goes_with_the_next(
    tmp_path, opened
):
    killed = f"import os\n{opened}\nwith opened(None): os.kill(os.getpid(), 9)"
    in_temporary(tmp_path, killed)
    assert len(list(tmp_path.iterdir())) == 1
    done = in_temporary(tmp_path, f"{opened}\nwith opened(None) as folder: print(folder)")
    assert Path(done.stdout.decode().strip()).parent == tmp_path, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_log_of_a_worker_is_kept_where_an_error_left_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = []

    def work(log, fails):
        with _log_folder(None) as folder:
            found.append(Path(folder))
            if log:
                (Path(folder) / "worker.log").write_text("no memory")
            if fails:
                raise KeyError

    work(log=True, fails=False)
    for log in (False, True):
        with pytest.raises(KeyError):
            work(log, fails=True)
    with _log_folder(None):
        pass
    assert list(tmp_path.iterdir()) == [found[-1]]
    assert (found[-1] / "worker.log").read_text() == "no memory"


def test_nothing_but_scratch_makes_folders_in_the_temporary_one():
    made = re.compile(r"mkdtemp|TemporaryDirectory|NamedTemporaryFile|mkstemp")
    lines = {
        f"{file.name}: {line.strip()}"
        for file in (ROOT / "ktransfer").rglob("*.py")
        for line in file.read_text().splitlines()
        if made.search(line) and ">>>" not in line
    }
    assert lines == set()
