"""Image files by the million: their paths and routes in a few arrays, not an object for each."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import SupportsIndex, overload

import numpy as np

from ktransfer.data.images.decoding import decode_bytes, decoding_fault
from ktransfer.data.images.header import FORMATS, ImageFile, Inspected, not_a_file
from ktransfer.data.images.value_range import ValueRange

ROUTES = ("tensorflow", "pillow")

#: Files that are looked at together; a thread pool's queue holds no more of them.
CHUNK = 4_096

_UNKNOWN_FORMAT = 255
_DIGEST_BYTES = 16


class ChangedError(OSError):
    """An image is no longer what was digested; the message says in which way."""


class ImageFiles(Sequence[ImageFile]):
    """A row of readable image files, which gives each as an `ImageFile` when it is asked for.

    It takes the length of its path and 18 bytes a file, where objects take about 300, and what is
    selected from it shares the paths with it.

    Attributes:
        value_range: the values that are black and white in files of more than 8 bits; None:
            those of each file's type.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        paths: bytes,
        starts: np.ndarray,
        lengths: np.ndarray,
        routes: np.ndarray,
        formats: np.ndarray,
        value_range: ValueRange | None = None,
    ) -> None:
        self.value_range = value_range
        self._paths = paths
        self._starts = starts
        self._lengths = lengths
        self._routes = routes
        self._formats = formats
        self._digests: np.ndarray | None = None

    @classmethod
    def of(cls, files: Iterable[ImageFile | Inspected]) -> ImageFiles:
        """Return the files, in order, in one row."""
        rows = FilesBuilder()
        for each in files:
            rows.add(each)
        return rows.build()

    @classmethod
    def joined(cls, several: Iterable[ImageFiles]) -> ImageFiles:
        """Return all files of several rows, one row after the other."""
        rows = list(several)
        if not rows:
            return cls.of(())
        # Rows selected from one row have its paths in common.
        paths = {id(each._paths): each._paths for each in rows}
        ends = np.cumsum([0, *map(len, paths.values())])
        shifts = dict(zip(paths, ends, strict=False))
        return cls(
            rows[0]._paths if len(paths) == 1 else b"".join(paths.values()),
            np.concatenate([each._starts + shifts[id(each._paths)] for each in rows]),
            np.concatenate([each._lengths for each in rows]),
            np.concatenate([each._routes for each in rows]),
            np.concatenate([each._formats for each in rows]),
            rows[0].value_range,
        )

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> ImageFile: ...

    @overload
    def __getitem__(self, index: slice) -> ImageFiles: ...

    def __getitem__(self, index: int | slice) -> ImageFile | ImageFiles:
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        path, route = os.fsdecode(self.raw_path(index)), ROUTES[self._routes[index]]
        return ImageFile(path, route, self.value_range)

    def __iter__(self) -> Iterator[ImageFile]:
        return (self[index] for index in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __add__(self, other: Iterable[ImageFile]) -> ImageFiles:
        return ImageFiles.joined([self, ImageFiles.of(other)])

    def __repr__(self) -> str:
        return f"ImageFiles({len(self)} files)"

    def select(self, indices: np.ndarray) -> ImageFiles:
        """Return the files at `indices`, in that order."""
        chosen = ImageFiles(
            self._paths,
            self._starts[indices],
            self._lengths[indices],
            self._routes[indices],
            self._formats[indices],
            self.value_range,
        )
        if self._digests is not None:
            chosen._digests = self._digests[indices]
        return chosen

    def with_range(self, value_range: ValueRange | None) -> ImageFiles:
        """Return the same files, read by another `value_range`."""
        if value_range == self.value_range:
            return self
        rows = (self._paths, self._starts, self._lengths, self._routes, self._formats)
        return ImageFiles(*rows, value_range)

    def raw_path(self, index: SupportsIndex) -> bytes:
        """Return a file's path as the system has it: a name need not be UTF-8."""
        start = self._starts[index]
        return self._paths[start : start + self._lengths[index]]

    def name(self, index: int) -> str:
        """Say what an image is called in messages: its path."""
        return os.fsdecode(self.raw_path(index))

    def format(self, index: int) -> str | None:
        """Return the format that a file's content has ("JPEG"); None where it was not inspected."""
        code = self._formats[index]
        return None if code == _UNKNOWN_FORMAT else FORMATS[code]

    @property
    def plain(self) -> np.ndarray:
        """Bool `(n,)`: whether TensorFlow decodes the file."""
        return self._routes == ROUTES.index("tensorflow")

    def kind(self, index: int) -> str:
        """Who decodes a file: one of `ROUTES`."""
        return ROUTES[self._routes[index]]

    def encoded(self, index: int) -> bytes:
        """Return the bytes of a file.

        Raises:
            ChangedError: they are not those that `digests` saw, if it has seen any.
            OSError: it cannot be read, and could not be when it was digested.
        """
        file = self[index]
        try:
            content = content_of(file.path)
        except OSError as error:
            if self._was(index, file, b""):
                raise
            raise ChangedError(not_a_file(file.path) or str(error.strerror)) from error
        if not self._was(index, file, content):
            raise ChangedError("its bytes are not those of before")
        return content

    def _was(self, index: int, file: ImageFile, content: bytes) -> bool:
        """Tell whether a file had this content when it was digested; True if it never was."""
        if self._digests is None:
            return True
        return _digest_of(file, content) == self._digests[index].tobytes()

    def changed(self, index: int) -> str | None:
        """Say how a file differs from what `digests` saw, in words; None if it does not."""
        try:
            self.encoded(index)
        except ChangedError as error:
            return str(error)
        except OSError:
            pass
        return None

    def full_size(self, index: int) -> np.ndarray:
        """Decode an image as it is, uint8 `(height, width, 3)`; errors as of `decode_image`."""
        return decode_bytes(self.encoded(index), self.value_range)

    def fault(self, index: int) -> str | None:
        """Say why a file cannot be decoded, in words; None if Pillow can."""
        return decoding_fault(self[index])

    def digests(self) -> np.ndarray:
        """Of each file's bytes and how it is read, uint8 `(n, 16)`.

        It costs about as long as reading the files, once. One that cannot be read counts as empty.
        From then on no other bytes are taken for the file's: see `encoded`.
        """
        if self._digests is None:
            self._digests = np.empty((len(self), _DIGEST_BYTES), np.uint8)
            with ThreadPoolExecutor() as threads:  # hashing releases the lock of the interpreter
                for start in range(0, len(self), CHUNK):
                    found = threads.map(_digest, self[start : start + CHUNK])
                    self._digests[start : start + CHUNK] = np.frombuffer(
                        b"".join(found), np.uint8
                    ).reshape(-1, _DIGEST_BYTES)
        return self._digests


class FilesBuilder:
    """Collects files one by one into an `ImageFiles`."""

    def __init__(self) -> None:
        self._paths = bytearray()
        self._lengths = array("i")
        self._routes = bytearray()
        self._formats = bytearray()

    def add(self, file: ImageFile | Inspected) -> None:
        """Add a file; where it was inspected, with the format of its content."""
        known = _UNKNOWN_FORMAT
        if isinstance(file, Inspected):
            known = FORMATS.index(file.format)
            file = file.file
        path = os.fsencode(file.path)
        self._paths += path
        self._lengths.append(len(path))
        self._routes.append(ROUTES.index(file.route))
        self._formats.append(known)

    def build(self) -> ImageFiles:
        """Say what was collected."""
        lengths = np.array(self._lengths, np.int32)
        starts = np.zeros(len(lengths), np.int64)
        np.cumsum(lengths[:-1], out=starts[1:])
        return ImageFiles(
            bytes(self._paths),
            starts,
            lengths,
            np.frombuffer(bytes(self._routes), np.uint8),
            np.frombuffer(bytes(self._formats), np.uint8),
        )


def content_of(path: str) -> bytes:
    """Return the bytes of a regular file; an `OSError` if it is none or cannot be read."""
    # Opening a named pipe would wait for its writer for ever.
    reason = not_a_file(path)
    if reason:
        raise OSError(f"{path!r}: {reason}")
    with open(path, "rb") as stream:
        return stream.read()


def _digest(file: ImageFile) -> bytes:
    try:
        return _digest_of(file, content_of(file.path))
    except OSError:  # counts as empty; what is wrong with it is named where it is decoded
        return _digest_of(file, b"")


def _digest_of(file: ImageFile, content: bytes) -> bytes:
    # The range where there is one: so what was computed of other pixels is not taken for these.
    by = f" {file.value_range}" if file.value_range and file.route == "pillow" else ""
    hashed = hashlib.blake2b(f"{file.route}{by}".encode(), digest_size=_DIGEST_BYTES)
    hashed.update(content)
    return hashed.digest()
