"""What watches a stage while Keras trains it: the best weights, the history, the checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ktransfer.training.diagnosis.training import EXPLODED_TIMES

Logs = dict[str, Any] | None

#: A stage has collapsed where so many epochs leave less than this share of what the model knew
#: before. Fine-tuning that ended well still had half of it after one or two (edge drawings, digits,
#: chest X-rays, flowers, at learning rates of 1e-4 to 5e-4).
COLLAPSE_EPOCHS, COLLAPSE_SHARE = 2, 1 / 3


@dataclass(frozen=True)
class ValidationMetrics:
    """How good a model is on the validation images.

    Attributes:
        loss: cross entropy.
        calibrated_loss: the same at the temperature that suits the labels best.
        accuracy: share right, in [0, 1].
    """

    loss: float
    calibrated_loss: float
    accuracy: float

    @classmethod
    def from_logs(cls, logs: Mapping[str, Any], prefix: str = "") -> ValidationMetrics:
        """From what Keras says of an evaluation, or with the prefix "val_" of an epoch."""
        names = ("loss", "calibrated_loss", "accuracy")
        return cls(*(float(logs[prefix + name]) for name in names))


class KeepBest(keras.callbacks.Callback):
    """Keeps the weights of the best epoch, and ends a stage that has stopped getting better.

    Better is a lower validation loss at the best temperature (`CalibratedLoss`): of a few dozen
    images the accuracy has ties and lucky jumps, and the plain loss rises as soon as a network is
    more certain than it should be, also where it gets more images right. An epoch in which the
    training loss flew up to many times that of guessing is not kept, which the best temperature
    would hide.

    Args:
        variables: what is kept.
        patience: epochs without a better one after which the stage ends; None: never.
        start: how good the model was before the stage; None: it has learned nothing yet.
        chance: the accuracy of guessing. A stage that loses most of what the model was better than
            that, and has not won it back after `COLLAPSE_EPOCHS` epochs, has collapsed and ends.
        guessing_loss: the cross entropy of guessing.
        keep: as in `Stage`: `"end"` keeps the last epoch, whatever its loss, if that is finite.
    """

    def __init__(
        self,
        variables: Sequence[Any],
        patience: int | None,
        start: ValidationMetrics | None,
        chance: float = 0.0,
        guessing_loss: float = math.inf,
        keep: str = "best",
    ) -> None:
        super().__init__()
        self.variables = tuple(variables)
        self.patience = patience
        self.keep = keep
        self.collapsed_below = (
            chance + COLLAPSE_SHARE * (start.accuracy - chance) if start else -math.inf
        )
        # What knows nothing yet has nothing to lose.
        self.exploded_above = EXPLODED_TIMES * max(guessing_loss, start.loss) if start else math.inf
        self.lowest_loss = start.calibrated_loss if start else math.inf
        self.best_epoch = 0
        self.waited = 0
        self.collapsed = False
        self.weights = values_of(self.variables)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Compare the epoch with the best one so far."""
        now = ValidationMetrics.from_logs(logs or {}, "val_")
        exploded = float((logs or {}).get("loss", 0.0)) > self.exploded_above
        # NaN is not below anything.
        better = now.calibrated_loss < (math.inf if self.keep == "end" else self.lowest_loss)
        if better and not exploded:
            self.lowest_loss, self.best_epoch, self.waited = now.calibrated_loss, epoch + 1, 0
            self.weights = values_of(self.variables)
            return
        self.waited += 1
        lost = now.accuracy < self.collapsed_below or exploded
        self.collapsed = epoch + 1 >= COLLAPSE_EPOCHS and lost
        if self.collapsed or (self.patience and self.waited >= self.patience):
            self.model.stop_training = True

    def restore(self) -> None:
        """Put the best weights back; those before the stage where no epoch was better."""
        assign(self.variables, self.weights)

    def state(self) -> dict[str, Any]:
        """Say what a checkpoint keeps of it, without the weights."""
        names = (
            "lowest_loss",
            "collapsed_below",
            "exploded_above",
            "collapsed",
            "best_epoch",
            "waited",
        )
        return {name: getattr(self, name) for name in names}

    def resume(self, state: dict[str, Any], weights: Sequence[np.ndarray]) -> None:
        """Go on from what a checkpoint kept."""
        for name, value in state.items():
            setattr(self, name, value)
        self.weights = list(weights)


