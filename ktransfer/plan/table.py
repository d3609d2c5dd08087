"""Stages as a table for people: one row each, and only the columns in which something is said."""

from __future__ import annotations

from collections.abc import Sequence

from ktransfer.plan.stage import ALL, Stage
from ktransfer.show.tables import aligned


def table(stages: Sequence[Stage], num_blocks: int | None = None) -> str:
    """Return the stages of a model of `num_blocks` blocks as aligned text."""
    rows = [_cells(stage, num_blocks) for stage in stages]
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    lines = [columns, *([row[name] or "-" for name in columns] for row in rows)]
    return "\n".join(aligned(lines, left=range(len(columns)), ruled=True))


def _cells(stage: Stage, num_blocks: int | None) -> dict[str, str]:
    """Return the cells of a row by column.

    An empty one says that nothing but the default is set.
    """
    trains = bool(stage.unfreeze)
    return {
        "stage": stage.name,
        "trains": _trains(stage.unfreeze, num_blocks),
        "epochs": str(stage.epochs),
        "patience": str(stage.patience or ""),
        "keeps": "" if stage.keep == "best" else stage.keep,
        "learning_rate": f"{stage.learning_rate:g}",
        "blocks' rates": _multipliers(stage) if trains else "",
        "schedule": _schedule(stage),
        "optimizer": _optimizer(stage),
        "batch_norm": stage.batch_norm if trains else "",
        "augmentation": _augmentation(stage),
        "batch_size": str(stage.batch_size or ""),
        "dropout": f"{stage.dropout:g}" if stage.dropout else "",
    }


def _augmentation(stage: Stage) -> str:
    views = f", {stage.views} views" if stage.views else ""
    return "" if stage.augmentation == "none" else stage.augmentation + views


def _trains(unfreeze: int | str, num_blocks: int | None) -> str:
    if unfreeze == ALL:
        return "head, all blocks"
    if unfreeze and unfreeze == num_blocks:
        return f"head, all {num_blocks}"
    return f"head, last {unfreeze}" if unfreeze else "head"


def _multipliers(stage: Stage) -> str:
    decay = "" if stage.layer_decay == 1 else f", x{stage.layer_decay:.3g} a block"
    return f"x{stage.block_multiplier:.3g}{decay}"


def _schedule(stage: Stage) -> str:
    words = stage.schedule
    if stage.decay_factor is not None:
        words += f" x{stage.decay_factor:g} every {stage.decay_every_epochs:g}"
    return words + (f", warm-up {stage.warmup_epochs:g}" if stage.warmup_epochs else "")


def _optimizer(stage: Stage) -> str:
    options = {"momentum": stage.momentum, "weight_decay": stage.weight_decay}
    said = [f"{name} {value:g}" for name, value in options.items() if value]
    return ", ".join([stage.optimizer, *said])
