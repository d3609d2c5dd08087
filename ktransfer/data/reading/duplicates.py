"""Finds identical images that sit on both sides of a split or in two classes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ktransfer.data.images.files import CHUNK, ImageFiles
from ktransfer.data.parts import Part

_TAIL_BYTES = 4096
_MISSING = (-1, -1, -1)


def duplicate_notes(parts: Sequence[Part], class_names: Sequence[str]) -> list[str]:
    """Note images that make a result look better than it is, or contradict each other.

    Only bytes are compared: a resized or re-encoded copy is not found.

    Args:
        parts: labelled parts, train first.
        class_names: names of the labels.

    Returns:
        One note for each pair of parts that share images, and one if equal images have unequal
        labels.
    """
    rows = _Rows(parts)
    notes = []
    for at, first in enumerate(parts):
        for second in range(at + 1, len(parts)):
            shared = np.intersect1d(rows.groups_in(at), rows.groups_in(second))
            if len(shared):
                notes.append(_leak(rows, shared, first, parts[second]))
    torn = rows.groups_with_two_labels()
    return notes + ([_contradiction(rows, torn)] if len(torn) else [])


def identical_files(files: ImageFiles) -> np.ndarray:
    """Say which files hold the same bytes, int64 `(n,)`: equal files have equal numbers, others -1.

    Cheap keys come first, so that few files are read in full, and none twice: links to one file are
    one file, and files of 3,000 photos rarely agree in size. Nothing is held for a file but some
    numbers.
    """
    states = np.empty((len(files), 3), np.int64)
    for index in range(len(files)):
        states[index] = _state(files.raw_path(index))
    # A file that has gone since is reported where it is decoded.
    groups = np.where(states[:, 0] >= 0, _numbered(states[:, :1]), -1)
    rows = np.flatnonzero(_is_shared(groups))
    _, first, link_of = np.unique(states[rows], axis=0, return_index=True, return_inverse=True)
    real, keys = rows[first], groups[rows[first]]
    for measure in (_tail, _digest):
        alike = np.flatnonzero(_is_shared(keys))
        said = _measured(files, real[alike], measure)
        keys[alike] = _numbered(np.column_stack([keys[alike], said])) + keys.max(initial=0) + 1
    found = np.full(len(files), -1, np.int64)
    found[rows] = keys[link_of.reshape(-1)]
    found[~_is_shared(found)] = -1
    return found


class _Rows:
    """All images of some parts in one row, with their part, label and group of equal ones."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        counts = [len(part) for part in parts]
        self.starts = np.cumsum([0, *counts])
        part_of = np.repeat(np.arange(len(parts)), counts)
        labels = np.concatenate([part.labels for part in parts])
        groups = _groups(parts)
        # Only images that have an equal one are of interest.
        self.rows = np.flatnonzero(groups >= 0)
        self.groups, self.part_of, self.labels = (
            each[self.rows] for each in (groups, part_of, labels)
        )

    def groups_in(self, part: int) -> np.ndarray:
        return np.unique(self.groups[self.part_of == part])

    def groups_with_two_labels(self) -> np.ndarray:
        pairs = np.unique(np.column_stack([self.groups, self.labels]), axis=0)
        groups, counts = np.unique(pairs[:, 0], return_counts=True)
        return groups[counts > 1]

    def name(self, chosen: np.ndarray) -> str:
        """Say what the first of some images is called."""
        row = self.rows[np.flatnonzero(chosen)[0]]
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.parts[part].images.name(int(row - self.starts[part]))


def _groups(parts: Sequence[Part]) -> np.ndarray:
    """Return the group of equal images of each image of the parts, -1 where it has no equal."""
    found = [np.empty(0, np.int64)] * len(parts)
    of_files = [at for at, part in enumerate(parts) if isinstance(part.images, ImageFiles)]
    others = [at for at in range(len(parts)) if at not in of_files]
    if of_files:
        groups = identical_files(ImageFiles.joined([parts[at].files for at in of_files]))
        _deal(groups, of_files, parts, found)
    if others:
        digests = np.concatenate([parts[at].images.digests() for at in others])
        groups = _numbered(digests) + sum(len(part) for part in parts)
        groups[~_is_shared(groups)] = -1
        _deal(groups, others, parts, found)
    return np.concatenate(found)


def _deal(
    groups: np.ndarray, chosen: Sequence[int], parts: Sequence[Part], into: list[np.ndarray]
) -> None:
    ends = np.cumsum([len(parts[at]) for at in chosen])
    for at, several in zip(chosen, np.split(groups, ends[:-1]), strict=True):
        into[at] = several


def _numbered(keys: np.ndarray) -> np.ndarray:
    """Return a number for each row of `(n, columns)`, equal for equal rows."""
    return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _is_shared(groups: np.ndarray) -> np.ndarray:
    """Bool `(n,)`: whether another one has the same number; never for -1."""
    _, at, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return (counts[at.reshape(-1)] > 1) & (groups >= 0)


def _state(path: bytes) -> tuple[int, int, int]:
    """Size, device and inode of a file."""
    try:
        state = os.stat(path)
    except OSError:
        return _MISSING
    # An inode number may use all 64 bits.
    return state.st_size, state.st_dev, state.st_ino - (state.st_ino >> 63 << 64)


def _measured(files: ImageFiles, rows: np.ndarray, measure: Callable[[bytes], bytes]) -> np.ndarray:
    """Say what `measure` says of the files at `rows`, int64 `(rows, 2)`."""
    said = bytearray()
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(rows), CHUNK):
            paths = [files.raw_path(row) for row in rows[start : start + CHUNK]]
            said += b"".join(threads.map(measure, paths))
    return np.frombuffer(bytes(said), np.int64).reshape(-1, 2)


def _tail(path: bytes) -> bytes:
    try:
        with open(path, "rb") as stream:
            stream.seek(-min(_TAIL_BYTES, os.fstat(stream.fileno()).st_size), os.SEEK_END)
            return hashlib.blake2b(stream.read(), digest_size=16).digest()
    except OSError:
        return _unlike_any(path)


def _digest(path: bytes) -> bytes:
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).digest()
    except OSError:
        return _unlike_any(path)


def _unlike_any(path: bytes) -> bytes:
    """Say what stands for a file that can no longer be read: its name, which is no other's."""
    return hashlib.blake2b(path, digest_size=16, person=b"unreadable").digest()


def _leak(rows: _Rows, shared: np.ndarray, first: Part, second: Part) -> str:
    group = rows.groups == _example(rows, shared)
    seen = rows.name(group & (rows.part_of == rows.parts.index(first)))
    other = rows.name(group & (rows.part_of == rows.parts.index(second)))
    images = "1 image is" if len(shared) == 1 else f"{len(shared)} images are"
    return f"{images} in both {first.name} and {second.name}, e.g. {seen!r} and {other!r}"


def _contradiction(rows: _Rows, torn: np.ndarray) -> str:
    group = rows.groups == _example(rows, torn)
    label = rows.labels[np.flatnonzero(group)[0]]
    one, other = rows.name(group), rows.name(group & (rows.labels != label))
    images = "1 image has" if len(torn) == 1 else f"{len(torn)} images have"
    return f"{images} two labels, e.g. {one!r} and {other!r} hold the same bytes"


def _example(rows: _Rows, groups: np.ndarray) -> int:
    """Of some groups the one whose first image comes first: numbers depend on sizes and disks."""
    return int(rows.groups[np.flatnonzero(np.isin(rows.groups, groups))[0]])
