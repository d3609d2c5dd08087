"""Opening files of ours: plain files only, of a bounded size, and JSON without surprises.

What a user names may be a link; what lies in a folder of ours may not, as nothing of ours writes
one. Pipes and devices are never opened: they would wait for ever, or do something.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

from ktransfer.errors import InputError, RunError

#: Deeper than anything of ours, and far from where Python's own functions end in RecursionError.
MOST_DEPTH = 60


def open_plain(path: Path, *, follow_links: bool = False) -> BufferedReader:
    """Return a plain file, open for reading.

    Args:
        path: the file.
        follow_links: whether it may be a symbolic link, as what a user names may.

    Raises:
        RunError: there is none, it is a link, a folder, a pipe or a device, or it cannot be read.
    """
    try:
        _check_kind(path, os.stat(path) if follow_links else os.lstat(path))
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        flags |= 0 if follow_links else getattr(os, "O_NOFOLLOW", 0)
        file = os.fdopen(os.open(path, flags), "rb")
    # A name with a NUL character is a ValueError.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"{path} cannot be read: {reason}") from error
    try:
        # Once more of what was really opened: another may have taken its place.
        _check_kind(path, os.fstat(file.fileno()))
    except RunError:
        file.close()
        raise
    return file


def _check_kind(path: Path, found: os.stat_result) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "a pipe or a device"
    kind = "a folder" if stat.S_ISDIR(found.st_mode) else kind
    raise RunError(f"{path} is {kind} where a plain file is expected: put the file itself there")


def read_plain(path: Path, *, most_mb: float, follow_links: bool = False) -> bytes:
    """Return the bytes of a plain file.

    Args:
        path: the file.
        most_mb: the most megabytes (2**20 bytes) it may have.
        follow_links: as in `open_plain`.

    Raises:
        RunError: as `open_plain`, or it is larger.
    """
    most_bytes = int(most_mb * 2**20)
    with open_plain(path, follow_links=follow_links) as file:
        try:
            contents = file.read(most_bytes + 1)
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(contents) > most_bytes:
        raise RunError(f"{path} is damaged: larger than {most_mb:g} MB")
    return contents


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a plain file, as hexadecimal digits."""
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path, *, most_mb: float, follow_links: bool = False) -> Any:
    """Say what a JSON file says.

    Raises:
        RunError: as `read_plain`, or it is no JSON as `parse_json` takes it.
    """
    contents = read_plain(path, most_mb=most_mb, follow_links=follow_links)
    try:
        return parse_json(contents)
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}") from error


def parse_json(text: str | bytes) -> Any:
    """Say what a JSON text says. `NaN` and `Infinity` are taken: a loss may be so.

    Raises:
        ValueError: it is no UTF-8 or no JSON, nests more than `MOST_DEPTH` deep, or has a number of
            thousands of digits.
        InputError: it says a field twice.
    """
    try:
        # An explicit decoding: json.loads would take UTF-16 as well.
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(text, object_pairs_hook=_without_doubles)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error
    check_depth(value)
    return value


def check_depth(value: Any) -> None:
    """Raise a `ValueError` for plain data that nests more than `MOST_DEPTH` deep."""
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [child for each in level for child in _children(each)]
        if not level:
            return
    raise ValueError(f"it nests more than {MOST_DEPTH} deep")


def _children(value: Any) -> list[Any]:
    every = value.values() if isinstance(value, dict) else value
    return list(every) if isinstance(value, dict | list) else []


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields of a JSON object; of two with one name Python silently keeps the last."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise InputError(f"the field {name!r} is given twice, got {value!r} the second time")
        fields[name] = value
    return fields
