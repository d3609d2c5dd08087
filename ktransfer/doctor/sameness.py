"""Which images are the same: by their bytes, or to the eye."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ktransfer.doctor.closer import agreements
from ktransfer.doctor.grouping import around_centres, copies_among
from ktransfer.doctor.similar import MAX_DISTANCE, Similar, near_pairs

# 64 MB of images looked at closely.
_MOST_IMAGES = 4_000


@dataclass(frozen=True, eq=False)
class Sameness:
    """Groups of images that are the same, as sorted positions.

    Attributes:
        exact: groups of at least two with the same bytes.
        near: groups of at least two different contents that show the same, copies included.
        content: for each image the number of its content, int64 `(n,)`; -1 where it is unreadable.
        max_distance: how far hashes were looked at; less than usual where all images look alike.
    """

    exact: tuple[np.ndarray, ...]
    near: tuple[np.ndarray, ...]
    content: np.ndarray
    max_distance: int

    @property
    def groups(self) -> tuple[np.ndarray, ...]:
        """The near ones, and the exact ones outside of them."""
        inside = set(np.concatenate([*self.near, np.empty(0, np.int64)]).tolist())
        return (*self.near, *(each for each in self.exact if int(each[0]) not in inside))


def find_same(
    records: np.ndarray, *, near: bool = True, closer: Callable[[np.ndarray], np.ndarray]
) -> Sameness:
    """Find images that are the same.

    Args:
        records: `RECORD` `(n,)`.
        near: whether to look for near duplicates too.
        closer: of positions, these images as `agreements` compares them.
    """
    content = np.full(len(records), -1, np.int64)
    seen = np.flatnonzero(records["seen"])
    digests = np.ascontiguousarray(records["digest"][seen]).view("V16").ravel()
    _, first, number = np.unique(digests, return_index=True, return_inverse=True)
    content[seen] = number
    members = np.split(seen[np.argsort(number, kind="stable")], np.cumsum(np.bincount(number)))
    members = members[: len(first)]
    exact = tuple(each for each in members if len(each) > 1)
    if not near:
        return Sameness(exact, (), content, MAX_DISTANCE)
    # One of each content: a thousand copies are a thousand copies, not half a million pairs.
    unique = seen[first]
    similar = near_pairs(records["hash"][unique], records["thumbnail"][unique])
    pairs = _agreeing(similar, len(unique), lambda positions: closer(unique[positions]))
    groups = [
        np.sort(np.concatenate([members[each] for each in group]))
        for group in around_centres(pairs.tolist())
    ]
    groups.sort(key=lambda group: group.tolist())
    return Sameness(exact, tuple(groups), content, similar.max_distance)


def _agreeing(
    similar: Similar, num_images: int, closer: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Of pairs that are alike at 32 pixels those that are copies, `(n, 2)`."""
    differences = np.empty(len(similar.pairs), np.float32)
    for start, stop in _blocks(similar.pairs):
        positions, places = np.unique(similar.pairs[start:stop], return_inverse=True)
        images, crops = closer(positions), similar.crops[start:stop]
        differences[start:stop] = 1 - agreements(images, places.reshape(-1, 2), crops)
    return similar.pairs[copies_among(similar.pairs, differences, num_images)]


def _blocks(pairs: np.ndarray) -> Iterator[tuple[int, int]]:
    """Say where blocks of pairs begin and end whose images fit in memory."""
    if len(np.unique(pairs)) <= _MOST_IMAGES:
        yield 0, len(pairs)
        return
    for start in range(0, len(pairs), _MOST_IMAGES // 2):
        yield start, start + _MOST_IMAGES // 2
