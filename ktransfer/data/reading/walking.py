"""Walks folders for files, in an order that does not depend on the directory listing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from ktransfer.data.images.header import Skipped

#: Folders that systems, network drives and programs leave behind, in small letters.
_SYSTEM_FOLDERS = frozenset(
    (
        "__macosx",
        "__pycache__",
        "$recycle.bin",
        "recycler",
        "system volume information",
        "found.000",
        "lost+found",
        "lost.dir",
        "network trash folder",
        "temporary items",
        # Synology and QNAP.
        "@eadir",
        "@tmp",
        "@recycle",
        "@recently-snapshot",
        "@__thumb",
        "#recycle",
        "#snapshot",
    )
)


@dataclass
class Found:
    """Files below a folder, sorted by path, and what could not be walked."""

    files: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def walk(folder: str) -> Found:
    """List every entry below `folder` that is not itself a folder.

    Links to folders are followed, unless they loop. Hidden folders and those of the system are
    skipped with that reason: `.ipynb_checkpoints`, for one, holds copies of images, and `@eaDir`
    small pictures of each.
    """
    found = Found()
    # A stack and no recursion, as folders may nest deeper than Python's limit.
    stack: list[tuple[str, tuple[tuple[int, int], ...]]] = [(folder, _identities_above(folder))]
    while stack:
        current, ancestors = stack.pop()
        identity = _identity(current)
        if identity in ancestors:
            found.skipped.append(Skipped(current, "link that loops back to a folder above it"))
            continue
        folders = _sort_out(current, found)
        stack += [(each, (*ancestors, identity)) for each in folders]
    found.files.sort()
    return found


def _sort_out(folder: str, found: Found) -> list[str]:
    """Add a folder's files to `found` and returns its visible subfolders."""
    entries = list_folder(folder, found.skipped)
    folders: list[str] = []
    for each in entries:
        (folders if is_folder(each) else found.files).append(each)
    found.skipped += [hidden(each) for each in folders if is_hidden(each)]
    return [each for each in folders if not is_hidden(each)]


def hidden(folder: str) -> Skipped:
    """Say what is said of a folder that `is_hidden`."""
    own = os.path.basename(folder).startswith(".")
    return Skipped(folder, "hidden folder" if own else "folder of the system or of a program")


def list_folder(folder: str, skipped: list[Skipped]) -> list[str]:
    """Return the paths of a folder's entries, sorted.

    One that cannot be listed is added to `skipped`.
    """
    try:
        return sorted(os.path.join(folder, name) for name in os.listdir(folder))
    except PermissionError:
        skipped.append(Skipped(folder, "no permission to list this folder"))
    except OSError as error:
        skipped.append(Skipped(folder, f"folder cannot be listed: {error.strerror}"))
    return []


def is_folder(path: str) -> bool:
    """Tell whether `path` is a folder or a link to one; False where it cannot be told."""
    return os.path.isdir(path)


def is_hidden(path: str) -> bool:
    """Tell whether a folder belongs to a program or the system rather than to the data set."""
    name = os.path.basename(path)
    return name.startswith(".") or name.casefold() in _SYSTEM_FOLDERS


def files_below(folder: str) -> Iterator[str]:
    """Yield the files of `walk`, folder after folder and as they come.

    The first few cost little.
    """
    stack, seen = [folder], set()
    while stack:
        current = stack.pop()
        entries = list_folder(current, [])
        yield from (each for each in entries if not is_folder(each))
        for each in (each for each in entries if is_folder(each) and not is_hidden(each)):
            if (identity := _identity(each)) not in seen:
                seen.add(identity)
                stack.append(each)


def subfolders(folder: str) -> list[str]:
    """Return the folders directly in `folder` that are not hidden, sorted.

    None if it cannot be listed.
    """
    # Entries know what they are: no file is asked for its state, of which there may be a million.
    try:
        with os.scandir(folder) as entries:
            found = [each.path for each in entries if _is_folder_entry(each)]
    except OSError:
        return []
    return sorted(each for each in found if not is_hidden(each))


def _is_folder_entry(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that cannot be followed
        return False


def _identities_above(folder: str) -> tuple[tuple[int, int], ...]:
    # A link to the folder of all classes would make every image one of this class.
    above = os.path.dirname(os.path.abspath(folder))
    identities: list[tuple[int, int]] = []
    while not identities or above != os.path.dirname(above):
        identities.append(_identity(above))
        above = os.path.dirname(above)
    return tuple(identities)


def _identity(folder: str) -> tuple[int, int]:
    state = os.stat(folder)
    return state.st_dev, state.st_ino
