"""What a linear head would get right at each depth of a backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ktransfer.profile.probes import probe

if TYPE_CHECKING:
    from ktransfer.profile.profile import Profile


@dataclass(frozen=True)
class Depth:
    """A linear head on the averaged output of one block.

    Attributes:
        block: index of the block, from 0 next to the images.
        name: the block's.
        num_features: how many numbers the head reads.
        accuracy: by leaving out one image after the other, in [0, 1].
        interval: its 95 % interval.
    """

    block: int
    name: str
    num_features: int
    accuracy: float
    interval: tuple[float, float]


def probe_depths(profile: Profile) -> tuple[Depth, ...]:
    """Judge a head on each block, from the first to the last.

    It shows where a backbone begins to tell the classes apart. The best of many is often only the
    luckiest, so nothing is chosen by it.

    Args:
        profile: of labelled images.

    Raises:
        InputError: as `probe`.

    Source: Alain and Bengio 2016, Understanding intermediate layers using linear classifier probes
        (arXiv 1610.01644).
    """
    rows = []
    for index in sorted({each.block for each in profile.columns}):
        columns = [each for each in profile.columns if each.block == index]
        name = columns[0].name.removesuffix("/inner")
        if all(each.name.endswith("/inner") for each in columns):
            continue  # its own output is no map that could be averaged
        features = profile.features_of_block(index)
        found = probe(features, profile.labels)
        rows.append(Depth(index, name, features.shape[1], found.accuracy, found.interval))
    return tuple(rows)
