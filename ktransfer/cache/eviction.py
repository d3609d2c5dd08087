"""Making room: what was used longest ago goes first."""

from __future__ import annotations

import contextlib
import operator
import os
import time
from pathlib import Path

from ktransfer.cache.key import KEY
from ktransfer.cache.partial import discard, is_foreign
from ktransfer.cache.place import MB, disk_free_mb


def entries_in(store: Path) -> list[tuple[Path, int, int]]:
    """Folder, time of last use in ns and bytes of each entry, the longest unused first."""
    found = []
    for folder in store.iterdir() if store.is_dir() else ():
        if KEY.fullmatch(folder.name) and not is_foreign(folder):
            # FileNotFoundError: another process evicts, too.
            with contextlib.suppress(FileNotFoundError):
                size = sum(each.stat().st_size for each in folder.iterdir())
                found.append((folder, folder.stat().st_mtime_ns, size))
    return sorted(found, key=operator.itemgetter(1))


def mark_used(folder: Path) -> None:
    """Take note that an entry is used now, after all others, whatever the clock says.

    A clock that was wrong for a day, or begins in 1970 each time, would otherwise have new entries
    evicted before old ones.
    """
    with contextlib.suppress(OSError):  # a store that is only readable keeps no record of use
        latest = max(
            each.stat(follow_symlinks=False).st_mtime_ns
            for each in os.scandir(folder.parent)
            if KEY.fullmatch(each.name)
        )
        now = max(time.time_ns(), latest + 1)
        os.utime(folder, ns=(now, now))


def size_mb(store: Path) -> float:
    """Return the megabytes of all entries."""
    return sum(size for _, _, size in entries_in(store)) / MB


def keep_to_limit(store: Path, limit_mb: float, *, keep: str) -> None:
    """Evict until the entries are within the limit; the one under the key `keep` stays."""
    entries = entries_in(store)
    excess = sum(size for _, _, size in entries) - limit_mb * MB
    for folder, _, size in entries:
        if excess > 0 and folder.name != keep and discard(folder):
            excess -= size


def make_room(store: Path, needed_mb: float) -> bool:
    """Tell whether the disk has so many megabytes free, after evictions if it must be.

    If all entries together would not make the room, none is evicted.
    """
    missing_mb = needed_mb - disk_free_mb(store)
    if missing_mb <= 0:
        return True
    if missing_mb > size_mb(store):
        return False
    for folder, _, _ in entries_in(store):
        # Measured each time: what a process has mapped keeps its space until it is let go.
        if discard(folder) and needed_mb <= disk_free_mb(store):
            return True
    return False
