"""How many parameters of a model are frozen, and how many train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ktransfer.show.results import PrintedLines
from ktransfer.show.tables import aligned


@dataclass(frozen=True)
class SummaryRow:
    """One block of the model, or its head: how many parameters are frozen, how many train."""

    name: str
    frozen: int
    trainable: int


@dataclass(frozen=True)
class Summary(PrintedLines):
    """Frozen and trainable parameters per block and in all; `str` of it is a table."""

    rows: tuple[SummaryRow, ...]

    @property
    def frozen_parameters(self) -> int:
        """Numbers that do not train, batch-norm statistics counted."""
        return sum(row.frozen for row in self.rows)

    @property
    def trainable_parameters(self) -> int:
        """Numbers that train."""
        return sum(row.trainable for row in self.rows)

    @property
    def total_parameters(self) -> int:
        """All numbers of the model."""
        return self.frozen_parameters + self.trainable_parameters

    def __str__(self) -> str:
        total = SummaryRow("in all", self.frozen_parameters, self.trainable_parameters)
        head = ("block", f"{'frozen':>13}", f"{'trainable':>13}")
        rows = [(row.name, f"{row.frozen:,}", f"{row.trainable:,}") for row in (*self.rows, total)]
        lines = aligned([head, *rows])
        return "\n".join([*lines[:-1], "-" * len(lines[0]), lines[-1]])


def summary_of(
    blocks: Sequence[tuple[str, int, int]], num_parameters: int, num_of_head: int
) -> Summary:
    """Return the summary of a model.

    Args:
        blocks: as in `Classifier`.
        num_parameters: of the whole model.
        num_of_head: of its head.
    """
    rows = [SummaryRow(*block) for block in blocks]
    preprocessing = num_parameters - num_of_head - sum(sum(counts) for _, *counts in blocks)
    if preprocessing:  # EfficientNet keeps the statistics of its pixels as weights
        rows.insert(0, SummaryRow("preprocessing", preprocessing, 0))
    return Summary((*rows, SummaryRow("head", 0, num_of_head)))
