"""Reads a folder of class folders, and checks that what it holds can be learnt from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ktransfer.data.images.files import FilesBuilder, ImageFiles
from ktransfer.data.images.header import Skipped, extension_lies, inspect_images
from ktransfer.data.parts import Part, listed
from ktransfer.data.reading.ambiguity import where_labels_are
from ktransfer.data.reading.arrangement import ClassFolders
from ktransfer.data.reading.look_alikes import differing
from ktransfer.data.reading.odd_labels import label_hint
from ktransfer.data.reading.part_names import holds_images_by_name
from ktransfer.data.reading.walking import subfolders, walk
from ktransfer.errors import InputError

LAYOUT = (
    "expected a folder of images for each class, as in PATH/ants and PATH/bees, "
    "or PATH/train and PATH/val (and PATH/test) with such class folders inside"
)


@dataclass(frozen=True)
class Reading:
    """What a folder of class folders, or a table, holds: readable images by class, and the rest.

    Attributes:
        folder: the folder, or that which the table's paths start from.
        by_class: the readable images by class name; a class may have none.
        skipped: what cannot be used, with its reason.
        table: the CSV file's path, or "the DataFrame"; None where it is a folder.
        places: the folder of each class, where it is a folder.
    """

    folder: str
    by_class: dict[str, ImageFiles]
    skipped: list[Skipped]
    table: str | None = None
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_images(self) -> int:
        """How many images of all classes are readable."""
        return sum(len(files) for files in self.by_class.values())

    @property
    def where(self) -> str:
        """What it was read from, for a message."""
        return repr(self.folder) if self.table is None else self.table

    def part(self, name: str, class_names: Sequence[str]) -> Part:
        """Return the images as a part, in the order of `class_names`."""
        rows = [self.by_class.get(each, ImageFiles.of(())) for each in class_names]
        counts = [len(each) for each in rows]
        labels = np.repeat(np.arange(len(rows), dtype=np.int32), counts)
        return Part(name, ImageFiles.joined(rows), labels)


def read_classes(folders: ClassFolders) -> Reading:
    """Read the folders of every class, recursively, by the files' headers."""
    skipped = list(folders.skipped)
    by_class = {name: _read_class(each, skipped) for name, each in folders.classes.items()}
    places = {name: each[0] for name, each in folders.classes.items()}
    return Reading(folders.folder, by_class, skipped, places=places)


def _read_class(folders: Sequence[str], skipped: list[Skipped]) -> ImageFiles:
    found = [walk(each) for each in folders]
    skipped += [skip for each in found for skip in each.skipped]
    return inspected_files((file for each in found for file in each.files), skipped)


def inspected_files(paths: Iterable[str], skipped: list[Skipped]) -> ImageFiles:
    """Return the readable images among files, in order; the others are added to `skipped`."""
    files = FilesBuilder()
    for each in inspect_images(paths):
        if isinstance(each, Skipped):
            skipped.append(each)
        else:
            files.add(each)
    return files.build()


