"""Slow and hungry work in a process of its own, whose memory is given back whole."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ktransfer.errors import RunError
from ktransfer.processes.starting import ending, last_line, start

#: What is to be done, and what came of it, in the folder between the two processes.
JOB_NAME, OUTCOME_NAME = "job.json", "outcome.json"


def run_aside(module: str, folder: Path, job: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Have a process work on what lies in a folder.

    Args:
        module: what to run, with the folder as its argument; it leaves its outcome there.
        folder: for the job, what it works on, and a log.
        job: plain data.
        what: it does, for the message.

    Returns:
        What stood in the way; empty where all went well.

    Raises:
        RunError: the process cannot be started, or died.
        OSError: the disk is full.
    """
    (folder / JOB_NAME).write_text(json.dumps(job), encoding="utf-8")
    with (folder / "log").open("w+b") as log:
        # Little is computed there: the accelerator stays the caller's. And what converters put
        # aside lies in the folder, too: a full disk is then the one that is named.
        others = {"CUDA_VISIBLE_DEVICES": "-1", "TMPDIR": str(folder)}
        process = start(module, [str(folder)], output=log, environment=others)
        try:
            code = process.wait()
        finally:
            process.kill()  # Ctrl-C, for one, leaves nothing running
            process.communicate()
        if code == 0:
            text = (folder / OUTCOME_NAME).read_text(encoding="utf-8")
            outcome: dict[str, Any] = json.loads(text)
            # Which is no fault of the model.
            if os.strerror(errno.ENOSPC) in outcome.get("reason", ""):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return outcome
        words = last_line(log)
    raise RunError(f"the process that {what} died ({_in_full(code)}): {words}")


def note_outcome(folder: Path, outcome: Mapping[str, Any]) -> None:
    """Say how it went: the last thing that such a process does."""
    (folder / OUTCOME_NAME).write_text(json.dumps(dict(outcome)), encoding="utf-8")


def _in_full(code: int) -> str:
    killed = code == -getattr(signal, "SIGKILL", 9)
    return "SIGKILL: by hand, or since memory ran out" if killed else ending(code)
