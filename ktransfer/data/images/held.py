"""Images that are in no files: pixels of arrays, and what was read from a dataset, once."""

from __future__ import annotations

import hashlib
import tempfile
from array import array
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np

from ktransfer.data.images.decoding import decode_bytes, fault_of_bytes
from ktransfer.data.images.files import ROUTES, ChangedError
from ktransfer.data.images.header import Inspected, Skipped, inspect_bytes
from ktransfer.data.images.value_range import ValueRange, scaled
from ktransfer.errors import InputError

#: More than this is kept in a file of the temporary folder instead of in memory.
BUDGET_MB = 1_024

#: How an image is held: as pixels, or encoded and decoded by TensorFlow or by Pillow; "deep" are
#: pixels of 16 bits, whose range is known only when all images have been seen.
KINDS = ("pixels", *ROUTES, "deep")

_FULL = (0.0, 65535.0)

_DIGEST_BYTES = 16


class HeldImages:
    """A row of images in memory, or in a file without a name; pixels or encoded.

    What is selected from it, and what is joined, shares the images with it.

    Attributes:
        value_range: the values that are black and white in images of more than 8 bits; None: those
            of their type.
    """

    def __init__(
        self,
        contents: tuple[np.ndarray, ...],
        where: np.ndarray,
        shapes: np.ndarray,
        kinds: np.ndarray,
        sources: tuple[str, ...],
        value_range: ValueRange | None = None,
        names: tuple[Mapping[int, str], ...] = (),
    ) -> None:
        """Take bytes, and where in them each image lies.

        Args:
            contents: uint8 arrays of one axis.
            where: int64 `(n, 4)`: which of the contents, where it starts there, how many bytes it
                has, and its number in its source.
            shapes: int32 `(n, 3)`, height, width, channels (1 or 3); zeros where it is encoded.
            kinds: uint8 `(n,)`, positions in `KINDS`.
            sources: what each of the contents was read from, in words.
            value_range: as of the attribute.
            names: for each of the contents, what images that have a name are called, by number;
                none at all where no image has one.
        """
        self._names = names or ({},) * len(contents)
        self.value_range = value_range
        self._contents = contents
        self._where = where
        self._shapes = shapes
        self._kinds = kinds
        self._sources = sources
        self._digests: np.ndarray | None = None

    @classmethod
    def of_pixels(cls, images: np.ndarray, source: str) -> HeldImages:
        """Images of one size, uint8 or uint16 `(n, height, width, 1 or 3)`.

        They are not copied where it can be so.
        """
        count, size = len(images), int(np.prod(images.shape[1:])) * images.itemsize
        numbers = np.arange(count, dtype=np.int64)
        where = np.column_stack(
            [np.zeros_like(numbers), numbers * size, np.full(count, size), numbers]
        )
        shapes = np.tile(np.array(images.shape[1:], np.int32), (count, 1))
        content = np.ascontiguousarray(images).reshape(-1).view(np.uint8)
        kinds = np.full(count, KINDS.index(_kind_of(images)), np.uint8)
        return cls((content,), where, shapes, kinds, (source,))

    @classmethod
    def joined(cls, several: Sequence[HeldImages]) -> HeldImages:
        """Return all images of several rows, one row after the other."""
        shifts = np.cumsum([0, *(len(each._contents) for each in several)])
        where = [
            np.add(each._where, [at, 0, 0, 0]) for each, at in zip(several, shifts, strict=False)
        ]
        return cls(
            tuple(content for each in several for content in each._contents),
            np.concatenate(where),
            np.concatenate([each._shapes for each in several]),
            np.concatenate([each._kinds for each in several]),
            tuple(source for each in several for source in each._sources),
            several[0].value_range,
            tuple(names for each in several for names in each._names),
        )

    def __len__(self) -> int:
        return len(self._where)

    def select(self, indices: np.ndarray) -> HeldImages:
        """Return the images at `indices`, in that order."""
        chosen = HeldImages(
            self._contents,
            self._where[indices],
            self._shapes[indices],
            self._kinds[indices],
            self._sources,
            self.value_range,
            self._names,
        )
        if self._digests is not None:
            chosen._digests = self._digests[indices]
        return chosen

    def with_range(self, value_range: ValueRange | None) -> HeldImages:
        """Return the same images, read by another `value_range`."""
        if value_range == self.value_range:
            return self
        rows = (self._contents, self._where, self._shapes, self._kinds, self._sources)
        return HeldImages(*rows, value_range, self._names)

    def name(self, index: int) -> str:
        """Say what an image is called in messages.

        Its path, or its number in its source, from 0.
        """
        home, _, _, number = self._where[index]
        return self._names[home].get(number) or f"image {number} of {self._sources[home]}"

    def kind(self, index: int) -> str:
        """Say how an image is held: one of `KINDS`."""
        return KINDS[self._kinds[index]]

    @property
    def are_pixels(self) -> np.ndarray:
        """Bool `(n,)`: whether an image is held as pixels, and not encoded."""
        return np.isin(self._kinds, [KINDS.index("pixels"), KINDS.index("deep")])

    def content(self, index: int) -> np.ndarray:
        """Return the bytes of an image, uint8 of one axis: its pixels, or the encoded image.

        Raises:
            ChangedError: they are not those that `digests` saw, if it has seen any: an array is
                not copied, and whoever gave it may write to it.
        """
        if self._digests is not None and self._digest(index) != self._digests[index].tobytes():
            raise ChangedError("its bytes are not those of before")
        return self._content(index)

    def _content(self, index: int) -> np.ndarray:
        home, start, length, _ = self._where[index]
        return self._contents[home][start : start + length]

    def encoded(self, index: int) -> bytes:
        """Return the bytes of an image that is held encoded; errors as of `content`."""
        return self.content(index).tobytes()

    def changed(self, index: int) -> str | None:
        """Say how an image differs from what `digests` saw, in words; None if it does not."""
        try:
            self.content(index)
        except ChangedError as error:
            return str(error)
        return None

    def pixels(self, index: int) -> np.ndarray:
        """Return the pixels of an image that is held so, uint8 `(height, width, 3)`."""
        if self.kind(index) == "deep":
            pixels = scaled(self.values(index), self.value_range or _FULL)
        else:
            pixels = self.content(index).reshape(self._shapes[index])
        return np.broadcast_to(pixels, (*pixels.shape[:2], 3))

    def values(self, index: int) -> np.ndarray:
        """Return the values of an image of kind "deep", uint16 `(height, width, 1 or 3)`."""
        return self.content(index).view(np.uint16).reshape(self._shapes[index])

    def full_size(self, index: int) -> np.ndarray:
        """Return an image as it is, uint8 `(height, width, 3)`; errors as of `decode_image`."""
        if self.kind(index) in ("pixels", "deep"):
            return self.pixels(index)
        return decode_bytes(self.encoded(index), self.value_range)

    def fault(self, index: int) -> str | None:
        """Say why an image cannot be decoded, in words; None if Pillow can."""
        if self.kind(index) in ("pixels", "deep"):
            return None
        content = self._content(index).tobytes()
        return fault_of_bytes(self.name(index), content, self.value_range)

    def digests(self) -> np.ndarray:
        """Of each image's bytes, size and kind, uint8 `(n, 16)`."""
        if self._digests is None:
            found = b"".join(self._digest(index) for index in range(len(self)))
            self._digests = np.frombuffer(found, np.uint8).reshape(-1, _DIGEST_BYTES)
        return self._digests

    def _digest(self, index: int) -> bytes:
        hashed = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        kind = self.kind(index)
        by = f" {self.value_range}" if self.value_range and kind in ("pillow", "deep") else ""
        hashed.update(f"{kind} {self._shapes[index].tolist()}{by}".encode())
        hashed.update(self._content(index).data)
        return hashed.digest()


