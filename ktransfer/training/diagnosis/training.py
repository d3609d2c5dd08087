"""A finished training as the diagnosis sees it: its history, its trends, its gap."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ktransfer.errors import InputError
from ktransfer.metrics import wilson_interval

Row = Mapping[str, Any]

#: Gaps up to this do not matter, however sure they are.
GAP_THAT_MATTERS = 0.05
#: The validation loss rose clearly from this share on; on few images it takes more.
RISE_THAT_MATTERS = 0.10
#: And by this much, in nats: ten times hardly anything is hardly anything.
LEAST_RISE = 0.02
#: A loss still falls if it falls by this share from one quarter of the epochs to the next.
STILL_FALLING = 0.02
#: A training loss of so many times that of guessing is the weights flying apart.
EXPLODED_TIMES = 10.0
#: How many last epochs say where the losses ended; as many must follow the kept one.
LAST_EPOCHS = 3

_FIGURES = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class Training:
    """The history and what is known about the training, as `diagnose` takes them."""

    rows: Sequence[Row]
    num_train: int
    num_validation: int
    guessing: float
    trained: str
    learning_rate: float
    tuning: str = "untried"

    def learned(self, row: Row) -> float:
        """How far the accuracy of an epoch lies from guessing (0) to no error (1)."""
        # Strong augmentation keeps the training accuracy down; what is sure of the validation
        # accuracy counts as well.
        right = round(row["val_accuracy"] * self.num_validation)
        sure = wilson_interval(right, self.num_validation)[0]
        return (max(row["accuracy"], sure) - self.guessing) / (1 - self.guessing)

    def after(self, kept: Row) -> list[Row]:
        """The epochs after the kept one."""
        return [row for row in self.rows if row["epoch"] > kept["epoch"]]

    def falling(self, figure: str) -> bool:
        """Whether a loss still falls at the end: its last quarter against the one before."""
        values = [row[figure] for row in self.rows]
        width = max(1, len(values) // 4)
        return sum(values[-width:]) < (1 - STILL_FALLING) * sum(values[-2 * width : -width])

    def gap(self, row: Row) -> tuple[float, tuple[float, float]]:
        """The difference of an epoch's two accuracies and its 95 % interval."""
        return gap_with_interval(
            row["accuracy"], self.num_train, row["val_accuracy"], self.num_validation
        )

    def gap_counts(self, row: Row) -> bool:
        """Whether the gap is more than chance and matters, and would with one more image right."""
        # One image may be odd or wrongly labelled; with 10 of them it is a gap of 10 points.
        better = min(1.0, row["val_accuracy"] + 1 / self.num_validation)
        gaps = [self.gap({**row, "val_accuracy": each}) for each in (row["val_accuracy"], better)]
        return all(gap > GAP_THAT_MATTERS and interval[0] > 0 for gap, interval in gaps)

    def val_loss_rose(self, kept: Row) -> bool:
        """Whether the validation loss rose after the kept epoch while the training loss fell on."""
        if len(self.after(kept)) < LAST_EPOCHS:
            return False
        loss, val_loss = self.last_losses()
        # The losses of images spread about as an exponential distribution, whose deviation is its
        # mean: so the mean of n of them is known to one part in the root of n.
        share = max(RISE_THAT_MATTERS, 1 / math.sqrt(self.num_validation))
        needed = max(LEAST_RISE, share * kept["val_loss"])
        return loss < kept["loss"] and val_loss - kept["val_loss"] > needed

    def last_losses(self) -> tuple[float, float]:
        """Means of the training and the validation loss of the last epochs."""
        last = self.rows[-LAST_EPOCHS:]
        loss, val_loss = (
            sum(row[name] for row in last) / len(last) for name in ("loss", "val_loss")
        )
        return loss, val_loss


def gap_with_interval(
    train_accuracy: float, num_train: int, val_accuracy: float, num_validation: int
) -> tuple[float, tuple[float, float]]:
    """The difference of two accuracies and its 95 % interval (Newcombe 1998, method 10)."""
    gap = train_accuracy - val_accuracy
    low, high = wilson_interval(round(train_accuracy * num_train), num_train)
    val_low, val_high = wilson_interval(round(val_accuracy * num_validation), num_validation)
    down = math.hypot(train_accuracy - low, val_high - val_accuracy)
    up = math.hypot(high - train_accuracy, val_accuracy - val_low)
    return gap, (gap - down, gap + up)


def check_history(history: Sequence[Row], best_epoch: int | None) -> Row | None:
    """The epoch whose weights were kept, if any, of a history in which nothing is missing.

    Raises:
        InputError: The history is empty or lacks a figure, or the best epoch is none of it.
    """
    if not history:
        raise InputError(f"the history is empty, got {history!r}: train at least one epoch")
    for row in history:
        missing = [figure for figure in _FIGURES if figure not in row]
        if missing:
            raise InputError(f"an epoch of the history lacks {missing[0]!r}, got {dict(row)!r}")
    if best_epoch is None:
        return None
    rows = {row["epoch"]: row for row in history}
    if best_epoch not in rows:
        raise InputError(
            f"best_epoch must be an epoch of the history, got {best_epoch!r} of {list(rows)!r}"
        )
    return rows[best_epoch]
