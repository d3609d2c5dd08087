"""What a stage leaves frozen, and how many numbers it trains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ktransfer.errors import InputError
from ktransfer.features import Network
from ktransfer.freezing import count_by_block, freeze
from ktransfer.plan import Stage
from ktransfer.plan.stage import ALL, LOW_RANK
from ktransfer.training.low_rank import kernels_of
from ktransfer.training.stage_result import StageResult


def freeze_for(stage: Stage, network: Network) -> None:
    """Freeze what a stage leaves frozen.

    Raises:
        InputError: its blocks hold nothing to train.
    """
    backbone, kept = network.backbone, network.num_blocks
    unfreeze = stage.num_trainable_blocks(kept)
    behind = len(backbone.blocks) - kept  # blocks that the model does not have
    policy = f"all_but_last:{behind + unfreeze}" if unfreeze else "all"
    freeze(backbone, policy, batch_norm=stage.batch_norm, trains=stage.trains)
    if unfreeze and not _something_trains(stage, network, kept - unfreeze):
        trains = "" if stage.trains == ALL else f" and trains={stage.trains!r}"
        raise InputError(
            f"stage {stage.name!r} unfreezes the last {unfreeze} of {kept} blocks, and with "
            f"batch_norm={stage.batch_norm!r}{trains} there is nothing to train in them: unfreeze "
            "more"
        )


def _something_trains(stage: Stage, network: Network, cut: int) -> bool:
    rank = stage.rank
    if rank and any(kernels_of(block, rank) for block in network.blocks[cut:]):
        return True
    counts = count_by_block(network.backbone)[cut : network.num_blocks]
    return any(trainable for _, _, trainable in counts)


def widest(stages: Iterable[Stage], num_blocks: int) -> Stage:
    """Return the stage that trains most of the blocks, and of these."""
    return max(stages, key=lambda each: (each.num_trainable_blocks(num_blocks), each.trains == ALL))


def counted(
    stage: Stage, results: Sequence[StageResult], network: Network
) -> tuple[tuple[str, int, int], ...]:
    """Say how many numbers of each block are frozen and trainable, as `count_by_block` does.

    Of a stage with factors these count, and not the kernels that they were merged into.

    Args:
        stage: the network is frozen as it wants it.
        results: its own among them.
        network: what it trained.
    """
    counts = count_by_block(network.backbone)[: network.num_blocks]
    if stage.trains != LOW_RANK:
        return counts
    groups = (row for each in results if each.name == stage.name for row in each.groups)
    factors = {row["group"]: row["parameters"] for row in groups}
    return tuple(
        (name, frozen + trainable - factors.get(name, 0), factors.get(name, 0))
        for name, frozen, trainable in counts
    )
