"""Running one stage: the one place where a model is compiled and trained."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ktransfer.errors import InputError
from ktransfer.features import Network
from ktransfer.optimizers import LearningRateMultiplier, by_block
from ktransfer.optimizers.policies import trainable_paths
from ktransfer.plan import Stage
from ktransfer.show.progress import progress_bar
from ktransfer.training.calibration import CalibratedLoss
from ktransfer.training.callbacks import (
    AtEpochEnd,
    EpochRecord,
    KeepBest,
    ShowSteps,
    StopAtNaN,
    StopInTime,
    ValidationMetrics,
    assign,
    callback_state,
    resume_callback,
    values_of,
)
from ktransfer.training.resume import StageState, damage_named
from ktransfer.training.stage_input import Prepared, StageData
from ktransfer.training.stage_result import StageResult, remarks

#: Callbacks that set the learning rate, which Keras allows only where no schedule does.
_RATE_SETTERS = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)


def run_stage(
    prepared: Prepared,
    state: StageState | None = None,
    on_epoch: Callable[[Callable[[], StageState]], None] = lambda state: None,
) -> StageResult:
    """Train a stage to its end, and leave the network with the best weights.

    Args:
        prepared: the stage.
        state: what to go on from; None: from the beginning.
        on_epoch: called after every epoch with a function that gives the state to save.

    Returns:
        How it went, but for the proof that what is frozen did not move and the time it took.
    """
    optimizer = compile_trainee(prepared)
    run = StageRun(prepared, None if state else start_of(prepared), on_epoch)
    if state:
        run.resume(state)
    interrupted = False if state and state.plain["ended"] else fit(run)
    run.best.restore()
    return _result(run, _groups(optimizer, prepared.stage), interrupted)


def _result(run: StageRun, groups: tuple[dict[str, Any], ...], interrupted: bool) -> StageResult:
    prepared, history, metrics = run.prepared, tuple(run.record.epochs), run.metrics
    network = prepared.network
    result = StageResult(
        name=prepared.stage.name,
        unfreeze=network.num_blocks - prepared.cut,
        cached=prepared.decision.cached,
        cache_reason=prepared.decision.reason,
        batch_size=prepared.batch_size,
        history=history,
        best_epoch=run.best.best_epoch,
        val_loss=metrics.loss if metrics else None,
        val_calibrated_loss=metrics.calibrated_loss if metrics else None,
        val_accuracy=metrics.accuracy if metrics else None,
        groups=groups,
        proof=None,
        notes=(),
        # After the last step of an epoch only the validation loss tells.
        diverged=any(not math.isfinite(row["loss"] + row["val_loss"]) for row in history[-1:]),
        interrupted=interrupted,
        seconds=0.0,
        solved=prepared.solved,
        out_of_time=run.clock.over,
    )
    guessing_loss, collapsed = math.log(network.head.units), run.best.collapsed
    said = remarks(prepared.stage, result, guessing_loss, collapsed=collapsed)
    return dataclasses.replace(result, notes=(*prepared.notes, *said))


def start_of(prepared: Prepared) -> ValidationMetrics | None:
    """Say how good the network is before the stage, where it has learned something."""
    if not prepared.judge_start:
        return None
    found = prepared.trainee.evaluate(prepared.data.validation, verbose=0, return_dict=True)
    return ValidationMetrics.from_logs(found)


def compile_trainee(prepared: Prepared) -> keras.optimizers.Optimizer:
    """Compile a stage's model, and build its optimizer.

    Returns:
        The optimizer: a `LearningRateMultiplier` with a group for each block that trains.
    """
    optimizer = build_optimizer(prepared.stage, prepared.network, prepared.steps)
    trainee = prepared.trainee
    trainee.compile(
        optimizer,
        _cross_entropy(prepared.data),
        metrics=["accuracy", CalibratedLoss()],
        jit_compile=prepared.settings.jit_compile,
    )
    # Through the model: in mixed_float16 Keras has put a LossScaleOptimizer around ours.
    trainee.optimizer.build(trainee.trainable_variables)
    return optimizer


def _cross_entropy(data: StageData) -> keras.losses.Loss:
    if data.shares:
        return keras.losses.CategoricalCrossentropy(from_logits=True)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def build_optimizer(
    stage: Stage, network: Network, steps_per_epoch: int
) -> keras.optimizers.Optimizer:
    """Return the optimizer of a stage, with every learning rate as the plan says it."""
    config: dict[str, Any] = {"learning_rate": _learning_rate(stage, steps_per_epoch)}
    if stage.weight_decay:
        config["weight_decay"] = stage.weight_decay
    if stage.momentum:
        config["momentum"] = stage.momentum
    inner = keras.optimizers.get({"class_name": stage.optimizer, "config": config})
    # The head has the learning rate as it is and every block at most that: a multiplier above 1
    # would magnify the rounding of the step.
    scales = stage.multipliers(network.num_blocks)
    multipliers = {
        block.name: scales[f"block -{depth}"]
        for depth, block in enumerate(reversed(network.blocks), 1)
        if f"block -{depth}" in scales and trainable_paths(block)
    }
    if not multipliers:
        return inner
    return LearningRateMultiplier(inner, by_block(network.backbone, multipliers))


@keras.saving.register_keras_serializable(package="ktransfer")
class StageSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of a stage's head at every step: the very numbers that the plan shows.

    Args:
        stage: as `Stage.to_dict` has it, or a `Stage`.
        steps_per_epoch: steps in an epoch.
    """

    def __init__(self, stage: Stage | dict[str, Any], steps_per_epoch: int) -> None:
        self.stage = stage if isinstance(stage, Stage) else Stage.from_dict(stage)
        self.steps_per_epoch = steps_per_epoch
        steps = range(self.stage.epochs * steps_per_epoch)
        rates = [self.stage.learning_rate_at(step, steps_per_epoch) for step in steps]
        self._rates = np.array(rates, np.float32)

    def __call__(self, step: Any) -> Any:
        """Return the learning rate at a step; behind the last step that of the last."""
        # Float32 holds whole numbers up to 2**24 only, and the step may be an int64 variable.
        at = ops.minimum(ops.cast(step, "int32"), len(self._rates) - 1)
        return ops.take(ops.convert_to_tensor(self._rates), at)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as plain data."""
        return {"stage": self.stage.to_dict(), "steps_per_epoch": self.steps_per_epoch}


def check_callbacks(stage: Stage, callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Refuse callbacks that a stage has no use for.

    Raises:
        InputError: one sets the learning rate of a stage that has a schedule, or swaps in averaged
            weights where none are averaged; Keras would raise in the middle of the training.
    """
    for each in callbacks:
        if isinstance(each, keras.callbacks.SwapEMAWeights):
            raise InputError(
                f"stage {stage.name!r}: SwapEMAWeights needs an optimizer with use_ema=True, which "
                f"{stage.optimizer!r} of a stage is not: leave it out"
            )
        if isinstance(each, _RATE_SETTERS) and _has_schedule(stage):
            raise InputError(
                f"stage {stage.name!r} has the schedule {stage.schedule!r} with "
                f"{stage.warmup_epochs:g} epochs of warm-up, so {type(each).__name__} cannot set "
                'its learning rate: give the stage schedule="constant" and warmup_epochs=0'
            )


