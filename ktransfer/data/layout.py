"""Which parts a folder has: train, validation and test, or class folders alone."""

from __future__ import annotations

import os

from ktransfer._checks import InputError, near_names
from ktransfer.data.classes import LAYOUT
from ktransfer.data.images import Skipped
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
    siblings = subfolders(parent) if kind == "folder" else list_folder(parent, [])
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
