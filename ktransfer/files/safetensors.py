"""Reading `.safetensors` files: a header of JSON, and the numbers behind it. Nothing is unpickled.

Source: the format as https://github.com/huggingface/safetensors describes it ("Format").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ktransfer.files.archives import DamageError
from ktransfer.files.reading import open_plain, parse_json

_MOST_HEADER_BYTES = 100_000_000  # what the format allows
_LENGTH_BYTES = 8
_KINDS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
#: NumPy has no bfloat16: it is the upper half of a float32.
_BFLOAT16, _BFLOAT16_BYTES = "BF16", 2


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a `.safetensors` file, by name.

    Args:
        path: the file; a link is followed.

    Returns:
        Read-only arrays; bfloat16 as float32.

    Raises:
        RunError: it is no plain file, or cannot be read.
        DamageError: it is damaged, or none of this format; or holds numbers of an unknown kind.
    """
    with open_plain(path, follow_links=True) as file:
        contents = file.read()
    length = int.from_bytes(contents[:_LENGTH_BYTES], "little")
    start = _LENGTH_BYTES + length
    if len(contents) < _LENGTH_BYTES or length > _MOST_HEADER_BYTES or start > len(contents):
        raise DamageError("it is no safetensors file, or was cut off in its header")
    entries = _entries(contents[_LENGTH_BYTES:start])
    numbers = memoryview(contents)[start:]
    _check_order(entries, len(numbers))
    return {name: _array(name, entry, numbers) for name, entry in entries.items()}


def _entries(header: bytes) -> dict[str, dict[str, Any]]:
    """Say what the header says of each tensor."""
    try:
        found = parse_json(header)
    except ValueError as error:
        raise DamageError(f"its header cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise DamageError("its header is no JSON object")
    found.pop("__metadata__", None)
    for name, entry in found.items():
        if not isinstance(entry, dict) or not _is_whole(entry):
            raise DamageError(f"its header does not say what {name[:60]!r} is")
    return found


def _is_whole(entry: Mapping[str, Any]) -> bool:
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    return (
        isinstance(shape, list)
        and isinstance(offsets, list)
        and len(offsets) == 2
        and all(type(each) is int and each >= 0 for each in (*shape, *offsets))
        and isinstance(entry.get("dtype"), str)
    )


def _check_order(entries: Mapping[str, Mapping[str, Any]], size: int) -> None:
    """Raise a `DamageError` unless the tensors follow on one another and fill the file."""
    end = 0
    for begins, ends in sorted(tuple(each["data_offsets"]) for each in entries.values()):
        if begins != end or ends < begins:
            raise DamageError("its tensors overlap, or leave gaps")
        end = ends
    if end != size:
        raise DamageError(f"it holds {size:,} bytes of numbers, and its header says {end:,}")


def _array(name: str, entry: Mapping[str, Any], numbers: memoryview) -> np.ndarray:
    begins, ends = entry["data_offsets"]
    kind, shape = entry["dtype"], entry["shape"]
    if kind != _BFLOAT16 and kind not in _KINDS:
        raise DamageError(f"its tensor {name[:60]!r} is of an unknown kind, {kind[:20]!r}")
    each_bytes = _BFLOAT16_BYTES if kind == _BFLOAT16 else np.dtype(_KINDS[kind]).itemsize
    if math.prod(shape) * each_bytes != ends - begins:
        raise DamageError(f"its tensor {name[:60]!r} is not as large as its shape {shape} says")
    if kind == _BFLOAT16:
        halves = np.frombuffer(numbers[begins:ends], "<u2")
        return (halves.astype("<u4") << 16).view("<f4").reshape(shape)
    return np.frombuffer(numbers[begins:ends], _KINDS[kind]).reshape(shape)
