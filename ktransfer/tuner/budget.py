"""How many trials an oracle needs: known before anything slow is imported."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ktransfer.errors import InputError, unknown_name

ORACLES = ("random", "grid", "bayesian", "hyperband")

#: Of Hyperband: a third of the trials goes on, for three times the epochs.
FACTOR = 3

#: How many values a grid takes at least of what nobody narrowed: a rate without steps has ten.
_USUAL_SIZES = {"head_rate": 10, "dropout": 3, "weight_decay": 3}
_USUAL_SIZES_OF_BLOCKS = {"learning_rate": 10, "layer_decay": 3, "batch_norm": 3, "augmentation": 3}


def check_oracle(name: str) -> None:
    """Raise an `InputError` for an unknown oracle."""
    if name not in ORACLES:
        raise unknown_name("oracle", str(name), ORACLES)


def check_trials(oracle: str, needed: int, why: str, given: int, option: str) -> None:
    """Raise an `InputError` where an oracle is given fewer trials than it needs.

    Args:
        oracle: its name.
        needed: how many it takes.
        why: what so many are needed for, and what would make them fewer.
        given: how many it has.
        option: how the caller says so: `"max_trials="` or `"--trials "`.
    """
    if given < needed:
        raise InputError(
            f"the oracle {oracle!r} needs at least {needed:,} trials ({why}), got {option}{given}: "
            f"give {option}{needed}, or take the oracle 'bayesian' or 'random', which do with any "
            "number"
        )


def of_hyperband(epochs: int) -> tuple[int, str]:
    """Say how many trials Hyperband needs, and why."""
    return hyperband_size(epochs), f"the brackets for {epochs} epochs"


def of_grid(points: int) -> tuple[int, str]:
    """Say how many trials a grid needs, and why."""
    return points, "the points of the grid: fix or narrow hyperparameters"


def hyperband_size(epochs: int) -> int:
    """Say how many trials Hyperband takes for so many epochs (Li et al. 2016, arXiv 1603.06560)."""
    return sum(
        _bracket_size(bracket, bracket - done, epochs)
        for bracket in range(_brackets(epochs))
        for done in range(bracket + 1)
    )


def hyperband_points(epochs: int) -> int:
    """Say how many different points of the space Hyperband begins with, in all its brackets."""
    return sum(_bracket_size(bracket, bracket, epochs) for bracket in range(_brackets(epochs)))


def least_grid(narrowed: Mapping[str, int], max_unfreeze: int | None) -> int:
    """Say how many points a grid has at least, whatever the backbone is.

    Args:
        narrowed: how many values the user left, by hyperparameter.
        max_unfreeze: as of the search; a backbone has one block at least.
    """
    depths = 2 if max_unfreeze is None else max_unfreeze + 1
    depths = narrowed.get("unfreeze", depths)
    head = math.prod(narrowed.get(name, size) for name, size in _USUAL_SIZES.items())
    blocks = math.prod(narrowed.get(name, size) for name, size in _USUAL_SIZES_OF_BLOCKS.items())
    # One of the depths may be the head alone, which the others' hyperparameters say nothing to.
    return head * (1 + (depths - 1) * blocks)


def _brackets(epochs: int) -> int:
    return math.floor(math.log(epochs, FACTOR) + 1e-9) + 1


def _bracket_size(bracket: int, left: int, epochs: int) -> int:
    last = math.ceil(1 + math.log(epochs, FACTOR))
    return math.ceil(last / (bracket + 1) * FACTOR**left)
