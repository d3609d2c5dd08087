"""Short trainings at several learning rates, side by side."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ktransfer.charts import PALETTE, Axis, Curve, Panel, draw, write_svg
from ktransfer.errors import InputError
from ktransfer.show.tables import aligned
from ktransfer.training.learning_rates.range_test import finite_or_none

SWEEP_RATES = (1e-4, 1e-3, 1e-2, 1e-1)

#: From this factor between the highest and the lowest loss on the picture is logarithmic.
LARGE_RANGE = 10.0
_FIGURES = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class SweepTrial:
    """A short training at one learning rate.

    Attributes:
        learning_rate: Above 0.
        history: A dict for each epoch: `epoch` (from 1), `loss`, `accuracy`, `val_loss`,
            `val_accuracy`.
        best_epoch: The epoch with the lowest validation loss; None if none is finite.
        diverged: Whether the training broke.

    Raises:
        InputError: The rate is not above 0, an epoch lacks a figure, or the best epoch is none of
            the history.
    """

    learning_rate: float
    history: tuple[Mapping[str, Any], ...]
    best_epoch: int | None
    diverged: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning_rate must be above 0, got {self.learning_rate!r}")
        object.__setattr__(self, "history", tuple(self.history))
        for row in self.history:
            missing = [figure for figure in _FIGURES if figure not in row]
            if missing:
                raise InputError(f"an epoch of the history lacks {missing[0]!r}, got {dict(row)!r}")
        epochs = [row["epoch"] for row in self.history]
        if self.best_epoch is not None and self.best_epoch not in epochs:
            raise InputError(
                f"best_epoch must be an epoch of the history, got {self.best_epoch!r} of {epochs!r}"
            )

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The figures of the best epoch."""
        return next((row for row in self.history if row["epoch"] == self.best_epoch), None)

    @property
    def still_falling(self) -> bool:
        """Whether the last of several epochs was the best one."""
        return len(self.history) > 1 and self.best_epoch == self.history[-1]["epoch"]


@dataclass(frozen=True)
class Sweep:
    """Short trainings at several learning rates. Print it for a table.

    Attributes:
        trials: At least one, each at a rate of its own.

    Raises:
        InputError: There is no trial, or two have the same rate.

    Example:
        >>> row = {"epoch": 1, "loss": 0.7, "accuracy": 0.5, "val_loss": 0.6, "val_accuracy": 0.8}
        >>> Sweep((SweepTrial(0.001, (row,), best_epoch=1),)).best.learning_rate
        0.001
    """

    trials: tuple[SweepTrial, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "trials", tuple(self.trials))
        rates = [trial.learning_rate for trial in self.trials]
        if not rates or len(set(rates)) < len(rates):
            raise InputError(f"a sweep has at least one trial, each at its own rate, got {rates}")

    @property
    def best(self) -> SweepTrial | None:
        """The trial with the lowest validation loss of those that did not diverge, if any."""
        whole = [
            (trial.best["val_loss"], trial)
            for trial in self.trials
            if trial.best is not None and not trial.diverged
        ]
        return min(whole, key=lambda each: each[0], default=(math.inf, None))[1]

    def __str__(self) -> str:
        titles = ["rate", "epochs", "best epoch", "train loss", "val loss", "val accuracy", ""]
        lines = [titles, *([*_cells(trial), self._remark(trial)] for trial in self.trials)]
        return "\n".join(aligned(lines, left={len(titles) - 1}, ruled=True))

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, ready for JSON: None for what is not finite."""
        best = self.best
        return {
            "best_learning_rate": best.learning_rate if best else None,
            "trials": [
                {
                    "learning_rate": trial.learning_rate,
                    "best_epoch": trial.best_epoch,
                    "diverged": trial.diverged,
                    "history": [
                        {name: finite_or_none(value) for name, value in row.items()}
                        for row in trial.history
                    ],
                }
                for trial in self.trials
            ],
        }

    def plot(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Draw training and validation loss over the epochs, a curve for each rate, as SVG.

        Raises:
            InputError: The path does not end in `.svg`, exists (unless `overwrite`) or cannot be
                written.
        """
        losses = {figure: self._losses(figure) for figure in ("loss", "val_loss")}
        together = [*losses["loss"], *losses["val_loss"], math.inf]
        log = min(together) > 0 and max(together[:-1], default=0) > LARGE_RANGE * min(together)
        panels = [
            Panel(
                x=Axis("epoch", whole=True, rounded=False),
                # A diverged curve leaves at the top and does not press the others flat.
                y=Axis("loss", log=log, high=max(losses[figure], default=None)),
                curves=tuple(self._curves(figure)),
                title=title,
            )
            for figure, title in (("loss", "training loss"), ("val_loss", "validation loss"))
        ]
        write_svg(path, draw("losses by learning rate", *panels), overwrite=overwrite)

    def _losses(self, figure: str) -> list[float]:
        """The finite ones of the trials that did not diverge."""
        rows = [row for trial in self.trials if not trial.diverged for row in trial.history]
        return [row[figure] for row in rows if math.isfinite(row[figure])]

    def _curves(self, figure: str) -> list[Curve]:
        curves = []
        for index, trial in enumerate(self.trials):
            colour, dashes = PALETTE[index % len(PALETTE)]
            remark = self._remark(trial)
            label = f"{trial.learning_rate:g}" + (f" ({remark})" if remark else "")
            points = tuple((row["epoch"], row[figure]) for row in trial.history)
            curves.append(Curve(label, colour, points, dashes=dashes, markers=True))
        return curves

    def _remark(self, trial: SweepTrial) -> str:
        if trial.diverged:
            return "diverged"
        remarks = {"best": trial is self.best, "still falling": trial.still_falling}
        return ", ".join(name for name, holds in remarks.items() if holds)


def _cells(trial: SweepTrial) -> list[str]:
    best = trial.best
    figures = ["-"] * 4
    if best is not None:
        losses = [f"{best['loss']:.4f}", f"{best['val_loss']:.4f}"]
        figures = [str(best["epoch"]), *losses, f"{best['val_accuracy']:.1%}"]
    return [f"{trial.learning_rate:g}", str(len(trial.history)), *figures]
