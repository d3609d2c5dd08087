"""What the name of a path says, and the errors where nothing of that name is there."""

from __future__ import annotations

import glob
import os
import re

from ktransfer.data.parts import listed
from ktransfer.data.reading.classes import LAYOUT
from ktransfer.data.reading.foreign import what_to_give
from ktransfer.data.reading.walking import list_folder
from ktransfer.errors import InputError, near_names

Path = str | os.PathLike[str]

#: What begins the name of a data set of TensorFlow Datasets.
TFDS_PREFIX = "tfds:"


def is_table(path: str) -> bool:
    """Tell whether a path is to be read as a table: by its extension."""
    return os.path.splitext(path)[1].casefold() in (".csv", ".tsv")


def existing_folder(path: Path) -> str:
    """Return the folder's path; an `InputError` naming its neighbours where there is none."""
    folder = os.fsdecode(path)
    if os.path.isdir(folder):
        return folder
    raise not_a_folder(folder)


def not_a_folder(path: str) -> InputError:
    """Return the error for a path at which there is no folder."""
    if os.path.lexists(path):
        what = what_to_give(path)
        return InputError(f"{path!r} is {what or 'not a folder'}; {LAYOUT}")
    return missing("folder", path)


def missing(kind: str, path: str) -> InputError:
    """Make the error for a path that does not exist, with those that are named like it."""
    parent, name = os.path.split(os.path.abspath(path))
    siblings = list_folder(parent, [])
    if kind == "folder":  # where one is asked for, a table would do as well
        siblings = [each for each in siblings if os.path.isdir(each) or is_table(each)]
    near = near_names(name, [os.path.basename(each) for each in siblings])
    hint = f"did you mean {listed(near)}?" if near else f"nothing like it is in {parent!r}"
    return InputError(f"no such {kind}: {path!r}; {_no_path(path) or hint}")


def _no_path(path: str) -> str:
    """Say what a path is that only other programs make one of; "" where it is one."""
    if re.match(r"[a-z][a-z0-9+.-]+://", path, re.IGNORECASE):
        return "it is an address, and nothing is downloaded here: give the path of what lies there"
    if not path:
        return "the path is empty: give '.' for the working directory"
    told = os.path.expandvars(os.path.expanduser(path))
    if told != path:
        return f"~ and variables are not replaced here: give {told!r}"
    found = sorted(glob.glob(path)) if glob.has_magic(path) else []
    return f"patterns are not replaced here: it fits {listed(found, 3)}" if found else ""