def _has_schedule(stage: Stage) -> bool:
    return stage.schedule != "constant" or stage.warmup_epochs > 0


def _learning_rate(stage: Stage, steps_per_epoch: int) -> Any:
    return StageSchedule(stage, steps_per_epoch) if _has_schedule(stage) else stage.learning_rate


def _groups(optimizer: keras.optimizers.Optimizer, stage: Stage) -> tuple[dict[str, Any], ...]:
    """Say what the optimizer says of its groups, with the peak learning rate of the stage."""
    if not isinstance(optimizer, LearningRateMultiplier):
        return ()
    rows = [dataclasses.asdict(row) for row in optimizer.describe().groups]
    for row in rows:
        row["learning_rate"] = stage.learning_rate * row["multiplier"]
        row["group"] = "head" if row["group"] == "(no group)" else row["group"]
    return tuple(rows)


def fit(run: StageRun) -> bool:
    """Keras' fit; whether Ctrl-C ended it. Without a single epoch done, Ctrl-C goes on upwards."""
    prepared, first_epoch = run.prepared, len(run.record.epochs)
    stage, steps = prepared.stage, prepared.steps
    title, shown = f"training {stage.name!r}", bool(prepared.settings.verbose)
    try:
        with progress_bar(title, stage.epochs * steps, shown=shown) as show:
            prepared.trainee.fit(
                prepared.data.train(prepared.batch_size, first_epoch),
                validation_data=prepared.data.validation,
                epochs=stage.epochs,
                initial_epoch=first_epoch,
                steps_per_epoch=steps,
                shuffle=False,
                verbose=0,
                callbacks=[ShowSteps(show, steps), *run.callbacks],
            )
    except KeyboardInterrupt:
        if run.metrics is None:
            raise
        return True
    return False


