"""Saved runs: a folder with the model and a record of how it came to be.

    RUN/run.json               the record: format, versions, classes, backbone, result, model file
    RUN/model-1a2b3c4d.keras   an ordinary Keras model, named by the first digits of its SHA-256
    RUN/learnt-1a2b3c4d.npz    digests of the images that it learnt from: see `data.learnt`
    RUN/training/              only until the training is complete: see `training.checkpoint`

Nothing in a run is pickled, and loading one runs no code from it. The record is replaced by one
rename after the model lies complete beside it, so a run is at every moment either the old or the
new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktransfer.data.learnt import Learnt
from ktransfer.errors import RunError
from ktransfer.files.archives import DamageError
from ktransfer.files.archiving import save_model
from ktransfer.files.reading import open_plain, read_json, read_plain
from ktransfer.files.scratch import is_scratch
from ktransfer.runs.record import (
    FORMAT,
    FORMAT_WITH_RANGE,
    LEARNT_NAME,
    MODEL_NAME,
    RECORD_NAME,
    read_record,
)

if TYPE_CHECKING:
    import keras

CHECKPOINT_FOLDER = "training"
COMMAND_NAME, REQUEST_NAME = "command.json", "request.json"
STATE_NAME, PREVIOUS_NAME = "state.npz", "state.previous.npz"
_WRITTEN = (REQUEST_NAME, STATE_NAME, PREVIOUS_NAME, COMMAND_NAME)
#: All that may lie in the training folder. The request comes first: without it there is nothing to
#: resume, whatever else is left.
TRAINING_NAMES = (*_WRITTEN, *(f".{name}.partial" for name in _WRITTEN))
_MOST_COMMAND_MB = 16
#: A hundred million images.
_MOST_LEARNT_MB = 1_024
_PARTIAL_NAMES = (".partial.keras", ".partial.json", ".partial.npz")


def check_output_folder(folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Raise before any work is done if a run could not be saved there.

    Raises:
        RunError: a file of that name, a folder that is not empty (unless `overwrite` and it is a
            run), or a place that cannot be written to.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise RunError(f"cannot save the run: {path} is a file; name a folder")
    if path.is_dir() and any(not _is_of_unfinished(each) for each in path.iterdir()):
        if not overwrite:
            raise RunError(
                f"the output folder {path} is not empty; name a new folder, or say overwrite=True "
                "(--overwrite) to replace the run in it"
            )
        if not (path / RECORD_NAME).is_file():
            raise RunError(
                f"{path} is not empty and holds no {RECORD_NAME}: it is no run, and nothing of it "
                "will be overwritten; name a new folder"
            )
        if not _is_run(path):
            raise RunError(
                f"the {RECORD_NAME} in {path} is of another program: it is no run, and nothing of "
                "it will be overwritten; name a new folder"
            )
    existing = next(each for each in (path, *path.absolute().parents) if each.exists())
    if not os.access(existing, os.W_OK):
        raise RunError(f"cannot save the run: no permission to write to {existing}")
    return path


def _is_run(path: Path) -> bool:
    """Whether a folder holds a run, be it a damaged one or that of another version."""
    if any(MODEL_NAME.fullmatch(each.name) for each in path.iterdir()):
        return True
    try:
        read_record(path)
    except RunError:
        return False
    return True


def _is_of_unfinished(path: Path) -> bool:
    """Whether a file or folder is that of a training before it is complete."""
    if path.name == CHECKPOINT_FOLDER:
        # "training" may as well be a folder of photos.
        return path.is_dir() and all(each.name in TRAINING_NAMES for each in path.iterdir())
    # A kill while the run was being saved leaves these.
    if path.name in _PARTIAL_NAMES or is_scratch(path):
        return True
    if not (path.parent / CHECKPOINT_FOLDER / REQUEST_NAME).is_file():
        return False
    # And a moment later its model without a record.
    return any(each.fullmatch(path.name) for each in (MODEL_NAME, LEARNT_NAME))


def write_run(
    folder: str | os.PathLike[str],
    model: keras.Model,
    record: dict[str, Any],
    learnt: Learnt | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Save a model and its record as a run.

    Args:
        folder: made if it does not exist.
        model: any Keras model.
        record: plain data; `format`, `model_file`, `model_sha256` and `learnt` are added.
        learnt: the images that the model learnt from; None where that is not known.
        overwrite: replace the run that lies there.

    Returns:
        The folder.

    Raises:
        RunError: as `check_output_folder`, or the disk is full. A run that was there before is
        whole.
    """
    path = check_output_folder(folder, overwrite=overwrite)
    created, was_run = not path.exists(), (path / RECORD_NAME).is_file()
    partial_model, partial_record, partial_learnt = (path / name for name in _PARTIAL_NAMES)
    try:
        path.mkdir(parents=True, exist_ok=True)
        save_model(model, partial_model)
        digest = sha256_of(partial_model)
        model_file = path / f"model-{digest[:8]}.keras"
        names = {"model_file": model_file.name, "model_sha256": digest}
        version = FORMAT_WITH_RANGE if (record.get("data") or {}).get("value_range") else FORMAT
        record = {"format": version, **record, **names, "learnt": None}
        if learnt is not None:
            record["learnt"] = _write_learnt(partial_learnt, learnt)
        text = json.dumps(record, indent=1, default=str)
        partial_record.write_text(text, encoding="utf-8", errors="backslashreplace")
        _flush_to_disk(partial_model, partial_record)
        if learnt is not None:
            partial_learnt.replace(path / record["learnt"]["file"])
        partial_model.replace(model_file)
        partial_record.replace(path / RECORD_NAME)
        _flush_to_disk(path)
    except BaseException as error:
        partial_model.unlink(missing_ok=True)
        partial_record.unlink(missing_ok=True)
        partial_learnt.unlink(missing_ok=True)
        if created and path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        # h5py reports a full disk as a RuntimeError. Ctrl-C, for one, goes on as it is.
        if not isinstance(error, OSError | RuntimeError):
            raise
        kept = "; the run that was there before is untouched" if was_run else ""
        raise RunError(f"the run could not be saved to {path}: {error}{kept}") from error
    weights = record.get("backbone", {}).get("weights")
    new = (model_file.name, (record["learnt"] or {}).get("file"))
    for old in (*path.glob("model-*.keras"), *path.glob("learnt-*.npz")):
        if old.name not in new:
            _forget(old, weights)
    return path


