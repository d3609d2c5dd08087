"""What is said of folders that can be read in two ways, or in none."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence

from ktransfer.data.parts import listed
from ktransfer.data.reading.walking import is_folder, list_folder

Reading = tuple[str, Sequence[str]]


def two_readings(
    folder: str, first: Reading, second: Reading, otherwise: str, *, named: bool = True
) -> str:
    """That a folder can be read in two ways, and how to say which one is meant.

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
    """That parts hold images but no class folders, and where their labels may be."""
    names = [os.path.basename(each) for each in parts]
    tables = tables_beside([folder, *parts])
    begin = _beginnings(parts[0])
    hint = "sort the images into folders, as in "
    if tables:
        hint = f"if {tables[0]!r} has the labels, give it instead of the folder; or {hint}"
    elif begin:
        hint = (
            f"the names of the files begin with {listed(begin)}: if these are the classes, move "
            f"the files into folders of these names, or list them in a CSV file with the columns "
            f"path, label; {hint}"
        )
    example = os.path.join(parts[0], begin[0] if begin else "ants")
    classes = f" ({listed(names)} as classes: class_names={names!r})" if len(names) > 1 else ""
    return (
        f"{folder!r} has {listed(names)}, which hold images and no class folders, so that nothing "
        f"says what they show: {hint}{example!r}{classes}"
    )


def tables_beside(folders: Sequence[str]) -> list[str]:
    """The CSV files in some folders."""
    entries = [each for folder in folders for each in list_folder(folder, [])]
    ends = (".csv", ".tsv")
    tables = [e for e in entries if e.casefold().endswith(ends) and not is_folder(e)]
    # What is to be handed in to a competition has no labels yet.
    return [each for each in tables if "submission" not in os.path.basename(each).casefold()]


def _beginnings(folder: str, most: int = 20) -> list[str]:
    """What nearly all names of files begin with: cat and dog of cat.0.jpg, dog.0.jpg."""
    names = [os.path.basename(each) for each in list_folder(folder, []) if not is_folder(each)]
    found = [re.match(r"([^\W\d_]{2,})[\W_]*\d+\.\w+$", name) for name in names]
    counted = Counter(each.group(1) for each in found if each)
    if not 2 <= len(counted) <= most or 10 * sum(counted.values()) < 9 * len(names):
        return []
    return sorted(counted)
