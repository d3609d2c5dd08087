"""Finds byte-identical images that sit on both sides of a split or in two classes."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence

from ktransfer.data.parts import Part

_TAIL_BYTES = 4096


def duplicate_notes(parts: Sequence[Part], class_names: Sequence[str]) -> list[str]:
    """Notes on images that make a result look better than it is, or that contradict each other.

    Only bytes are compared: a resized or re-encoded copy is not found.

    Args:
        parts: labelled parts, train first.
        class_names: names of the labels.

    Returns:
        One note for each pair of parts that share images, and one if equal images have unequal
        labels.
    """
    home = {
        file.path: (part.name, class_names[label])
        for part in parts
        for file, label in zip(part.files, part.labels, strict=True)
    }
    groups = identical_files(home)
    notes = []
    for at, first in enumerate(parts):
        for second in parts[at + 1 :]:
            shared = [each for each in groups if _holds_both(each, home, first.name, second.name)]
            notes += [_leak(shared[0], len(shared), first, second)] if shared else []
    torn = [each for each in groups if len({home[path][1] for path in each}) > 1]
    return notes + ([_contradiction(torn, home)] if torn else [])


def identical_files(paths: Iterable[str]) -> list[list[str]]:
    """Groups of at least two paths with the same bytes, each sorted."""
    # Cheap keys first, so that nearly no file is read in full: files of 3,000 photos rarely agree
    # in size.
    groups = _regrouped([list(paths)], os.path.getsize)
    return _regrouped(_regrouped(groups, _tail), _digest)


def _regrouped(groups: list[list[str]], key: Callable[[str], Hashable]) -> list[list[str]]:
    regrouped = []
    for group in groups:
        by_key: defaultdict[Hashable, list[str]] = defaultdict(list)
        for path in group:
            # A file that has gone since is reported where it is decoded.
            if os.path.isfile(path):
                by_key[key(path)].append(path)
        regrouped += [sorted(each) for each in by_key.values() if len(each) > 1]
    return regrouped


def _tail(path: str) -> bytes:
    with open(path, "rb") as stream:
        stream.seek(-min(_TAIL_BYTES, os.path.getsize(path)), os.SEEK_END)
        return stream.read()


def _digest(path: str) -> bytes:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "blake2b").digest()


def _holds_both(group: list[str], home: dict[str, tuple[str, str]], *names: str) -> bool:
    return set(names) <= {home[path][0] for path in group}


def _leak(group: list[str], count: int, first: Part, second: Part) -> str:
    in_first = {file.path for file in first.files}
    seen = next(path for path in group if path in in_first)
    other = next(path for path in group if path not in in_first)
    images = "1 image is" if count == 1 else f"{count} images are"
    return f"{images} in both {first.name} and {second.name}, e.g. {seen!r} and {other!r}"


def _contradiction(groups: list[list[str]], home: dict[str, tuple[str, str]]) -> str:
    first = groups[0]
    other = next(path for path in first if home[path][1] != home[first[0]][1])
    images = "1 image has" if len(groups) == 1 else f"{len(groups)} images have"
    return f"{images} two labels, e.g. {first[0]!r} and {other!r} hold the same bytes"
