"""The state of a training on disk: arrays and plain data in one file, whole or not at all.

    RUN/training/command.json        the options of the command line, where it was one (`runs`)
    RUN/training/request.json        what was asked for: data, classes, backbone, plan, settings
    RUN/training/state.npz           the newest state
    RUN/training/state.previous.npz  the one before, should the newest be damaged
    RUN/training/state-2.npz         that of the second try of fine-tuning, and so on

A state is written aside and renamed, so that a kill at any moment leaves a whole one. Nothing in it
is pickled; its bytes are checked (CRC-32, by zip) when it is read.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ktransfer.errors import RunError
from ktransfer.files.archives import read_arrays
from ktransfer.files.reading import open_plain, parse_json, read_json
from ktransfer.files.writing import replacing, write_whole
from ktransfer.runs.unfinished import (
    CHECKPOINT_FOLDER,
    REQUEST_NAME,
    clear_training,
    is_of_training,
    state_names,
)

FORMAT = 1
_PLAIN_DATA = "plain_data"
_MOST_REQUEST_MB = 64

#: Saving may take this share of a training's time; between, epochs are done again after a kill.
MOST_SHARE = 0.05


class Checkpoints:
    """The checkpoints of one run.

    Args:
        run: the folder of the run; made with the first thing that is written.
        number: of a training among several of one run, from 1; 0: the only or the first one.
    """

    def __init__(self, run: str | os.PathLike[str], number: int = 0) -> None:
        self.folder = Path(run) / CHECKPOINT_FOLDER
        self._state, self._previous = state_names(number)
        self._next_save = 0.0

    def write_request(self, request: dict[str, Any]) -> None:
        """Keep what was asked for.

        Raises:
            RunError: the folder cannot be written to.
        """
        with _as_run_error(self.folder / self._state):
            self.folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"format": FORMAT, **request}, indent=1)
            write_whole(self.folder / REQUEST_NAME, text.encode("utf-8", "backslashreplace"))

    def read_request(self) -> dict[str, Any] | None:
        """Say what was asked for; None where no training began.

        Raises:
            RunError: it is damaged or of another version.
        """
        path = self.folder / REQUEST_NAME
        if not os.path.lexists(path):
            return None
        request = read_json(path, most_mb=_MOST_REQUEST_MB)
        if not isinstance(request, dict) or "format" not in request:
            raise RunError(f"{path} is damaged: 'format' is missing, so it is no request")
        if request["format"] != FORMAT:
            raise RunError(
                f"{path} has format {request['format']!r}; this version of ktransfer reads {FORMAT}"
            )
        return request

    def is_due(self) -> bool:
        """Tell whether enough time has passed since the last save; always before the first."""
        return time.perf_counter() >= self._next_save

    def save(self, arrays: dict[str, np.ndarray], plain: dict[str, Any]) -> None:
        """Replace the state by a new one; the old one is kept beside it.

        Raises:
            RunError: the disk is full or the folder cannot be written to. The old state is whole.
        """
        started = time.perf_counter()
        described = {"format": FORMAT, "arrays": list(arrays), **plain}
        text = np.frombuffer(json.dumps(described).encode(), np.uint8)
        with _as_run_error(self.folder / self._state):
            self.folder.mkdir(parents=True, exist_ok=True)
            previous = self.folder / self._previous
            with (
                replacing(self.folder / self._state, kept_as=previous) as partial,
                partial.open("wb") as file,
            ):
                np.savez(file, allow_pickle=False, **{_PLAIN_DATA: text, **arrays})
        took = time.perf_counter() - started
        self._next_save = time.perf_counter() + took / MOST_SHARE

    def load(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Return the newest state that is whole; None where there is none yet.

        Raises:
            RunError: there are states, and none of them can be read.
        """
        faults = []
        for path in (self.folder / self._state, self.folder / self._previous):
            if os.path.lexists(path):
                try:
                    return _read(path)
                except (ValueError, KeyError, OSError) as error:
                    faults.append(f"{path.name}: {error}")
        if faults:
            raise RunError(
                f"the checkpoints in {self.folder} are damaged ({'; '.join(faults)}): start again "
                "in a new folder"
            )
        return None

    def forget(self) -> None:
        """Delete the request and the states that an earlier training left here."""
        (self.folder / REQUEST_NAME).unlink(missing_ok=True)
        for path in self.folder.glob("state*.npz"):
            if is_of_training(path.name):
                path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete all of it, when the run itself is complete."""
        clear_training(self.folder.parent)


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with open_plain(path) as file:
        arrays = read_arrays(file)
    plain = parse_json(arrays.pop(_PLAIN_DATA).tobytes())
    if not isinstance(plain, dict) or plain.pop("format") != FORMAT:
        raise ValueError("another version of ktransfer wrote it")
    # A length that is damaged in the directory of a zip file hides the members behind it.
    if list(arrays) != plain.pop("arrays", None):
        raise ValueError("arrays are missing")
    return arrays, plain


@contextlib.contextmanager
def _as_run_error(state: Path) -> Iterator[None]:
    """Turn errors of the file system into a `RunError` that says what is safe."""
    try:
        yield
    except OSError as error:
        kept = "; the one before is whole" if state.exists() else ""
        raise RunError(
            f"the checkpoint could not be written to {state.parent}: {error.strerror or error}"
            f"{kept}. Free some space and resume"
        ) from error
