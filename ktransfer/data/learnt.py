"""Which images a model has learnt from: digests, so that it can be told what it never saw."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from ktransfer.data.images.files import ImageFiles
from ktransfer.data.parts import Part, Splits
from ktransfer.files.archives import DamageError, read_arrays

#: How images can be held. The digest of one and the same photo differs between these.
KINDS = ("files", "encoded images in memory", "pixels in memory")

#: What `Learnt.look_up` says of an image.
UNSEEN, VALIDATED, TRAINED = 0, 1, 2

#: The first 8 bytes of a digest: 64 bits tell a million images apart.
_DTYPE = np.dtype("<u8")


@dataclass(frozen=True, eq=False)
class Learnt:
    """Digests of the images that made a model what it is; an image is known again by its bytes.

    Attributes:
        train: of the images that it was trained on, uint64 `(n,)`, ascending, each once.
        validation: of the images that its epoch, and perhaps its plan, was chosen on, likewise.
        kinds: how these images were held, of `KINDS`.
    """

    train: np.ndarray
    validation: np.ndarray
    kinds: tuple[str, ...]

    @classmethod
    def of(cls, splits: Splits, *, trained_on_all: bool = False) -> Learnt:
        """Return the training and the validation part; the test part teaches nothing.

        `trained_on_all`: the model was trained on both.
        """
        parts = splits.train, splits.validation
        train, validation = (np.unique(_digests(part)) for part in parts)
        if trained_on_all:
            train = np.union1d(train, validation)
        return cls(train, validation, _kinds(parts))

    def joined(self, other: Learnt | None) -> Learnt:
        """Add what was learnt before, as of a network that is trained on."""
        if other is None:
            return self
        return Learnt(
            np.union1d(self.train, other.train),
            np.union1d(self.validation, other.validation),
            tuple(each for each in KINDS if each in (*self.kinds, *other.kinds)),
        )

    def differs_from(self, part: Part) -> str | None:
        """Say why images cannot be compared with these, in words; None if they can."""
        theirs = _kinds([part])
        if len(self.kinds) == 1 and theirs in (self.kinds, ()):
            return None
        return f"it learnt from {' and '.join(self.kinds)}, and these are {' and '.join(theirs)}"

    def look_up(self, part: Part) -> np.ndarray:
        """For each image `TRAINED`, `VALIDATED` or `UNSEEN`, int64 `(n,)`; the first that fits."""
        digests = _digests(part)
        found = np.where(np.isin(digests, self.validation), VALIDATED, UNSEEN)
        return np.where(np.isin(digests, self.train), TRAINED, found)

    def validated(self, part: Part) -> np.ndarray:
        """Say which images are of those that the training was judged by, bool `(n,)`."""
        return np.isin(_digests(part), self.validation)

    def to_bytes(self) -> bytes:
        """As an uncompressed `.npz` file: 8 bytes an image."""
        contents = io.BytesIO()
        kinds = np.array([KINDS.index(each) for each in self.kinds], np.uint8)
        np.savez(contents, train=self.train, validation=self.validation, kinds=kinds)
        return contents.getvalue()

    @classmethod
    def read(cls, file: BinaryIO) -> Learnt:
        """Return the reverse of `to_bytes`.

        Raises:
            DamageError: it is damaged, or no such file.
        """
        arrays = read_arrays(file)
        wanted = {"train": _DTYPE, "validation": _DTYPE, "kinds": np.dtype(np.uint8)}
        fits = arrays.keys() == wanted.keys() and all(
            arrays[name].dtype == dtype and arrays[name].ndim == 1 for name, dtype in wanted.items()
        )
        if not fits or (arrays["kinds"] >= len(KINDS)).any():
            raise DamageError("it holds no digests of images")
        kinds = tuple(KINDS[code] for code in arrays["kinds"])
        return cls(arrays["train"], arrays["validation"], kinds)


def _digests(part: Part) -> np.ndarray:
    # Copied: a view would keep all 16 bytes of each.
    return np.ascontiguousarray(part.images.digests()[:, : _DTYPE.itemsize]).view(_DTYPE).ravel()


def _kinds(parts: Sequence[Part]) -> tuple[str, ...]:
    found: set[str] = set()
    for part in parts:
        if isinstance(part.images, ImageFiles):
            found |= {"files"} if len(part) else set()
        else:
            are_pixels = part.images.are_pixels
            found |= {"pixels in memory"} if are_pixels.any() else set()
            found |= {"encoded images in memory"} if not are_pixels.all() else set()
    return tuple(each for each in KINDS if each in found)
