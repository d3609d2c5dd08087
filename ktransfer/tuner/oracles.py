"""KerasTuner's oracles: they begin where the advice says, and go on where a search was killed.

A search that goes on asks a new oracle for every trial again, and answers from the records of those
that are finished: KerasTuner's own files are written in place, so that a kill can damage them, and
leave out where a grid was.
"""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras_tuner import HyperParameters, Objective, Oracle, oracles
from keras_tuner.engine.trial import Trial
from sklearn.exceptions import ConvergenceWarning

from ktransfer.errors import InputError
from ktransfer.plan.fields import whole
from ktransfer.processes.threads import one_blas_thread
from ktransfer.tuner.budget import (
    FACTOR,
    check_oracle,
    check_trials,
    hyperband_points,
    of_grid,
    of_hyperband,
)
from ktransfer.tuner.records import Record
from ktransfer.tuner.space import depths_of, grid_points, grid_size, is_finite

#: Not the accuracy: of a few dozen images it has ties, from which no oracle learns anything.
OBJECTIVE = "val_calibrated_loss"

#: So many points a Gaussian process is given to begin with, where there are trials for them.
_INITIAL_POINTS = 4
#: Of more points than these that are left, so many are drawn to choose among.
_MOST_CANDIDATES = 500
_FEW_CANDIDATES = 20

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

    def check(self, space: HyperParameters, option: str = "max_trials=") -> None:
        """Raise an `InputError` for an unknown oracle, or one that the trials or space do not fit.

        Args:
            space: what is searched.
            option: how the caller gives the most trials.
        """
        check_oracle(self.oracle)
        whole("a search", "max_trials", self.max_trials, 1)
        whole("a search", "epochs", self.epochs, 1)
        if self.oracle == "grid":
            check_trials("grid", *of_grid(grid_size(space)), self.max_trials, option)
        elif self.oracle == "hyperband":
            check_trials("hyperband", *of_hyperband(self.epochs), self.max_trials, option)
            self._check_brackets(space)

    def _check_brackets(self, space: HyperParameters) -> None:
        """Refuse a bracket that is never full: it promotes nobody."""
        needed = hyperband_points(self.epochs)
        if is_finite(space) and grid_size(space) < needed:
            raise InputError(
                f"the oracle 'hyperband' begins with {needed} different points for {self.epochs} "
                f"epochs, got a space of {grid_size(space)}: take the oracle 'grid', which tries "
                "each once, or give fewer epochs"
            )

    def notes(self, num_trials: int) -> tuple[str, ...]:
        """Say what to say of a search that has ended after so many trials."""
        # Hyperband has its number of trials by itself.
        if self.oracle == "hyperband" or num_trials >= self.max_trials:
            return ()
        points = "its one point was" if num_trials == 1 else f"all {num_trials:,} points of it were"
        return (
            f"the space is exhausted: {points} tried, and no point twice, so the search ended "
            f"before trial {self.max_trials}",
        )

    def make(self, space: HyperParameters, known: Known) -> Oracle:
        """Return a new oracle.

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
            return _Hyperband(max_epochs=self.epochs, factor=FACTOR, **options)
        options["max_trials"] = self.max_trials
        if self.oracle == "grid":
            return _Grid(**options)
        if self.oracle == "random":
            return _Random(**options)
        initial = max(_INITIAL_POINTS, self.max_trials // 3)
        # With few trials, all but one begin; KerasTuner takes 0 for three times the dimensions.
        initial = max(1, min(initial, self.max_trials - 1))
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
        """Return the values of a trial: the point after the one of the last trial."""
        found: dict[str, Any] = super().populate_space(trial_id)
        if found["status"] == "RUNNING":
            self._populate_next.append(trial_id)
        return found


class _Hyperband(oracles.HyperbandOracle):
    """Hyperband, which begins with each point once; those that go on are tried for longer."""

    def _random_values(self) -> dict[str, Any] | None:
        return super()._random_values() or one_left(self)


class _Random(oracles.RandomSearchOracle):
    """Random search, after the depths to begin with."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the values of a trial."""
        return _first(self, trial_id) or super().populate_space(trial_id)

    def _random_values(self) -> dict[str, Any] | None:
        return super()._random_values() or one_left(self)


