"""The images that are checked, wherever they come from: each with its part, its class and its look.

A million of them are a few arrays, not a million objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ktransfer.data.images.files import ImageFiles
from ktransfer.data.images.header import Skipped
from ktransfer.data.images.held import HeldImages
from ktransfer.data.images.value_range import ValueRange
from ktransfer.data.parts import Splits
from ktransfer.data.reading.listing import Listing


@dataclass(frozen=True, eq=False)
class Subject:
    """What is to be checked.

    Attributes:
        files: the images whose headers are readable.
        parts: names of the parts, and for each image the position in them, int8 `(n,)`.
        classes: names of the classes, and for each image the position in them, int32 `(n,)`.
        skipped: what is no readable image, with its reason.
        declared: the classes that a part has, with images or without, by part.
        places: the folder of each class of a part, where there are folders.
        root: the folder that all of it lies in; None where there is none.
        from_table: whether it is a table that names the files.
        drawn: whether the validation part was drawn from train.
        measured: whether the `value_range` of the files was measured for this look: then it is
            news.
        notes: whatever is not plain about how the data was read.
        fault: why it should not be read so, as it can be read in another way; None: nothing.
    """

    files: ImageFiles | HeldImages
    parts: tuple[str, ...]
    part: np.ndarray
    classes: tuple[str, ...]
    label: np.ndarray
    skipped: tuple[Skipped, ...]
    declared: Mapping[str, tuple[str, ...]]
    places: Mapping[tuple[str, str], str]
    root: str | None = None
    from_table: bool = False
    drawn: bool = False
    measured: bool = False
    notes: tuple[str, ...] = ()
    fault: str | None = None

    def __len__(self) -> int:
        return len(self.files)

    def paths(self, indices: Sequence[int] | np.ndarray) -> tuple[str, ...]:
        """Return the paths of some images."""
        return tuple(self.files.name(int(index)) for index in indices)

    def measured_as(self, value_range: ValueRange) -> Subject:
        """Return the same, read by a range that was measured."""
        return replace(self, files=self.files.with_range(value_range), measured=True)

    def all_paths(self) -> Iterator[str]:
        """Yield the paths of all images and of all that was skipped."""
        yield from (self.files.name(index) for index in range(len(self)))
        yield from (each.path for each in self.skipped)

    def place(self, part: str, name: str) -> str:
        """Return the folder of a class in a part, or its name where there are no folders."""
        return self.places.get((part, name), name)

    def counts(self, usable: np.ndarray) -> dict[str, dict[str, int]]:
        """Images by part and class, of those that are `usable`, bool `(n,)`."""
        found = {}
        for at, part in enumerate(self.parts):
            numbers = np.bincount(
                self.label[usable & (self.part == at)], minlength=len(self.classes)
            )
            named = dict(zip(self.classes, numbers.tolist(), strict=True))
            found[part] = {name: named[name] for name in sorted(self.declared[part])}
        return found


def of_listing(listing: Listing) -> Subject:
    """Say what a folder or a table holds."""
    parts = tuple(listing.parts)
    classes = tuple(sorted({name for each in listing.parts.values() for name in each.by_class}))
    rows = [
        (at, classes.index(name), files)
        for at, part in enumerate(parts)
        for name, files in listing.parts[part].by_class.items()
    ]
    lengths = [len(files) for _, _, files in rows]
    skipped = [*listing.skipped, *(e for each in listing.parts.values() for e in each.skipped)]
    return Subject(
        files=ImageFiles.joined([files for _, _, files in rows]),
        parts=parts,
        part=np.repeat(np.array([part for part, _, _ in rows], np.int8), lengths),
        classes=classes,
        label=np.repeat(np.array([label for _, label, _ in rows], np.int32), lengths),
        skipped=tuple(skipped),
        declared={part: tuple(listing.parts[part].by_class) for part in parts},
        places={
            (part, name): place
            for part, reading in listing.parts.items()
            for name, place in reading.places.items()
        },
        root=listing.root,
        from_table=any(each.table is not None for each in listing.parts.values()),
        notes=listing.notes,
        fault=listing.fault,
    )


def _joined(splits: Splits) -> ImageFiles | HeldImages:
    images = [part.images for part in splits.parts]
    files = [each for each in images if isinstance(each, ImageFiles)]
    if len(files) == len(images):
        return ImageFiles.joined(files)
    return HeldImages.joined([each for each in images if isinstance(each, HeldImages)])


def of_splits(splits: Splits) -> Subject:
    """Say what is about to be trained on, divided as it is."""
    lengths = [len(part) for part in splits.parts]
    return Subject(
        files=_joined(splits),
        parts=tuple(part.name for part in splits.parts),
        part=np.repeat(np.arange(len(lengths), dtype=np.int8), lengths),
        classes=splits.class_names,
        label=np.concatenate([part.labels for part in splits.parts]),
        skipped=splits.skipped,
        declared={part.name: splits.class_names for part in splits.parts},
        places={},
        drawn=splits.held_back,
    )
