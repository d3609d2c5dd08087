"""What the groups of an optimizer are, and how far each has moved: data that prints as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from keras import ops

from ktransfer.errors import InputError
from ktransfer.show.tables import aligned

_COLUMNS = ("group", "tensors", "parameters", "multiplier", "learning_rate", "movement")


@dataclass(frozen=True)
class GroupReport:
    """One group of an optimizer.

    Attributes:
        group: the name; "(no group)" for what has no multiplier.
        tensors: how many variables it has.
        parameters: how many numbers they hold.
        multiplier: the multiplier now.
        learning_rate: the learning rate now, times the multiplier.
        movement: norm(now - start) / norm(start) over the whole group since a snapshot; infinite
            where zeros have moved; None without a snapshot.
    """

    group: str
    tensors: int
    parameters: int
    multiplier: float
    learning_rate: float
    movement: float | None = None


@dataclass(frozen=True)
class MultiplierReport:
    """The groups of an optimizer in order. `str` makes a table of it."""

    groups: tuple[GroupReport, ...]

    def __getitem__(self, name: str) -> GroupReport:
        return next(each for each in self.groups if each.group == name)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(aligned([_COLUMNS, *map(_cells, self.groups)]))


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The weights at one moment, on the host. It costs their memory once, and nothing per step."""

    values: tuple[Any, ...] = field(repr=False)


def make_report(
    rows: Iterable[tuple[str, float, Sequence[int]]],
    variables: Sequence[Any],
    learning_rate: float,
    since: Snapshot | None,
) -> MultiplierReport:
    """Return the report on some groups.

    Args:
        rows: for each group its name, its multiplier, and which of the variables it has.
        variables: all variables that are trained.
        learning_rate: the learning rate before it is multiplied.
        since: the weights from which movement is measured, or None.

    Raises:
        InputError: The snapshot is not of these variables.
    """
    start = None if since is None else _check_snapshot(since, variables)
    reports = []
    for name, multiplier, positions in rows:
        members = [variables[position] for position in positions]
        moved = None
        if start is not None:
            moved = movement([start[each] for each in positions], map(as_array, members))
        sizes = [math.prod(each.shape) for each in members]
        rate = multiplier * learning_rate
        reports.append(GroupReport(name, len(sizes), sum(sizes), multiplier, rate, moved))
    return MultiplierReport(tuple(reports))


def _check_snapshot(since: Snapshot, variables: Sequence[Any]) -> tuple[Any, ...]:
    if [each.shape for each in since.values] != [tuple(each.shape) for each in variables]:
        raise InputError(
            f"the snapshot has {len(since.values)} tensors that are not the {len(variables)} of "
            "this optimizer: take it with the same optimizer"
        )
    return since.values


def as_array(variable: Any) -> np.ndarray:
    """Return a copy of the value of a variable on the host."""
    # By way of a tensor: Keras 3.15.1 reads variables through a protocol that NumPy 2 deprecates.
    return ops.convert_to_numpy(ops.copy(variable))


def movement(start: Iterable[Any], now: Iterable[Any]) -> float:
    """norm(now - start) / norm(start), over all the arrays together."""
    pairs = [
        (np.float64(1) * old, np.float64(1) * new) for old, new in zip(start, now, strict=True)
    ]
    moved = math.sqrt(sum(float(np.sum((new - old) ** 2)) for old, new in pairs))
    length = math.sqrt(sum(float(np.sum(old**2)) for old, _ in pairs))
    if not length:  # fresh biases are zeros
        return math.inf if moved else 0.0
    return moved / length


def _cells(row: GroupReport) -> tuple[str, ...]:
    moved = "" if row.movement is None else f"{row.movement:.3g}"
    return (
        row.group,
        f"{row.tensors:,}",
        f"{row.parameters:,}",
        f"{row.multiplier:.4g}",
        f"{row.learning_rate:.4g}",
        moved,
    )