class _Bayesian(oracles.BayesianOptimizationOracle):
    """Bayesian search, after the depths to begin with; what it has decided stays decided.

    KerasTuner's optimum may be a point that was tried, which says nothing new: then it is the
    best, by the same bound, of those that were not.

    Args:
        known: the values of a trial that has begun before, by its id.
        **options: of the oracle.
    """

    def __init__(self, known: Known, **options: Any) -> None:
        super().__init__(**options)
        self._known = known

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the values of a trial."""
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
            found: dict[str, Any] = super().populate_space(trial_id)
            if found["status"] == "RUNNING" and self._duplicate(found["values"]):
                return self._best_left()
            return found

    def _random_values(self) -> dict[str, Any] | None:
        return super()._random_values() or one_left(self)

    def _best_left(self) -> dict[str, Any]:
        """Of the points that were not tried that of the lowest bound; the search ends without."""
        candidates = _candidates(self)
        if not candidates:
            return {"status": "STOPPED", "values": None}
        free = self._nonfixed_space()
        rows = [
            [each.value_to_prob(point.get(each.name, each.default)) for each in free]
            for point in candidates
        ]
        mean, deviation = self.gpr.predict(np.array(rows), return_std=True)
        best = int(np.argmin(mean - self.beta * deviation))
        return {"status": "RUNNING", "values": candidates[best]}


def one_left(oracle: Oracle) -> dict[str, Any] | None:
    """Return a point that was not tried, by the oracle's seed; None where there is none.

    KerasTuner gives up after drawing 20 times what was tried, be there others or not.
    """
    left = _left(oracle)
    oracle._seed_state += 1
    return random.Random(oracle._seed_state).choice(left) if left else None


def _candidates(oracle: Oracle) -> list[dict[str, Any]]:
    """Point that were not tried, to choose among."""
    if not is_finite(oracle.get_space()):
        drawn = (oracle._random_values() for _ in range(_FEW_CANDIDATES))
        return [each for each in drawn if each is not None]
    left = _left(oracle)
    oracle._seed_state += 1
    return random.Random(oracle._seed_state).sample(left, min(len(left), _MOST_CANDIDATES))


def _left(oracle: Oracle) -> list[dict[str, Any]]:
    """Return the points of a grid over the space that were not tried."""
    return [point for point in grid_points(oracle.get_space()) if not oracle._duplicate(point)]


@contextlib.contextmanager
def without_tracebacks() -> Iterator[None]:
    """Within it KerasTuner prints none for a trial that fails: the record has its reason."""
    from keras_tuner.src import config

    before, config.DEBUG = config.DEBUG, False
    try:
        yield
    finally:
        config.DEBUG = before


def first_depths(space: HyperParameters, max_trials: int) -> list[int]:
    """Choose the first depths: where the advice is, the head alone, and some between.

    Points drawn by chance may leave depths out; the rates are searched in the trials after these.

    Args:
        space: what is searched.
        max_trials: each depth has one, as far as they go.
    """
    depths = sorted(depths_of(space))
    count = min(len(depths), max_trials)
    spread = [depths[round(at)] for at in np.linspace(0, len(depths) - 1, count)]
    return list(dict.fromkeys((space.get("unfreeze"), *spread)))[:max_trials]


def _first(oracle: Oracle, trial_id: str) -> dict[str, Any] | None:
    """Return the point of a depth to begin with, at the rates to begin with."""
    space, number = oracle.get_space(), int(trial_id)
    depths = first_depths(space, oracle.max_trials)
    if number >= len(depths):
        return None
    space.values = {"unfreeze": depths[number]}
    for each in space.space:
        if each.name != "unfreeze" and space.is_active(each):
            space.values[each.name] = each.default
    return {"status": "RUNNING", "values": space.values}
