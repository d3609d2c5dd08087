"""The nouns: one part of a data set, and a data set divided into parts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from ktransfer.data.images import ImageFile, Skipped


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a split.

    Attributes:
        name: "train", "validation", "test" or "prediction".
        files: the readable images.
        labels: int32 `(n,)`, positions in the class names; -1 where unlabelled.
    """

    name: str
    files: tuple[ImageFile, ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.files)

    def select(self, indices: Iterable[int]) -> Part:
        """The part made of the files at `indices`, in that order."""
        chosen = np.asarray(list(indices), np.int64)
        return Part(self.name, tuple(self.files[each] for each in chosen), self.labels[chosen])

    def fingerprint(self) -> str:
        """Tells whether a part is made of the same files, wherever their folder lies now.

        The SHA-256 of the sorted paths from the folder that all of them share.
        """
        root = os.path.commonpath([file.path for file in self.files])
        names = sorted(os.path.relpath(file.path, root) for file in self.files)
        return hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()

    def content_digest(self) -> str:
        """The SHA-256 of what the files hold and how they are read, in order; paths do not count.

        It costs about as long as reading the files. One that cannot be read counts as empty.
        """
        with ThreadPoolExecutor() as threads:  # hashing releases the lock of the interpreter
            digests = threads.map(_file_digest, self.files)
        return hashlib.sha256("".join(digests).encode()).hexdigest()


def _file_digest(file: ImageFile) -> str:
    try:
        with open(file.path, "rb") as stream:
            return file.route + hashlib.file_digest(stream, "blake2b").hexdigest()
    except OSError:
        return file.route


def joined(parts: Sequence[Part]) -> Part:
    """All files of several parts, one part after the other."""
    files = tuple(file for part in parts for file in part.files)
    return Part("all", files, np.concatenate([part.labels for part in parts]))


@dataclass(frozen=True, eq=False)
class Splits:
    """A folder of images, divided.

    Attributes:
        train: images to learn from.
        validation: images to decide by.
        test: images to report on, where the folder has such a part.
        class_names: sorted; a label is a position here.
        skipped: every file left out, with its reason.
        notes: remarks on the data that are no errors, such as a validation part split from train.
    """

    train: Part
    validation: Part
    test: Part | None
    class_names: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        """Train, validation and, where there is one, test."""
        return tuple(each for each in (self.train, self.validation, self.test) if each is not None)

    def with_parts(self, parts: Sequence[Part], failed: Sequence[Skipped]) -> Splits:
        """The same with other `parts` (in the order of `parts`) and more files skipped."""
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
