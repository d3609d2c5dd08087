"""What is computed once for all trials: images, features, and the rows at as many cuts as fit."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ktransfer.augment import source_size
from ktransfer.backbones import Backbone
from ktransfer.cache import Store
from ktransfer.data import Splits
from ktransfer.errors import InputError
from ktransfer.features import Network
from ktransfer.plan.augmentation import FIXED_VIEWS
from ktransfer.plan.fields import POSITIVE, number
from ktransfer.tuner.space import choices_of, depths_of

if TYPE_CHECKING:
    from keras_tuner import HyperParameters

_MB = 2**20
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Shared:
    """What trials share.

    Attributes:
        budget_mb: megabytes that it may take.
        size_mb: megabytes that it takes when all of it is there.
        cuts: numbers of first blocks behind which rows are kept, from few to many.
        left_out: those that trials may ask for and for which there is no room: the blocks from the
            last cut before them on run in every epoch.
    """

    budget_mb: float
    size_mb: float
    cuts: tuple[int, ...]
    left_out: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        return {**asdict(self), "cuts": list(self.cuts), "left_out": list(self.left_out)}

    def __str__(self) -> str:
        kept = _behind(self.cuts) if self.cuts else "no blocks"
        missing = f"; no room for those behind {_behind(self.left_out)}" if self.left_out else ""
        return (
            f"shared by all trials: decoded images, features and activations behind {kept}, at "
            f"most {self.size_mb:,.0f} MB of {self.budget_mb:,.0f}{missing}"
        )


def share(
    backbone: Backbone,
    pooling: str,
    space: HyperParameters,
    splits: Splits,
    *,
    budget_mb: float | None = None,
    seeds: int = 1,
    copies: int = 1,
) -> Shared:
    """Choose the cuts whose rows are kept: the deepest that is asked for, then from the head on.

    From the deepest all others can be computed; those near the head are the smallest, and save the
    most blocks.

    Args:
        backbone: what is trained.
        pooling: as in `features.pool`.
        space: what is searched.
        splits: the images.
        budget_mb: megabytes; None: what the library's cache has room for.
        seeds: with how many seeds plans are trained: each has views of its own.
        copies: into how many parts to train on the images are divided: each has rows of its own.

    Raises:
        InputError: the budget is no number above 0, or is not enough for images and features.
    """
    blocks, classes = len(backbone.blocks), len(splits.class_names)
    networks = [
        Network(backbone, blocks, classes, pooling, 0, features=each)
        for each in choices_of(space, "features")
    ]
    augmentations = [each for each in choices_of(space, "augmentation") if each != "none"]
    train, all_images = len(splits.train), sum(len(part) for part in splits.parts)
    rows = copies * (all_images + seeds * FIXED_VIEWS * train * len(augmentations))

    def size_mb(cut: int, num_rows: int) -> float:
        numbers = sum(math.prod(network.row_shape(cut)) for network in networks)
        return num_rows * numbers * _FLOAT_BYTES / _MB

    sizes = {source_size(each, backbone.input_size) for each in augmentations}
    pixels = all_images * math.prod(backbone.input_size)
    pixels += train * sum(map(math.prod, sizes - {backbone.input_size}))
    used = copies * 3 * pixels / _MB + size_mb(blocks, copies * all_images)
    budget = Store().free_mb()
    if budget_mb is not None:
        budget = number("a search", "cache_mb", budget_mb, POSITIVE)
    if budget_mb is not None and used > budget:
        raise InputError(
            f"decoded images and features take {used:.3g} MB, got cache_mb={budget_mb:g}: give at "
            "least that"
        )
    wanted = sorted({blocks - depth for depth in depths_of(space) if 0 < depth < blocks})
    kept = []
    for cut in (*wanted[:1], *reversed(wanted[1:])):
        if used + size_mb(cut, rows) <= budget:
            used += size_mb(cut, rows)
            kept.append(cut)
    left_out = tuple(cut for cut in wanted if cut not in kept)
    return Shared(float(budget), used, tuple(sorted(kept)), left_out)


def _behind(cuts: tuple[int, ...]) -> str:
    words = ", ".join(map(str, cuts))
    return f"block {words}" if len(cuts) == 1 else f"the blocks {words}"
