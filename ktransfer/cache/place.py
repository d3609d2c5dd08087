"""Where a store lies, and how many megabytes it and its disk have."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

from ktransfer.errors import InputError

MB = 2**20
DEFAULT_LIMIT_MB = 20_000


class CacheUnavailable(InputError):  # noqa: N818 - it says what is the case, as callers read it
    """The store cannot take an entry (no space, no permission, over its limit)."""


def default_folder() -> Path:
    """`$KTRANSFER_CACHE`, else `$XDG_CACHE_HOME/ktransfer`, else `~/.cache/ktransfer`.

    Raises:
        CacheUnavailable: none of them is set and the user has no home folder.
    """
    try:
        if named := os.environ.get("KTRANSFER_CACHE"):
            return Path(named).expanduser()
        shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
        # The XDG specification has relative paths ignored.
        return (shared if shared.is_absolute() else Path.home() / ".cache") / "ktransfer"
    except RuntimeError as error:
        raise CacheUnavailable(
            f"no folder for the cache: {error} Set KTRANSFER_CACHE to a folder"
        ) from error


def megabytes(name: str, given: Any) -> float:
    """Say what was given, as a number; InputError with its name if it is no number from 0."""
    try:
        number = float(given)
    except (TypeError, ValueError):
        number = math.nan
    if not number >= 0:  # NaN, too
        raise InputError(f"{name} must be a number of megabytes from 0, got {given!r}")
    return number


def budget_bytes(budget_mb: float) -> float:
    """From megabytes to bytes; InputError if it is no number from 0."""
    return megabytes("budget_mb", budget_mb) * MB


def existing(folder: Path) -> Path:
    """Return the folder itself or the nearest one above it that exists."""
    return next(each for each in (folder, *folder.parents) if os.path.exists(each))


def disk_free_mb(folder: Path) -> float:
    """Return the megabytes the disk of an existing folder has free for this user."""
    return shutil.disk_usage(folder).free / MB
