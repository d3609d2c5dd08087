"""An entry that is being built, until it is whole and on the disk."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ktransfer.cache.entry import INDICES_FILE, RECORD_FILE, VALUES_FILE, Entry, sealed
from ktransfer.cache.place import budget_bytes
from ktransfer.errors import InputError
from ktransfer.files.writing import flush_to_disk


class Draft:
    """An entry that is being built; `Store.create` makes it.

    Attributes:
        values: a writable `numpy.memmap` with room for the most rows. After `commit` it is the
            entry's values: views of the old one must not be used any more, since reading a row that
            was cut off kills the process.
    """

    def __init__(
        self,
        folder: Path,
        file: BinaryIO,
        record: dict[str, Any],
        finishing: Callable[[], AbstractContextManager[None]],
    ):
        self._folder, self._file, self._record = folder, file, record
        self._finishing = finishing
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
        most_bytes = budget_bytes(budget_mb)
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
        with self._finishing():
            self._write(record, indices)
            # Read before it is in place: from then on it may be evicted at any time.
            self.values = self._reopen(shape, most_bytes)
        self._file.close()
        return Entry(self.values, indices, record["about"])

    def _write(self, record: dict[str, Any], indices: np.ndarray) -> None:
        """Flush everything, so that a power cut after the rename leaves a whole entry."""
        self.values.flush()  # type: ignore[attr-defined]
        self._file.truncate(math.prod(record["shape"]) * self.values.itemsize)
        (self._folder / INDICES_FILE).write_bytes(indices.tobytes())
        (self._folder / RECORD_FILE).write_bytes(sealed(record))
        names = (VALUES_FILE, INDICES_FILE, RECORD_FILE, "")
        flush_to_disk(*(self._folder / name for name in names))

    def _reopen(self, shape: tuple[int, ...], most_bytes: float) -> np.ndarray:
        values = self.values[: shape[0]]
        if values.nbytes <= most_bytes:
            return np.array(values)
        return np.memmap(self._folder / VALUES_FILE, values.dtype, "r", shape=shape)


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
