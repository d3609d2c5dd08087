"""The head: what stands on a backbone and is trained first, and often alone."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ktransfer._checks import InputError, unknown_name
from ktransfer.data.batches import num_batches, ordered_batches, shuffled_batches

POOLINGS = ("avg", "max", "avgmax", "token")

#: Adam's first learning rate for a head on features of unit root mean square; on training photos of
#: steel, chests, flowers and ants, rates from half to twice of it did as well.
DEFAULT_LEARNING_RATE = 2e-3

Labelled = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class TrainedHead:
    """A classifier on pooled features, with the history of its training.

    Attributes:
        classifier: `(batch, features)` to logits `(batch, classes)`.
        history: for each epoch, a dict of `loss`, `accuracy`, `val_loss`, `val_accuracy`,
            `seconds`.
        best_epoch: the epoch (from 1) whose weights were kept: the lowest validation loss.
        interrupted: whether Ctrl-C ended the training; the weights are then the best until there.
    """

    classifier: keras.Model
    history: tuple[dict[str, float], ...]
    best_epoch: int
    interrupted: bool


def pool(tensor: keras.KerasTensor, pooling: str) -> keras.KerasTensor:
    """The feature vector of a backbone's output.

    Args:
        tensor: `(batch, height, width, channels)` of a convolutional backbone, `(batch, tokens,
            width)` of a transformer, or `(batch, features)`, which stays as it is.
        pooling: `"avg"`, `"max"`, `"avgmax"` (both, side by side) or `"token"` (the class token,
            the first of a transformer).

    Returns:
        `(batch, features)`.

    Raises:
        InputError: unknown pooling, a rank that cannot be pooled, or `"token"` of an image-shaped
        tensor.
    """
    if pooling not in POOLINGS:
        raise unknown_name("pooling", pooling, POOLINGS)
    rank = len(tensor.shape)
    if rank == 2:
        return tensor
    if rank not in (3, 4) or (pooling == "token" and rank != 3):
        raise InputError(
            f"pooling {pooling!r} does not fit a backbone output of shape {tensor.shape}"
        )
    if pooling == "token":
        return tensor[:, 0]
    layers = keras.layers
    average = layers.GlobalAveragePooling1D if rank == 3 else layers.GlobalAveragePooling2D
    maximum = layers.GlobalMaxPooling1D if rank == 3 else layers.GlobalMaxPooling2D
    if pooling == "avg":
        return average()(tensor)
    if pooling == "max":
        return maximum()(tensor)
    return layers.Concatenate()([average()(tensor), maximum()(tensor)])


def build_classifier(
    num_features: int, num_classes: int, *, dropout: float = 0.0, seed: int = 0
) -> keras.Model:
    """A head without its pooling: optional dropout and a dense layer, features to logits.

    The dense layer starts at zero: the loss is convex, and random weights would only add noise to
    it.

    Raises:
        InputError: `dropout` outside [0, 1).
    """
    check_dropout(dropout)
    features = keras.Input((num_features,), name="features")
    kept = keras.layers.Dropout(dropout, seed=seed)(features) if dropout else features
    logits = keras.layers.Dense(num_classes, kernel_initializer="zeros", name="head")(kept)
    return keras.Model(features, logits, name="classifier")


def attach(
    body: keras.Model, classifier: keras.Model, *, pooling: str, dropout: float = 0.0
) -> keras.Model:
    """Body and head as one ordinary Keras model, images in and class probabilities out.

    The body's layers are shared with the model that is returned, and frozen; the dense layer is
    new.

    Args:
        body: RGB images `(batch, height, width, 3)` in [0, 255] to features.
        classifier: from `build_classifier`, trained.
        pooling: as in `pool`; the one that the classifier's features were made with.
        dropout: dropout before the dense layer, for whoever trains the model on.

    Returns:
        A model whose predictions equal softmax(classifier(pool(body(images)))).
    """
    body.trainable = False
    features = pool(body.output, pooling)
    if dropout:
        features = keras.layers.Dropout(dropout)(features)
    trained = classifier.get_layer("head")
    # A layer of the user's own network may have the name already.
    taken = any(layer.name == "head" for layer in body.layers)
    dense = keras.layers.Dense(trained.units, name=None if taken else "head")
    logits = dense(features)
    dense.set_weights(trained.get_weights())
    # In float32 under any precision policy: bfloat16 probabilities have three digits.
    probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(logits)
    return keras.Model(body.inputs, probabilities, name="ktransfer_model")


def train_classifier(
    train: Labelled,
    validation: Labelled,
    num_classes: int,
    *,
    epochs: int = 30,
    batch_size: int | None = None,
    optimizer: keras.optimizers.Optimizer | None = None,
    patience: int | None = 10,
    dropout: float = 0.0,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> TrainedHead:
    """Train a dense softmax layer on features, and keep the weights of the best epoch.

    The features are divided by their root mean square while it trains, so that one learning rate
    serves every backbone; the factor is folded into the layer's weights at the end.

    Args:
        train: features `(images, features)`, float32, in memory or a `numpy.memmap`, and integer
            labels `(images,)` in [0, num_classes).
        validation: the same of other images. The epoch is chosen on these, by loss: on a few dozen
            images the accuracy has ties and lucky jumps.
        num_classes: number of outputs.
        epochs: most epochs to train.
        batch_size: images a step; None takes an eighth of the images, at least 4 and at most 32: of
            a few dozen images, batches of 32 would leave too few steps to learn anything.
        optimizer: default Adam, at `DEFAULT_LEARNING_RATE` decayed to zero by a cosine (arXiv
            1608.03983).
        patience: epochs without a lower validation loss after which training ends; None: never.
        dropout: share of the features dropped at each step, in [0, 1).
        seed: of the order of the images and of the dropout.
        callbacks: further Keras callbacks.

    Returns:
        A `TrainedHead`.

    Raises:
        InputError: as `check_training_arguments`, or features that are not finite.
    """
    check_training_arguments(epochs, batch_size, patience)
    scale = 1.0 / _root_mean_square(train[0])
    classifier = build_classifier(train[0].shape[1], num_classes, dropout=dropout, seed=seed)
    batch_size = batch_size or min(32, max(4, len(train[1]) // 8))
    steps = num_batches(len(train[1]), batch_size)
    model = _trainable(classifier, scale, optimizer or _default_optimizer(epochs * steps))
    keep_best = keras.callbacks.EarlyStopping(
        "val_loss", patience=patience or epochs, restore_best_weights=True
    )
    record = _EpochRecord()
    interrupted = False
    try:
        model.fit(
            shuffled_batches(*train, batch_size=batch_size, seed=seed),
            validation_data=ordered_batches(*validation, batch_size=1_024),
            epochs=epochs,
            steps_per_epoch=steps,
            shuffle=False,
            verbose=0,
            callbacks=[keep_best, record, *callbacks],
        )
    except KeyboardInterrupt:
        if keep_best.best_weights is None:
            raise
        model.set_weights(keep_best.best_weights)
        interrupted = True
    _scale_inputs(classifier, scale)
    return TrainedHead(classifier, tuple(record.epochs), keep_best.best_epoch + 1, interrupted)


def predict_classes(
    classifier: keras.Model, values: np.ndarray, rows_at_once: int = 8_192
) -> np.ndarray:
    """The most probable class of each row of features, int64 `(images,)`, read in pieces."""
    kernel, bias = classifier.get_layer("head").get_weights()
    pieces = [
        (values[start : start + rows_at_once] @ kernel + bias).argmax(axis=1)
        for start in range(0, len(values), rows_at_once)
    ]
    return np.concatenate(pieces)


def check_dropout(dropout: float) -> None:
    """Raise an `InputError` if `dropout` lies outside [0, 1)."""
    if not 0.0 <= dropout < 1.0:
        raise InputError(f"dropout must lie in [0, 1), got {dropout}")


def check_training_arguments(epochs: int, batch_size: int | None, patience: int | None) -> None:
    """Raise before any work is done if a head cannot be trained so.

    Raises:
        InputError: `epochs`, `batch_size` or `patience` under 1.
    """
    given = {"epochs": epochs, "batch_size": batch_size, "patience": patience}
    for name, value in given.items():
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")


def _root_mean_square(values: np.ndarray, rows_at_once: int = 8_192) -> float:
    """The root mean square of all values, read in pieces; 1 where all are zero."""
    squares = sum(
        float(np.sum(np.square(values[start : start + rows_at_once], dtype=np.float64)))
        for start in range(0, len(values), rows_at_once)
    )
    if not math.isfinite(squares):
        raise InputError(
            "the backbone's features are not finite (NaN or infinite): its weights may be damaged, "
            "or do not belong to it"
        )
    return math.sqrt(squares / values.size) or 1.0


def _default_optimizer(steps: int) -> keras.optimizers.Optimizer:
    schedule = keras.optimizers.schedules.CosineDecay(DEFAULT_LEARNING_RATE, steps)
    return keras.optimizers.Adam(schedule)


def _trainable(
    classifier: keras.Model, scale: float, optimizer: keras.optimizers.Optimizer
) -> keras.Model:
    """The classifier behind a fixed scaling of its features, compiled; it shares the weights."""
    features = keras.Input(classifier.input_shape[1:])
    model = keras.Model(features, classifier(keras.layers.Rescaling(scale)(features)))
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,  # a matrix product of this size is done before XLA has compiled it
    )
    return model


def _scale_inputs(classifier: keras.Model, factor: float) -> None:
    """Fold a multiplication of the features by `factor` into the dense layer."""
    dense = classifier.get_layer("head")
    kernel, bias = dense.get_weights()
    dense.set_weights([kernel * factor, bias])


class _EpochRecord(keras.callbacks.Callback):
    """The history of a training, epoch by epoch, with the wall time of each in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[dict[str, float]] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        seconds = time.perf_counter() - self._started
        figures = {name: float(value) for name, value in (logs or {}).items()}
        self.epochs.append({"epoch": epoch + 1, **figures, "seconds": seconds})
