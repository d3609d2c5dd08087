"""Groups of images that are the same, made of pairs that are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

#: Looked at closely, copies differ by at most so much.
MOST_DIFFERENT = 0.2

# Less is seldom seen of images that are not the same, and usual of copies.
_DOUBTFUL = 0.05
# Such a share of a set, in so many pairs, is not there by chance: the set is a crowd.
_CROWD, _FEWEST = 0.05, 4
# There, and in chains, copies differ so much less than others do.
_STANDS_OUT = 3.5
# So little is no difference at all.
_NO_DIFFERENCE = 0.01


def copies_among(pairs: np.ndarray, differences: np.ndarray, num_images: int) -> np.ndarray:
    """Say which of the pairs that are alike from afar are copies, bool `(n,)`.

    How alike images are that are not the same depends on the set: X-rays of one patient differ as
    little as photos do that were coloured anew. So where many pairs are alike and no clear copies,
    copies must differ much less than these do. And copies of a photo agree with one of them: where
    no image of a connected group agrees with all others, it is likeness that passes from each to
    the next, as through the slices of a volume, and copies must differ much less than its pairs.

    Args:
        pairs: positions of images `(n, 2)`.
        differences: of each pair, looked at closely, at least 0 `(n,)`.
        num_images: how many images were compared.
    """
    most, doubtful = MOST_DIFFERENT, differences > _DOUBTFUL
    crowd = len(np.unique(pairs[doubtful])) >= _CROWD * num_images
    if crowd and doubtful.sum() >= _FEWEST:
        most = min(most, _much_less(differences[doubtful]))
    keep = differences <= most
    alike = differences <= MOST_DIFFERENT
    for chain in list(_chains(pairs[keep])):
        inside = np.isin(pairs, chain).all(axis=1)
        keep &= ~inside | (differences <= _much_less(differences[inside & alike]))
    return keep


def _much_less(differences: np.ndarray) -> float:
    return max(float(np.median(differences)) / _STANDS_OUT, _NO_DIFFERENCE)


def _chains(pairs: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the images of each connected group in which nobody agrees with all others."""
    numbers = defaultdict(list)
    home = {each: at for at, group in enumerate(components(pairs.tolist())) for each in group}
    for at, (one, _) in enumerate(pairs.tolist()):
        numbers[home[one]].append(at)
    for members in numbers.values():
        images, agreeing = np.unique(pairs[members], return_counts=True)
        if agreeing.max() < len(images) - 1:
            yield images


def around_centres(pairs: Sequence[Sequence[int]]) -> list[list[int]]:
    """Group all pairs, each group sorted; every member agrees with one of its group.

    An image may be in several, where those that it agrees with do not agree with one another.

    Example:
        >>> around_centres([(1, 2), (2, 3), (1, 3), (7, 8)])
        [[1, 2, 3], [7, 8]]
        >>> around_centres([(1, 2), (2, 3), (3, 4)])
        [[1, 2, 3], [3, 4]]
    """
    agrees = defaultdict(set)
    for one, other in pairs:
        agrees[one].add(other)
        agrees[other].add(one)
    return sorted(group for joined in components(pairs) for group in _of_one(joined, agrees))


def _of_one(joined: Iterable[int], agrees: dict[int, set[int]]) -> Iterator[list[int]]:
    """Yield the groups of a connected one: each time around the one that agrees with most."""
    left = {each: set(agrees[each]) for each in joined}
    while left:
        centre = max(left, key=lambda each: len(left[each]))
        group = {centre, *left[centre]}
        yield sorted(group)
        for each in group:
            left[each] -= group
            if not left[each]:
                del left[each]


def components(pairs: Iterable[Sequence[int]]) -> list[list[int]]:
    """Return the groups that pairs join, each sorted.

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
