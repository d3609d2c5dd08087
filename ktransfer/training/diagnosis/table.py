"""The history of a training as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from ktransfer.show.tables import aligned
from ktransfer.training.diagnosis.training import Row, check_history

#: How a figure is written; the columns in their order. Those that no epoch has are left out.
COLUMNS = {
    "epoch": "d",
    "stage": "",
    "loss": ".4f",
    "accuracy": ".1%",
    "val_loss": ".4f",
    "val_accuracy": ".1%",
    "learning_rate": ".3g",
    "seconds": ".1f",
}


def history_table(
    history: Sequence[Row], best_epoch: int | None = None, *, every: bool = False
) -> str:
    """Return the history as aligned text, a row for each epoch, the kept one marked with `*`.

    Args:
        history: A dict for each epoch, as `diagnose` takes it; `stage`, `learning_rate` and
            `seconds` are shown where they are present.
        best_epoch: the epoch whose weights were kept; None marks none.
        every: False leaves out epochs in the middle: shown are the first 3, the last 3, and the
            kept one with its neighbours.

    Raises:
        InputError: The history is empty or lacks a figure, or the best epoch is none of it.
    """
    kept = check_history(history, best_epoch)
    columns = [name for name in COLUMNS if any(name in row for row in history)]
    lines = [["", *columns]]
    before = -1
    for index in _shown(history, kept, every):
        if index > before + 1:
            lines.append(["", "...", *[""] * (len(columns) - 1)])
        before, row = index, history[index]
        cells = [format(row[name], COLUMNS[name]) if name in row else "-" for name in columns]
        lines.append(["*" if row is kept else "", *cells])
    # Words to the left, numbers to the right.
    left = {at for at, name in enumerate(columns, 1) if name == "stage"}
    return "\n".join(aligned(lines, left=left, ruled=True))


def _shown(history: Sequence[Row], kept: Row | None, every: bool) -> list[int]:
    """Choose the rows that are shown; a gap of one row is not worth its dots."""
    count = len(history)
    best = next((index for index, row in enumerate(history) if row is kept), 0)
    near = {0, 1, 2, best - 1, best, best + 1, count - 3, count - 2, count - 1}
    return [
        index for index in range(count) if every or index in near or {index - 1, index + 1} <= near
    ]
