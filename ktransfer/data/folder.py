"""Folders of images as labelled parts: which layout a folder has, and how it is divided."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from ktransfer._checks import InputError, near_names, unknown_name
from ktransfer.data.classes import (
    LAYOUT,
    check_enough_to_split,
    check_holds_images,
    checked_classes,
    extension_notes,
    read_classes,
)
from ktransfer.data.duplicates import duplicate_notes
from ktransfer.data.images import Inspected, Skipped, inspect_images
from ktransfer.data.parts import Part, Splits, listed
from ktransfer.data.walking import Found, is_folder, list_folder, subfolders, walk

Path = str | os.PathLike[str]

_SYNONYMS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


def read_folder(path: Path, *, validation_fraction: float = 0.2, seed: int = 0) -> Splits:
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
    _check_split(validation_fraction, seed)
    root = _existing_folder(path)
    skipped: list[Skipped] = []
    folders = _part_folders(root, skipped)
    readings = {name: read_classes(folder) for name, folder in folders.items()}
    class_names = checked_classes(readings)
    parts = {name: each.part(name, class_names) for name, each in readings.items()}
    notes: list[str] = []
    if "validation" not in parts:
        check_enough_to_split(readings["train"])
        parts |= _divided(parts["train"], class_names, validation_fraction, seed)
        notes.append(_split_note(folders["train"], root, parts, validation_fraction, seed))
    train, validation, test = parts["train"], parts["validation"], parts.get("test")
    notes += extension_notes(readings.values())
    notes += duplicate_notes([train, validation] + ([test] if test else []), class_names)
    skipped += [each for reading in readings.values() for each in reading.skipped]
    return Splits(train, validation, test, class_names, tuple(skipped), tuple(notes))


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
    folder, notes = _evaluated_folder(_existing_folder(path), class_names)
    reading = read_classes(folder)
    for each in reading.by_class:
        if each not in class_names:
            raise InputError(f"{unknown_name('class folder', each, class_names)} (in {folder!r})")
    check_holds_images(reading)
    missing = [each for each in class_names if not reading.by_class.get(each)]
    if missing:
        notes.append(f"no images of {listed(missing)} in {folder!r}")
    part = reading.part(name, class_names)
    notes += extension_notes([reading]) + duplicate_notes([part], class_names)
    return part, tuple(reading.skipped), tuple(notes)


def read_paths(paths: Path | Iterable[Path]) -> tuple[Part, tuple[Skipped, ...]]:
    """Reads files and folders (recursively) as an unlabelled part, to predict on.

    Args:
        paths: one path or several; their order is kept, files inside a folder are sorted.

    Returns:
        The part, named "prediction" and with labels -1, and the files left out with their reasons.
        The part is empty if no file is a readable image.

    Raises:
        InputError: if a named path does not exist.
    """
    several = [paths] if isinstance(paths, str | bytes | os.PathLike) else paths
    found = [_found_at(os.fsdecode(each)) for each in several]
    inspected = inspect_images(file for each in found for file in each.files)
    files = tuple(each.file for each in inspected if isinstance(each, Inspected))
    skipped = [skip for each in found for skip in each.skipped]
    skipped += [each for each in inspected if isinstance(each, Skipped)]
    return Part("prediction", files, np.full(len(files), -1, np.int32)), tuple(skipped)


def _found_at(path: str) -> Found:
    # lexists: a dangling link does exist, and is reported as what it is.
    if not os.path.lexists(path):
        raise _missing("file or folder", path)
    return walk(path) if is_folder(path) else Found([path])


def _check_split(validation_fraction: float, seed: int) -> None:
    if not isinstance(validation_fraction, int | float) or not 0.0 < validation_fraction < 1.0:
        raise InputError(
            f"validation_fraction must lie between 0 and 1, got {validation_fraction!r}"
        )
    if not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed must be an integer of at least 0, got {seed!r}")


def _existing_folder(path: Path) -> str:
    folder = os.fsdecode(path)
    if os.path.isdir(folder):
        return folder
    if os.path.lexists(folder):
        raise InputError(f"{folder!r} is not a folder; {LAYOUT}")
    raise _missing("folder", folder)


def _missing(kind: str, path: str) -> InputError:
    parent, name = os.path.split(os.path.abspath(path))
    siblings = subfolders(parent) if kind == "folder" else list_folder(parent, [])
    near = near_names(name, [os.path.basename(each) for each in siblings])
    hint = f"did you mean {listed(near)}?" if near else f"nothing like it is in {parent!r}"
    return InputError(f"no such {kind}: {path!r}; {hint}")


def _part_folders(root: str, skipped: list[Skipped]) -> dict[str, str]:
    """The folders of class folders by part name; a folder without parts is "train" as a whole."""
    parts = _named_parts(root)
    if not parts:
        return {"train": root}
    if "train" not in parts:
        found = listed([os.path.basename(each) for each in parts.values()])
        raise InputError(f"{root!r} has {found} but no train folder; {LAYOUT}")
    outside = [each for each in list_folder(root, skipped) if each not in parts.values()]
    skipped += [
        Skipped(each, "lies outside the folders " + listed(list(parts))) for each in outside
    ]
    return parts


def _named_parts(root: str) -> dict[str, str]:
    """The folders in `root` that are named as parts, by the part's name, train first."""
    folders = subfolders(root)
    known = [each for each in folders if os.path.basename(each).casefold() in _SYNONYMS]
    # Beside other folders, `train` may be a class (train, bus, car): a part has class folders
    # inside.
    if len(known) < len(folders):
        known = [each for each in known if subfolders(each)]
    by_part: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for folder in known:
        by_part[_SYNONYMS[os.path.basename(folder).casefold()]].append(folder)
    for name, several in by_part.items():
        if len(several) > 1:
            both = listed([os.path.basename(each) for each in several])
            raise InputError(f"{root!r} has {both}, all of them names for {name}: keep one")
    return {name: several[0] for name, several in by_part.items() if several}


def _evaluated_folder(root: str, class_names: Sequence[str]) -> tuple[str, list[str]]:
    if any(os.path.basename(each) in class_names for each in subfolders(root)):
        return root, []
    parts = _named_parts(root)
    folder = parts.get("test") or parts.get("validation")
    return (folder, [f"read from {folder!r}"]) if folder else (root, [])


def _divided(
    whole: Part, class_names: Sequence[str], fraction: float, seed: int
) -> dict[str, Part]:
    held_out: list[int] = []
    for label, name in enumerate(class_names):
        members = np.flatnonzero(whole.labels == label)
        count = min(max(1, int(len(members) * fraction + 0.5)), len(members) - 1)
        # A generator for each class: adding images to one leaves the split of the others as it was.
        generator = np.random.default_rng([seed, zlib.crc32(os.fsencode(name))])
        held_out += sorted(generator.permutation(members)[:count].tolist())
    validation = whole.select(held_out)
    train = whole.select(np.setdiff1d(np.arange(len(whole)), held_out))
    return {"train": train, "validation": Part("validation", validation.files, validation.labels)}


def _split_note(folder: str, root: str, parts: dict[str, Part], fraction: float, seed: int) -> str:
    source = (
        "the class folders" if folder == root else f"{os.path.basename(folder)!r} (no val folder)"
    )
    held_out, rest = len(parts["validation"]), len(parts["train"])
    return (
        f"validation was split from {source}: {held_out} of {held_out + rest} images "
        f"(validation_fraction={fraction:g}, seed={seed})"
    )
