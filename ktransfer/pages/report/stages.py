"""How the training went, stage by stage: losses, accuracies and learning rates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from ktransfer.classifier import FitResult
from ktransfer.pages.parts import (
    Part,
    Picture,
    Points,
    Section,
    Table,
    Text,
    cells,
    count,
    percent,
    shares,
)
from ktransfer.pages.report.pictures import draw_history, draw_rates
from ktransfer.pages.report.spans import Span
from ktransfer.training.stage_result import StageResult

#: Epochs from 1, and the learning rate at the end of each.
Rates = tuple[tuple[int, float], ...]


def spans_of(result: FitResult) -> tuple[Span, ...]:
    """Return the stages that had epochs, one after the other."""
    found, done = [], 0
    for stage in result.stages:
        epochs = len(stage.history)
        if epochs:
            briefly = f"{(result.plan.num_blocks or 0) - stage.unfreeze} frozen"
            frozen = frozen_in(stage, result), briefly
            found.append(Span(stage.name, done, done + epochs, frozen))
        done += epochs
    return tuple(found)


def frozen_in(stage: StageResult, result: FitResult) -> str:
    """Say what a stage leaves frozen, in words."""
    blocks = result.plan.num_blocks or 0
    frozen = blocks - stage.unfreeze
    if not frozen:
        return "nothing frozen"
    return f"all {blocks} blocks frozen" if frozen == blocks else f"{frozen} of {blocks} frozen"


def training(result: FitResult) -> Section:
    """Return the curves of every stage, with what was frozen in it."""
    key, title = "training", "How the training went"
    parts: list[Part] = [_stages_table(result)]
    if result.history:
        parts.append(
            Picture(
                draw_history(result.history, spans_of(result), result.best_epoch),
                "Loss and accuracy after each epoch, stage by stage. That of the training images "
                "is the mean over an epoch, while the weights still move."
                + (f" Kept: epoch {result.best_epoch}." if result.best_epoch else ""),
                (_history_table(result),),
            )
        )
    else:
        parts.append(
            Text(
                (
                    "No epoch was trained: the head is a ridge regression in closed form, of "
                    "what the frozen blocks say.",
                )
            )
        )
    notes = tuple(dict.fromkeys(note for stage in result.stages for note in stage.notes))
    return Section(key, title, (*parts, *([Points(notes, "Remarks")] if notes else [])))


def _stages_table(result: FitResult) -> Table:
    rows = []
    for stage in result.stages:
        begun = "closed form" if stage.solved else "the weights of before"
        kept = f"epoch {stage.best_epoch}" if stage.best_epoch else begun
        rows.append(
            cells(
                stage.name,
                frozen_in(stage, result),
                f"{len(stage.history)}",
                f"{stage.batch_size}",
                kept if stage.kept else "nothing",
                percent(stage.val_accuracy),
                f"{stage.seconds:.1f} s",
            )
        )
    return Table(
        "The stages of the plan, in order",
        ("Stage", "Frozen", "Epochs", "Batch", "Kept", "Validation right", "Time"),
        tuple(rows),
        words=frozenset({0, 1, 4}),
    )


def _history_table(result: FitResult) -> Table:
    rows = [
        cells(
            f"{number}",
            row["stage"],
            *(_number(row.get(name)) for name in ("loss", "val_loss")),
            *shares(*(_known(row.get(name)) for name in ("accuracy", "val_accuracy"))),
            "kept" if number == result.best_epoch else "",
        )
        for number, row in enumerate(result.history, 1)
    ]
    return Table(
        "Every epoch",
        ("Epoch", "Stage", "Loss", "Loss, validation", "Right", "Right, validation", ""),
        tuple(rows),
        words=frozenset({0, 1, 6}),
    )


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _number(value: float | None) -> tuple[float, str]:
    known = _known(value)
    return (math.inf, "-") if known is None else (known, f"{known:.4g}")


def rates(result: FitResult, block_names: Sequence[str]) -> Section:
    """Return the learning rate of the head and of each block that trained, over the epochs.

    Args:
        result: of the training.
        block_names: of the backbone, from the first.
    """
    key, title = "rates", "How fast each part learnt"
    groups = _together(rates_of(result), block_names)
    if not groups:
        return Section(key, title, (Text(("No epoch was trained, so there was no rate.",)),))
    rows = [
        cells(name, *_range(points), count(len(points), "epoch")) for name, points in groups.items()
    ]
    table = Table(
        "Learning rate at the end of its epochs",
        ("Group", "First", "Highest", "Last", "Trained for"),
        tuple(rows),
    )
    picture = Picture(
        draw_rates(groups, spans_of(result)),
        "The learning rate of the head, and of the blocks that trained: the head's times the "
        "block's multiplier. Where a line is missing, that part was frozen.",
        (table,),
    )
    return Section(key, title, (picture,))


def rates_of(result: FitResult) -> dict[str, Rates]:
    """For the head and each block that trained: the epoch from 1, and the rate at its end."""
    found: dict[str, list[tuple[int, float]]] = {}
    done = 0
    for stage in result.stages:
        multipliers = {each["group"]: each["multiplier"] for each in stage.groups}
        for name, multiplier in (multipliers or {"head": 1.0}).items():
            points = found.setdefault(name, [])
            points += [
                (done + epoch, row["learning_rate"] * multiplier)
                for epoch, row in enumerate(stage.history, 1)
            ]
        done += len(stage.history)
    return {name: tuple(points) for name, points in found.items() if points}


def _together(groups: Mapping[str, Rates], block_names: Sequence[str]) -> dict[str, Rates]:
    """Return the head, then the blocks from the last, those with the same rates as one."""
    number = {name: at for at, name in enumerate(block_names, 1)}
    equal: dict[Rates, list[int]] = {}
    for name in sorted(groups, key=lambda each: -number.get(each, len(number) + 1)):
        equal.setdefault(groups[name], []).append(number.get(name, 0))
    return {_label(numbers): points for points, numbers in equal.items()}


def _label(numbers: Sequence[int]) -> str:
    """For example "head", "block 3" or "blocks 2 to 5", of numbers that fall; 0 is the head."""
    blocks = [each for each in numbers if each]
    words = ["head"] if 0 in numbers else []
    if len(blocks) > 1:
        # What trains at one rate are neighbours, but for those that hold nothing to train.
        words.append(f"blocks {blocks[-1]} to {blocks[0]}")
    elif blocks:
        words.append(f"block {blocks[0]}")
    return ", ".join(words)


def _range(points: Rates) -> Iterator[tuple[float, str]]:
    values = [rate for _, rate in points]
    yield from ((each, f"{each:.3g}") for each in (values[0], max(values), values[-1]))
