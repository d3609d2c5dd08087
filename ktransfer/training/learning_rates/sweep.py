"""Short trainings at several learning rates, side by side."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ktransfer.errors import InputError
from ktransfer.show.charts import Chart
from ktransfer.show.results import PrintedLines
from ktransfer.show.tables import aligned
from ktransfer.training.learning_rates.picture import draw_sweep
from ktransfer.training.learning_rates.range_test import finite_or_none

SWEEP_RATES = (1e-4, 1e-3, 1e-2, 1e-1)
_FIGURES = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class SweepTrial:
    """A short training at one learning rate.

    Attributes:
        learning_rate: above 0.
        history: A dict for each epoch: `epoch` (from 1), `loss`, `accuracy`, `val_loss`,
            `val_accuracy`.
        best_epoch: the epoch with the lowest validation loss; None if none is finite.
        diverged: whether the training broke.

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
class Sweep(PrintedLines):
    """Short trainings at several learning rates. Print it for a table.

    Attributes:
        trials: at least one, each at a rate of its own.
        start_loss: the validation loss before each of them; None where the head knew nothing, or it
            is not known.
        guessing_loss: the loss of guessing among the classes; None: not known.

    Raises:
        InputError: There is no trial, or two have the same rate.

    Example:
        >>> row = {"epoch": 1, "loss": 0.7, "accuracy": 0.5, "val_loss": 0.6, "val_accuracy": 0.8}
        >>> Sweep((SweepTrial(0.001, (row,), best_epoch=1),)).best.learning_rate
        0.001
    """

    trials: tuple[SweepTrial, ...]
    start_loss: float | None = None
    guessing_loss: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "trials", tuple(self.trials))
        rates = [trial.learning_rate for trial in self.trials]
        if not rates or len(set(rates)) < len(rates):
            raise InputError(f"a sweep has at least one trial, each at its own rate, got {rates}")

    @property
    def best(self) -> SweepTrial | None:
        """The trial with the lowest validation loss of those that learned something, if any.

        One that diverged has not, nor one whose lowest loss is no lower than that of guessing.
        """
        whole = [
            (trial.best["val_loss"], trial)
            for trial in self.trials
            if trial.best is not None and not trial.diverged and not self._guesses(trial.best)
        ]
        return min(whole, key=lambda each: each[0], default=(math.inf, None))[1]

    def verdict(self, trial: SweepTrial) -> str:
        """Say in words what a trial did: not how good it is beside the others.

        Returns:
            `"diverged"`: a loss was not finite. `"no better than guessing"`, in every epoch.
            `"ended worse than guessing"`: in the last epoch, and not in the best one.
            `"no better than before"`: no epoch had a lower loss than the start. `"still falling"`:
            the last of several epochs was the best one. `""`: none of these.
        """
        if trial.diverged or trial.best is None:
            return "diverged"
        if self._guesses(trial.best):
            return "no better than guessing"
        if self._guesses(trial.history[-1]):
            return "ended worse than guessing"
        if self.start_loss is not None and trial.best["val_loss"] >= self.start_loss:
            return "no better than before"
        return "still falling" if trial.still_falling else ""

    def _guesses(self, row: Mapping[str, Any]) -> bool:
        # Not below: NaN is no better, either.
        return self.guessing_loss is not None and not row["val_loss"] < self.guessing_loss

    def __str__(self) -> str:
        titles = ["rate", "epochs", "best epoch", "train loss", "val loss", "val accuracy", ""]
        lines = [titles, *([*_cells(trial), self._remark(trial)] for trial in self.trials)]
        known = {"before": self.start_loss, "by guessing": self.guessing_loss}
        beside = [f"{loss:.4f} {name}" for name, loss in known.items() if loss is not None]
        said = [f"val loss: {', '.join(beside)}"] if beside else []
        return "\n".join([*aligned(lines, left={len(titles) - 1}, ruled=True), *said])

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON: None for what is not finite."""
        best = self.best
        return {
            "best_learning_rate": best.learning_rate if best else None,
            "start_loss": finite_or_none(self.start_loss),
            "guessing_loss": self.guessing_loss,
            "trials": [
                {
                    "learning_rate": trial.learning_rate,
                    "best_epoch": trial.best_epoch,
                    "diverged": trial.diverged,
                    "verdict": self.verdict(trial),
                    "history": [
                        {name: finite_or_none(value) for name, value in row.items()}
                        for row in trial.history
                    ],
                }
                for trial in self.trials
            ],
        }

    def plot(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Draw training and validation loss over the epochs, a curve for each rate, as SVG or PNG.

        Raises:
            InputError: The path does not end in `.svg` or `.png`, exists (unless `overwrite`) or
                cannot be written.
        """
        self.chart().save(path, overwrite=overwrite)

    def chart(self) -> Chart:
        """Return the picture of `plot` as a value: shown by a notebook, put into a page."""
        histories = {self._label(trial): trial.history for trial in self.trials}
        return draw_sweep(
            histories, [self._label(trial) for trial in self.trials if not trial.diverged]
        )

    def _label(self, trial: SweepTrial) -> str:
        remark, rate = self._remark(trial), f"{trial.learning_rate:g}"
        if sum(f"{each.learning_rate:g}" == rate for each in self.trials) > 1:
            rate = repr(trial.learning_rate)
        return rate + (f" ({remark})" if remark else "")

    def _remark(self, trial: SweepTrial) -> str:
        best = "best" if trial is self.best else ""
        return ", ".join(each for each in (best, self.verdict(trial)) if each)


def _cells(trial: SweepTrial) -> list[str]:
    best = trial.best
    figures = ["-"] * 4
    if best is not None:
        losses = [f"{best['loss']:.4f}", f"{best['val_loss']:.4f}"]
        figures = [str(best["epoch"]), *losses, f"{best['val_accuracy']:.1%}"]
    return [f"{trial.learning_rate:g}", str(len(trial.history)), *figures]
