"""The store itself: loading, creating, clearing."""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ktransfer.cache.draft import Draft
from ktransfer.cache.entry import DamageError, Entry, new_record, read_entry
from ktransfer.cache.eviction import (
    entries_in,
    keep_to_limit,
    make_room,
    mark_used,
    size_mb,
)
from ktransfer.cache.key import check_key
from ktransfer.cache.partial import (
    discard,
    is_foreign,
    new_partial,
    put_in_place,
    remove,
    reserve,
    sweep,
)
from ktransfer.cache.place import (
    DEFAULT_LIMIT_MB,
    MB,
    CacheUnavailable,
    budget_bytes,
    default_folder,
    disk_free_mb,
    existing,
    megabytes,
)


class Store:
    """Entries on disk under their content keys, shared by runs and processes.

    Args:
        folder: `default_folder()` by default. It is made with the first entry.
        limit_mb: most megabytes (2**20 bytes) of all entries; by default `$KTRANSFER_CACHE_MB`,
            else 20,000. What was used longest ago makes room.

    Attributes:
        folder: the absolute path of the store.
        limit_mb: the limit.
        remarks: a sentence for each entry that was found damaged or could not be used.

    Raises:
        InputError: the limit is no number from 0.

    Example:
        >>> import tempfile
        >>> from ktransfer.cache import Store, content_key
        >>> store, key = Store(tempfile.mkdtemp()), content_key(cut=3)
        >>> with store.create(key, (4, 2), "float32", {"model": "small"}) as draft:
        ...     draft.values[:3] = 1.5
        ...     entry = draft.commit(3, np.arange(3), budget_mb=1)
        >>> store.load(key, budget_mb=1).values.shape
        (3, 2)
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None = None, *, limit_mb: float | None = None
    ):
        self.folder = Path(folder if folder is not None else default_folder()).absolute()
        name = "limit_mb" if limit_mb is not None else "KTRANSFER_CACHE_MB"
        default = os.environ.get("KTRANSFER_CACHE_MB") or DEFAULT_LIMIT_MB
        self.limit_mb = megabytes(name, default if limit_mb is None else limit_mb)
        self.remarks: list[str] = []

    def load(self, key: str, *, budget_mb: float) -> Entry | None:
        """Return the entry of a key, every byte of it checked, or None if there is none.

        A damaged entry is deleted and counts as none; `remarks` says why. The entry is marked as
        used.

        Args:
            key: from `content_key`.
            budget_mb: values of more megabytes are memory-mapped.

        Raises:
            InputError: `key` is no key or `budget_mb` no number from 0.
        """
        folder = self.folder / check_key(key)
        most_bytes = budget_bytes(budget_mb)
        seen = _identity(folder)
        if seen is None:
            return None
        try:
            entry = read_entry(folder, key, most_bytes)
        except (DamageError, OSError) as error:
            # Another process may have evicted it between the look and the open.
            if _identity(folder) == seen:
                self._handle(folder, error)
            return None
        mark_used(folder)
        return entry

    def has(self, key: str) -> bool:
        """Tell whether there is an entry of a key, whole or not; none of it is read.

        Raises:
            InputError: `key` is no key.
        """
        return _identity(self.folder / check_key(key)) is not None

    def discard(self, key: str, why: str) -> None:
        """Delete an entry that lacks what it should have; `remarks` says so.

        Args:
            key: from `content_key`.
            why: what it lacks, for people.

        Raises:
            InputError: `key` is no key.
        """
        self._delete(self.folder / check_key(key), "incomplete", why)

    def verify(self) -> tuple[int, float]:
        """Read every entry and check every byte of it; what is damaged is deleted.

        `remarks` names what was. What killed processes left is cleared away, too.

        Returns:
            How many entries are whole, and their megabytes.

        Raises:
            OSError: the folder cannot be listed.
        """
        sizes = [size for folder, _, size in entries_in(self.folder) if self._is_whole(folder)]
        if self.folder.is_dir():
            sweep(self.folder)
        return len(sizes), sum(sizes) / MB

    def _is_whole(self, folder: Path) -> bool:
        seen = _identity(folder)
        try:
            read_entry(folder, folder.name, 0)
        except (DamageError, OSError) as error:
            if _identity(folder) == seen:  # else another process has evicted it meanwhile
                self._handle(folder, error)
            return False
        return True

    @contextlib.contextmanager
    def create(
        self, key: str, shape: tuple[int, ...], dtype: Any, about: Mapping[str, Any]
    ) -> Iterator[Draft]:
        """Room for a new entry, to be filled and committed inside the `with`.

        Leaving the `with` without `commit`, in whichever way, leaves nothing behind. What killed
        processes left is cleared away first. On a full disk, what was used longest ago makes
        room, unless all entries together would not be enough.

        Args:
            key: from `content_key`.
            shape: of the values; the first number is the most rows.
            dtype: float32, float16 or uint8.
            about: plain data to store with it, for people.

        Yields:
            The draft. Its disk space is reserved.

        Raises:
            InputError: an argument cannot be used.
            CacheUnavailable: no space, no permission, or more than the limit of the store; raised
                before anything is written.
        """
        record = new_record(key, shape, dtype, about)
        num_bytes = math.prod(record["shape"]) * np.dtype(record["dtype"]).itemsize
        with_indices = num_bytes + 4 * record["shape"][0]
        self._check_limit(with_indices)
        with self._explained(num_bytes):
            self.folder.mkdir(parents=True, exist_ok=True)
            sweep(self.folder)
            self._check_place(self.folder / key, with_indices)
            partial, file = new_partial(self.folder)
        try:
            with self._explained(num_bytes):
                # Reserved before the first write: writing into a hole of a mapped file on a full
                # disk kills the process with SIGBUS, which nobody can catch.
                reserve(file.fileno(), max(num_bytes, 1))  # an empty file cannot be mapped
                finishing = functools.partial(self._finishing, partial, key, num_bytes)
                draft = Draft(partial, file, record, finishing)
            yield draft
        finally:
            file.close()
            remove(partial)  # no longer there after a commit

    def free_mb(self) -> float:
        """Return the megabytes that `create` could take, at most the limit.

        They are what the disk has free and what evicting all entries would set free.
        """
        folder = existing(self.folder)
        if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            return 0.0
        return min(disk_free_mb(folder) + size_mb(self.folder), self.limit_mb)

    def clear(self) -> None:
        """Delete every entry, and what killed processes left; nothing else in the folder.

        What cannot be deleted stays, and `remarks` says so.

        Raises:
            OSError: the folder cannot be listed.
        """
        for folder, _, _ in entries_in(self.folder):
            if not discard(folder):
                self.remarks.append(f"the cache entry {folder} could not be deleted")
        if self.folder.is_dir():
            sweep(self.folder)

    @contextlib.contextmanager
    def _finishing(self, partial: Path, key: str, num_bytes: int) -> Iterator[None]:
        """Say what the body makes whole is put in place after it."""
        with self._explained(num_bytes):
            yield
            put_in_place(partial, self.folder / key)
            mark_used(self.folder / key)
            keep_to_limit(self.folder, self.limit_mb, keep=key)

    def _handle(self, folder: Path, error: Exception) -> None:
        """Delete an entry that is damaged, not one that only cannot be read now, and say so."""
        damaged = isinstance(error, DamageError) or getattr(error, "errno", None) == errno.EIO
        if not damaged:
            self.remarks.append(f"the cache entry {folder} cannot be read: {error}")
        else:
            self._delete(folder, "damaged", str(error))

    def _delete(self, folder: Path, fault: str, why: str) -> None:
        if discard(folder):
            said = f"was {fault} and is deleted"
        else:
            said = "cannot be used and was left as it is"
        self.remarks.append(f"the cache entry {folder} {said}: {why}")

    def _check_limit(self, num_bytes: int) -> None:
        if num_bytes > self.limit_mb * MB:
            raise self._unavailable(num_bytes, "it is larger than the limit of the cache")

    def _check_place(self, place: Path, num_bytes: int) -> None:
        if is_foreign(place):
            raise self._unavailable(num_bytes, f"{place} is in its place and none of ours: move it")
        # Where files cannot be reserved this is the only look; elsewhere it spares filling the disk
        # up to find out.
        if not make_room(self.folder, num_bytes / MB):
            raise self._unavailable(num_bytes, os.strerror(errno.ENOSPC))

    @contextlib.contextmanager
    def _explained(self, num_bytes: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unavailable(num_bytes, error.strerror or str(error)) from error

    def _unavailable(self, num_bytes: int, why: str) -> CacheUnavailable:
        return CacheUnavailable(
            f"the cache {self.folder} cannot take an entry of {num_bytes / MB:,.1f} MB "
            f"({disk_free_mb(existing(self.folder)):,.1f} MB free on its disk, limit "
            f"{self.limit_mb:,.1f} MB): {why}. Free some space, set KTRANSFER_CACHE to another "
            "folder, or raise the limit with KTRANSFER_CACHE_MB"
        )


def _identity(folder: Path) -> tuple[int, ...] | None:
    """Tell an entry from another that takes its place; None where there is nothing."""
    try:
        found = folder.lstat()
    except OSError:  # also where the store cannot be looked into; `create` says so
        return None
    # Numbers of inodes are given out again at once: the time tells them apart.
    return found.st_dev, found.st_ino, found.st_ctime_ns
