"""Running one stage: the one place where a model is compiled and trained."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from ktransfer.data.batches.rows import num_batches
from ktransfer.errors import InputError, RunError
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
    Standing,
    StopAtNaN,
    assign,
    callback_state,
    resume_callback,
    values_of,
)

if TYPE_CHECKING:
    import tensorflow as tf

#: Callbacks that set the learning rate, which Keras allows only where no schedule does.
_RATE_SETTERS = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)


@dataclass(frozen=True, eq=False)
class StageData:
    """What a stage is trained and judged on.

    Attributes:
        train: makes endless epochs of batches, given the batch size and the epoch to begin with.
        validation: one pass of batches.
        num_train: training images in an epoch.
        shares: whether labels are shares of classes, `(batch, classes)`, and not classes.
        majority_share: of the validation images, the share that the largest class has: guessing
            gets no more right.
    """

    train: Callable[[int, int], tf.data.Dataset]
    validation: tf.data.Dataset
    num_train: int
    shares: bool = False
    majority_share: float = 0.0


@dataclass(frozen=True, eq=False)
class Saved:
    """The state of a stage between two epochs, as a checkpoint keeps it."""

    arrays: dict[str, np.ndarray]
    plain: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Outcome:
    """How a stage went. The network has the weights of `best_epoch` (0: those from before it).

    Attributes:
        history: a dict for each epoch.
        best_epoch: whose weights were kept, from 1.
        standing: how good these are; None where no epoch was any good.
        groups: for each group of the optimizer its size, multiplier and peak learning rate.
        diverged: whether the loss became NaN or infinite.
        interrupted: whether Ctrl-C ended it.
        collapsed: whether it ended early, having lost what the network knew.
        before: what it began with, in words.
    """

    history: tuple[dict[str, float], ...]
    best_epoch: int
    standing: Standing | None
    groups: tuple[dict[str, Any], ...]
    diverged: bool
    interrupted: bool

    collapsed: bool = False
    before: str = "the weights of before"

    @property
    def final_loss(self) -> float:
        """The training loss of the last epoch."""
        return self.history[-1]["loss"] if self.history else 0.0

    def __str__(self) -> str:
        kept = f"epoch {self.best_epoch}" if self.best_epoch else self.before
        right = f", {self.standing.accuracy:.1%} of validation right" if self.standing else ""
        return f"{len(self.history)} epochs, kept {kept}{right}"


@dataclass(frozen=True)
class Task:
    """A stage made ready: what trains on what, and who watches.

    Attributes:
        stage: the stage, resolved.
        network: frozen as the stage wants it.
        trainee: the model that is trained, of `Network.trainee`.
        data: what it is trained on.
        batch_size: images a step.
        judge_start: whether what the network knows before the stage counts: it is then judged
            first, and kept where no epoch is better.
        before: what that is, in words.
        jit_compile: whether XLA compiles the step.
        callbacks: those of the user.
        verbose: show progress.
        on_epoch: called after every epoch with a function that gives the state to save.
    """

    stage: Stage
    network: Network
    trainee: keras.Model
    data: StageData
    batch_size: int
    judge_start: bool = False
    before: str = "the weights of before"
    jit_compile: bool = False
    callbacks: Sequence[keras.callbacks.Callback] = ()
    verbose: bool = False
    on_epoch: Callable[[Callable[[], Saved]], None] = field(default=lambda state: None)


def run_stage(task: Task, saved: Saved | None = None) -> Outcome:
    """Train a stage to its end, and leave the network with the best weights.

    Args:
        task: the stage.
        saved: the state to go on from; None: from the beginning.

    Returns:
        How it went.
    """
    steps = num_batches(task.data.num_train, task.batch_size)
    optimizer = compile_trainee(task, steps)
    groups = _groups(optimizer, task.stage)
    running = Running(task, None if saved else start_of(task))
    if saved:
        running.resume(saved)
    interrupted = False if saved and saved.plain["ended"] else fit(task, running, steps)
    running.best.restore()
    history = tuple(running.record.epochs)
    return Outcome(
        history=history,
        best_epoch=running.best.best_epoch,
        standing=running.standing,
        groups=groups,
        # After the last step of an epoch only the validation loss tells.
        diverged=any(not math.isfinite(row["loss"] + row["val_loss"]) for row in history[-1:]),
        interrupted=interrupted,
        collapsed=running.best.collapsed,
        before=task.before,
    )


def start_of(task: Task) -> Standing | None:
    """How good the network is before the stage, where it has learned something."""
    if not task.judge_start:
        return None
    found = task.trainee.evaluate(task.data.validation, verbose=0, return_dict=True)
    return Standing.from_logs(found)


def compile_trainee(task: Task, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Compile a stage's model, and build its optimizer.

    Returns:
        The optimizer: a `LearningRateMultiplier` with a group for each block that trains.
    """
    optimizer = build_optimizer(task.stage, task.network, steps_per_epoch)
    task.trainee.compile(
        optimizer,
        _cross_entropy(task.data),
        metrics=["accuracy", CalibratedLoss()],
        jit_compile=task.jit_compile,
    )
    # Through the model: in mixed_float16 Keras has put a LossScaleOptimizer around ours.
    task.trainee.optimizer.build(task.trainee.trainable_variables)
    return optimizer


