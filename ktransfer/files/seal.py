"""A seal on an ONNX file: the SHA-256 of its bytes, as its last entry of metadata.

    sealed = seal(model.SerializeToString())     # the same model, 86 bytes longer
    check_seal(sealed)                           # and any other byte is an error

Protobuf messages may be joined end to end: a field behind the last one belongs to the message. So
the seal is an entry of `metadata_props` like any other, and every reader of ONNX takes the file.
"""

from __future__ import annotations

import hashlib

KEY = b"ktransfer_sha256"

_DIGITS = 64
# metadata_props (field 14) of 84 bytes: the key (field 1), and the value (field 2).
_START = b"\x72\x54\x0a\x10" + KEY + b"\x12\x40"
SEAL_BYTES = len(_START) + _DIGITS


class BrokenSealError(ValueError):
    """The file is not what was sealed; the message says in what."""


def seal(content: bytes) -> bytes:
    """Return a serialised ONNX model with its seal.

    Example:
        >>> sealed = seal(b"model")
        >>> len(sealed), is_sealed(sealed)
        (91, True)
    """
    return content + _START + hashlib.sha256(content).hexdigest().encode()


def is_sealed(content: bytes | memoryview) -> bool:
    """Tell whether a file ends with a seal, be it whole or broken."""
    return bytes(content[-SEAL_BYTES:-_DIGITS]) == _START


def check_seal(content: bytes | memoryview) -> None:
    """Raise a `BrokenSealError` if a file has no seal, or one of other bytes."""
    if not is_sealed(content):
        raise BrokenSealError("its end, with the checksum, is missing")
    body = memoryview(content)[:-SEAL_BYTES]
    if hashlib.sha256(body).hexdigest().encode() != bytes(content[-_DIGITS:]):
        raise BrokenSealError("it is not what was exported (checksum)")
