"""A process that answers: whatever becomes of it, who asked goes on.

It runs a module of ours, which gets the ends of two pipes as its arguments: what is asked comes out
of the one, and its answers go into the other.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from ktransfer.processes.starting import ending, last_line, start

#: What a process says, as bytes, when it can be asked.
READY = b"ready"

#: From the end of its pipes to that of a process with TensorFlow, where the cores are busy.
_LAST_WORDS_S = 30.0


class Worker:
    """One process, from its start on.

    Args:
        module: the full name of the one that it runs.
        log: where it writes what it has to say; None: to a file without a name.
        environment: variables beside those of this process.
        own_modules: whether it may need modules of the user, as in `processes.starting.start`.

    Attributes:
        ask: what is sent here it reads.
        hear: what it says is received here.

    Raises:
        RunError: it cannot be started.
    """

    def __init__(
        self,
        module: str,
        *,
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
        own_modules: bool = False,
    ) -> None:
        self._written = log.open("a+b") if log else tempfile.TemporaryFile()  # noqa: SIM115
        asked, ask = os.pipe()
        hear, answered = os.pipe()
        self.ask = Connection(ask, readable=False)
        self.hear = Connection(hear, writable=False)
        try:
            self._process = start(
                module,
                [str(asked), str(answered)],
                output=self._written,
                pass_fds=(asked, answered),
                environment=environment,
                own_modules=own_modules,
            )
        except BaseException:
            self._close_files()
            raise
        finally:
            os.close(asked)
            os.close(answered)

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
        """Say how it ended, where it did: a signal's name or an exit code."""
        try:
            return ending(self._process.wait(timeout=_LAST_WORDS_S))
        except subprocess.TimeoutExpired:
            return "it stopped answering"

    def last_line(self) -> str:
        """Return the last line that it wrote; empty where there is none."""
        return last_line(self._written)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self._close_files()

    def _close_files(self) -> None:
        for each in (self.ask, self.hear, self._written):
            each.close()
