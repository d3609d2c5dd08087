"""What is said of folders that can be read in two ways, or in none."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from ktransfer.data.parts import listed
from ktransfer.data.reading.columns import roles_named
from ktransfer.data.reading.file_names import classes_in_names
from ktransfer.data.reading.foreign import tables_of_other_forms
from ktransfer.data.reading.walking import is_folder, list_folder

Reading = tuple[str, Sequence[str]]


def two_readings(
    folder: str, first: Reading, second: Reading, otherwise: str, *, named: bool = True
) -> str:
    """Say that a folder can be read in two ways, and how to say which one is meant.

    Args:
        folder: the folder.
        first: how it can be read, in words, and the names of the classes if so.
        second: the same of the other way; it may have no classes.
        otherwise: another way out, beside the names of the classes.
        named: whether the names of its classes choose the second, too.
    """
    ways = ", or ".join(
        f"{words} {listed(list(names))}".strip() for words, names in (first, second)
    )
    chosen = [f"class_names={_short(first[1])} for the first"]
    if named and len(second[1]) > 1:
        chosen.append(f"class_names={_short(second[1])} for the second")
    return (
        f"{folder!r} can be read in two ways: {ways}. Say which: {', '.join(chosen)}; {otherwise}"
    )


def _short(names: Sequence[str]) -> str:
    return f"[{listed(list(names), 4)}]"


def flat_parts(folder: str, parts: Sequence[str]) -> str:
    """Say that parts hold images but no class folders, and where their labels may be."""
    names = [os.path.basename(each) for each in parts]
    found, hint = classes_in_names(parts[0])[0], where_labels_are([folder, *parts], parts[0])
    example = os.path.join(parts[0], found[0] if found else "ants")
    sort = f"{'or ' if hint else ''}sort the images into folders, as in {example!r}"
    classes = f" ({listed(names)} as classes: class_names={names!r})" if len(names) > 1 else ""
    return (
        f"{folder!r} has {listed(names)}, which hold images and no class folders, so that nothing "
        f"says what they show: {'; '.join(filter(None, (hint, sort)))}{classes}"
    )


def where_labels_are(folders: Sequence[str], images: str) -> str:
    """Say where labels of images may be that lie in no class folders, for a message; "" if nowhere.

    Args:
        folders: in which tables of them may lie.
        images: the folder of the images.
    """
    files = [each for folder in folders for each in list_folder(folder, []) if not is_folder(each)]
    if tables := [each for each in _named_alike(images) + files if _is_table_of_labels(each)]:
        return f"if {tables[0]!r} has the labels, give it instead"
    if others := tables_of_other_forms(files):
        return f"if {others[0][0]!r} has the labels: it is {others[0][1]}"
    return classes_in_names(images)[1]


def _named_alike(folder: str) -> list[str]:
    """Return files beside a folder that may be its table: train.csv beside train, or labels.csv."""
    folder = os.path.normpath(folder)
    names = {"labels", "annotations", "metadata", os.path.basename(folder).casefold()}
    beside = [os.path.normpath(e) for e in list_folder(os.path.dirname(folder) or os.curdir, [])]
    stems = [os.path.splitext(os.path.basename(each))[0].casefold() for each in beside]
    pairs = zip(beside, stems, strict=True)
    return [path for path, stem in pairs if stem in names and not is_folder(path)]


def _is_table_of_labels(path: str) -> bool:
    """Tell whether a file is a table, and no list of images without labels as of a competition."""
    name = os.path.basename(path).casefold()
    if not name.endswith((".csv", ".tsv")) or "submission" in name:
        return False
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            cells = re.split(r"[,;\t|]", stream.readline().strip())
    except OSError:
        return True
    roles = roles_named(cells)
    # A column for each class has no name that is known.
    return "path" not in roles or "label" in roles or len(cells) > 2