def _cross_entropy(data: StageData) -> keras.losses.Loss:
    if data.shares:
        return keras.losses.CategoricalCrossentropy(from_logits=True)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def build_optimizer(
    stage: Stage, network: Network, steps_per_epoch: int
) -> keras.optimizers.Optimizer:
    """The optimizer of a stage, with every learning rate as the plan says it."""
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
        """The learning rate at a step; behind the last step that of the last."""
        # Float32 holds whole numbers up to 2**24 only, and the step may be an int64 variable.
        at = ops.minimum(ops.cast(step, "int32"), len(self._rates) - 1)
        return ops.take(ops.convert_to_tensor(self._rates), at)

    def get_config(self) -> dict[str, Any]:
        """The arguments, as plain data."""
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


def default_batch_size(num_images: int) -> int:
    """An eighth of the images, from 4 to 32: batches of 32 of a few dozen leave too few steps."""
    return min(32, max(4, num_images // 8))


def _has_schedule(stage: Stage) -> bool:
    return stage.schedule != "constant" or stage.warmup_epochs > 0


def _learning_rate(stage: Stage, steps_per_epoch: int) -> Any:
    return StageSchedule(stage, steps_per_epoch) if _has_schedule(stage) else stage.learning_rate


def _groups(optimizer: keras.optimizers.Optimizer, stage: Stage) -> tuple[dict[str, Any], ...]:
    """What the optimizer says of its groups, with the peak learning rate of the stage."""
    if not isinstance(optimizer, LearningRateMultiplier):
        return ()
    rows = [dataclasses.asdict(row) for row in optimizer.describe().groups]
    for row in rows:
        row["learning_rate"] = stage.learning_rate * row["multiplier"]
        row["group"] = "head" if row["group"] == "(no group)" else row["group"]
    return tuple(rows)


def fit(task: Task, running: Running, steps: int) -> bool:
    """Keras' fit; whether Ctrl-C ended it. Without a single epoch done, Ctrl-C goes on upwards."""
    first_epoch = len(running.record.epochs)
    title, total = f"training {task.stage.name!r}", task.stage.epochs * steps
    try:
        with progress_bar(title, total, shown=task.verbose) as show:
            task.trainee.fit(
                task.data.train(task.batch_size, first_epoch),
                validation_data=task.data.validation,
                epochs=task.stage.epochs,
                initial_epoch=first_epoch,
                steps_per_epoch=steps,
                shuffle=False,
                verbose=0,
                callbacks=[ShowSteps(show, steps), *running.callbacks],
            )
    except KeyboardInterrupt:
        if running.standing is None:
            raise
        return True
    return False


class Running:
    """A stage that is being trained: its callbacks, and its state to save and to resume.

    Args:
        task: the stage, compiled.
        start: how good the network was before it; None: its head knows nothing yet.
    """

    def __init__(self, task: Task, start: Standing | None) -> None:
        self._task = task
        self._start = start
        cut = task.network.cut_of(task.stage.num_trainable_blocks(task.network.num_blocks))
        self._weights = task.network.variables_from(cut)
        # Each stage begins them anew: what was trained before it, or tried until memory ran out, is
        # not known after a resume, and Keras draws the seeds of a backbone's own dropout by chance.
        # Numbered from the head on: in front of what trains there are more where nothing is cached.
        for at, generator in enumerate(reversed(self._groups["generators"])):
            generator.assign([task.network.seed + at, 0])
        chance = task.data.majority_share
        guessing_loss = math.log(task.network.head.units)
        self.best = KeepBest(self._weights, task.stage.patience, start, chance, guessing_loss)
        self.record = EpochRecord()
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        last = AtEpochEnd(lambda epoch: task.on_epoch(self.state), self._resume_callbacks)
        self.callbacks = [
            StopAtNaN(),
            self.best,
            self.record,
            *task.callbacks,
            last,
        ]

    @property
    def _groups(self) -> dict[str, list[Any]]:
        """Every variable that training moves, by what it belongs to."""
        known = {id(each) for each in self._task.trainee.weights}
        others = [each for each in self._task.trainee.variables if id(each) not in known]
        return {
            "weights": self._weights,
            # The states of the generators of dropout, which Keras saves nowhere.
            "generators": [each for each in others if "seed_generator" in each.path],
            "optimizer": self._task.trainee.optimizer.variables,
        }

    @property
    def standing(self) -> Standing | None:
        """How good the best weights so far are; None where none are known to be any good."""
        if not self.best.best_epoch:
            return self._start
        row = self.record.epochs[self.best.best_epoch - 1]
        return Standing.from_logs(row, "val_")

    def state(self) -> Saved:
        """What has to be kept to go on from here."""
        arrays = {"best": self.best.weights} | {
            name: values_of(variables) for name, variables in self._groups.items()
        }
        plain = {
            "ended": bool(self._task.trainee.stop_training),
            "start": dataclasses.asdict(self._start) if self._start else None,
            "best": self.best.state(),
            "history": list(self.record.epochs),
            "callbacks": [
                [type(each).__name__, callback_state(each)] for each in self._task.callbacks
            ],
        }
        flat = {
            f"{name}/{at}": each for name, list_ in arrays.items() for at, each in enumerate(list_)
        }
        return Saved(flat, plain)

    def resume(self, saved: Saved) -> None:
        """Put a saved state back.

        Raises:
            RunError: it is none of this stage, although its bytes are whole.
        """
        try:
            self._put_back(saved)
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"the checkpoint of stage {self._task.stage.name!r} is damaged "
                f"({type(error).__name__}: {error}): start again in a new folder"
            ) from error

    def _put_back(self, saved: Saved) -> None:
        for name, variables in self._groups.items():
            assign(variables, [saved.arrays[f"{name}/{at}"] for at in range(len(variables))])
        best = [saved.arrays[f"best/{at}"] for at in range(len(self._weights))]
        self._start = Standing(**saved.plain["start"]) if saved.plain["start"] else None
        self.best.resume(saved.plain["best"], best)
        self.record.epochs = list(saved.plain["history"])
        self._waiting = saved.plain["callbacks"]

    def _resume_callbacks(self) -> None:
        """Put back the counters of the user's callbacks, after `on_train_begin` has reset them."""
        for callback, (kind, state) in zip(self._task.callbacks, self._waiting, strict=False):
            if type(callback).__name__ == kind:
                resume_callback(callback, state)
