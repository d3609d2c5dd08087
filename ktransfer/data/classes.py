"""Reads a folder of class folders, and checks that what it holds can be learnt from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ktransfer._checks import InputError
from ktransfer.data.images import Inspected, Skipped, extension_lies, inspect_images
from ktransfer.data.parts import Part, listed
from ktransfer.data.walking import is_folder, is_hidden, list_folder, subfolders, walk

LAYOUT = (
    "expected a folder of images for each class, as in PATH/ants and PATH/bees, "
    "or PATH/train and PATH/val (and PATH/test) with such class folders inside"
)


@dataclass(frozen=True)
class Reading:
    """What one folder of class folders holds: the readable images by class name, and the rest."""

    folder: str
    by_class: dict[str, list[Inspected]]
    skipped: list[Skipped]

    @property
    def images(self) -> list[Inspected]:
        """The readable images of all classes."""
        return [each for files in self.by_class.values() for each in files]

    def part(self, name: str, class_names: Sequence[str]) -> Part:
        """The images as a part, in the order of `class_names`."""
        labels = [
            np.full(len(self.by_class.get(each, [])), at) for at, each in enumerate(class_names)
        ]
        files = tuple(each.file for name in class_names for each in self.by_class.get(name, []))
        return Part(name, files, np.concatenate(labels).astype(np.int32))


def read_classes(folder: str) -> Reading:
    """Reads every class folder in `folder`, recursively, by the files' headers."""
    skipped: list[Skipped] = []
    by_class: dict[str, list[Inspected]] = {}
    for entry in list_folder(folder, skipped):
        if not is_folder(entry):
            skipped.append(Skipped(entry, "lies outside every class folder"))
        elif is_hidden(entry):
            skipped.append(Skipped(entry, "hidden folder"))
        else:
            by_class[os.path.basename(entry)] = _read_class(entry, skipped)
    return Reading(folder, by_class, skipped)


def _read_class(folder: str, skipped: list[Skipped]) -> list[Inspected]:
    found = walk(folder)
    inspected = inspect_images(found.files)
    skipped += found.skipped
    skipped += [each for each in inspected if isinstance(each, Skipped)]
    return [each for each in inspected if isinstance(each, Inspected)]


def checked_classes(readings: dict[str, Reading]) -> tuple[str, ...]:
    """The sorted class names, after checking that every part can be used.

    Args:
        readings: by part name; "train" is one of them.

    Raises:
        InputError: if a part has no images, or other classes than train, or a class without a
            readable image; if there is only one class.
    """
    for reading in readings.values():
        check_holds_images(reading)
    names = tuple(sorted(readings["train"].by_class))
    if len(names) == 1:
        raise _one_class(readings["train"].folder, names[0])
    for part, reading in readings.items():
        _check_same_classes(part, reading, set(names))
    for reading in readings.values():
        _check_no_empty_class(reading)
    return names


def check_holds_images(reading: Reading) -> None:
    """Raises an `InputError` saying what was found instead, if no image is readable."""
    if not reading.images:
        found = _what_was_found(reading.folder, reading.skipped)
        raise InputError(f"no images in class folders of {reading.folder!r}: {found}; {LAYOUT}")


def check_enough_to_split(reading: Reading) -> None:
    """Raises an `InputError` naming the first class with fewer than 2 readable images."""
    for name, files in reading.by_class.items():
        if len(files) < 2:
            raise InputError(
                f"class {name!r} has {len(files)} readable image in {reading.folder!r}: at least 2 "
                "are needed, one to train on and one to validate with; add images or a val folder"
            )


def extension_notes(readings: Iterable[Reading]) -> list[str]:
    """Notes on files whose extension is that of another image format than their content's."""
    lying: dict[tuple[str, str], list[str]] = {}
    for file, image_format in (each for reading in readings for each in reading.images):
        if extension_lies(file.path, image_format):
            extension = os.path.splitext(file.path)[1]
            lying.setdefault((extension, image_format), []).append(file.path)
    return [_extension_note(*key, paths) for key, paths in sorted(lying.items())]


def _extension_note(extension: str, image_format: str, paths: list[str]) -> str:
    named, hold = ("file is", "holds") if len(paths) == 1 else ("files are", "hold")
    return (
        f"{len(paths)} {named} named {extension} but {hold} {image_format}, e.g. {paths[0]!r}: "
        "read by content"
    )


def _one_class(folder: str, name: str) -> InputError:
    inside = os.path.join(folder, name)
    inner = [os.path.basename(each) for each in subfolders(inside)]
    hint = f" (it holds the folders {listed(inner)}: give {inside!r} instead?)" if inner else ""
    return InputError(
        f"{folder!r} has only one class folder, {name!r}{hint}: expected at least two classes"
    )


def _check_same_classes(part: str, reading: Reading, expected: set[str]) -> None:
    found = set(reading.by_class)
    missing, added = sorted(expected - found), sorted(found - expected)
    only = [f"only in train: {listed(missing)}"] if missing else []
    only += [f"only in {part}: {listed(added)}"] if added else []
    if only:
        raise InputError(
            f"train and {part} have different class folders ({'; '.join(only)}): they must have "
            f"the same, look at {reading.folder!r}"
        )


def _check_no_empty_class(reading: Reading) -> None:
    for name, files in reading.by_class.items():
        folder = os.path.join(reading.folder, name)
        if not files:
            inside = [each for each in reading.skipped if _lies_in(each.path, folder)]
            raise InputError(
                f"class {name!r} has no readable image in {folder!r}: "
                f"{_what_was_found(folder, inside)}; add images or remove the folder"
            )


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + os.sep)


def _what_was_found(folder: str, skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return "it is empty"
    shown = [f"{os.path.relpath(each.path, folder)!r}: {each.reason}" for each in skipped[:3]]
    more = [f"and {len(skipped) - 3} more"] if len(skipped) > 3 else []
    return f"found {len(skipped)} that cannot be used ({'; '.join(shown + more)})"