class StopAtNaN(keras.callbacks.Callback):
    """Ends a training whose loss is not finite; Keras' own one writes to standard output."""

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Look at the mean loss of the epoch until now."""
        if not math.isfinite(float((logs or {})["loss"])):
            self.model.stop_training = True


class StopInTime(keras.callbacks.Callback):
    """Ends a training at a time, in the middle of an epoch where it must.

    Args:
        deadline: as `time.perf_counter` counts; None: never.
    """

    def __init__(self, deadline: float | None) -> None:
        super().__init__()
        self._deadline = math.inf if deadline is None else deadline
        self.over = False

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Look at the clock; the part of the epoch that is done is validated as if it were all."""
        if time.perf_counter() > self._deadline:
            self.over = self.model.stop_training = True


class EpochRecord(keras.callbacks.Callback):
    """The history of a stage, a dict for each epoch with its wall time in seconds."""

    def __init__(self, epochs: Sequence[dict[str, float]] = ()) -> None:
        super().__init__()
        self.epochs = list(epochs)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Take down the figures of the epoch."""
        seconds = time.perf_counter() - self._started
        figures = {name: float(value) for name, value in (logs or {}).items()}
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.epochs.append(
            {"epoch": epoch + 1, **figures, "learning_rate": rate, "seconds": seconds}
        )


class ShowSteps(keras.callbacks.Callback):
    """Tells a progress bar how many steps are done.

    Args:
        show: called with (steps done, steps in all).
        steps_per_epoch: steps in an epoch.
    """

    def __init__(self, show: Callable[[int, int], None], steps_per_epoch: int) -> None:
        super().__init__()
        self._show, self._per_epoch, self._epoch = show, steps_per_epoch, 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Take note of the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Move the bar on."""
        done = self._epoch * self._per_epoch + batch + 1
        self._show(done, self.params["epochs"] * self._per_epoch)


class AtEpochEnd(keras.callbacks.Callback):
    """Calls a function after every epoch, when all other callbacks have seen it.

    Args:
        saved: called with the number of epochs done.
        resumed: called once when the training begins, after every callback has reset itself.
    """

    def __init__(self, saved: Callable[[int], None], resumed: Callable[[], None]) -> None:
        super().__init__()
        self._saved, self._resumed = saved, resumed

    def on_train_begin(self, logs: Logs = None) -> None:
        """Let what was saved of the other callbacks be put back."""
        self._resumed()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Let the state be saved."""
        self._saved(epoch + 1)


_PLAIN = (bool, int, float, str, type(None), np.integer, np.floating)


def callback_state(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Return the plain attributes of a callback.

    Counters and best values of all callbacks of Keras.
    """
    # The model, its parameters and open files are no plain values and are left out.
    plain = {key: value for key, value in vars(callback).items() if isinstance(value, _PLAIN)}
    return {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in plain.items()
    }


def resume_callback(callback: keras.callbacks.Callback, state: dict[str, Any]) -> None:
    """Put back what `callback_state` gave, into a callback that knows that training begins."""
    if getattr(callback, "monitor_op", callback) is None:
        # It has yet to look at the metrics, and Keras 3.15.1 then turns the sign of min_delta.
        state = {key: value for key, value in state.items() if key != "min_delta"}
    vars(callback).update(state)


def values_of(variables: Sequence[Any]) -> list[np.ndarray]:
    """Copy of variables, on the host."""
    return [np.array(keras.ops.convert_to_numpy(keras.ops.copy(each))) for each in variables]


def assign(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Put values into variables."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
