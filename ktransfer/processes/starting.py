"""Python processes of ours: how they find modules, and how they end.

Run as a program, this file is the beginning of every one of them: `start` names the module that it
goes on with.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from ktransfer.errors import RunError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_LONGEST_LINE, _LAST_BYTES = 500, 2**16


def start(
    module: str,
    arguments: Sequence[str],
    *,
    output: BinaryIO | int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    own_modules: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a process that runs a module of ours; it ends with this one, however that ends.

    The folder that it is started in is not looked into for modules: among photos may lie a
    `numpy.py`.

    Args:
        module: its full name.
        arguments: what it finds in `sys.argv`.
        output: where it writes what it has to say, errors too.
        pass_fds: file descriptors that it keeps open.
        environment: variables beside those of this process.
        own_modules: whether it may need modules of the user: those of the current folder are then
            found where this process finds them, behind all that is installed.

    Returns:
        The process. Its standard input stays open as long as it shall live.

    Raises:
        RunError: it cannot be started.
    """
    # By its own command, not by multiprocessing, which would run the caller's script again. -P
    # keeps away the current folder, which `-m` puts in front of all.
    command = [sys.executable, "-P", "-W", "ignore", "-m", __name__, module, *arguments]
    path = os.pathsep.join(module_path(own_modules=own_modules))
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=pass_fds,
            env={**os.environ, "PYTHONPATH": path, **(environment or {})},
        )
    except (OSError, TypeError) as error:  # sys.executable is None where Python is embedded
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"{sys.executable!r}, Python, cannot be started again: {reason}") from error


def module_path(*, own_modules: bool = False) -> list[str]:
    """Say where a process of ours looks for modules: not in the current folder.

    It stays where the user names it in PYTHONPATH; or, with `own_modules`, as the last.
    """
    current = _current_folder()
    named = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    named_current = any(os.path.abspath(each) == current for each in named)
    # An empty entry stands for the current folder.
    kept = [each for each in sys.path if each and (named_current or each != current)]
    own = [current] if own_modules and len(kept) < len(sys.path) else []
    # This package may itself lie in the current folder, as in a checkout.
    return [*kept, *own, str(Path(__file__).parents[2])]


def _current_folder() -> str:
    with contextlib.suppress(OSError):  # it may be deleted
        return os.getcwd()
    return ""


def ending(code: int) -> str:
    """Say how a process ended, in words, by its exit code."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def last_line(written: BinaryIO) -> str:
    """Return the last line that a process wrote.

    Of an uncaught error in Python that is what went wrong.

    Args:
        written: its output, open for reading.

    Returns:
        At most 500 characters; empty where it wrote nothing.
    """
    written.seek(max(0, written.seek(0, os.SEEK_END) - _LAST_BYTES))
    lines = written.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip()[:_LONGEST_LINE] if lines else ""


def _end_with_starter() -> None:
    """Have this process end when its standard input does: the other end is held by who started it.

    So it ends, too, when that one was killed and could tell nobody.
    """
    threading.Thread(target=_wait_for_the_end, daemon=True).start()
    # A decoder that hangs may not let a thread run. On Linux the system itself then ends the
    # process: it signals that something has become of the pipe, which by default is deadly.
    if fcntl is not None and hasattr(os, "O_ASYNC"):
        with contextlib.suppress(OSError):
            signal.signal(signal.SIGIO, signal.SIG_DFL)
            fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)


def _wait_for_the_end() -> None:
    with contextlib.suppress(OSError):
        os.read(0, 1)
    os._exit(1)


def main() -> None:
    """Go on with the module that the arguments name."""
    _end_with_starter()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
