"""What is checked before TensorFlow is imported: an error must not take seconds to appear."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ktransfer._checks import InputError, unknown_name
from ktransfer._terminal import printable

if TYPE_CHECKING:
    from ktransfer.results import Predictions

_NAMED_WEIGHTS = ("imagenet", "mini")


def check_backbone(name: str) -> None:
    """Raises an `InputError` for a name that is neither in the catalog nor a KerasHub preset."""
    from ktransfer.backbones import list_backbones

    known = [each.name for each in list_backbones()]
    if not name.startswith("hub:") and name.casefold() not in map(str.casefold, known):
        raise unknown_name("backbone", name, known)


def weights(value: str) -> str | None:
    """The `weights` of a `FineTuner`; an `InputError` for a file that is not there."""
    if value == "none":
        return None
    if value not in _NAMED_WEIGHTS and not os.path.isfile(value):
        raise InputError(
            f"no weights file {value!r}; --weights takes imagenet, mini, none or the path of a file"
        )
    return value


def similarity(value: str | None) -> float | str | None:
    """The `similarity` of `fit`, as a number where it is one; `InputError` as in `advise`."""
    from ktransfer.advisor import advise

    try:
        given: float | str | None = None if value is None else float(value)
    except ValueError:
        given = value
    advise(1_000, 2, given)
    return given


def check_labelled_folder(folder: str) -> None:
    """Raises the error of `read_folder` for a folder that does not exist."""
    if not os.path.isdir(folder):
        from ktransfer.data import read_folder

        read_folder(folder)


def check_paths(paths: Sequence[str]) -> None:
    """Raises the error of `read_paths` for a path that does not exist."""
    from ktransfer.data import read_paths

    for path in paths:
        if not os.path.lexists(path):
            read_paths(path)


def check_output(folder: str, *, overwrite: bool = False) -> None:
    """Raises a `RunError` if a run could not be saved there."""
    from ktransfer.runs import check_output_folder

    check_output_folder(folder, overwrite=overwrite)


def check_run(folder: str) -> None:
    """Raises a `RunError` if there is no run."""
    from ktransfer.runs import read_record

    read_record(folder)


def check_csv(file: str | None) -> None:
    """Raises an `InputError` if the file could not be written."""
    if file is None:
        return
    parent = Path(file).parent
    if Path(file).is_dir():
        raise InputError(f"--csv {file!r} is a folder; name a file")
    if not parent.is_dir():
        raise InputError(f"--csv {file!r}: there is no folder {str(parent)!r}")
    if not os.access(parent, os.W_OK):
        raise InputError(f"--csv {file!r}: no permission to write to {str(parent)!r}")


def check_demo_folder(folder: str) -> Path:
    """The folder; an `InputError` if it is not empty, or could not be written to."""
    path = Path(folder)
    if path.is_dir() and any(path.iterdir()):
        raise InputError(f"the output folder {folder!r} is not empty; name a new folder")
    check_output(folder)
    return path


def check_any_read(predictions: Predictions) -> None:
    """Raises an `InputError` that names the files if none could be read."""
    if len(predictions):
        return
    if not predictions.skipped:
        raise InputError("there is no file in the folders given, nothing to predict on")
    named = "; ".join(f"{printable(each.path)}: {each.reason}" for each in predictions.skipped[:20])
    more = f"; and {len(predictions.skipped) - 20} more" if len(predictions.skipped) > 20 else ""
    raise InputError(f"none of the {len(predictions.skipped)} files can be read: {named}{more}")
