"""Searching for a learning rate: a range test, and a sweep of short trainings.

Both try the last stage of a plan, at constant rates. They compile its model once and put its
weights back between the tries. The sweep begins where the stages before it end. The range test
begins earlier: where these are a tenth done, there is still something left for the loss to fall by.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np
from scipy.special import log_softmax

from ktransfer.errors import InputError
from ktransfer.plan import Plan, Stage
from ktransfer.plan.fields import whole
from ktransfer.profile.samples import even_sample
from ktransfer.training.learning_rates import RangeTest, Sweep, SweepTrial, held_out_result
from ktransfer.training.learning_rates.range_test import LEAST_STEPS
from ktransfer.training.resume import StageState
from ktransfer.training.stage import StageRun, compile_trainee, fit, start_of
from ktransfer.training.stage_input import Prepared
from ktransfer.training.training import Training

#: As wide as fastai's `lr_find`: no network trains below, none of float32 stands more.
LOWEST_RATE, HIGHEST_RATE = 1e-7, 10.0

#: A loss of so many times what it was at first, or what guessing has, need not be pursued.
_FAR_ABOVE = 10.0

#: Of how many validation images a range test judges a rate where more than the head runs.
MOST_HELD_OUT = 64

#: How much of the epochs of a stage before the last is carried out before a range test.
_SHARE_BEFORE = 0.1


def range_test(training: Training, num_steps: int = 100) -> RangeTest:
    """Raise the learning rate from step to step, and see what it does to the held-out loss.

    The training loss of a small batch is noisy, and of a head that has learned its images it is 0
    whatever the rate. So the loss is that of the same validation images after every step, all of
    them where only the head runs and else up to `MOST_HELD_OUT`; and the stages before the last are
    carried out for a tenth of their epochs. Of three photo sets the loss then fell in all, of heads
    trained to their end in one.

    Args:
        training: of the plan whose last stage is tried. Its network is as it was afterwards, but
            for the stages before the last.
        num_steps: steps from the lowest to the highest rate; fewer where the loss diverges.

    Returns:
        A `RangeTest` that always suggests a rate: `held_out_result` says which.

    Raises:
        InputError: there are fewer than 10 steps.

    Source: Smith 2015, Cyclical Learning Rates for Training Neural Networks (arXiv 1506.01186).
        Changed: the loss is held out, and the head before is a tenth trained.
    """
    num_steps = whole("a range test", "num_steps", num_steps, LEAST_STEPS)
    rates = np.geomspace(LOWEST_RATE, HIGHEST_RATE, num_steps)
    training.plan = _a_tenth_before_the_last(training.plan)
    losses: list[float] = []
    with _trial(training) as trial:
        prepared = trial.prepared
        held_out = HeldOut.of(prepared, training.source.splits.validation.labels)
        guessing = math.log(prepared.network.head.units)
        # The largest loss is that before the first step where it is more than guessing.
        limit = _FAR_ABOVE * max(guessing, held_out.loss())
        trial.reset(rates[0])
        batches = prepared.data.train(prepared.batch_size, 0)
        for rate, batch in zip(rates, itertools.islice(batches, num_steps), strict=True):
            prepared.trainee.optimizer.learning_rate = rate
            prepared.trainee.train_on_batch(*batch)
            losses.append(held_out.loss())
            # Not below: NaN ends it, too.
            if len(losses) >= LEAST_STEPS and not losses[-1] < limit:
                break
        planned = prepared.stage.learning_rate
    done = rates[: len(losses)].tolist()
    return held_out_result(done, losses, guessing_loss=guessing, planned=planned)


def _a_tenth_before_the_last(plan: Plan) -> Plan:
    """Return the plan with a tenth of the epochs in each stage but the last, at least one."""
    stages = [_a_tenth(stage) for stage in plan.stages[:-1]]
    return dataclasses.replace(plan, stages=(*stages, plan.stages[-1]))


def _a_tenth(stage: Stage) -> Stage:
    epochs = math.ceil(stage.epochs * _SHARE_BEFORE)
    warmup = stage.warmup_epochs * epochs / stage.epochs
    return dataclasses.replace(stage, epochs=epochs, warmup_epochs=warmup)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Validation images whose loss is asked for again and again.

    Attributes:
        model: from rows to logits, as it trains.
        rows: what the model reads of each image.
        labels: integers `(images,)`.
    """

    model: keras.Model
    rows: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, prepared: Prepared, labels: np.ndarray) -> HeldOut:
        """Take as many of the validation images as are cheap, evenly by class."""
        only_head = prepared.decision.cached and prepared.cut == prepared.network.num_blocks
        most = len(labels) if only_head else MOST_HELD_OUT
        chosen = even_sample(labels, most)
        rows, start = [], 0
        for batch, *_ in prepared.data.validation:
            here = chosen[(chosen >= start) & (chosen < start + len(batch))]
            rows.append(np.asarray(batch)[here - start])
            start += len(batch)
        return cls(prepared.trainee, np.concatenate(rows), labels[chosen])

    def loss(self) -> float:
        """Return the cross entropy now; it is not finite where the training broke."""
        pieces = np.array_split(self.rows, math.ceil(len(self.rows) / MOST_HELD_OUT))
        logits = np.concatenate([self.model.predict_on_batch(each) for each in pieces])
        picked = np.arange(len(self.labels)), self.labels
        return float(-log_softmax(logits.astype(np.float64), axis=1)[picked].mean())


def sweep(training: Training, rates: Sequence[float]) -> Sweep:
    """Train the last stage of a plan at several learning rates, each from the same weights.

    Args:
        training: of the plan whose last stage is tried. Its network is as it was afterwards, but
            for the stages before the last.
        rates: peak learning rates of the head.

    Raises:
        InputError: there is no rate, one is not above 0, or one comes twice.
    """
    if not rates or not all(0 < rate < math.inf for rate in rates) or len(set(rates)) < len(rates):
        raise InputError(f"rates must be different numbers above 0, got {list(rates)}")
    trials = []
    with _trial(training) as trial:
        start = start_of(trial.prepared)
        for rate in rates:
            run = trial.reset(rate)
            fit(run)
            trials.append(_trial_result(rate, run))
    guessing = math.log(training.network.head.units)
    return Sweep(tuple(trials), start.loss if start else None, guessing)


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
