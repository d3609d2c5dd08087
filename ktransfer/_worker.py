"""A process that answers: whatever becomes of it, who asked goes on.

It runs a module of ours, which gets the ends of two pipes as its arguments: what is asked comes out
of the one, and its answers go into the other.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

#: What a process says, as bytes, when it can be asked.
READY = b"ready"

#: From the end of its pipes to that of a process with TensorFlow, where the cores are busy.
_LAST_WORDS_S = 30.0


class Worker:
    """One process, from its start on.

    Args:
        module: the full name of the one that it runs.
        log: where it writes what it has to say; None: its errors go nowhere.
        environment: variables beside those of this process.

    Attributes:
        ask: what is sent here it reads.
        hear: what it says is received here.
    """

    def __init__(
        self, module: str, *, log: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        # A process by its own command, not by multiprocessing, which would run the caller's script
        # again.
        asked, ask = os.pipe()
        hear, answered = os.pipe()
        with contextlib.ExitStack() as files:
            written = files.enter_context(log.open("ab")) if log else None
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", module, str(asked), str(answered)],
                pass_fds=(asked, answered),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written or subprocess.DEVNULL,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(sys.path),
                    **(environment or {}),
                },
            )
        os.close(asked)
        os.close(answered)
        self.ask = Connection(ask, readable=False)
        self.hear = Connection(hear, writable=False)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def is_ready(self, limit_s: float | None = None) -> bool:
        """Wait until it can be asked.

        Args:
            limit_s: how long, at most; None: as long as it lives.

        Returns:
            Whether it can; not where it ended instead, or took longer.
        """
        with contextlib.suppress(EOFError, OSError):
            return self.hear.poll(limit_s) and self.hear.recv_bytes() == READY
        return False

    def last_words(self) -> str:
        """How it ended, where it did: a signal's name or an exit code."""
        try:
            code = self._process.wait(timeout=_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            return "it stopped answering"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self.ask.close()
        self.hear.close()