class HeldBuilder:
    """Collects images one by one; over the budget they go to a file.

    Args:
        source: what they come from, in words.
        budget_mb: megabytes that may be in memory.
    """

    def __init__(self, source: str, budget_mb: float = BUDGET_MB) -> None:
        self.source = source
        self.skipped: list[Skipped] = []
        #: The number in the source of each image that was taken.
        self.numbers = array("q")
        self._bytes = _Spool(budget_mb)
        self._rows = array("q")
        self._shapes = array("i")
        self._kinds = bytearray()
        self._names: dict[int, str] = {}
        self._seen = 0

    def __len__(self) -> int:
        return self._seen

    def add_pixels(self, image: np.ndarray) -> None:
        """Add pixels, uint8 or uint16 `(height, width, 1 or 3)`."""
        content = np.ascontiguousarray(image).reshape(-1).view(np.uint8)
        self._add(content.data, _kind_of(image), image.shape)

    def add_encoded(self, content: bytes, name: str | None = None) -> None:
        """Add an encoded image, and its name if it has one; what is none is `skipped`."""
        found = inspect_bytes(name or f"image {self._seen} of {self.source}", content)
        if isinstance(found, Inspected):
            if name:
                self._names[self._seen] = name
            self._add(memoryview(content), found.file.route, (0, 0, 0))
        else:
            self.skip(found.path, found.reason)

    def skip(self, name: str, reason: str) -> None:
        """Note what cannot be taken, in its place."""
        self.skipped.append(Skipped(name, reason))
        self._seen += 1

    def _add(self, content: memoryview, kind: str, shape: tuple[int, ...]) -> None:
        start = self._bytes.append(content)
        self._rows.extend((0, start, content.nbytes, self._seen))
        self._shapes.extend(shape)
        self._kinds.append(KINDS.index(kind))
        self.numbers.append(self._seen)
        self._seen += 1

    def build(self) -> HeldImages:
        """Say what was collected."""
        return HeldImages(
            (self._bytes.finish(),),
            np.array(self._rows, np.int64).reshape(-1, 4),
            np.array(self._shapes, np.int32).reshape(-1, 3),
            np.frombuffer(bytes(self._kinds), np.uint8),
            (self.source,),
            names=(self._names,),
        )


def _kind_of(pixels: np.ndarray) -> str:
    return "deep" if pixels.dtype == np.uint16 else "pixels"


class _Spool:
    """Bytes one after the other, in memory until they are too many."""

    def __init__(self, budget_mb: float) -> None:
        self._budget = budget_mb * 2**20
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self._end = 0

    def append(self, content: memoryview) -> int:
        """Add bytes; where they start."""
        start = self._end
        self._end += content.nbytes
        if self._file is None and self._end <= self._budget:
            self._memory += content
            return start
        try:
            if self._file is None:
                # Without a name: it is gone with its last reader, however the process ends.
                self._file = tempfile.TemporaryFile()  # noqa: SIM115
                self._file.write(self._memory)
                self._memory = bytearray()
            self._file.write(content)
            self._file.flush()
        except OSError as error:
            raise InputError(
                f"the images need more than {start / 2**20:,.0f} MB of disk in "
                f"{tempfile.gettempdir()}: {error.strerror}. Does the dataset end? If so, free "
                "some space, or set TMPDIR to a folder on a larger disk"
            ) from error
        return start

    def finish(self) -> np.ndarray:
        """Return all bytes, uint8, in memory or mapped from the file."""
        if self._file is None:
            return np.frombuffer(self._memory, np.uint8)
        with self._file as file:
            return np.memmap(file, np.uint8, "r", shape=(self._end,))
