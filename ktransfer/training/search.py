"""Searching for a learning rate: a range test, and a sweep of short trainings.

Both try the last stage of a plan, from where the stages before it end, at constant rates. They
compile its model once and put its weights back between the tries.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ktransfer.errors import InputError
from ktransfer.plan import Stage
from ktransfer.training.learning_rates import RangeTest, Sweep, SweepTrial, range_test_result
from ktransfer.training.resume import StageState
from ktransfer.training.stage import StageRun, compile_trainee, fit, start_of
from ktransfer.training.stage_input import Prepared
from ktransfer.training.training import Training

#: As wide as fastai's `lr_find`: no network trains below, none of float32 stands more.
LOWEST_RATE, HIGHEST_RATE = 1e-7, 10.0

#: A loss of so many times what it was at the lowest rates need not be pursued.
_FAR_ABOVE = 10.0


def range_test(training: Training, num_steps: int = 100) -> RangeTest:
    """Raise the learning rate from step to step, and see where the training loss falls fastest.

    Args:
        training: of the plan whose last stage is tried. Its network is as it was afterwards, but
            for the stages before the last.
        num_steps: steps from the lowest to the highest rate; fewer where the loss diverges.

    Raises:
        InputError: there are fewer than 10 steps.

    Source: Smith 2015, Cyclical Learning Rates for Training Neural Networks (arXiv 1506.01186).
    """
    rates = np.geomspace(LOWEST_RATE, HIGHEST_RATE, num_steps)
    losses: list[float] = []
    with _trial(training) as trial:
        trial.reset(rates[0])
        batches = trial.prepared.data.train(trial.prepared.batch_size, 0)
        for rate, batch in zip(rates, itertools.islice(batches, num_steps), strict=True):
            trial.prepared.trainee.optimizer.learning_rate = rate
            # The loss that Keras returns is a mean since the last reset.
            trial.prepared.trainee.reset_metrics()
            logs = trial.prepared.trainee.train_on_batch(*batch, return_dict=True)
            losses.append(float(logs["loss"]))
            # Not below: NaN ends it, too.
            if len(losses) >= 10 and not losses[-1] < _FAR_ABOVE * max(losses[:10]):
                break
    return range_test_result(rates[: len(losses)].tolist(), losses)


def sweep(training: Training, rates: Sequence[float]) -> Sweep:
    """Train the last stage of a plan at several learning rates, each from the same weights.

    Args:
        training: as in `range_test`.
        rates: peak learning rates of the head.

    Raises:
        InputError: there is no rate, one is not above 0, or one comes twice.
    """
    if not rates or not all(0 < rate < math.inf for rate in rates) or len(set(rates)) < len(rates):
        raise InputError(f"rates must be different numbers above 0, got {list(rates)}")
    trials = []
    with _trial(training) as trial:
        for rate in rates:
            run = trial.reset(rate)
            fit(run)
            trials.append(_trial_result(rate, run))
    return Sweep(tuple(trials))


@dataclass(frozen=True, eq=False)
class _Trial:
    """A stage that can be trained again and again from the same state."""

    prepared: Prepared
    initial: StageState

    def reset(self, learning_rate: float) -> StageRun:
        """Put everything back that training moves, and set the learning rate."""
        run = StageRun(self.prepared, None)
        run.resume(self.initial)
        self.prepared.trainee.optimizer.learning_rate = learning_rate
        self.prepared.trainee.stop_training = False
        return run


@contextmanager
def _trial(training: Training) -> Iterator[_Trial]:
    """Make the last stage of a plan ready; the network is put back at the end."""
    with training.before_last_stage(_at_constant_rate) as prepared:
        compile_trainee(prepared)
        trial = _Trial(prepared, StageRun(prepared, start_of(prepared)).state())
        try:
            yield trial
        finally:
            trial.reset(prepared.stage.learning_rate)


def _at_constant_rate(stage: Stage) -> Stage:
    return dataclasses.replace(
        stage, schedule="constant", warmup_epochs=0, decay_every_epochs=None, decay_factor=None
    )


def _trial_result(rate: float, run: StageRun) -> SweepTrial:
    history = tuple(run.record.epochs)
    finite = [row for row in history if math.isfinite(row["val_loss"])]
    best = min(finite, key=lambda row: row["val_loss"], default=None)
    diverged = any(not math.isfinite(row["loss"] + row["val_loss"]) for row in history)
    return SweepTrial(rate, history, int(best["epoch"]) if best else None, diverged)
