"""Saved runs: a folder with the model and a record of how it came to be.

    RUN/run.json               the record: format, versions, classes, backbone, result, model file
    RUN/model-1a2b3c4d.keras   an ordinary Keras model, named by the first digits of its SHA-256
    RUN/learnt-1a2b3c4d.npz    digests of the images that it learnt from: see `data.learnt`
    RUN/familiar-1a2b3c4d.npz  what their features look like: see `features.familiarity`
    RUN/training/              only until the training is complete: see `training.checkpoint`

Nothing in a run is pickled, and loading one runs no code from it. The record is replaced by one
rename after the model lies complete beside it, so a run is at every moment either the old or the
new one.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from ktransfer.errors import RunError
from ktransfer.files.archives import DamageError
from ktransfer.files.archiving import save_model
from ktransfer.files.reading import read_plain, sha256_of
from ktransfer.files.writing import flush_to_disk
from ktransfer.runs.record import (
    FORMAT,
    FORMAT_WITH_RANGE,
    MODEL_NAME,
    RECORD_NAME,
    SIDE_NAME,
    SIDES,
    read_record,
)
from ktransfer.runs.unfinished import PARTIAL_NAMES, is_of_unfinished

if TYPE_CHECKING:
    import keras

#: The digests of a hundred million images.
_MOST_SIDE_MB = 1_024

Side = TypeVar("Side")


def check_output_folder(folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Raise before any work is done if a run could not be saved there.

    Raises:
        RunError: a file of that name, a folder that is not empty (unless `overwrite` and it is a
            run), or a place that cannot be written to.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise RunError(f"cannot save the run: {path} is a file; name a folder")
    if path.is_dir() and any(not is_of_unfinished(each) for each in path.iterdir()):
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


def write_run(
    folder: str | os.PathLike[str],
    model: keras.Model,
    record: dict[str, Any],
    sides: Mapping[str, bytes] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Save a model and its record as a run.

    Args:
        folder: made if it does not exist.
        model: any Keras model.
        record: plain data; `format`, `model_file`, `model_sha256` and an entry for each of `SIDES`
            are added.
        sides: the contents of what lies beside the model, by their names of `SIDES`.
        overwrite: replace the run that lies there.

    Returns:
        The folder.

    Raises:
        RunError: as `check_output_folder`, or the disk is full. A run that was there before is
        whole.
    """
    path = check_output_folder(folder, overwrite=overwrite)
    created, was_run = not path.exists(), (path / RECORD_NAME).is_file()
    partials = [path / name for name in PARTIAL_NAMES]
    partial_model, partial_record = partials[:2]
    try:
        path.mkdir(parents=True, exist_ok=True)
        save_model(model, partial_model)
        digest = sha256_of(partial_model)
        model_file = path / f"model-{digest[:8]}.keras"
        names = {"model_file": model_file.name, "model_sha256": digest}
        version = FORMAT_WITH_RANGE if (record.get("data") or {}).get("value_range") else FORMAT
        written = {name: _write_side(path, name, each) for name, each in (sides or {}).items()}
        record = {"format": version, **record, **names, **dict.fromkeys(SIDES), **written}
        text = json.dumps(record, indent=1, default=str)
        partial_record.write_text(text, encoding="utf-8", errors="backslashreplace")
        flush_to_disk(partial_model, partial_record)
        for name, side in written.items():
            _partial(path, name).replace(path / side["file"])
        partial_model.replace(model_file)
        partial_record.replace(path / RECORD_NAME)
        flush_to_disk(path)
    except BaseException as error:
        for each in partials:
            each.unlink(missing_ok=True)
        if created and path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        # h5py reports a full disk as a RuntimeError. Ctrl-C, for one, goes on as it is.
        if not isinstance(error, OSError | RuntimeError):
            raise
        kept = "; the run that was there before is untouched" if was_run else ""
        raise RunError(f"the run could not be saved to {path}: {error}{kept}") from error
    weights = record.get("backbone", {}).get("weights")
    new = (model_file.name, *(side["file"] for side in written.values()))
    for old in (*path.glob("model-*.keras"), *path.glob("*-*.npz")):
        if old.name not in new:
            _forget(old, weights)
    return path


def _forget(path: Path, weights: str | None) -> None:
    """Delete a file of an earlier run, if it is one: they are named by what they hold.

    Not what the training began with, though it be the model of the run that lay there.
    """
    named = MODEL_NAME.fullmatch(path.name) or SIDE_NAME.fullmatch(path.name)
    # A link, or a name that only looks like ours, is somebody else's.
    if not named or path.is_symlink() or not path.is_file() or _is_same_file(path, weights):
        return
    if sha256_of(path)[:8] in path.name:
        path.unlink()


def _is_same_file(path: Path, other: str | None) -> bool:
    return other is not None and os.path.exists(other) and os.path.samefile(path, other)


def _partial(folder: Path, name: str) -> Path:
    return folder / f".partial.{name}.npz"


def _write_side(folder: Path, name: str, contents: bytes) -> dict[str, str]:
    """Write what lies beside the model, and return what the record says of it."""
    partial = _partial(folder, name)
    partial.write_bytes(contents)
    flush_to_disk(partial)
    digest = hashlib.sha256(contents).hexdigest()
    return {"file": f"{name}-{digest[:8]}.npz", "sha256": digest}


def read_side(
    folder: str | os.PathLike[str],
    record: Mapping[str, Any],
    name: str,
    read: Callable[[BinaryIO], Side],
) -> Side | None:
    """Read what lies beside the model of a run; None of a run that was saved without it.

    Args:
        folder: of the run.
        record: of `read_record`.
        name: of `SIDES`.
        read: makes of the file what it holds, or raises a `DamageError`.

    Raises:
        RunError: it is missing, or damaged.
    """
    said = record.get(name)
    if said is None:
        return None
    path = Path(folder) / said["file"]
    if not os.path.lexists(path):
        raise RunError(f"the run {folder} is damaged: {path.name} is gone")
    contents = read_plain(path, most_mb=_MOST_SIDE_MB)
    if hashlib.sha256(contents).hexdigest() != said["sha256"]:
        raise RunError(f"the run {folder} is damaged: {path.name} is not what was saved (checksum)")
    try:
        return read(io.BytesIO(contents))
    except DamageError as error:
        raise RunError(f"{path} is damaged: {error}") from error


def holds_model(folder: str | os.PathLike[str]) -> bool:
    """Whether there is a saved run, its model with it; what that holds is not looked at."""
    try:
        return (Path(folder) / read_record(folder)["model_file"]).is_file()
    except RunError:
        return False