def _forget(path: Path, weights: str | None) -> None:
    """Delete a file of an earlier run, if it is one: they are named by what they hold.

    Not what the training began with, though it be the model of the run that lay there.
    """
    named = MODEL_NAME.fullmatch(path.name) or LEARNT_NAME.fullmatch(path.name)
    # A link, or a name that only looks like ours, is somebody else's.
    if not named or path.is_symlink() or not path.is_file() or _is_same_file(path, weights):
        return
    if sha256_of(path)[:8] in path.name:
        path.unlink()


def _is_same_file(path: Path, other: str | None) -> bool:
    return other is not None and os.path.exists(other) and os.path.samefile(path, other)


def _write_learnt(partial: Path, learnt: Learnt) -> dict[str, str]:
    """Write the digests; what the record says of them."""
    contents = learnt.to_bytes()
    partial.write_bytes(contents)
    _flush_to_disk(partial)
    digest = hashlib.sha256(contents).hexdigest()
    return {"file": f"learnt-{digest[:8]}.npz", "sha256": digest}


def read_learnt(folder: str | os.PathLike[str], record: dict[str, Any]) -> Learnt | None:
    """The images that a run learnt from; None of a run that was saved without them.

    Args:
        folder: of the run.
        record: of `read_record`.

    Raises:
        RunError: they are missing, or damaged.
    """
    said = record.get("learnt")
    if said is None:
        return None
    path = Path(folder) / said["file"]
    if not os.path.lexists(path):
        raise RunError(f"the run {folder} is damaged: its digests of images {path.name} are gone")
    contents = read_plain(path, most_mb=_MOST_LEARNT_MB)
    if hashlib.sha256(contents).hexdigest() != said["sha256"]:
        raise RunError(f"the run {folder} is damaged: {path.name} is not what was saved (checksum)")
    try:
        return Learnt.read(io.BytesIO(contents))
    except DamageError as error:
        raise RunError(f"{path} is damaged: {error}") from error


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
    """Whether a training was noted there that can be gone on with; an empty folder is none."""
    path = Path(folder) / CHECKPOINT_FOLDER
    return any((path / name).is_file() for name in (COMMAND_NAME, REQUEST_NAME))


def read_command(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The options of a training that was not finished.

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
    for name in TRAINING_NAMES:
        (path / name).unlink(missing_ok=True)
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()


def write_whole(path: Path, contents: bytes) -> None:
    """Write a file so that at every moment it is either the old or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        # Half a file would keep a full disk full.
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def holds_model(folder: str | os.PathLike[str]) -> bool:
    """Whether there is a saved run, its model with it; what that holds is not looked at."""
    try:
        return (Path(folder) / read_record(folder)["model_file"]).is_file()
    except RunError:
        return False


def sha256_of(path: Path) -> str:
    """The SHA-256 of a plain file, as hexadecimal digits."""
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush_to_disk(*paths: Path) -> None:
    """Have the system write these files or folders out, so that a power cut does not lose them."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
