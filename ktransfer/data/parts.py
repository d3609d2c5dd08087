"""The nouns: one part of a data set, and a data set divided into parts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ktransfer.data.images.files import ImageFiles
from ktransfer.data.images.header import Skipped
from ktransfer.data.images.held import HeldImages
from ktransfer.data.images.value_range import ValueRange
from ktransfer.errors import InputError


class Images(Protocol):
    """A row of images, wherever they are: in files (`ImageFiles`) or held (`HeldImages`).

    `ktransfer.data.batches.pipeline` decodes both.
    """

    value_range: ValueRange | None

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Say what an image is called in messages."""

    def kind(self, index: int) -> str:
        """Who decodes an image, "tensorflow" or "pillow"; "pixels" where it is held as such."""

    def encoded(self, index: int) -> bytes:
        """Return the bytes of an encoded image; a `ChangedError` if `digests` has seen others."""

    def changed(self, index: int) -> str | None:
        """Say how an image differs from what `digests` saw, in words; None if it does not."""

    def full_size(self, index: int) -> np.ndarray:
        """Return an image as it is, uint8 `(height, width, 3)`."""

    def fault(self, index: int) -> str | None:
        """Say why an image cannot be decoded, in words; None if it can."""

    def digests(self) -> np.ndarray:
        """Of each image's content and how it is read, uint8 `(n, 16)`."""


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a split.

    Attributes:
        name: "train", "validation", "test" or "prediction".
        images: the readable images; several `ImageFile` become an `ImageFiles`.
        labels: int32 `(n,)`, positions in the class names; -1 where unlabelled.
    """

    name: str
    images: ImageFiles | HeldImages
    labels: np.ndarray

    def __post_init__(self) -> None:
        if isinstance(self.images, tuple | list):
            object.__setattr__(self, "images", ImageFiles.of(self.images))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def files(self) -> ImageFiles:
        """The images' files.

        Raises:
            InputError: the images come from arrays or a dataset, not from files.
        """
        if isinstance(self.images, ImageFiles):
            return self.images
        raise InputError(f"the {self.name} part has no files: its images come from memory")

    def select(self, indices: Iterable[int]) -> Part:
        """Return the part made of the images at `indices`, in that order."""
        chosen = np.asarray(indices if isinstance(indices, np.ndarray) else list(indices), np.int64)
        return Part(self.name, self.images.select(chosen), self.labels[chosen])

    @property
    def value_range(self) -> ValueRange | None:
        """Which values are black and white in images of more than 8 bits; None: their type's."""
        return self.images.value_range

    def with_range(self, value_range: ValueRange | None) -> Part:
        """Return the same part, read by another `value_range`."""
        return replace(self, images=self.images.with_range(value_range))

    def fingerprint(self) -> str:
        """Tell whether a part is made of the same images.

        Of files the SHA-256 of the sorted paths from the folder that all of them share, wherever it
        lies now; else of the images, in any order.
        """
        if not isinstance(self.images, ImageFiles):
            return contents_digest([self])
        names = [self.images.raw_path(index) for index in range(len(self))]
        root = os.path.commonpath(names)
        hashed = sorted(hashlib.blake2b(os.path.relpath(each, root)).digest() for each in names)
        return hashlib.sha256(b"".join(hashed)).hexdigest()

    def content_digest(self) -> str:
        """Digest what the images hold and how they are read, in order; names do not count.

        It costs about as long as reading the files. One that cannot be read counts as empty.
        """
        return hashlib.sha256(self.images.digests().tobytes()).hexdigest()


def contents_digest(parts: Sequence[Part]) -> str:
    """Return the SHA-256 of what the images of some parts hold, together and in any order."""
    every = np.concatenate([part.images.digests() for part in parts])
    order = np.lexsort(every.T[::-1])
    return hashlib.sha256(every[order].tobytes()).hexdigest()


def joined(parts: Sequence[Part]) -> Part:
    """Return all images of several parts of one kind, one part after the other."""
    labels = np.concatenate([part.labels for part in parts])
    held = [part.images for part in parts if not isinstance(part.images, ImageFiles)]
    if len(held) == len(parts):
        return Part("all", HeldImages.joined(held), labels)
    return Part("all", ImageFiles.joined([part.files for part in parts]), labels)


@dataclass(frozen=True, eq=False)
class Splits:
    """Images, divided.

    Attributes:
        train: images to learn from.
        validation: images to decide by.
        test: images to report on, where the data has such a part.
        class_names: sorted; a label is a position here.
        skipped: every file left out, with its reason.
        notes: remarks on the data that are no errors, such as a validation part split from train.
        held_back: whether validation was split from train, as the data has no such part.
        test_held_back: whether test was split from train, too.
        source: what tells the data again in a later run; None where nothing does.
    """

    train: Part
    validation: Part
    test: Part | None
    class_names: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    held_back: bool = False
    test_held_back: bool = False
    source: str | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """Train, validation and, where there is one, test."""
        return tuple(each for each in (self.train, self.validation, self.test) if each is not None)

    @property
    def value_range(self) -> ValueRange | None:
        """Which values are black and white in images of more than 8 bits; None: their type's."""
        return self.train.value_range

    def with_parts(self, parts: Sequence[Part], failed: Sequence[Skipped]) -> Splits:
        """Return the same with other `parts` (in the order of `parts`) and more files skipped."""
        train, validation, *test = parts
        return replace(
            self,
            train=train,
            validation=validation,
            test=test[0] if test else None,
            skipped=(*self.skipped, *failed),
        )


def listed(names: Sequence[str], limit: int = 8) -> str:
    """Names in quotes for a message, the first `limit` of them."""
    shown = ", ".join(repr(each) for each in names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
