"""An exported file, checked before any runtime sees it."""

from __future__ import annotations

import os

from ktransfer.data.images.header import not_a_file
from ktransfer.data.reading.layout import missing
from ktransfer.errors import RunError
from ktransfer.files.seal import BrokenSealError, check_seal, is_sealed
from ktransfer.serving.metadata import KEY, ModelMetadata
from ktransfer.serving.wire import WireError, read_metadata

#: The most that a protobuf message may have.
MAX_MODEL_MB = 2_048


def read_model(path: str | os.PathLike[str]) -> tuple[bytes, ModelMetadata]:
    """Return the bytes of an ONNX file that ktransfer exported, and what it says of itself.

    Nothing of it is run, and no other file is read.

    Raises:
        RunError: there is no such file, it is no ONNX, damaged, of another producer or of another
            format, or it needs what lies outside it.
    """
    name = os.fsdecode(path)
    content = _content(name)
    try:
        if is_sealed(content):
            check_seal(content)
        found = read_metadata(memoryview(content))
    except WireError as error:
        raise RunError(f"{name} is no ONNX file that can be run: {error}") from error
    except BrokenSealError as error:
        raise RunError(f"{name} is damaged: {error}; export it again, or copy it again") from error
    if KEY not in found:
        raise RunError(
            f"{name} has no metadata {KEY!r}, so that its classes and the size of its images are "
            "not known: it was not exported by ktransfer; export a run with `ktransfer export`"
        )
    try:
        metadata = ModelMetadata.parse(found[KEY])
        if metadata.sealed:
            check_seal(content)
    except ValueError as error:
        raise RunError(f"{name} cannot be used: {error}") from error
    return content, metadata


def _content(name: str) -> bytes:
    if not os.path.lexists(name):
        raise RunError(str(missing("file", name)))
    reason = not_a_file(name)
    if reason:
        raise RunError(f"{name} cannot be read as an ONNX file: {reason}")
    try:
        with open(name, "rb") as stream:
            if os.fstat(stream.fileno()).st_size > MAX_MODEL_MB * 2**20:
                raise RunError(f"{name} is no ONNX file: larger than {MAX_MODEL_MB:,} MB")
            content = stream.read()
    except OSError as error:
        raise RunError(f"{name} cannot be read: {error.strerror or error}") from error
    if not content:
        raise RunError(f"{name} is no ONNX file: it is empty")
    return content
