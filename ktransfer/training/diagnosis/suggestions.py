"""What to try after a training, by its verdict and by what of the network trained."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ktransfer.metrics import wilson_interval
from ktransfer.training.diagnosis.training import Training

#: A validation accuracy less sure than this many points either way invites more images.
UNSURE = 0.05


def suggestions_for(verdict: str, training: Training) -> tuple[str, ...]:
    """What to try next, the most promising first; nothing that does not fit what trained."""
    return tuple(_SUGGESTIONS[verdict](training))


def _diverged(training: Training) -> Iterator[str]:
    yield f"A learning rate of {training.learning_rate / 10:.2g}, a tenth, or a range test."
    if training.trained != "head":
        first = "" if training.tuning == "kept" else "Train the head alone first; "
        said = f"{first}a warm-up; lower rates for the blocks."
        yield said[0].upper() + said[1:]


def _too_short(training: Training) -> Iterator[str]:
    yield "At least 5 epochs, with a patience to end it early."


def _not_learning(training: Training) -> Iterator[str]:
    yield "Look at some images with their labels: are they right, and do they tell the classes?"
    # The loss of equal probabilities: one above it comes from being sure and wrong.
    if training.rows[-1]["loss"] > 1.5 * -math.log(training.guessing):
        yield f"A learning rate of {training.learning_rate / 10:.2g}: the loss is above guessing."
    else:
        yield f"A learning rate of {training.learning_rate * 10:.2g}, or a range test."
    if training.trained == "head" and training.tuning != "dropped":
        yield "Unfreeze the last blocks: the frozen features may not tell the classes apart."
    elif training.trained == "all" and training.tuning != "kept":
        yield "Freeze the backbone and train the head alone first: is it the features or the rates?"


def _overfitting(training: Training) -> Iterator[str]:
    best = min(training.rows, key=lambda row: row["val_loss"])["epoch"]
    last = training.rows[-1]["epoch"]
    if last - best >= 3:
        yield f"Fewer epochs were enough: {best} of {last} (patience ends a training there)."
    yield "More or stronger augmentation."
    if training.trained == "head":
        yield "Dropout before the head, or weight decay on it."
    else:
        # Where blocks that trained were better than frozen ones, that is answered.
        freeze = "" if training.tuning == "kept" else "Freeze more blocks, or "
        said = f"{freeze}give the blocks that train a lower learning rate (layer_decay)."
        yield said[0].upper() + said[1:]
        yield "Weight decay, or dropout before the head."
    yield f"More training images than {training.num_train}."


def _underfitting(training: Training) -> Iterator[str]:
    if training.falling("val_loss"):
        yield f"Train longer than {len(training.rows)} epochs."
    yield f"A higher learning rate, for example {training.learning_rate * 3:.2g}, or a range test."
    if training.trained == "all":
        yield "A larger backbone or larger images: every block trains already."
    elif training.trained == "blocks":
        yield "Unfreeze more blocks."
    elif training.tuning != "dropped":
        yield "Unfreeze the last blocks."
    yield "Less augmentation, dropout and weight decay, where there is some."


def _good_fit(training: Training) -> Iterator[str]:
    best = min(training.rows, key=lambda row: row["val_loss"])
    if best is training.rows[-1] and training.falling("val_loss"):
        yield "A few more epochs: the validation loss still fell at the end."
    images = training.num_validation
    low, high = wilson_interval(round(best["val_accuracy"] * images), images)
    if high - low > 2 * UNSURE:
        yield (
            f"More validation images: {images} leave the accuracy anywhere from {100 * low:.0f} to "
            f"{100 * high:.0f} %."
        )


_SUGGESTIONS = {
    "diverged": _diverged,
    "too_short": _too_short,
    "not_learning": _not_learning,
    "overfitting": _overfitting,
    "underfitting": _underfitting,
    "good_fit": _good_fit,
}
