"""An entry: what it holds, what its record says, and how its files are read and checked."""

from __future__ import annotations

import io
import json
import math
import operator
import os
import stat
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ktransfer.cache.key import FORMAT, check_key, check_plain
from ktransfer.cache.place import MB
from ktransfer.errors import InputError

DTYPES = ("float32", "float16", "uint8")
VALUES_FILE, INDICES_FILE, RECORD_FILE = "values.bin", "indices.bin", "entry.json"

_MAX_RECORD_BYTES = 16 * MB
_MAX_DIMENSIONS = 32  # NumPy 1.26's; later ones take 64
# Small enough to stay in the processor's cache between the read and the checksum.
_PIECE_BYTES = MB // 2


class DamageError(Exception):
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


def new_record(key: str, shape: Any, dtype: Any, about: Mapping[str, Any]) -> dict[str, Any]:
    """Say what `entry.json` will say, still without checksums."""
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
    check_plain("what is stored about an entry", dict(about))
    # There and back: the entry just written says the same as the one that is loaded.
    about = json.loads(json.dumps(dict(about)))
    record = {"format": FORMAT, "key": check_key(key), "shape": sizes, "dtype": name}
    if len(sealed({**record, "about": about})) > _MAX_RECORD_BYTES - 1000:
        raise InputError(f"what is stored about an entry is over {_MAX_RECORD_BYTES // MB} MB")
    return {**record, "about": about}


def _is_shape(sizes: Any) -> bool:
    return (
        isinstance(sizes, list)
        and 1 <= len(sizes) <= _MAX_DIMENSIONS
        and all(type(size) is int and size >= 0 for size in sizes)
        # NumPy refuses this even if a size of 0 leaves no element at all.
        and math.prod(max(size, 1) for size in sizes) * 4 < 2**63
    )


def sealed(record: dict[str, Any]) -> bytes:
    """Return the bytes of `entry.json`: the record with the checksum of its own text."""
    text = json.dumps(record, sort_keys=True, indent=1, allow_nan=False)
    sealed = {**record, "record_crc32": zlib.crc32(text.encode("ascii"))}
    return json.dumps(sealed, sort_keys=True, indent=1, allow_nan=False).encode("ascii")


def read_entry(folder: Path, key: str, most_bytes: float) -> Entry:
    """Return the entry in a folder, every byte checked; values of more bytes are memory-mapped.

    Raises:
        DamageError: it is not what was stored under this key.
        OSError: it cannot be read.
    """
    if not stat.S_ISDIR(folder.lstat().st_mode):
        raise DamageError("it is no folder")
    record = _read_record(folder / RECORD_FILE, key)
    shape, dtype = tuple(record["shape"]), np.dtype(record["dtype"])
    in_memory = math.prod(shape) * dtype.itemsize <= most_bytes
    values = _read_array(folder / VALUES_FILE, shape, dtype, record["values_crc32"], in_memory)
    indices = _read_array(
        folder / INDICES_FILE, shape[:1], np.dtype(np.int32), record["indices_crc32"], True
    )
    return Entry(values, indices, record["about"])


def _read_record(path: Path, key: str) -> dict[str, Any]:
    with _open(path) as file:
        data = file.read(_MAX_RECORD_BYTES)
    try:
        record = json.loads(data)
        if not isinstance(record, dict):
            raise DamageError(f"{path.name} is no record")
        record.pop("record_crc32", None)
        intact = sealed(record) == data
    except (ValueError, RecursionError) as error:
        raise DamageError(f"{path.name} is no JSON of ours ({error})") from error
    if not intact:
        raise DamageError(f"{path.name} is not what was stored (checksum)")
    for name, expected in {"format": FORMAT, "key": key}.items():
        if record.get(name) != expected:
            raise DamageError(f"its {name} is {record.get(name)!r}, not {expected!r}")
    for name, fits in _FIELDS.items():
        if not fits(record.get(name)):
            raise DamageError(f"its {name} is {record.get(name)!r}")
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
            raise DamageError(f"{path.name} has {size:,} bytes instead of {num_bytes:,}")
        array = np.empty(shape, dtype) if in_memory else None
        if _read_checked(file, num_bytes, array) != checksum:
            raise DamageError(f"{path.name} is not what was stored (checksum)")
        return np.memmap(file, dtype, "r", shape=shape) if array is None else array


def _read_checked(file: io.FileIO, num_bytes: int, array: np.ndarray | None) -> int:
    """Return the checksum of a file's bytes, which are read into `array` if there is one.

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
            raise DamageError(f"{Path(str(file.name)).name} ends after {done:,} bytes")
        checksum = zlib.crc32(piece[:read], checksum)
        done += read
    return checksum


def _open(path: Path) -> io.FileIO:
    """Return a file of an entry, to read without a buffer; links and devices are not followed."""
    try:
        if stat.S_ISREG(path.lstat().st_mode):
            return path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise DamageError(f"{path.name} is missing") from error
    raise DamageError(f"{path.name} is no file")
