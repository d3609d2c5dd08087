"""Learning-rate multipliers: how fast each part of a network moves, exact for any optimizer."""

from ktransfer.optimizers.groups import MultiplierGroup
from ktransfer.optimizers.multiplier import LearningRateMultiplier
from ktransfer.optimizers.policies import by_block, grouped, layer_decay
from ktransfer.optimizers.relative_gradient import auto_rgn
from ktransfer.optimizers.report import GroupReport, MultiplierReport, Snapshot

__all__ = [
    "GroupReport",
    "LearningRateMultiplier",
    "MultiplierGroup",
    "MultiplierReport",
    "Snapshot",
    "auto_rgn",
    "by_block",
    "grouped",
    "layer_decay",
]
