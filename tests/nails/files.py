"""The trainings, searches and exports whose files of today are kept: the same then and now."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import same_weights

from ktransfer import FineTuner, Plan, Stage
from ktransfer.tuner import UnfreezeTuner

HEAD = Plan("head", (Stage(name="head", unfreeze=0, epochs=12, learning_rate=0.1),))


class Killed(BaseException):
    """Not caught by anything on its way, like the end of the process."""


class KillInSecondStage(keras.callbacks.Callback):
    """Ends the training in the second epoch of its second stage."""

    def __init__(self) -> None:
        super().__init__()
        # No plain value: it is not resumed.
        self.seen = {"stages": 0}

    def on_train_begin(self, logs: Any = None) -> None:
        self.seen["stages"] += 1

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        # A state is saved when that takes a small share of the time since the last one.
        time.sleep(1.0)
        if self.seen["stages"] == 2 and epoch == 1:
            raise Killed


def saved_run(pictures: Path, out: Path) -> FineTuner:
    """A head, then the last block with it, trained and saved."""
    finetuner = FineTuner(same_weights.network(), None, seed=4, verbose=False)
    last = Stage(name="last", unfreeze=1, epochs=6, learning_rate=0.03)
    plan = Plan("two_stages", (*HEAD.stages, last))
    finetuner.fit(pictures, plan=plan, batch_size=6, cache=(2,), out=out)
    return finetuner


def train_head(pictures: Path) -> None:
    """A training that reads what the whole backbone says, and leaves it in the cache."""
    finetuner = FineTuner(same_weights.network(), None, seed=4, verbose=False)
    finetuner.fit(pictures, plan=HEAD, batch_size=6, cache="on", check="off")


def search_of(folder: Path) -> UnfreezeTuner:
    """A grid of two points: the head alone, and the last block with it."""
    space = keras_tuner.HyperParameters()
    space.Choice("unfreeze", [0, 1])
    for name, value in (
        ("head_rate", 0.02),
        ("head_epochs", 1),
        ("learning_rate", 0.01),
        ("dropout", 0.0),
        ("weight_decay", 0.0),
        ("layer_decay", 1.0),
        ("batch_norm", "frozen"),
        ("augmentation", "none"),
    ):
        space.Fixed(name, value)
    return UnfreezeTuner(
        same_weights.network(),
        None,
        directory=folder,
        hyperparameters=space,
        oracle="grid",
        max_trials=2,
        epochs=1,
        repeats=0,
        seed=4,
        verbose=False,
    )
