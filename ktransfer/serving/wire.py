"""What an ONNX file keeps beside its numbers, read before any runtime sees the file.

An ONNX file is one protobuf message. Its fields are walked here without being interpreted: the
metadata is read, and a file whose weights lie in other files, or whose operators come from a
library outside it, is refused. Numbers of fields are those of `onnx.proto` (IR version 10).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

#: Fields that are looked at; EfficientNetV2L has 60,000. More are made to waste time.
MAX_FIELDS = 2_000_000

#: The operators of ONNX and of onnxruntime, all of them inside the runtime.
KNOWN_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Of each message the fields that may hold tensors or nodes, and what they are.
_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_METADATA, _DOMAIN, _EXTERNAL_DATA, _DATA_LOCATION = 14, 7, 13, 14
_KEY, _VALUE = 1, 2


class WireError(ValueError):
    """The file is no ONNX model, or one that must not be run; the message says why."""


class Field(NamedTuple):
    """One field of a message: its number, its value, and where it begins.

    Attributes:
        number: of the field.
        value: bytes, or a whole number; None for numbers of fixed size, which nothing here needs.
        start: position of its first byte in the message.
    """

    number: int
    value: memoryview | int | None
    start: int


def read_metadata(model: memoryview) -> dict[str, bytes]:
    """Return the metadata of a model, by key, having looked through all of its parts.

    Args:
        model: the whole file.

    Raises:
        WireError: it is no protobuf message with a graph inside, is damaged, or reaches out of the
            file.
    """
    metadata: dict[str, bytes] = {}
    has_graph = False
    stack, left = [("model", model)], MAX_FIELDS
    while stack:
        kind, message = stack.pop()
        inside = _INSIDE[kind]
        for field in fields(message):
            left -= 1
            if left < 0:
                raise WireError(f"it has more than {MAX_FIELDS:,} parts")
            _check(kind, field)
            if not isinstance(field.value, memoryview):
                continue
            if field.number in inside:
                has_graph |= kind == "model" and inside[field.number] == "graph"
                stack.append((inside[field.number], field.value))
            elif kind == "model" and field.number == _METADATA:
                key, value = _entry(field.value)
                metadata[key] = value
    if not has_graph:
        raise WireError("it has no graph")
    return metadata


def fields(message: memoryview) -> Iterator[Field]:
    """Yield the fields of a protobuf message, in order.

    Raises:
        WireError: the bytes are no such message.
    """
    at = 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        value: memoryview | int | None = None
        if not 0 < number < 2**29 or kind not in (_VARINT, _FIXED64, _BYTES, _FIXED32):
            raise WireError(f"byte {start:,} begins no field")
        if kind == _VARINT:
            value, at = _varint(message, at)
        else:
            size, at = _varint(message, at) if kind == _BYTES else ({1: 8, 5: 4}[kind], at)
            if size > len(message) - at:
                raise WireError("it ends too early")
            value = message[at : at + size] if kind == _BYTES else None
            at += size
        yield Field(number, value, start)


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return a whole number of up to 64 bits, 7 of them in a byte, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise WireError("it ends too early")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise WireError("it has a number of more than 64 bits")


def _entry(message: memoryview) -> tuple[str, bytes]:
    """Return a key and its value."""
    found = {_KEY: b"", _VALUE: b""}
    for field in fields(message):
        if field.number in found and isinstance(field.value, memoryview):
            found[field.number] = field.value.tobytes()
    return found[_KEY].decode("utf-8", "replace"), found[_VALUE]


def _check(kind: str, field: Field) -> None:
    """Refuse what would be read or run from outside the file."""
    if kind == "tensor" and (
        field.number == _EXTERNAL_DATA or (field.number == _DATA_LOCATION and field.value != 0)
    ):
        raise WireError(
            "it keeps weights in other files (external data), which are not read: export it as one "
            "file"
        )
    if kind == "node" and field.number == _DOMAIN and isinstance(field.value, memoryview):
        domain = field.value.tobytes().decode("utf-8", "replace")
        if domain not in KNOWN_DOMAINS:
            raise WireError(
                f"it has an operator of {domain!r}, which needs a library outside the file; "
                "nothing but the operators of onnxruntime is run"
            )
