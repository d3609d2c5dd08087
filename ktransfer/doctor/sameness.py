"""Which images are the same: by their bytes, or to the eye."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ktransfer.doctor.similar import MAX_DISTANCE, near_pairs


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
        """Each image in at most one group: the near ones, and the exact ones outside of them."""
        inside = set(np.concatenate([*self.near, np.empty(0, np.int64)]).tolist())
        return (*self.near, *(each for each in self.exact if int(each[0]) not in inside))


def find_same(looks: np.ndarray, *, near: bool = True) -> Sameness:
    """Finds images that are the same.

    Args:
        looks: records `LOOK` `(n,)`.
        near: whether to look for near duplicates too.
    """
    content = np.full(len(looks), -1, np.int64)
    seen = np.flatnonzero(looks["seen"])
    digests = np.ascontiguousarray(looks["digest"][seen]).view("V16").ravel()
    _, first, number = np.unique(digests, return_index=True, return_inverse=True)
    content[seen] = number
    members = np.split(seen[np.argsort(number, kind="stable")], np.cumsum(np.bincount(number)))
    members = members[: len(first)]
    exact = tuple(each for each in members if len(each) > 1)
    if not near:
        return Sameness(exact, (), content, MAX_DISTANCE)
    # One of each content: a thousand copies are a thousand copies, not half a million pairs.
    one = looks[seen[first]]
    similar = near_pairs(one["hash"], one["thumbnail"])
    groups = tuple(
        np.sort(np.concatenate([members[each] for each in component]))
        for component in components(similar.pairs.tolist())
    )
    return Sameness(exact, groups, content, similar.max_distance)


def components(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The groups that pairs join, each sorted.

    Example:
        >>> components([(1, 2), (5, 6), (2, 3)])
        [[1, 2, 3], [5, 6]]
    """
    home: dict[int, list[int]] = {}
    for one, other in pairs:
        first, second = home.setdefault(one, [one]), home.setdefault(other, [other])
        if first is not second:
            first += second
            home |= dict.fromkeys(second, first)
    distinct = {id(each): each for each in home.values()}
    return sorted(sorted(each) for each in distinct.values())
