"""The search's side of the process that trains."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from ktransfer.errors import RunError
from ktransfer.processes.worker import Worker
from ktransfer.tuner.records import FAILED
from ktransfer.tuner.worker import Job, Setup

#: A process whose memory has grown by more than this share since its first trial is replaced.
MOST_GROWTH = 0.1


class TrialProcess:
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
        self._worker: Worker | None = None
        self._first_mb = 0.0
        #: How many processes were started.
        self.started = 0

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._worker.pid if self._worker else None

    def run(self, job: Job) -> dict[str, Any]:
        """Carry a job out; where the process dies of it, that is its outcome.

        Raises:
            RunError: no process can be started.
        """
        worker = self._worker = self._worker or self._start()
        try:
            worker.ask.send(job)
            outcome: dict[str, Any] = worker.hear.recv()
        except (EOFError, OSError):
            reason = f"its process died ({_in_full(worker.last_words())})"
            self.close()
            return {"status": FAILED, "reason": reason}
        self._first_mb = self._first_mb or outcome["memory_mb"]
        if outcome["memory_mb"] > (1 + MOST_GROWTH) * self._first_mb:
            self.close()
        return outcome

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
            self._first_mb = 0.0

    def _start(self) -> Worker:
        """Return a process that has the setup.

        Raises:
            RunError: there is none.
        """
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3"}
        worker = Worker(
            "ktransfer.tuner.worker", log=self._log, environment=quiet, own_modules=True
        )
        self.started += 1
        with contextlib.suppress(OSError):
            worker.ask.send(self._setup)
        if worker.is_ready():
            return worker
        words = f"{_in_full(worker.last_words())}; {worker.last_line()}".rstrip("; ")
        worker.close()
        raise RunError(f"the process that trains does not start ({words}); see {self._log}")


def _in_full(words: str) -> str:
    return f"{words}: by hand, or since memory ran out" if words == "SIGKILL" else words
