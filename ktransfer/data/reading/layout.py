"""What a path is: a folder, a table, a data set of TFDS, or nothing at all."""

from __future__ import annotations

import os

from ktransfer.data.parts import listed
from ktransfer.data.reading.classes import LAYOUT
from ktransfer.data.reading.numpy_files import is_numpy
from ktransfer.data.reading.walking import list_folder
from ktransfer.errors import InputError, near_names

Path = str | os.PathLike[str]

#: What begins the name of a data set of TensorFlow Datasets.
TFDS_PREFIX = "tfds:"

_TFDS_FILES = ("dataset_info.json", "features.json")


def path_kind(path: str) -> str:
    """What a path is: "tfds" (name or prepared directory), "folder", "table", "numpy", "file"."""
    if path.startswith(TFDS_PREFIX):
        return "tfds"
    if os.path.isdir(path):
        prepared = all(os.path.isfile(os.path.join(path, each)) for each in _TFDS_FILES)
        return "tfds" if prepared else "folder"
    if is_numpy(path):
        return "numpy"
    return "table" if is_table(path) else "file"


def existing_source(path: str) -> str:
    """The `path_kind` of labelled images.

    Raises:
        InputError: there is nothing of that name, or neither a folder nor a CSV file.
    """
    kind = path_kind(path)
    if kind == "file" or (kind in ("table", "numpy") and not os.path.lexists(path)):
        if os.path.lexists(path):
            raise InputError(
                f"{path!r} is neither a folder nor a .csv file with the columns path, label"
                f"[, split], nor a .npz file; {LAYOUT}"
            )
        raise missing("folder" if kind == "file" else "file", path)
    return kind


def is_table(path: str) -> bool:
    """Whether a path is to be read as a table: by its extension."""
    return os.path.splitext(path)[1].casefold() in (".csv", ".tsv")


def existing_folder(path: Path) -> str:
    """The folder's path; an `InputError` naming its neighbours where there is none."""
    folder = os.fsdecode(path)
    if os.path.isdir(folder):
        return folder
    if os.path.lexists(folder):
        raise InputError(f"{folder!r} is not a folder; {LAYOUT}")
    raise missing("folder", folder)


def missing(kind: str, path: str) -> InputError:
    """The error for a path that does not exist, with those beside it that are named like it."""
    parent, name = os.path.split(os.path.abspath(path))
    siblings = list_folder(parent, [])
    if kind == "folder":  # where one is asked for, a table would do as well
        siblings = [each for each in siblings if os.path.isdir(each) or is_table(each)]
    near = near_names(name, [os.path.basename(each) for each in siblings])
    hint = f"did you mean {listed(near)}?" if near else f"nothing like it is in {parent!r}"
    return InputError(f"no such {kind}: {path!r}; {hint}")
