"""Folders of images as labelled parts: which layout a folder has, and how it is divided."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ktransfer.data.images.header import Skipped
from ktransfer.data.parts import Part, Splits, listed
from ktransfer.data.reading.arranging import arranged
from ktransfer.data.reading.classes import (
    LAYOUT,
    Reading,
    check_enough_to_split,
    check_holds_images,
    checked_classes,
    extension_notes,
    inspected_files,
    read_classes,
    with_usable_test,
)
from ktransfer.data.reading.dividing import check_split, splits_from
from ktransfer.data.reading.duplicates import duplicate_notes
from ktransfer.data.reading.layout import Path, existing_folder, is_table, missing
from ktransfer.data.reading.listing import Listing, listing_of_folder
from ktransfer.data.reading.look_alikes import differing
from ktransfer.data.reading.part_names import part_of
from ktransfer.data.reading.tables import read_table
from ktransfer.data.reading.walking import Found, is_folder, walk
from ktransfer.errors import InputError, unknown_name


def read_folder(
    path: Path,
    *,
    validation_fraction: float = 0.2,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
) -> Splits:
    """Reads a folder of labelled images by their headers and divides it into parts.

    Layouts: `train`, `val` and perhaps `test` with class folders inside (or what else people call
    them: Training_Set, seg_test, dev); the same without `val`, which is then split from train;
    class folders alone, which are split; or class folders with `train` and `val` inside each. A
    folder around all of it is gone through, and a `test` that has no classes, or others than train,
    is noted and not used. Class folders are walked recursively. Nothing is decoded and nothing is
    written.

    Args:
        path: the folder.
        validation_fraction: the share of each class, between 0 and 1, that a split puts into
            validation; at least one image of each class goes to either side. Not used where the
            folder has a `val` part.
        seed: of the split, 0 or more. The same files give the same split, wherever the folder lies.
        class_names: the names of the class folders in the order wanted; None: sorted. Where a
            folder can be read in two ways, they say which one is meant.

    Returns:
        The parts, the class names, every file that was left out with its reason, and notes.

    Raises:
        InputError: if the folder does not exist, has no class folders, only one class, a class
            without readable images (or with one only, where it must be split), if train and
            validation have different classes, if the folder can be read in two ways, or if
            `validation_fraction` or `seed` is out of range.

    Example:
        >>> import pathlib, tempfile
        >>> from PIL import Image
        >>> photos = pathlib.Path(tempfile.mkdtemp())
        >>> for shade in range(10):
        ...     folder = photos / ("light" if shade > 4 else "dark")
        ...     folder.mkdir(exist_ok=True)
        ...     Image.new("L", (8, 8), 25 * shade).save(folder / f"{shade}.png")
        >>> splits = read_folder(photos)
        >>> splits.class_names, len(splits.train), len(splits.validation)
        (('dark', 'light'), 8, 2)
    """
    check_split(validation_fraction, seed)
    root = existing_folder(path)
    listing = listing_of_folder(root, class_names)
    listing.check()
    if "train" not in listing.parts:
        found = listed([os.path.basename(each.folder) for each in listing.parts.values()])
        raise InputError(f"{root!r} has {found} but no train folder; {LAYOUT}")
    folder = listing.parts["train"].folder
    divided = part_of(os.path.basename(folder)) and folder != root
    source = f"{os.path.basename(folder)!r} (no val folder)" if divided else "the class folders"
    return splits_of(listing, source, class_names, validation_fraction, seed)


def splits_of(
    listing: Listing,
    source: str,
    class_names: Sequence[str] | None,
    validation_fraction: float,
    seed: int,
) -> Splits:
    """The splits of a listing that holds train.

    Args:
        listing: of a folder or a table.
        source: what validation is split from where there is no such part, in words.
        class_names: as in `read_folder`.
        validation_fraction: as in `read_folder`.
        seed: as in `read_folder`.

    Raises:
        InputError: as `read_folder`, of classes and their images.
    """
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
        notes=[*listing.notes, *notes, *extension_notes(readings.values())],
        validation_fraction=validation_fraction,
        seed=seed,
    )


def labelled_part(
    reading: Reading, class_names: Sequence[str], name: str
) -> tuple[Part, tuple[Skipped, ...], tuple[str, ...]]:
    """A reading as a part whose labels are positions in known class names.

    Returns:
        The part, what was left out with its reason, and notes (a class without images is one).

    Raises:
        InputError: if there is no readable image, or a class that is not in `class_names`.
    """
    kind = "class folder" if reading.table is None else "class"
    for each in reading.by_class:
        if each not in class_names:
            alike = differing(class_names, [each])
            raise InputError(f"{unknown_name(kind, each, class_names)} (in {reading.where}){alike}")
    check_holds_images(reading)
    absent = [each for each in class_names if not reading.by_class.get(each)]
    notes = [f"no images of {listed(absent)} in {reading.where}"] if absent else []
    part = reading.part(name, class_names)
    notes += extension_notes([reading]) + duplicate_notes([part], class_names)
    return part, tuple(reading.skipped), tuple(notes)


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


def chosen_folder(root: str, class_names: Sequence[str] | None, preferred: Sequence[str]) -> Chosen:
    """The first part of a folder that it has of those preferred, or the folder without parts.

    Raises:
        InputError: the folder can be read in two ways, or has none of the parts.
    """
    found = arranged(root, class_names)
    found.check()
    if not found.parts:
        return Chosen(None, read_classes(found.classes), found.notes)
    for name in preferred:
        if name in found.parts:
            return Chosen(name, read_classes(found.parts[name][0]), found.notes)
    raise InputError(
        f"{root!r} has the parts {listed(list(found.parts))}, expected {listed(preferred)}"
    )


def read_paths(paths: Path | Iterable[Path]) -> tuple[Part, tuple[Skipped, ...]]:
    """Reads files, folders (recursively) and CSV files as an unlabelled part, to predict on.

    Args:
        paths: one path or several; their order is kept, files inside a folder are sorted. Of a CSV
            file the column `path` is read.

    Returns:
        The part, named "prediction" and with labels -1, and the files left out with their reasons.
        The part is empty if no file is a readable image.

    Raises:
        InputError: if a named path does not exist, or a CSV file cannot be read.
    """
    several = [paths] if isinstance(paths, str | bytes | os.PathLike) else paths
    found = [_found_at(os.fsdecode(each)) for each in several]
    skipped = [skip for each in found for skip in each.skipped]
    files = inspected_files((file for each in found for file in each.files), skipped)
    return Part("prediction", files, np.full(len(files), -1, np.int32)), tuple(skipped)


def _found_at(path: str) -> Found:
    # lexists: a dangling link does exist, and is reported as what it is.
    if not os.path.lexists(path):
        raise missing("file or folder", path)
    if is_table(path) and os.path.isfile(path):
        table = read_table(path, labelled=False)
        table.check()
        return Found([row.path for row in table.rows])
    return walk(path) if is_folder(path) else Found([path])
