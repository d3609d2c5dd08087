"""Slow and hungry work in a process of its own, whose memory is given back whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ktransfer._checks import RunError

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
        RunError: the process died.
    """
    (folder / JOB_NAME).write_text(json.dumps(job), encoding="utf-8")
    # A process by its own command, not by multiprocessing, which would run the caller's script
    # again.
    command = [sys.executable, "-W", "ignore", "-m", module]
    with (folder / "log").open("wb") as log:
        done = subprocess.run(
            [*command, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                # Little is computed there: the accelerator stays the caller's.
                "CUDA_VISIBLE_DEVICES": "-1",
            },
        )
    if done.returncode == 0:
        outcome: dict[str, Any] = json.loads((folder / OUTCOME_NAME).read_text(encoding="utf-8"))
        return outcome
    words = (folder / "log").read_text(encoding="utf-8", errors="replace").strip()[-1_000:]
    raise RunError(f"the process that {what} died ({_ending(done.returncode)}): {words}")


def _ending(code: int) -> str:
    if code == -signal.SIGKILL:
        return "SIGKILL: by hand, or since memory ran out"
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
