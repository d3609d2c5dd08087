"""A training that is not complete yet: what it leaves in the folder of its run, and its command."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

from ktransfer.errors import RunError
from ktransfer.files.reading import read_json
from ktransfer.files.scratch import is_scratch
from ktransfer.files.writing import write_whole
from ktransfer.runs.record import FORMAT, MODEL_NAME, SIDE_NAME, SIDES

CHECKPOINT_FOLDER = "training"
COMMAND_NAME, REQUEST_NAME = "command.json", "request.json"
_STATE = re.compile(r"state(-\d{1,4})?(\.previous)?\.npz")
#: What a run is written to, until it is complete.
PARTIAL_NAMES = (
    ".partial.keras",
    ".partial.json",
    *(f".partial.{name}.npz" for name in SIDES),
    ".partial.npz",  # of an earlier version
)
_MOST_COMMAND_MB = 16


def is_of_unfinished(path: Path) -> bool:
    """Tell whether a file or folder is that of a training before it is complete."""
    if path.name == CHECKPOINT_FOLDER:
        # "training" may as well be a folder of photos.
        return path.is_dir() and all(is_of_training(each.name) for each in path.iterdir())
    # A kill while the run was being saved leaves these.
    if path.name in PARTIAL_NAMES or is_scratch(path):
        return True
    if not (path.parent / CHECKPOINT_FOLDER / REQUEST_NAME).is_file():
        return False
    # And a moment later its model without a record.
    return any(each.fullmatch(path.name) for each in (MODEL_NAME, SIDE_NAME))


def state_names(number: int) -> tuple[str, str]:
    """Return what the state of a training is called, and the one before it.

    Args:
        number: of the training among several of one run, from 1; 0: the only or the first one.
    """
    name = f"state-{number}" if number else "state"
    return f"{name}.npz", f"{name}.previous.npz"


def is_of_training(name: str) -> bool:
    """Tell whether a file of that name may lie in the folder of an unfinished training."""
    whole = name.removeprefix(".").removesuffix(".partial") if name.endswith(".partial") else name
    return whole in (REQUEST_NAME, COMMAND_NAME) or bool(_STATE.fullmatch(whole))


def write_command(folder: str | os.PathLike[str], command: dict[str, Any]) -> None:
    """Keep the options of a training that is about to begin, so that it can be resumed.

    What an earlier training left to resume is deleted.

    Raises:
        RunError: the folder cannot be written to; nothing of it is left.
    """
    path = Path(folder) / CHECKPOINT_FOLDER
    try:
        clear_training(folder)
        path.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"format": FORMAT, **command}, indent=1)
        write_whole(path / COMMAND_NAME, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        with contextlib.suppress(OSError):
            forget_command(folder)
        raise RunError(f"cannot write to {path}: {error.strerror or error}") from error


def is_unfinished(folder: str | os.PathLike[str]) -> bool:
    """Tell whether a training was noted there that can be gone on with; an empty folder is none."""
    path = Path(folder) / CHECKPOINT_FOLDER
    return any((path / name).is_file() for name in (COMMAND_NAME, REQUEST_NAME))


def read_command(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the options of a training that was not finished.

    Raises:
        RunError: there is none, or it is damaged.
    """
    path = Path(folder) / CHECKPOINT_FOLDER / COMMAND_NAME
    if not os.path.lexists(path):
        raise RunError(
            f"there is nothing to resume in {folder}: no training was started there from the "
            "command line (one that was started from Python is resumed by fit(resume=True))"
        )
    command = read_json(path, most_mb=_MOST_COMMAND_MB)
    if not isinstance(command, dict) or "format" not in command:
        raise RunError(f"{path} is damaged: it is no command of a training")
    if command.pop("format") != FORMAT:
        raise RunError(f"{path} is damaged: it is of another version of ktransfer")
    return command


def forget_command(folder: str | os.PathLike[str]) -> None:
    """Delete what `write_command` wrote, for a training that never began."""
    path = Path(folder)
    clear_training(path)
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()


def clear_training(folder: str | os.PathLike[str]) -> None:
    """Delete what a training keeps until it is complete, and nothing that is not its own."""
    path = Path(folder) / CHECKPOINT_FOLDER
    if not path.is_dir():
        return
    # The request first: without it there is nothing to resume, whatever else is left.
    for name in (REQUEST_NAME, *(each.name for each in path.iterdir())):
        if is_of_training(name):
            (path / name).unlink(missing_ok=True)
    if not any(path.iterdir()):
        path.rmdir()
