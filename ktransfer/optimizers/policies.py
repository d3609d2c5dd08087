"""Which part moves how fast: the published recipes, as groups over the blocks of a backbone.

A backbone here is anything with `.blocks`, each with a `.name` and `.layers`; `ktransfer.backbones`
has them. Only what is trainable when a recipe is called enters its groups, so freeze first: a block
without a trainable variable gets no group. Factors count the frozen blocks, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ktransfer.errors import InputError, unknown_name
from ktransfer.optimizers.groups import MultiplierGroup, check_multiplier

HEAD = "head"


def layer_decay(
    backbone: Any, decay: float = 0.75, *, head: float | None = 1.0
) -> tuple[MultiplierGroup, ...]:
    """Return one group per block, each slower than the one above it by the same factor.

    Args:
        backbone: the backbone, frozen as it will be trained.
        decay: the factor per block, above 0 and at most 1. The last block gets `decay`, the one
            before it `decay ** 2`, and so on. Defaults to 0.75, which MAE uses for ViT-B.
        head: the multiplier of all that is in no block; None leaves it without a group. Defaults
            to 1.

    Returns:
        The groups from the first block with something trainable to the last, then the head.

    Raises:
        InputError: The decay is out of range, or nothing is trainable.

    Source: Clark et al. 2020, ELECTRA (arXiv 2003.10555), and Bao et al. 2021, BEiT
        (arXiv 2106.08254), for transformers; here over the blocks of any backbone.
    """
    if not 0 < check_multiplier("decay", decay) <= 1:
        raise InputError(f"decay must be above 0 and at most 1; received {decay!r}")
    blocks = tuple(backbone.blocks)
    factors = [decay ** (len(blocks) - position) for position in range(len(blocks))]
    return with_head(_per_block(blocks, factors), head)


def grouped(
    backbone: Any, multipliers: Sequence[float] = (0.01, 0.1, 1.0), *, head: float | None = 10.0
) -> tuple[MultiplierGroup, ...]:
    """Three groups, the early, middle and late thirds of the blocks, and the head.

    Args:
        backbone: the backbone, frozen as it will be trained.
        multipliers: those of the early, middle and late blocks.
        head: the multiplier of all that is in no block; None leaves it without a group. Defaults
            to 10.

    Returns:
        The groups "early", "middle", "late" as far as something in them is trainable, and "head".

    Raises:
        InputError: There are not three multipliers, fewer than three blocks, or nothing trainable.

    Source: Howard and Ruder 2018, ULMFiT (arXiv 1801.06146), discriminative fine-tuning; three
        groups with a slice of learning rates as in fastai, here tenfold from group to group.
    """
    names = ("early", "middle", "late")
    blocks = tuple(backbone.blocks)
    if len(multipliers) != len(names):
        raise InputError(
            f"give three multipliers, early, middle and late; received {multipliers!r}"
        )
    if len(blocks) < len(names):
        raise InputError(f"thirds need at least 3 blocks; received {len(blocks)}")
    thirds: list[list[str]] = [[], [], []]
    for position, block in enumerate(blocks):
        thirds[position * len(names) // len(blocks)] += trainable_paths(block)
    groups = [
        MultiplierGroup(name, tuple(paths), multiplier)
        for name, paths, multiplier in zip(names, thirds, multipliers, strict=True)
        if paths
    ]
    return with_head(groups, head)


def by_block(
    backbone: Any, multipliers: Mapping[str, float], *, head: float | None = None
) -> tuple[MultiplierGroup, ...]:
    """Return one group for each block named; the other blocks keep the learning rate as it is.

    Args:
        backbone: the backbone, frozen as it will be trained.
        multipliers: from the name of a block to its multiplier.
        head: the multiplier of all that is in none of these blocks. Defaults to None: no group.

    Returns:
        The groups in the order of the mapping, then the head.

    Raises:
        InputError: A block is unknown, or nothing in it is trainable.
    """
    blocks = {block.name: block for block in backbone.blocks}
    for name in multipliers:
        if name not in blocks:
            raise unknown_name("block", name, tuple(blocks))
        if not trainable_paths(blocks[name]):
            raise InputError(f"nothing in block {name!r} is trainable: unfreeze it or leave it out")
    groups = _per_block([blocks[name] for name in multipliers], list(multipliers.values()))
    return with_head(groups, head)


def trainable_paths(block: Any) -> tuple[str, ...]:
    """Return the paths of the variables of a block that are trainable now."""
    # Not layer.trainable_variables: that is empty where the layer's own flag is off, while a model
    # trains gamma and beta set one by one (the "affine_only" of `ktransfer.freezing`).
    weights = (weight for layer in block.layers for weight in layer.weights)
    return tuple(weight.path for weight in weights if weight.trainable)


def with_head(groups: Sequence[MultiplierGroup], head: float | None) -> tuple[MultiplierGroup, ...]:
    """Return the groups of blocks and, last, the head: whatever no earlier group has taken."""
    if not groups:
        raise InputError("nothing in the backbone's blocks is trainable: unfreeze some first")
    rest = [] if head is None else [MultiplierGroup(HEAD, ("*",), head)]
    return (*groups, *rest)


def _per_block(blocks: Iterable[Any], factors: Sequence[float]) -> list[MultiplierGroup]:
    return [
        MultiplierGroup(block.name, trainable_paths(block), factor)
        for block, factor in zip(blocks, factors, strict=True)
        if trainable_paths(block)
    ]
