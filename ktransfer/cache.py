"""A store on disk of what a frozen network said of a set of images, found again by its content.

    STORE/KEY/values.bin       the rows, C order
    STORE/KEY/indices.bin      int32, the index of each row's image
    STORE/KEY/entry.json       format, key, shape, dtype, checksums, and what is said about it
    STORE/.partial-1a2b3c4d/   an entry that is being built or deleted

A key is the SHA-256 of all that decides the values, so an entry is never out of date. An entry
comes and goes by one rename of its folder, so it is at every moment whole or not there, whoever is
killed; processes share a store without a lock. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import operator
import os
import re
import secrets
import shutil
import stat
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ktransfer._checks import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FORMAT = 1
DTYPES = ("float32", "float16", "uint8")
DEFAULT_LIMIT_MB = 20_000

_VALUES, _INDICES, _RECORD = "values.bin", "indices.bin", "entry.json"
_KEY = re.compile(r"[0-9a-f]{64}")
_PARTIAL = re.compile(r"\.partial-[0-9a-f]{16}")
_MB = 2**20
_MAX_RECORD_BYTES = 16 * _MB
_MAX_DIMENSIONS = 32  # NumPy 1.26's; later ones take 64
_ABANDONED_AFTER_S = 24 * 3600
# Small enough to stay in the processor's cache between the read and the checksum.
_PIECE_BYTES = _MB // 2


class CacheUnavailable(InputError):  # noqa: N818 - it says what is the case, as callers read it
    """The store cannot take an entry (no space, no permission, over its limit)."""


class _DamageError(Exception):
    """An entry is not what was stored; the message says in which way."""


@dataclass(frozen=True, eq=False)
class Entry:
    """What a frozen network said of a set of images.

    Attributes:
        values: `(rows, ...)` float32, float16 or uint8; in memory, or a read-only `numpy.memmap`
            when larger than the budget. The map outlives the deletion of the entry.
        indices: int32 `(rows,)`: for each row, the index of its image.
        about: plain data that was stored with it, for people.
    """

    values: np.ndarray
    indices: np.ndarray
    about: Mapping[str, Any]


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


def content_key(**parts: Any) -> str:
    """The key of what these parts decide: the SHA-256 of their canonical JSON, in hex.

    Args:
        parts: all that the values depend on, as plain data: None, booleans, finite numbers, text,
            lists (tuples count as such) and dictionaries with text as keys. 1 and 1.0 differ.

    Returns:
        64 hexadecimal digits. The order of the parts does not count; `FORMAT` does.

    Raises:
        InputError: a part is not plain data; the message names it.

    Example:
        >>> content_key(cut=3, images=["ab12"]) == content_key(images=["ab12"], cut=3)
        True
    """
    for name, value in parts.items():
        _check_plain(f"the part {name!r} of a cache key", value)
    content = {"format": FORMAT, "parts": parts}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class Draft:
    """An entry that is being built; `Store.create` makes it.

    Attributes:
        values: a writable `numpy.memmap` with room for the most rows. After `commit` it is the
            entry's values: views of the old one must not be used any more, since reading a row that
            was cut off kills the process.
    """

    def __init__(self, store: Store, folder: Path, file: BinaryIO, record: dict[str, Any]):
        self._store, self._folder, self._file, self._record = store, folder, file, record
        self.values: np.ndarray = np.memmap(
            file, record["dtype"], "r+", shape=tuple(record["shape"])
        )

    def commit(self, rows: int, indices: np.ndarray, *, budget_mb: float) -> Entry:
        """Put the first rows into the store as a whole entry.

        If another process finished the same key first, its entry stays and this one is dropped.

        Args:
            rows: how many rows were written, at most as many as there is room for.
            indices: whole numbers `(rows,)`, the index of each row's image.
            budget_mb: values of more megabytes are given back as a memory map.

        Returns:
            The entry, as `Store.load` gives it.

        Raises:
            InputError: `rows` or `indices` do not fit, or the draft is closed.
            CacheUnavailable: it could not be written; nothing is left of it.
        """
        budget_bytes = _budget_bytes(budget_mb)
        if self._file.closed:
            raise InputError("this draft is closed: a draft is committed once, inside its `with`")
        rows, indices = _check_rows(rows, len(self.values), indices)
        shape = (rows, *self.values.shape[1:])
        record = {
            **self._record,
            "shape": list(shape),
            "values_crc32": zlib.crc32(self.values[:rows].data),
            "indices_crc32": zlib.crc32(indices.data),
        }
        with self._store._explained(self.values.nbytes):
            self._write(record, indices)
            # Read before it is in place: from then on it may be evicted at any time.
            self.values = self._reopen(shape, budget_bytes)
            self._store._put_in_place(self._folder, record["key"])
        self._file.close()
        return Entry(self.values, indices, record["about"])

    def _write(self, record: dict[str, Any], indices: np.ndarray) -> None:
        """Everything on the disk, so that a power cut after the rename leaves a whole entry."""
        self.values.flush()  # type: ignore[attr-defined]
        self._file.truncate(math.prod(record["shape"]) * self.values.itemsize)
        (self._folder / _INDICES).write_bytes(indices.tobytes())
        (self._folder / _RECORD).write_bytes(_sealed(record))
        for name in (_VALUES, _INDICES, _RECORD, ""):
            _flush_to_disk(self._folder / name)

    def _reopen(self, shape: tuple[int, ...], budget_bytes: float) -> np.ndarray:
        values = self.values[: shape[0]]
        if values.nbytes <= budget_bytes:
            return np.array(values)
        return np.memmap(self._folder / _VALUES, values.dtype, "r", shape=shape)


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
        self.limit_mb = _megabytes(name, default if limit_mb is None else limit_mb)
        self.remarks: list[str] = []

    def load(self, key: str, *, budget_mb: float) -> Entry | None:
        """The entry of a key, every byte of it checked, or None if there is none.

        A damaged entry is deleted and counts as none; `remarks` says why. The entry is marked as
        used.

        Args:
            key: from `content_key`.
            budget_mb: values of more megabytes are memory-mapped.

        Raises:
            InputError: `key` is no key or `budget_mb` no number from 0.
        """
        folder = self.folder / _check_key(key)
        budget_bytes = _budget_bytes(budget_mb)
        seen = _identity(folder)
        if seen is None:
            return None
        try:
            entry = _read_entry(folder, key, budget_bytes)
        except (_DamageError, OSError) as error:
            # Another process may have evicted it between the look and the open.
            if _identity(folder) == seen:
                self._handle(folder, error)
            return None
        with contextlib.suppress(OSError):  # a store that is only readable keeps no record of use
            os.utime(folder)
        return entry

    @contextlib.contextmanager
    def create(
        self, key: str, shape: tuple[int, ...], dtype: Any, about: Mapping[str, Any]
    ) -> Iterator[Draft]:
        """Room for a new entry, to be filled and committed inside the `with`.

        Leaving the `with` without `commit`, in whichever way, leaves nothing behind. What killed
        processes left is cleared away first.

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
        record = _new_record(key, shape, dtype, about)
        num_bytes = math.prod(record["shape"]) * np.dtype(record["dtype"]).itemsize
        self._check_limit(num_bytes + 4 * record["shape"][0])
        with self._explained(num_bytes):
            self.folder.mkdir(parents=True, exist_ok=True)
            _sweep(self.folder)
            self._check_place(self.folder / key, num_bytes)
            partial, file = _new_partial(self.folder)
        try:
            with self._explained(num_bytes):
                # Reserved before the first write: writing into a hole of a mapped file on a full
                # disk kills the process with SIGBUS, which nobody can catch.
                _reserve(file.fileno(), max(num_bytes, 1))  # an empty file cannot be mapped
                draft = Draft(self, partial, file, record)
            yield draft
        finally:
            file.close()
            _remove(partial)  # no longer there after a commit

    def free_mb(self) -> float:
        """The megabytes that `create` could take: what the disk has free, at most the limit."""
        existing = _existing(self.folder)
        writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
        return min(_disk_free_mb(existing), self.limit_mb) if writable else 0.0

    def clear(self) -> None:
        """Delete every entry, and what killed processes left; nothing else in the folder.

        What cannot be deleted stays, and `remarks` says so.

        Raises:
            OSError: the folder cannot be listed.
        """
        for folder, _, _ in self._entries():
            if not _discard(folder):
                self.remarks.append(f"the cache entry {folder} could not be deleted")
        if self.folder.is_dir():
            _sweep(self.folder)

    def _entries(self) -> list[tuple[Path, int, int]]:
        """Folder, time of last use in ns and bytes of each entry, the longest unused first."""
        found = []
        for folder in self.folder.iterdir() if self.folder.is_dir() else ():
            if _KEY.fullmatch(folder.name) and not _is_foreign(folder):
                # FileNotFoundError: another process evicts, too.
                with contextlib.suppress(FileNotFoundError):
                    size = sum(each.stat().st_size for each in folder.iterdir())
                    found.append((folder, folder.stat().st_mtime_ns, size))
        return sorted(found, key=operator.itemgetter(1))

    def _put_in_place(self, partial: Path, key: str) -> None:
        try:
            partial.rename(self.folder / key)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        _flush_to_disk(self.folder)
        self._evict(keep=key)

    def _evict(self, keep: str) -> None:
        entries = self._entries()
        excess = sum(size for _, _, size in entries) - self.limit_mb * _MB
        for folder, _, size in entries:
            if excess > 0 and folder.name != keep and _discard(folder):
                excess -= size

    def _handle(self, folder: Path, error: Exception) -> None:
        """Delete an entry that is damaged, not one that only cannot be read now, and say so."""
        damaged = isinstance(error, _DamageError) or getattr(error, "errno", None) == errno.EIO
        if not damaged:
            self.remarks.append(f"the cache entry {folder} cannot be read: {error}")
        elif _discard(folder):
            self.remarks.append(f"the cache entry {folder} was damaged and is deleted: {error}")
        else:
            self.remarks.append(
                f"the cache entry {folder} cannot be used and was left as it is: {error}"
            )

    def _check_limit(self, num_bytes: int) -> None:
        if num_bytes > self.limit_mb * _MB:
            raise self._unavailable(num_bytes, "it is larger than the limit of the cache")

    def _check_place(self, place: Path, num_bytes: int) -> None:
        if _is_foreign(place):
            raise self._unavailable(num_bytes, f"{place} is in its place and none of ours: move it")
        # Where files cannot be reserved this is the only look; elsewhere it spares filling the disk
        # up to find out.
        if num_bytes > _disk_free_mb(self.folder) * _MB:
            raise self._unavailable(num_bytes, os.strerror(errno.ENOSPC))

    @contextlib.contextmanager
    def _explained(self, num_bytes: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unavailable(num_bytes, error.strerror or str(error)) from error

    def _unavailable(self, num_bytes: int, why: str) -> CacheUnavailable:
        return CacheUnavailable(
            f"the cache {self.folder} cannot take an entry of {num_bytes / _MB:,.1f} MB "
            f"({_disk_free_mb(_existing(self.folder)):,.1f} MB free on its disk, limit "
            f"{self.limit_mb:,.1f} MB): {why}. Free some space, set KTRANSFER_CACHE to another "
            "folder, or raise the limit with KTRANSFER_CACHE_MB"
        )


def _megabytes(name: str, given: Any) -> float:
    try:
        number = float(given)
    except (TypeError, ValueError):
        number = math.nan
    if not number >= 0:  # NaN, too
        raise InputError(f"{name} must be a number of megabytes from 0, got {given!r}")
    return number


def _budget_bytes(budget_mb: float) -> float:
    return _megabytes("budget_mb", budget_mb) * _MB


def _check_key(key: str) -> str:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise InputError(f"a cache key is 64 hexadecimal digits, from content_key; got {key!r}")
    return key


def _check_plain(what: str, value: Any) -> None:
    """Refuse what JSON would not give back as it is (NaN, objects, keys that are no text)."""
    try:
        found = next(_not_plain(value), None)
    except RecursionError:
        found = "nesting without end"
    if found is not None:
        raise InputError(
            f"{what} must be plain data (None, booleans, finite numbers, text, lists, dictionaries "
            f"with text as keys), got {found}"
        )


def _not_plain(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"the key {key!r}" for key in value if not isinstance(key, str))
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _not_plain(each)
    elif isinstance(value, float) and not math.isfinite(value):
        yield repr(value)
    elif not isinstance(value, str | int | float | None):
        yield f"{value!r} ({type(value).__name__})"


def _check_rows(rows: int, most: int, indices: np.ndarray) -> tuple[int, np.ndarray]:
    indices = np.asarray(indices)
    if isinstance(rows, bool) or not isinstance(rows, int | np.integer) or not 0 <= rows <= most:
        raise InputError(f"rows must be a whole number from 0 to {most}, got {rows!r}")
    if indices.shape != (rows,) or (rows and indices.dtype.kind not in "iu"):
        raise InputError(
            f"indices must be {rows} whole numbers, one for each row; got shape {indices.shape}, "
            f"dtype {indices.dtype}"
        )
    narrow = indices.astype(np.int32)
    if not np.array_equal(narrow, indices):
        raise InputError(f"indices must fit int32, got {indices.min()} to {indices.max()}")
    return int(rows), narrow


def _new_record(key: str, shape: Any, dtype: Any, about: Mapping[str, Any]) -> dict[str, Any]:
    """What `entry.json` will say, still without checksums."""
    try:
        name, sizes = np.dtype(dtype).name, [operator.index(size) for size in shape]
    except TypeError:
        name, sizes = None, None
    if name not in DTYPES or not _is_shape(sizes):
        raise InputError(
            f"an entry has a shape of 1 to {_MAX_DIMENSIONS} sizes from 0 and a dtype of "
            f"{', '.join(DTYPES)}; got shape {shape!r}, dtype {dtype!r}"
        )
    if not isinstance(about, Mapping):
        raise InputError(f"what is stored about an entry must be a mapping, got {about!r}")
    _check_plain("what is stored about an entry", dict(about))
    # There and back: the entry just written says the same as the one that is loaded.
    about = json.loads(json.dumps(dict(about)))
    record = {"format": FORMAT, "key": _check_key(key), "shape": sizes, "dtype": name}
    if len(_sealed({**record, "about": about})) > _MAX_RECORD_BYTES - 1000:
        raise InputError(f"what is stored about an entry is over {_MAX_RECORD_BYTES // _MB} MB")
    return {**record, "about": about}


def _is_shape(sizes: Any) -> bool:
    return (
        isinstance(sizes, list)
        and 1 <= len(sizes) <= _MAX_DIMENSIONS
        and all(type(size) is int and size >= 0 for size in sizes)
        # NumPy refuses this even if a size of 0 leaves no element at all.
        and math.prod(max(size, 1) for size in sizes) * 4 < 2**63
    )


def _sealed(record: dict[str, Any]) -> bytes:
    """The bytes of `entry.json`: the record with the checksum of its own text."""
    text = json.dumps(record, sort_keys=True, indent=1, allow_nan=False)
    sealed = {**record, "record_crc32": zlib.crc32(text.encode("ascii"))}
    return json.dumps(sealed, sort_keys=True, indent=1, allow_nan=False).encode("ascii")


def _read_entry(folder: Path, key: str, budget_bytes: float) -> Entry:
    if not stat.S_ISDIR(folder.lstat().st_mode):
        raise _DamageError("it is no folder")
    record = _read_record(folder / _RECORD, key)
    shape, dtype = tuple(record["shape"]), np.dtype(record["dtype"])
    in_memory = math.prod(shape) * dtype.itemsize <= budget_bytes
    values = _read_array(folder / _VALUES, shape, dtype, record["values_crc32"], in_memory)
    indices = _read_array(
        folder / _INDICES, shape[:1], np.dtype(np.int32), record["indices_crc32"], True
    )
    return Entry(values, indices, record["about"])


def _read_record(path: Path, key: str) -> dict[str, Any]:
    with _open(path) as file:
        data = file.read(_MAX_RECORD_BYTES)
    try:
        record = json.loads(data)
        if not isinstance(record, dict):
            raise _DamageError(f"{path.name} is no record")
        record.pop("record_crc32", None)
        intact = _sealed(record) == data
    except (ValueError, RecursionError) as error:
        raise _DamageError(f"{path.name} is no JSON of ours ({error})") from error
    if not intact:
        raise _DamageError(f"{path.name} is not what was stored (checksum)")
    for name, expected in {"format": FORMAT, "key": key}.items():
        if record.get(name) != expected:
            raise _DamageError(f"its {name} is {record.get(name)!r}, not {expected!r}")
    for name, fits in _FIELDS.items():
        if not fits(record.get(name)):
            raise _DamageError(f"its {name} is {record.get(name)!r}")
    return record


_FIELDS = {
    "shape": _is_shape,
    "dtype": lambda name: name in DTYPES,
    "about": lambda about: isinstance(about, dict),
    "values_crc32": lambda checksum: type(checksum) is int,
    "indices_crc32": lambda checksum: type(checksum) is int,
}


def _read_array(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, checksum: int, in_memory: bool
) -> np.ndarray:
    num_bytes = math.prod(shape) * dtype.itemsize
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size != num_bytes:
            raise _DamageError(f"{path.name} has {size:,} bytes instead of {num_bytes:,}")
        array = np.empty(shape, dtype) if in_memory else None
        if _read_checked(file, num_bytes, array) != checksum:
            raise _DamageError(f"{path.name} is not what was stored (checksum)")
        return np.memmap(file, dtype, "r", shape=shape) if array is None else array


def _read_checked(file: io.FileIO, num_bytes: int, array: np.ndarray | None) -> int:
    """The checksum of a file's bytes, which are read into `array` if there is one.

    Read, not mapped: a bad disk or a file cut short is then an error and not SIGBUS. CRC-32 (4.2
    GB/s where SHA-256 made 1.8 and BLAKE2b 0.9) finds every damage of up to 32 bits in a row and
    any other but one in 4 billion; it guards against accidents, not against attacks.
    """
    target = None if array is None else array.reshape(-1).view(np.uint8).data
    buffer = memoryview(bytearray(min(num_bytes, _PIECE_BYTES)))
    checksum = done = 0
    while done < num_bytes:
        piece = buffer if target is None else target[done : done + _PIECE_BYTES]
        read = file.readinto(piece)
        if not read:
            raise _DamageError(f"{Path(str(file.name)).name} ends after {done:,} bytes")
        checksum = zlib.crc32(piece[:read], checksum)
        done += read
    return checksum


def _open(path: Path) -> io.FileIO:
    """A file of an entry, to read without a buffer; links and devices are not followed."""
    try:
        if stat.S_ISREG(path.lstat().st_mode):
            return path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise _DamageError(f"{path.name} is missing") from error
    raise _DamageError(f"{path.name} is no file")


def _identity(folder: Path) -> tuple[int, ...] | None:
    """Tells an entry from another that takes its place; None where there is nothing."""
    try:
        found = folder.lstat()
    except OSError:  # also where the store cannot be looked into; `create` says so
        return None
    # Numbers of inodes are given out again at once: the time tells them apart.
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _is_foreign(path: Path) -> bool:
    """Whether something lies there that is not a folder with nothing but files of ours in it."""
    names = (_VALUES, _INDICES, _RECORD)
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            return True
        with os.scandir(path) as items:
            return not all(i.name in names and i.is_file(follow_symlinks=False) for i in items)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _discard(folder: Path) -> bool:
    """Delete an entry; by a rename first, so that it is whole or gone. False if it stays."""
    if _is_foreign(folder) or not os.access(folder, os.W_OK | os.X_OK):
        return not os.path.lexists(folder)
    doomed = folder.with_name(_partial_name())
    try:
        folder.rename(doomed)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    _remove(doomed)
    return True


def _remove(folder: Path) -> None:
    # What cannot be removed now is tried again by a later `create`. The values go last: as long as
    # they are there, their lock tells whether somebody works in the folder.
    with contextlib.suppress(OSError):
        for name in (_RECORD, _INDICES, _VALUES):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _partial_name() -> str:
    return f".partial-{secrets.token_hex(8)}"


def _new_partial(folder: Path) -> tuple[Path, BinaryIO]:
    """A new hidden folder and the locked file of values in it."""
    while True:
        partial = folder / _partial_name()
        partial.mkdir()
        file = (partial / _VALUES).open("x+b")
        # Between the open and the lock another process may have taken it for abandoned.
        if _lock(file) is not False and (partial / _VALUES).exists():
            return partial, file
        file.close()


def _lock(file: BinaryIO) -> bool | None:
    """Whether the file is ours now, or another's (False); None: no locks on this system or disk."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _sweep(folder: Path) -> None:
    """Remove the partial folders whose processes are gone; the system took their locks back."""
    for partial in folder.iterdir():
        if not _PARTIAL.fullmatch(partial.name) or _is_foreign(partial):
            continue
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            old = time.time() - partial.stat().st_mtime > _ABANDONED_AFTER_S
            try:
                file = (partial / _VALUES).open("rb")
            except FileNotFoundError:  # just begun, or killed then
                if old:
                    _remove(partial)
                continue
            with file:  # removed under the lock, or a process that is just beginning could get it
                locked = _lock(file)
                if locked or (locked is None and old):
                    _remove(partial)


def _reserve(descriptor: int, num_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, num_bytes)
    else:  # macOS has no such call; there a file can only be made long, not sure of its space
        os.truncate(descriptor, num_bytes)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _existing(folder: Path) -> Path:
    """The folder itself or the nearest one above it that exists."""
    return next(each for each in (folder, *folder.parents) if os.path.exists(each))


def _disk_free_mb(existing: Path) -> float:
    return shutil.disk_usage(existing).free / _MB
