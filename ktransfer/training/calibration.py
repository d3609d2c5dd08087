"""Temperatures of logits: the loss at the best one, and the one that a classifier is given."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.optimize import minimize_scalar

from ktransfer.metrics import advantage

#: From a quarter to 16: fine-tuned networks are too sure of themselves, seldom too unsure.
#: Neighbours are 30 % apart: the loss is so flat where it is lowest that a finer row would change
#: it by less than a hundredth.
TEMPERATURES = 2.0 ** np.linspace(-2, 4, 17)

#: How far from 1 a temperature is likely to lie, as the standard deviation of its logarithm. It
#: matters where few images are at hand: 20 that are all right would ask for endless certainty.
_LOG_SPREAD = 0.5


@keras.saving.register_keras_serializable(package="ktransfer")
class CalibratedLoss(keras.metrics.Metric):
    """Cross entropy at the temperature of `TEMPERATURES` that suits all the labels best.

    A network that goes on training on images which it has learned says the same with more and more
    certainty. Its validation loss then rises, though it gets no more of the images wrong. Divided
    by a temperature, logits give the same classes with the certainty that they deserve; what is
    left of the loss compares what the epochs have learned.

    Its state is one sum for each temperature, whatever the number of images.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv 1706.04599),
        temperature scaling. Changed: a fixed row of temperatures instead of a search.
    """

    def __init__(self, name: str = "calibrated_loss", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        shape = (len(TEMPERATURES),)
        self.sums = self.add_variable(shape, initializer="zeros", name="sums")
        self.count = self.add_variable((), initializer="zeros", name="count")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch.

        Args:
            y_true: integers `(batch,)` or `(batch, 1)`, or shares `(batch, classes)`.
            y_pred: logits `(batch, classes)`.
            sample_weight: not used; every image counts the same.
        """
        logits = ops.cast(y_pred, self.dtype)
        if len(y_true.shape) == 2 and y_true.shape[-1] == logits.shape[-1] > 1:
            shares = ops.cast(y_true, self.dtype)
        else:
            shares = ops.one_hot(ops.reshape(y_true, (-1,)), logits.shape[-1], dtype=self.dtype)
        scaled = logits[None] / ops.reshape(ops.cast(TEMPERATURES, self.dtype), (-1, 1, 1))
        losses = -ops.sum(shares[None] * ops.log_softmax(scaled, axis=-1), axis=(1, 2))
        self.sums.assign_add(losses)
        self.count.assign_add(ops.cast(ops.shape(logits)[0], self.dtype))

    def result(self) -> Any:
        """Return the lowest of the mean losses."""
        return ops.min(self.sums) / ops.maximum(self.count, 1.0)


def calibrated_losses(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the cross entropy of each image at the temperature that suits them all best.

    Args:
        logits: `(images, classes)`, finite.
        labels: integers `(images,)`.

    Returns:
        float64 `(images,)`, whose mean is what `CalibratedLoss` says, and the mean cross entropy of
        the logits as they are.
    """
    rows = np.arange(len(labels))
    logits = np.asarray(logits, np.float64)

    def losses(temperature: float) -> np.ndarray:
        scaled = logits / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        found: np.ndarray = np.log(np.exp(scaled).sum(axis=1)) - scaled[rows, labels]
        return found

    best = min(map(losses, TEMPERATURES), key=lambda each: float(each.mean()))
    return best, float(losses(1.0).mean())


def is_lower(losses: np.ndarray, others: np.ndarray, errors: float = 1.0) -> bool:
    """Tell whether losses are lower than others of the same images, by more than chance.

    Args:
        losses: `(images,)`.
        others: likewise.
        errors: by how many standard errors of the difference.
    """
    mean, error = advantage(losses, others)
    return mean > errors * error


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Say what logits should be divided by so that the probabilities suit the labels best.

    The classes stay as they are. With few images it stays near 1.

    Args:
        logits: `(images, classes)`.
        labels: integers `(images,)`, of images that were not trained on.

    Returns:
        The temperature with the highest posterior, from 0.25 to 16; 1 where a logit is not finite.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv 1706.04599). Changed:
        a log-normal prior around 1, for small validation parts.
    """
    logits = np.asarray(logits, np.float64)
    if not np.isfinite(logits).all():
        return 1.0
    rows = np.arange(len(labels))

    def cost(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        losses = np.log(np.exp(scaled).sum(axis=1)) - scaled[rows, labels]
        return float(losses.sum() + 0.5 * (log_temperature / _LOG_SPREAD) ** 2)

    bounds = np.log(TEMPERATURES[[0, -1]])
    return float(np.exp(minimize_scalar(cost, bounds=bounds, method="bounded").x))
