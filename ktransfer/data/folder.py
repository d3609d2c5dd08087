"""Folders of images as labelled parts: which layout a folder has, and how it is divided."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np

from ktransfer._checks import InputError, unknown_name
from ktransfer.data.classes import (
    Reading,
    check_enough_to_split,
    check_holds_images,
    checked_classes,
    extension_notes,
    inspected_files,
    read_classes,
)
from ktransfer.data.dividing import check_split, splits_from
from ktransfer.data.duplicates import duplicate_notes
from ktransfer.data.images import Skipped
from ktransfer.data.layout import (
    Path,
    check_layout,
    checked_part_folders,
    existing_folder,
    is_table,
    missing,
)
from ktransfer.data.listing import Listing, listing_of_folder
from ktransfer.data.parts import Part, Splits, listed
from ktransfer.data.tables import read_table
from ktransfer.data.walking import Found, is_folder, subfolders, walk


def read_folder(
    path: Path,
    *,
    validation_fraction: float = 0.2,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
) -> Splits:
    """Reads a folder of labelled images by their headers and divides it into parts.

    Layouts: `train`, `val` and perhaps `test` with class folders inside (also training, valid,
    validation, testing, in any case); the same without `val`, which is then split from train; or
    class folders alone, which are split. Class folders are walked recursively. Nothing is decoded
    and nothing is written.

    Args:
        path: the folder.
        validation_fraction: the share of each class, between 0 and 1, that a split puts into
            validation; at least one image of each class goes to either side. Not used where the
            folder has a `val` part.
        seed: of the split, 0 or more. The same files give the same split, wherever the folder lies.
        class_names: the names of the class folders in the order wanted; None: sorted.

    Returns:
        The parts, the class names, every file that was left out with its reason, and notes.

    Raises:
        InputError: if the folder does not exist, has no class folders, only one class, a class
            without readable images (or with one only, where it must be split), if its parts have
            different classes, or if `validation_fraction` or `seed` is out of range.

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
    check_layout(root)
    listing = listing_of_folder(root)
    folder = listing.parts["train"].folder
    whole = folder == root
    source = "the class folders" if whole else f"{os.path.basename(folder)!r} (no val folder)"
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
    readings = listing.parts
    names = checked_classes(readings, class_names)
    if "validation" not in readings:
        check_enough_to_split(readings["train"])
    skipped = [each for reading in readings.values() for each in reading.skipped]
    return splits_from(
        {part: reading.part(part, names) for part, reading in readings.items()},
        names,
        source=source,
        skipped=[*listing.skipped, *skipped],
        notes=extension_notes(readings.values()),
        validation_fraction=validation_fraction,
        seed=seed,
    )


def read_part(
    path: Path, class_names: Sequence[str], *, name: str = "test"
) -> tuple[Part, tuple[Skipped, ...], tuple[str, ...]]:
    """Reads a folder of labelled images as one part, to evaluate on.

    Args:
        path: a folder with class folders, or with a `test` (preferred) or `val` folder that has
            them.
        class_names: the names that the model knows; labels are positions in them.
        name: the part's name.

    Returns:
        The part, the files left out with their reasons, and notes (a class without images is one).

    Raises:
        InputError: if the folder does not exist, holds no readable image, or has a class folder
            that is not in `class_names`.
    """
    chosen, folder = chosen_folder(existing_folder(path), class_names, ("test", "validation"))
    notes = [f"read from {folder!r}"] if chosen else []
    part, skipped, remarks = labelled_part(read_classes(folder), class_names, name)
    return part, skipped, (*notes, *remarks)


def labelled_part(
    reading: Reading, class_names: Sequence[str], name: str
) -> tuple[Part, tuple[Skipped, ...], tuple[str, ...]]:
    """A reading as a part whose labels are positions in known class names.

    Returns:
        As `read_part`.

    Raises:
        InputError: if there is no readable image, or a class that is not in `class_names`.
    """
    kind = "class folder" if reading.table is None else "class"
    for each in reading.by_class:
        if each not in class_names:
            raise InputError(f"{unknown_name(kind, each, class_names)} (in {reading.where})")
    check_holds_images(reading)
    absent = [each for each in class_names if not reading.by_class.get(each)]
    notes = [f"no images of {listed(absent)} in {reading.where}"] if absent else []
    part = reading.part(name, class_names)
    notes += extension_notes([reading]) + duplicate_notes([part], class_names)
    return part, tuple(reading.skipped), tuple(notes)


def chosen_folder(
    root: str, class_names: Sequence[str], preferred: Sequence[str]
) -> tuple[str | None, str]:
    """The first part of a folder that it has of those preferred; None, root without such parts."""
    if any(os.path.basename(each) in class_names for each in subfolders(root)):
        return None, root
    parts = checked_part_folders(root)
    return next(((name, parts[name]) for name in preferred if name in parts), (None, root))


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
