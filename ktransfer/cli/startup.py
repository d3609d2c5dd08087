"""The start of a command: when it was, what is slow to import, TensorFlow's chatter hidden.

The chatter of TensorFlow's C++ libraries is kept off the terminal, and real errors come through.
TensorFlow 2.21 prints to file descriptor 2 before its log level applies, and no environment
variable stops that (https://github.com/tensorflow/tensorflow/issues/100442; once that is mended,
setting the level will do). So file descriptor 2 leads through a process of its own, this file, that
drops known lines. A thread would not do: it dies with the process, and with it the last words of a
crash.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import re
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

    from ktransfer.classifier import Classifier

# This is imported before click is, since `total` is what the user waits.
_STARTED = time.perf_counter()

_CHATTER = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog"
    rb"|[IW]\d{4} [\d:.]+ +\d+ \S+:\d+\]"  # absl: information and warnings
    rb"|\d{4}-\d\d-\d\d [\d:.]+: [IW] "  # the same of older versions
    rb"|To enable the following instructions:"
    rb"|.*(failed call to cuInit|Unable to register cu)"  # no GPU here, or two plugins for it
    rb"|INFO: Created TensorFlow Lite XNNPACK delegate"
    # Damaged images are reported by name, with their reason, among the skipped files.
    rb"|.*(jpeg_mem\.cc|png_io\.cc)|libpng warning:|Corrupt JPEG data|Premature end of JPEG"
)


def elapsed() -> float:
    """Return seconds since the program began."""
    return time.perf_counter() - _STARTED


@contextlib.contextmanager
def at_work(
    seconds: dict[str, float],
    room: str = "ktransfer.finetuner.finetuner",
    *,
    quiet: bool = False,
) -> Iterator[None]:
    """Import what is slow, and keeps standard output for results: Keras reports downloads."""
    from ktransfer.errors.keras import check_keras
    from ktransfer.show.progress import working
    from ktransfer.show.timing import timed

    check_keras()
    hide_chatter()
    with timed(seconds, "import"), working("loading TensorFlow", shown=not quiet):
        importlib.import_module(room)
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def classifier_of(
    run: str, seconds: dict[str, float], *, quiet: bool = False
) -> Iterator[Classifier]:
    """Load a saved run, for commands that do not train it."""
    with at_work(seconds, "ktransfer.classifier.classifier", quiet=quiet):
        from ktransfer.classifier import Classifier
        from ktransfer.show.progress import working
        from ktransfer.show.timing import timed

        with timed(seconds, "load"), working("loading the model", shown=not quiet):
            classifier = Classifier.load(run, verbose=not quiet)
        yield classifier


def hide_chatter() -> None:
    """To be called before TensorFlow is imported; who sets TF_CPP_MIN_LOG_LEVEL to 0 sees all.

    Shells and images of containers often set another level, in the hope of what is done here.
    """
    level = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    if "tensorflow" in sys.modules or level == "0" or not _owns_stderr():
        return
    import subprocess

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    terminal = os.dup(2)
    command = [sys.executable, "-I", "-S", __file__]
    sieve = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=terminal)
    assert sieve.stdin is not None
    os.dup2(sieve.stdin.fileno(), 2)
    sieve.stdin.close()
    # Python's own messages and progress bars go straight to the terminal.
    sys.stderr = open(terminal, "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
    atexit.register(_finish, terminal, sieve)


def _owns_stderr() -> bool:
    try:
        return sys.stderr.fileno() == 2
    except (AttributeError, OSError):  # replaced, for example by a test
        return False


def _finish(terminal: int, sieve: subprocess.Popen[bytes]) -> None:
    """Let the sieve print its last line before the shell prints its prompt."""
    import subprocess

    os.dup2(terminal, 2)
    try:
        sieve.wait(timeout=1.0)
    except subprocess.TimeoutExpired:  # a process that we started still holds the pipe
        sieve.kill()


def _sift() -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent; we end when it does
    for line in sys.stdin.buffer:
        if not _CHATTER.match(line):
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    _sift()
