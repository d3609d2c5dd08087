"""KerasTuner's oracles: they begin where the advice says, and go on where a search was killed.

A search that goes on asks a new oracle for every trial again, and answers from the records of those
that are finished: KerasTuner's own files are written in place, so that a kill can damage them, and
leave out where a grid was.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras_tuner import HyperParameters, Objective, Oracle, oracles
from keras_tuner.engine.trial import Trial
from sklearn.exceptions import ConvergenceWarning

from ktransfer._checks import InputError, unknown_name
from ktransfer._threads import one_blas_thread
from ktransfer.plan.fields import whole
from ktransfer.tuner.records import Record
from ktransfer.tuner.space import depths_of, grid_size

ORACLES = ("random", "grid", "bayesian", "hyperband")
#: Not the accuracy: of a few dozen images it has ties, from which no oracle learns anything.
OBJECTIVE = "val_calibrated_loss"

_FACTOR = 3  # of Hyperband: a third of the trials goes on, for three times the epochs
_LEAST_BAYESIAN = 5

Known = Callable[[str], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Search:
    """How the space is searched.

    Attributes:
        oracle: one of `ORACLES`.
        max_trials: most trials.
        epochs: most epochs of a trial's last stage; Hyperband begins with fewer.
        seed: of the oracle.
    """

    oracle: str
    max_trials: int
    epochs: int
    seed: int

    def check(self, space: HyperParameters) -> None:
        """Raise an `InputError` for an unknown oracle, or one that needs more trials."""
        if self.oracle not in ORACLES:
            raise unknown_name("oracle", str(self.oracle), ORACLES)
        whole("a search", "max_trials", self.max_trials, 1)
        whole("a search", "epochs", self.epochs, 1)
        needed, why = self._needed(space)
        if self.max_trials < needed:
            raise InputError(
                f"the oracle {self.oracle!r} needs at least {needed:,} trials ({why}), "
                f"got max_trials={self.max_trials}"
            )

    def _needed(self, space: HyperParameters) -> tuple[int, str]:
        if self.oracle == "grid":
            return grid_size(space), "the points of the grid: fix or narrow hyperparameters"
        if self.oracle == "hyperband":
            return hyperband_size(self.epochs), f"the brackets for {self.epochs} epochs"
        if self.oracle == "bayesian":
            return _LEAST_BAYESIAN, "some to begin with, and one that they are good for"
        return 1, ""

    def make(self, space: HyperParameters, known: Known) -> Oracle:
        """A new oracle.

        Args:
            space: what it searches.
            known: the values of a trial that has begun before, by its id.
        """
        options: dict[str, Any] = {
            "objective": Objective(OBJECTIVE, "min"),
            "hyperparameters": space,
            "seed": self.seed + 1,  # KerasTuner takes 0 for none
            # A trial that fails is recorded, and the search goes on.
            "max_consecutive_failed_trials": 10**9,
        }
        if self.oracle == "hyperband":
            return oracles.HyperbandOracle(max_epochs=self.epochs, factor=_FACTOR, **options)
        options["max_trials"] = self.max_trials
        if self.oracle == "grid":
            return _Grid(**options)
        if self.oracle == "random":
            return _Random(**options)
        initial = max(_LEAST_BAYESIAN - 1, self.max_trials // 3)
        return _Bayesian(known, num_initial_points=initial, **options)


def end_trial(oracle: Oracle, trial: Trial, record: Record) -> None:
    """Tell an oracle how a trial went."""
    if not record.metrics:
        trial.status, trial.message = "FAILED", record.reason
    else:
        oracle.update_trial(trial.trial_id, record.metrics)
        trial.status = "COMPLETED"
    oracle.end_trial(trial)


class _Grid(oracles.GridSearchOracle):
    """The grid, point by point, without KerasTuner's wait for the end of the last trial.

    It waits since a trial of its own might find new hyperparameters; a plan has none, and of
    several workers only one would have something to do.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The values of a trial: the point after the one of the last trial."""
        found: dict[str, Any] = super().populate_space(trial_id)
        if found["status"] == "RUNNING":
            self._populate_next.append(trial_id)
        return found


class _Random(oracles.RandomSearchOracle):
    """Random search, after the depths to begin with."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The values of a trial."""
        return _first(self, trial_id) or super().populate_space(trial_id)


class _Bayesian(oracles.BayesianOptimizationOracle):
    """Bayesian search, after the depths to begin with; what it has decided stays decided.

    Args:
        known: the values of a trial that has begun before, by its id.
        **options: of the oracle.
    """

    def __init__(self, known: Known, **options: Any) -> None:
        super().__init__(**options)
        self._known = known

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The values of a trial."""
        first = _first(self, trial_id)
        if first:
            return first
        done = sum(trial.status == "COMPLETED" for trial in self.trials.values())
        values = self._known(trial_id)
        # Random points are drawn again, for the generator to go on; the others take seconds each.
        if values is not None and done >= self.num_initial_points:
            return {"status": "RUNNING", "values": dict(values)}
        with one_blas_thread(), warnings.catch_warnings():
            # Where the scores of a few points are nearly equal, any kernel fits them.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().populate_space(trial_id)


@contextlib.contextmanager
def without_tracebacks() -> Iterator[None]:
    """Within it KerasTuner prints none for a trial that fails: the record has its reason."""
    from keras_tuner.src import config

    before, config.DEBUG = config.DEBUG, False
    try:
        yield
    finally:
        config.DEBUG = before


def hyperband_size(epochs: int) -> int:
    """How many trials Hyperband takes for so many epochs (Li et al. 2016, arXiv 1603.06560)."""
    brackets = math.floor(math.log(epochs, _FACTOR) + 1e-9) + 1
    last = math.ceil(1 + math.log(epochs, _FACTOR))
    return sum(
        math.ceil(last / (bracket + 1) * _FACTOR ** (bracket - done))
        for bracket in range(brackets)
        for done in range(bracket + 1)
    )


def first_depths(space: HyperParameters, max_trials: int) -> list[int]:
    """The depths to begin with: where the advice is, the head alone, and others evenly between.

    Points drawn by chance may leave depths out; the rates are searched in the trials after these.

    Args:
        space: what is searched.
        max_trials: half of them begin with a depth, or as many as there are depths.
    """
    depths = sorted(depths_of(space))
    count = min(len(depths), max(2, max_trials // 2))
    spread = [depths[round(at)] for at in np.linspace(0, len(depths) - 1, count)]
    return list(dict.fromkeys((space.get("unfreeze"), *spread)))[:max_trials]


def _first(oracle: Oracle, trial_id: str) -> dict[str, Any] | None:
    """The point of a depth to begin with, at the rates to begin with."""
    space, number = oracle.get_space(), int(trial_id)
    depths = first_depths(space, oracle.max_trials)
    if number >= len(depths):
        return None
    space.values = {"unfreeze": depths[number]}
    for each in space.space:
        if each.name != "unfreeze" and space.is_active(each):
            space.values[each.name] = each.default
    return {"status": "RUNNING", "values": space.values}
