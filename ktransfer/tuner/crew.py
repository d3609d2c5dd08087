"""The search's side of the process that trains."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ktransfer._checks import RunError
from ktransfer.tuner.records import FAILED
from ktransfer.tuner.worker import READY, Job, Setup

#: A process whose memory has grown by more than this share since its first trial is replaced.
MOST_GROWTH = 0.1


class Crew:
    """One process that carries out one job after the other.

    It takes some 6 seconds to start, so that it is kept; where it dies, or its memory grows, the
    next job finds a new one.

    Args:
        setup: what all jobs share.
        log: where the process writes what it has to say.
    """

    def __init__(self, setup: Setup, log: Path) -> None:
        self._setup = setup
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._first_mb = 0.0
        #: How many processes were started.
        self.started = 0

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._process.pid if self._process else None

    def run(self, job: Job) -> dict[str, Any]:
        """Carry a job out; where the process dies of it, that is its outcome.

        Raises:
            RunError: no process can be started.
        """
        if self._process is None:
            self._start()
        try:
            self._ask.send(job)
            outcome: dict[str, Any] = self._hear.recv()
        except (EOFError, OSError):
            reason = f"its process died ({self._last_words()})"
            self.close()
            return {"status": FAILED, "reason": reason}
        self._first_mb = self._first_mb or outcome["memory_mb"]
        if outcome["memory_mb"] > (1 + MOST_GROWTH) * self._first_mb:
            self.close()
        return outcome

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._ask.close()
            self._hear.close()
            self._process = None
            self._first_mb = 0.0

    def _start(self) -> None:
        # A process by its own command, not by multiprocessing, which would run the caller's script
        # again.
        asked, ask = os.pipe()
        hear, answered = os.pipe()
        command = [sys.executable, "-W", "ignore", "-m", "ktransfer.tuner.worker"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, str(asked), str(answered)],
                pass_fds=(asked, answered),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(sys.path),
                    "TF_CPP_MIN_LOG_LEVEL": "3",
                },
            )
        os.close(asked)
        os.close(answered)
        self._ask, self._hear = Connection(ask, readable=False), Connection(hear, writable=False)
        self.started += 1
        with contextlib.suppress(EOFError, OSError):
            self._ask.send(self._setup)
            if self._hear.recv() == READY:
                return
        words = self._last_words()
        self.close()
        raise RunError(f"the process that trains does not start ({words}); see {self._log}")

    def _last_words(self) -> str:
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=5.0)
            if code == -signal.SIGKILL:
                return "SIGKILL: by hand, or since memory ran out"
            return signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return "it stopped answering"
