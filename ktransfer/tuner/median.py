"""The median rule: a trial that is worse than half of those before it ends early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

#: So many finished trials make a median, and so many epochs come before it counts: the first epochs
#: of a warm-up are worse than the probe also where the last are better.
LEAST_TRIALS, LEAST_EPOCHS = 3, 3

#: Variables of a head: its kernel and its bias.
_OF_A_HEAD = 2


def is_bad(so_far: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
    """Tell whether a trial should end.

    Its best is under the median of the others' means until here.

    Args:
        so_far: its validation accuracy after each epoch.
        others: the same of finished trials; those that ended sooner do not count.

    Source: Golovin et al. 2017, Google Vizier, section 3.2.2 (the median stopping rule).
    """
    epochs = len(so_far)
    means = [float(np.mean(each[:epochs])) for each in others if len(each) >= epochs]
    if epochs < LEAST_EPOCHS or len(means) < LEAST_TRIALS:
        return False
    return max(so_far) < float(np.median(means))


class MedianRule(keras.callbacks.Callback):
    """Ends the stage that unfreezes where `is_bad`. The head alone costs next to nothing.

    Args:
        others: validation accuracy after each epoch of that stage, of finished trials.
    """

    def __init__(self, others: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.curve: list[float] = []
        self.stopped = False
        self._others = others

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begin a curve; also where memory ran out and the stage begins again."""
        self.curve = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Take the accuracy down, and end the stage if it is no good."""
        if len(self.model.trainable_variables) <= _OF_A_HEAD:
            return
        self.curve.append(float((logs or {})["val_accuracy"]))
        self.stopped = is_bad(self.curve, self._others)
        if self.stopped:
            self.model.stop_training = True
