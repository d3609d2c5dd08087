"""What every source of images can do: be read in three ways, be known again, name its files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ktransfer.data.images.header import Skipped
from ktransfer.data.images.value_range import ValueRange
from ktransfer.data.parts import Part, Splits, listed
from ktransfer.data.reading.classes import (
    Reading,
    check_enough_to_split,
    check_holds_images,
    checked_classes,
    extension_notes,
    with_usable_test,
)
from ktransfer.data.reading.companions import mask_notes
from ktransfer.data.reading.dividing import splits_from
from ktransfer.data.reading.duplicates import duplicate_notes
from ktransfer.data.reading.items import is_array, is_path
from ktransfer.data.reading.listing import Listing
from ktransfer.data.reading.look_alikes import differing
from ktransfer.data.reading.odd_labels import label_hint
from ktransfer.errors import InputError, unknown_name

ACCEPTED = (
    "expected a folder, a CSV file or DataFrame, a TFDS name (tfds:NAME) or builder, arrays "
    "(images, labels) or a .npz file of them, a tf.data.Dataset or PyDataset of (image, label), or "
    "a dict of such with the keys train, validation and test"
)

#: The parts in the order in which one to evaluate on is looked for.
EVALUATED = ("test", "validation", "train")

Names = tuple[str, ...]
Unlabelled = tuple[Part, tuple[Skipped, ...]]
Found = tuple[Part, tuple[Skipped, ...], tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class Contents:
    """The parts of a source, their labels as positions in the class names."""

    parts: dict[str, Part]
    class_names: Names
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """How images are read; each reading minds those that it has a use for.

    Attributes:
        value_range: the values that are black and white.
        validation_fraction: the share of each class held back where there is no validation part.
        seed: of what is held back.
        preferred: of several parts the first of these is read.
        part: which part of the user's data all of it is, for messages.
    """

    value_range: ValueRange | None = None
    validation_fraction: float = 0.2
    seed: int = 0
    preferred: Names = EVALUATED
    part: str = "train"

    @property
    def source(self) -> str:
        """What is read, in words."""
        return "the data" if self.part == "train" else f"the {self.part} data"


class Chosen(NamedTuple):
    """A part of a folder or of a table that was chosen.

    Attributes:
        part: its name; None where there are no parts.
        reading: its images.
        notes: whatever is not plain about the reading.
    """

    part: str | None
    reading: Reading
    notes: tuple[str, ...]


class Source(ABC):
    """A source of images. A new kind is a class in a file of its own and a line in `front.KINDS`.

    Args:
        data: something that the class `accepts`.
        source_of: `front.source_of`, for a source that is made of others.
    """

    def __init__(self, data: Any, source_of: Callable[..., Source]) -> None:
        self.data = data
        self.source_of = source_of

    @classmethod
    @abstractmethod
    def accepts(cls, data: Any, *, labelled: bool) -> bool:
        """Tell whether something is a source of this kind; nothing is opened to find out.

        Args:
            data: anything that no earlier kind has accepted.
            labelled: False: its images may come without labels.
        """

    @abstractmethod
    def read_data(self, class_names: Names | None, options: Options) -> Splits:
        """Labelled images as the parts to train with, validation held back where there is none."""

    @abstractmethod
    def read_train(self, class_names: Names | None, options: Options) -> Contents:
        """Labelled images to train on, alone."""

    @abstractmethod
    def read_labelled(self, class_names: Names, options: Options) -> Found:
        """Read one part, "train" where there are none; labels are positions in `class_names`."""

    @abstractmethod
    def read_images(self, options: Options) -> Unlabelled:
        """Return all images, or those of one part, without their labels."""

    @property
    def path(self) -> str:
        """Where it lies, of a source that is named by a path."""
        return os.fsdecode(self.data)

    @property
    def name(self) -> str | None:
        """What tells it again in a later run: a path, or a TFDS name; None for all in memory."""
        return os.path.realpath(self.path) if is_path(self.data) else None

    def check(self, class_names: Sequence[str] | None, *, of_run: bool = False) -> None:
        """Raise what of `read_data`'s errors shows before an image is opened; for named sources.

        Args:
            class_names: those asked for.
            of_run: whether a run that is not read yet knows the classes, and with them how a
                folder is read.
        """
        return

    def is_empty(self) -> bool:
        """Tell whether it is there and has no image in it, as a part that nothing was put into."""
        return False

    def listing(self, class_names: Sequence[str] | None = None) -> Listing | None:
        """Say what it holds, faults and all; None where faults cannot be told without reading all.

        Args:
            class_names: those asked for, which decide between two readings.
        """
        return None

    def files(self) -> Iterator[str]:
        """Return the files that are certain to be read, and the folders that are read whole."""
        if is_path(self.data):
            yield self.path

    def files_of(self, values: Iterable[Any]) -> Iterator[str]:
        """Yield the `files` of those values that are sources."""
        for each in values:
            try:
                source = self.source_of(each, labelled=False)
            except InputError:
                continue
            yield from source.files()


class ListedSource(Source):
    """A source whose images are files, of which the headers are read."""

    @abstractmethod
    def chosen(self, class_names: Names | None, options: Options) -> Chosen:
        """Return the first of the preferred parts, and what it holds."""

    def read_train(self, class_names: Names | None, options: Options) -> Contents:
        """As of every source."""
        _, reading, notes = self.chosen(class_names, replace(options, preferred=("train",)))
        names = checked_classes({"train": reading}, class_names)
        return Contents(
            {"train": reading.part("train", names)}, names, tuple(reading.skipped), notes
        )

    def read_labelled(self, class_names: Names, options: Options) -> Found:
        """As of every source."""
        chosen, reading, remarks = self.chosen(class_names, options)
        kind = "class folder" if reading.table is None else "class"
        for each in reading.by_class:
            if each not in class_names:
                alike = differing(class_names, [each])
                unknown = unknown_name(kind, each, class_names)
                raise InputError(f"{unknown} (in {reading.where}){alike}")
        check_holds_images(reading)
        read = [f"read from {reading.where}"] if chosen else []
        absent = [each for each in class_names if not reading.by_class.get(each)]
        missed = [f"no images of {listed(absent)} in {reading.where}"] if absent else []
        part = reading.part(chosen or "train", class_names)
        notes = [*remarks, *read, *missed, *extension_notes([reading])]
        notes += duplicate_notes([part], class_names)
        return part, tuple(reading.skipped), tuple(notes)

    def splits(
        self, listing: Listing, source: str, class_names: Names | None, options: Options
    ) -> Splits:
        """Return those of a listing that holds train; `source` is what validation is split from."""
        readings, notes = with_usable_test(listing.parts)
        names = checked_classes(readings, class_names)
        if "validation" not in readings:
            check_enough_to_split(readings["train"])
        skipped = [each for reading in readings.values() for each in reading.skipped]
        return splits_from(
            {part: reading.part(part, names) for part, reading in readings.items()},
            names,
            source=source,
            skipped=[*listing.skipped, *skipped],
            notes=[
                *listing.notes,
                *notes,
                *extension_notes(readings.values()),
                *mask_notes(lambda: _paths(readings.values())),
            ],
            validation_fraction=options.validation_fraction,
            seed=options.seed,
        )


class HeldSource(Source):
    """A source that is read once, to its end, and held."""

    @abstractmethod
    def contents(self, class_names: Names | None, options: Options) -> Contents:
        """Return all that it holds, as "train" where it has no parts."""

    def read_data(self, class_names: Names | None, options: Options) -> Splits:
        """As of every source."""
        found = self.contents(class_names, options)
        _check_train(found)
        return splits_from(
            found.parts,
            found.class_names,
            source="the training images",
            skipped=found.skipped,
            notes=found.notes,
            validation_fraction=options.validation_fraction,
            seed=options.seed,
        )

    def read_train(self, class_names: Names | None, options: Options) -> Contents:
        """As of every source."""
        found = self.contents(class_names, options)
        if "train" not in found.parts:
            raise InputError(f"the train part has no train, but {listed(list(found.parts))}")
        return replace(found, parts={"train": found.parts["train"]})

    def read_labelled(self, class_names: Names, options: Options) -> Found:
        """As of every source."""
        found = self.contents(class_names, options)
        chosen = next(found.parts[each] for each in options.preferred if each in found.parts)
        absent = [each for at, each in enumerate(class_names) if not (chosen.labels == at).any()]
        missed = [f"no images of {listed(absent)}"] if absent else []
        duplicates = duplicate_notes([chosen], class_names)
        return chosen, found.skipped, (*found.notes, *missed, *duplicates)


def _paths(readings: Iterable[Reading]) -> Iterator[str]:
    every = (files for reading in readings for files in reading.by_class.values())
    return (files.name(index) for files in every for index in range(len(files)))


def unlabelled(images: Any, skipped: tuple[Skipped, ...] = ()) -> Unlabelled:
    """Held images as a part to predict on."""
    return Part("prediction", images, np.full(len(images), -1, np.int32)), skipped


def shown(data: Any) -> str:
    """Say what was given in place of a source, for a message."""
    text = " ".join(repr(data).split())
    return f"{type(data).__name__} {text if len(text) < 60 else text[:57] + '...'}"


def refused(data: Any) -> InputError:
    """Return the error for what is no source of labelled images."""
    if is_array(data):
        return InputError(f"images of shape {np.shape(data)} come without labels; {ACCEPTED}")
    return InputError(f"cannot read images from {shown(data)}; {_what_to_give(data)}{ACCEPTED}")


def _what_to_give(data: Any) -> str:
    """Say how to hand over what others take in this form; "" where that cannot be told."""
    if isinstance(data, tuple) and len(data) == 4:
        return "give ((x, y), (x_val, y_val)): each part as a pair; "
    first = data[0] if isinstance(data, list | tuple) and data else None
    if isinstance(first, tuple) and len(first) == 2:
        return "give (images, labels), two lists: tuple(map(list, zip(*pairs))); "
    if is_path(first):
        return "give one folder, or a dict with a path for each part; "
    return ""


def _check_train(found: Contents) -> None:
    """Raise an `InputError` if a class has too few images to learn from, or is the only one."""
    if "train" not in found.parts:
        raise InputError(f"the data has {listed(list(found.parts))} but no train part")
    to_be_divided = "validation" not in found.parts
    names, labels = found.class_names, found.parts["train"].labels
    if len(names) < 2:
        only = f", {names[0]!r}" if names else ""
        raise InputError(f"the data has only one class{only}: expected at least two classes")
    counts = np.bincount(labels, minlength=len(names))
    for name, count in zip(names, counts, strict=True):
        if count < (2 if to_be_divided else 1):
            needed = (
                "at least 2 are needed, one to train on and one to validate with; add images or a "
                "validation part"
                if to_be_divided
                else "add images, or leave it out of class_names"
            )
            images = "1 image" if count == 1 else f"{count or 'no'} images"
            raise InputError(f"class {name!r} has {images} to train on: {needed}{label_hint(name)}")