class StageRun:
    """A stage that is being trained: its callbacks, and its state to save and to resume.

    Args:
        prepared: the stage, compiled.
        start: how good the network was before it; None: its head knows nothing yet.
        on_epoch: as in `run_stage`.
    """

    def __init__(
        self,
        prepared: Prepared,
        start: ValidationMetrics | None,
        on_epoch: Callable[[Callable[[], StageState]], None] = lambda state: None,
    ) -> None:
        self.prepared = prepared
        self._start = start
        network, patience = prepared.network, prepared.stage.patience
        self._weights = network.variables_from(prepared.cut)
        # Each stage begins them anew: what was trained before it, or tried until memory ran out, is
        # not known after a resume, and Keras draws the seeds of a backbone's own dropout by chance.
        # Numbered from the head on: in front of what trains there are more where nothing is cached.
        for at, generator in enumerate(reversed(self._groups["generators"])):
            generator.assign([network.seed + at, 0])
        chance, guessing_loss = prepared.data.majority_share, math.log(network.head.units)
        keep = prepared.stage.keep
        self.best = KeepBest(self._weights, patience, start, chance, guessing_loss, keep)
        self.record = EpochRecord()
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        last = AtEpochEnd(lambda epoch: on_epoch(self.state), self._resume_callbacks)
        self._users = prepared.settings.callbacks
        self.clock = StopInTime(prepared.settings.deadline)
        self.callbacks = [StopAtNaN(), self.best, self.record, *self._users, last, self.clock]

    @property
    def _groups(self) -> dict[str, list[Any]]:
        """Every variable that training moves, by what it belongs to."""
        known = {id(each) for each in self.prepared.trainee.weights}
        others = [each for each in self.prepared.trainee.variables if id(each) not in known]
        return {
            "weights": self._weights,
            # The states of the generators of dropout, which Keras saves nowhere.
            "generators": [each for each in others if "seed_generator" in each.path],
            "optimizer": self.prepared.trainee.optimizer.variables,
        }

    @property
    def metrics(self) -> ValidationMetrics | None:
        """How good the best weights so far are; None where none are known to be any good."""
        if not self.best.best_epoch:
            return self._start
        row = self.record.epochs[self.best.best_epoch - 1]
        return ValidationMetrics.from_logs(row, "val_")

    def state(self) -> StageState:
        """Say what has to be kept to go on from here."""
        arrays = {"best": self.best.weights} | {
            name: values_of(variables) for name, variables in self._groups.items()
        }
        plain = {
            "ended": bool(self.prepared.trainee.stop_training),
            "start": dataclasses.asdict(self._start) if self._start else None,
            "best": self.best.state(),
            "history": list(self.record.epochs),
            "callbacks": [[type(each).__name__, callback_state(each)] for each in self._users],
        }
        flat = {
            f"{name}/{at}": each for name, list_ in arrays.items() for at, each in enumerate(list_)
        }
        return StageState(flat, plain)

    def resume(self, state: StageState) -> None:
        """Put a saved state back.

        Raises:
            RunError: it is none of this stage, although its bytes are whole.
        """
        with damage_named(f"the checkpoint of stage {self.prepared.stage.name!r} is"):
            self._put_back(state)

    def _put_back(self, state: StageState) -> None:
        for name, variables in self._groups.items():
            assign(variables, [state.arrays[f"{name}/{at}"] for at in range(len(variables))])
        best = [state.arrays[f"best/{at}"] for at in range(len(self._weights))]
        self._start = ValidationMetrics(**state.plain["start"]) if state.plain["start"] else None
        self.best.resume(state.plain["best"], best)
        self.record.epochs = list(state.plain["history"])
        self._waiting = state.plain["callbacks"]

    def _resume_callbacks(self) -> None:
        """Put back the counters of the user's callbacks, after `on_train_begin` has reset them."""
        for callback, (kind, state) in zip(self._users, self._waiting, strict=False):
            if type(callback).__name__ == kind:
                resume_callback(callback, state)
