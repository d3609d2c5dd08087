"""Folders to work in: gone afterwards; where their process was killed, with the next one."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: What lies in the folder of this name was in the way: after a kill it goes back to where it was,
#: beside the folder to work in.
REPLACED_NAME = "replaced"

#: Where files cannot be locked, a folder is left alone for so long.
ABANDONED_AFTER_S = 24 * 3600

_NAME = re.compile(r"\.ktransfer-[0-9a-f]{16}\.partial")
_LOCK_NAME = "in-use"


@contextlib.contextmanager
def scratch(place: Path) -> Iterator[Path]:
    """Make a new folder to work in, which is gone after the `with` block.

    What killed processes left in the same place is removed first; what others are working in is
    not. The system takes the lock of a process back when it ends, in whichever way.

    Args:
        place: a folder that exists, on the file system where the result shall lie.

    Raises:
        OSError: nothing can be written there.
    """
    _sweep(place)
    folder, lock = locked_folder(place, ".ktransfer-{}.partial", _LOCK_NAME, 0o700)
    try:
        yield folder
    finally:
        if (folder / _LOCK_NAME).exists():
            shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def keep(folder: Path) -> None:
    """Have a folder of `scratch` stay where it is: what an error left in it is to be read."""
    # Without its lock it is one that somebody has just begun, which nobody removes.
    (folder / _LOCK_NAME).unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_scratch() -> Iterator[Path]:
    """`scratch` in the folder for what is temporary, `TMPDIR`.

    The temporary folders of Python stay there for ever where their process was killed.
    """
    with scratch(Path(tempfile.gettempdir())) as folder:
        yield folder


def is_scratch(path: Path) -> bool:
    """Tell whether there lies a folder that `scratch` made, by its name."""
    return _NAME.fullmatch(path.name) is not None and path.is_dir() and not path.is_symlink()


def locked_folder(place: Path, name: str, lock_name: str, mode: int) -> tuple[Path, BinaryIO]:
    """Return a new folder and the locked file in it, which tells that somebody works there.

    Args:
        place: where it is to lie.
        name: of the folder; `{}` in it becomes random digits.
        lock_name: of the file.
        mode: of the folder.
    """
    while True:
        folder = place / name.format(secrets.token_hex(8))
        folder.mkdir(mode)
        file = (folder / lock_name).open("x+b")
        # Between the open and the lock another process may have taken it for abandoned.
        if lock_file(file) is not False and (folder / lock_name).exists():
            return folder, file
        file.close()


def lock_file(file: BinaryIO) -> bool | None:
    """Tell whether the file is ours now, or another's (False).

    None: no locks on this system or disk.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _sweep(place: Path) -> None:
    with contextlib.suppress(OSError):  # a folder may be one to write to and not to read
        for folder in place.iterdir():
            if is_scratch(folder):
                _sweep_one(folder)


def _sweep_one(folder: Path) -> None:
    # Gone meanwhile, another user's, or just begun and without its lock.
    with contextlib.suppress(OSError), (folder / _LOCK_NAME).open("rb") as file:
        locked = lock_file(file)
        old = time.time() - os.fstat(file.fileno()).st_mtime > ABANDONED_AFTER_S
        if locked or (locked is None and old):
            _clear(folder)


def _clear(dead: Path) -> None:
    replaced = dead / REPLACED_NAME
    for each in sorted(replaced.rglob("*")):
        place = dead.parent / each.relative_to(replaced)
        if os.path.lexists(each) and not os.path.lexists(place):
            each.rename(place)
    shutil.rmtree(dead, ignore_errors=True)
