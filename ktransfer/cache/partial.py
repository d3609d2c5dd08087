"""Folders that come and go: building, locking, deleting, and clearing up after killed processes."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import time
from pathlib import Path
from typing import BinaryIO

from ktransfer.cache.entry import INDICES_FILE, RECORD_FILE, VALUES_FILE
from ktransfer.files.scratch import ABANDONED_AFTER_S, lock_file, locked_folder
from ktransfer.files.writing import flush_to_disk

_PARTIAL_NAME = ".partial-{}"
_PARTIAL = re.compile(r"\.partial-[0-9a-f]{16}")


def new_partial(folder: Path) -> tuple[Path, BinaryIO]:
    """Return a new hidden folder and the locked file of values in it."""
    return locked_folder(folder, _PARTIAL_NAME, VALUES_FILE, 0o777)


def reserve(descriptor: int, num_bytes: int) -> None:
    """Make a file this long, with its space on the disk where the system can do so."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, num_bytes)
    else:  # macOS has no such call; there a file can only be made long, not sure of its space
        os.truncate(descriptor, num_bytes)


def put_in_place(partial: Path, place: Path) -> None:
    """Make a partial folder an entry; if another process finished the same first, that stays."""
    try:
        partial.rename(place)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    flush_to_disk(place.parent)


def sweep(folder: Path) -> None:
    """Remove the partial folders whose processes are gone; the system took their locks back."""
    for partial in folder.iterdir():
        if not _PARTIAL.fullmatch(partial.name) or is_foreign(partial):
            continue
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            old = time.time() - partial.stat().st_mtime > ABANDONED_AFTER_S
            try:
                file = (partial / VALUES_FILE).open("rb")
            except FileNotFoundError:  # just begun, or killed then
                if old:
                    remove(partial)
                continue
            with file:  # removed under the lock, or a process that is just beginning could get it
                locked = lock_file(file)
                if locked or (locked is None and old):
                    remove(partial)


def is_foreign(path: Path) -> bool:
    """Tell whether something lies there that is no folder of files of ours alone."""
    names = (VALUES_FILE, INDICES_FILE, RECORD_FILE)
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            return True
        with os.scandir(path) as items:
            return not all(i.name in names and i.is_file(follow_symlinks=False) for i in items)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def discard(folder: Path) -> bool:
    """Delete an entry; by a rename first, so that it is whole or gone. False if it stays."""
    if is_foreign(folder) or not os.access(folder, os.W_OK | os.X_OK):
        return not os.path.lexists(folder)
    doomed = folder.with_name(_PARTIAL_NAME.format(secrets.token_hex(8)))
    try:
        folder.rename(doomed)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    remove(doomed)
    return True


def remove(folder: Path) -> None:
    """Delete our files in a partial folder and the folder, as far as it can be done."""
    # What cannot be removed now is tried again by a later `create`. The values go last: as long as
    # they are there, their lock tells whether somebody works in the folder.
    with contextlib.suppress(OSError):
        for name in (RECORD_FILE, INDICES_FILE, VALUES_FILE):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
