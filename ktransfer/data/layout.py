"""What a path is, and which parts a folder has: train, validation, test, or class folders alone."""

from __future__ import annotations

import os

from ktransfer._checks import InputError, near_names
from ktransfer.data.classes import LAYOUT
from ktransfer.data.images import Skipped
from ktransfer.data.numpy_files import is_numpy
from ktransfer.data.parts import listed
from ktransfer.data.walking import list_folder, subfolders

Path = str | os.PathLike[str]

#: What a part may be called, in any case, as a folder and in a `split` column.
PART_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


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


def part_folders(root: str) -> dict[str, list[str]]:
    """The folders in `root` that are named as parts, by the part's name, train first."""
    folders = subfolders(root)
    known = [each for each in folders if os.path.basename(each).casefold() in PART_NAMES]
    # Beside other folders, `train` may be a class (train, bus, car): a part has class folders
    # inside.
    if len(known) < len(folders):
        known = [each for each in known if subfolders(each)]
    by_part: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for folder in known:
        by_part[PART_NAMES[os.path.basename(folder).casefold()]].append(folder)
    return {name: several for name, several in by_part.items() if several}


def checked_part_folders(root: str) -> dict[str, str]:
    """The one folder of each part.

    Raises:
        InputError: a part has two folders.
    """
    found = part_folders(root)
    for name, several in found.items():
        if len(several) > 1:
            both = listed([os.path.basename(each) for each in several])
            raise InputError(f"{root!r} has {both}, all of them names for {name}: keep one")
    return {name: several[0] for name, several in found.items()}


def check_layout(root: str) -> None:
    """Raises an `InputError` if a folder has parts, but no train folder or two for one part."""
    parts = checked_part_folders(root)
    if parts and "train" not in parts:
        found = listed([os.path.basename(each) for each in parts.values()])
        raise InputError(f"{root!r} has {found} but no train folder; {LAYOUT}")


def outside(root: str, parts: dict[str, list[str]]) -> list[Skipped]:
    """What lies beside the folders of the parts, and is not read."""
    if not parts:
        return []
    skipped: list[Skipped] = []
    read = {folder for several in parts.values() for folder in several}
    reason = "lies outside the folders " + listed(list(parts))
    beside = [Skipped(each, reason) for each in list_folder(root, skipped) if each not in read]
    return skipped + beside