def checked_classes(
    readings: Mapping[str, Reading], class_names: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Return the class names, after checking that every part can be used.

    Args:
        readings: by part name; "train" is one of them.
        class_names: the same names in the order wanted; None: sorted.

    Raises:
        InputError: if a part has no images, or other classes than train, or a class without a
            readable image; if there is only one class, or if they are not `class_names`.
    """
    for reading in readings.values():
        check_holds_images(reading)
    names = tuple(sorted(readings["train"].by_class))
    if class_names is not None and set(names) != set(class_names):
        raise InputError(
            f"class_names are {listed(list(class_names))}, but the classes of "
            f"{readings['train'].where} are {listed(list(names))}{differing(class_names, names)}"
        )
    if len(names) == 1:
        raise _one_class(readings["train"], names[0])
    for part, reading in readings.items():
        _check_same_classes(part, reading, set(names))
    for reading in readings.values():
        _check_no_empty_class(reading)
    return names if class_names is None else tuple(class_names)


def with_usable_test(
    readings: Mapping[str, Reading],
) -> tuple[dict[str, Reading], list[str]]:
    """Return the parts without a test part that cannot be compared with train, and a note on it.

    Nothing is learnt from test and nothing decided by it: it is no reason not to train.
    """
    usable = dict(readings)
    if "test" not in usable or "train" not in usable:
        return usable, []
    test, train = usable["test"], set(usable["train"].by_class)
    empty = {name for name, files in test.by_class.items() if not len(files)}
    found = set(test.by_class) - empty
    lacking, added = sorted(train - found), sorted(found - train)
    if not lacking and not added and not empty:
        return usable, []
    reasons = [f"it has no image of {listed(lacking)}"] if lacking else []
    reasons += [f"train has no class {listed(added)}"] if added else []
    reasons += [f"{listed(sorted(empty - train))} is empty"] if empty - train else []
    del usable["test"]
    note = f"the test part of {test.where} is not used in training: {'; '.join(reasons)}"
    return usable, [f"{note}{differing(train, found | empty)}"]


def check_holds_images(reading: Reading) -> None:
    """Raise an `InputError` saying what was found instead, if no image is readable."""
    if reading.num_images:
        return
    found = _what_was_found(reading.folder, reading.skipped)
    if reading.table is not None:
        raise InputError(f"no image of {reading.where} can be used: {found}")
    hint = where_labels_are([reading.folder], reading.folder)
    if reading.skipped and all("NumPy array" in each.reason for each in reading.skipped):
        hint = "give what NumPy has saved as arrays, (images, labels), or as one .npz file of both"
    hint = f"{hint}; " if hint else ""
    raise InputError(f"no images in class folders of {reading.folder!r}: {found}; {hint}{LAYOUT}")


def check_enough_to_split(reading: Reading) -> None:
    """Raise an `InputError` naming the first class with fewer than 2 readable images."""
    for name, files in reading.by_class.items():
        if len(files) < 2:
            raise InputError(
                f"class {name!r} has {len(files)} readable image in {reading.where}: at least 2 "
                "are needed, one to train on and one to validate with; add images or a "
                + ("val folder" if reading.table is None else "split column")
                + label_hint(name)
            )


def extension_notes(readings: Iterable[Reading]) -> list[str]:
    """Note files whose extension is that of another image format than their content's."""
    lying: dict[tuple[str, str], list[str]] = {}
    for files in (each for reading in readings for each in reading.by_class.values()):
        for index in range(len(files)):
            path, image_format = files.name(index), files.format(index)
            if image_format and extension_lies(path, image_format):
                extension = os.path.splitext(path)[1]
                lying.setdefault((extension, image_format), []).append(path)
    return [_extension_note(*key, paths) for key, paths in sorted(lying.items())]


def _extension_note(extension: str, image_format: str, paths: list[str]) -> str:
    named, hold = ("file is", "holds") if len(paths) == 1 else ("files are", "hold")
    return (
        f"{len(paths)} {named} named {extension} but {hold} {image_format}, e.g. {paths[0]!r}: "
        "read by content"
    )


def _one_class(reading: Reading, name: str) -> InputError:
    folder = reading.folder
    if reading.table is not None:
        return InputError(
            f"{reading.where} has only one class, {name!r}: expected at least two classes"
        )
    inside = reading.places[name]
    inner = [os.path.basename(each) for each in subfolders(inside)]
    hint = f" (it holds the folders {listed(inner)}: give {inside!r} instead?)" if inner else ""
    where = where_labels_are([folder, inside], inside) if len(inner) < 2 else ""
    if where or holds_images_by_name(name):
        hint = f", perhaps of all images and no class{f' ({where})' if where else ''}"
    return InputError(
        f"{folder!r} has only one class folder, {name!r}{hint}: expected at least two classes"
    )


def _check_same_classes(part: str, reading: Reading, expected: set[str]) -> None:
    found = set(reading.by_class)
    missing, added = sorted(expected - found), sorted(found - expected)
    only = [f"only in train: {listed(missing)}"] if missing else []
    only += [f"only in {part}: {listed(added)}"] if added else []
    if only:
        kind = "class folders" if reading.table is None else "classes"
        raise InputError(
            f"train and {part} have different {kind} ({'; '.join(only)}): they must have "
            f"the same, look at {reading.where}{differing(expected, found)}"
        )


def _check_no_empty_class(reading: Reading) -> None:
    for name, files in reading.by_class.items():
        if len(files):
            continue
        if reading.table is not None:
            found = _what_was_found(reading.folder, reading.skipped)
            raise InputError(f"class {name!r} has no readable image in {reading.where}: {found}")
        folder = reading.places[name]
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
