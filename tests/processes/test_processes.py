"""Processes of ours: where they look for modules, and that they end with who started them."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import write_pictures

from ktransfer import RunError
from ktransfer.processes.starting import last_line, module_path, start

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder; it holds modules that leave a mark where they are run."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("numpy", "click", "mine"):
        (folder / f"{name}.py").write_text(f"open({str(folder / name)!r}, 'x')")
    monkeypatch.chdir(folder)
    return folder


def marks(folder):
    return sorted(each.name for each in folder.iterdir() if not each.suffix)


def said_by(code, folder, **options):
    """What a process says that runs some lines as a module."""
    (folder / "one_that_speaks.py").write_text(textwrap.dedent(code))
    with (folder / "said.log").open("w+b") as file:
        process = start("one_that_speaks", ["first", "second"], output=file, **options)
        assert process.wait() == 0, last_line(file)
        process.communicate()
        file.seek(0)
        return file.read().decode().split()


@pytest.fixture
def modules(tmp_path, monkeypatch):
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def test_a_module_gets_its_arguments_and_finds_what_this_process_finds(modules):
    code = "import sys, numpy; print(__name__, *sys.argv[1:], numpy.__version__)"
    assert said_by(code, modules) == ["__main__", "first", "second", np.__version__]


@pytest.mark.parametrize("first", ["", "current folder", None])
def test_the_current_folder_is_not_looked_into(here, modules, monkeypatch, first):
    if first is not None:
        monkeypatch.setattr("sys.path", [first and str(here), *sys.path])
    code = """
        import numpy
        try:
            import mine
        except ImportError:
            print("none")
    """
    assert said_by(code, modules) == ["none"]
    assert marks(here) == []


def test_where_the_users_own_modules_may_be_needed_they_come_last(here, modules, monkeypatch):
    monkeypatch.setattr("sys.path", ["", *sys.path])
    said_by("import numpy, mine", modules, own_modules=True)
    assert marks(here) == ["mine"]
    monkeypatch.setattr("sys.path", sys.path[1:])
    assert str(here) not in module_path(own_modules=True), "nor does this process look there"


def test_what_pythonpath_names_is_found_also_where_it_is_the_current_folder(
    here, modules, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(here))
    monkeypatch.setattr("sys.path", [str(modules), str(here), *sys.path])
    said_by("import mine", modules)
    assert marks(here) == ["mine"]


def test_the_command_as_a_module_does_not_look_into_the_current_folder(here):
    write_pictures(here / "photos", 2)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ktransfer", "doctor", "photos"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stderr == ""
    assert "6 images" in done.stdout
    assert marks(here) == ["photos"]


def test_a_python_that_cannot_be_started_is_an_error(monkeypatch):
    for executable in ("/there/is/none", None):
        monkeypatch.setattr("sys.executable", executable)
        with pytest.raises(RunError, match=f"^{executable!r}, Python, cannot be started again: "):
            start("ktransfer", [])


# --- the end ------------------------------------------------------------------------------------


_SLEEPS = "print('started', flush=True); import time; time.sleep(600)"
#: Holds Python's lock, as a decoder may: no thread can run.
_HANGS = "print('started', flush=True); import ctypes; ctypes.PyDLL(None).sleep(600)"
_STARTER = """
import sys, time
from ktransfer.processes.starting import start
with open("said", "wb") as file:
    process = start("one_that_waits", [], output=file)
while not open("said", "rb").read():
    time.sleep(0.01)
print(process.pid, flush=True)
time.sleep(600)
"""


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # nobody may be there to take note of its end


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("waits", [_SLEEPS, _HANGS], ids=["sleeps", "hangs"])
def test_a_process_ends_when_who_started_it_is_killed(tmp_path, waits):
    (tmp_path / "one_that_waits.py").write_text(waits)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-c", _STARTER]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, cwd=tmp_path, env=environment
    ) as starter:
        pid = int(starter.stdout.readline())
        try:
            assert is_running(pid)
            starter.kill()
            starter.wait()
            until = time.monotonic() + 60
            while is_running(pid) and time.monotonic() < until:
                time.sleep(0.01)
            assert not is_running(pid)
        finally:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)


def test_the_last_line_is_that_of_the_error(tmp_path):
    path = tmp_path / "log"
    for text, expected in (
        (b"", ""),
        (b"one\n  two  \n\n", "two"),
        (b"\xff" * 10, "\ufffd" * 10),
        (b"x" * 2_000, "x" * 500),
    ):
        path.write_bytes(text)
        with path.open("rb") as file:
            assert last_line(file) == expected
