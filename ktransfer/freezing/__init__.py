"""Freezing: which layers of a backbone train, what batch norm does there, and the proof of it.

Compile after `freeze`, and freeze again after loading: `ktransfer.freezing.apply` says why.
"""

from ktransfer.freezing.apply import (
    BATCH_NORM,
    TRAINS,
    Freezing,
    count_by_block,
    freeze,
    frozen_prefix,
)
from ktransfer.freezing.layers import blocks_from
from ktransfer.freezing.policies import Freeze
from ktransfer.freezing.proof import (
    FrozenMovedError,
    FrozenProof,
    FrozenWatch,
    Moved,
    digest,
    frozen_variables,
    prefix_digest,
    watch_frozen,
)

__all__ = [
    "BATCH_NORM",
    "TRAINS",
    "Freeze",
    "Freezing",
    "FrozenMovedError",
    "FrozenProof",
    "FrozenWatch",
    "Moved",
    "blocks_from",
    "count_by_block",
    "digest",
    "freeze",
    "frozen_prefix",
    "frozen_variables",
    "prefix_digest",
    "watch_frozen",
]
