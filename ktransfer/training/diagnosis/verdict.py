"""The verdict on a training.

A verdict rests on what the number of images allows: a difference that may be chance is said to be
one. Two things are known to lean. The training accuracy is the mean over an epoch while the weights
still move, with augmentation and dropout, so the gap is rather larger than it looks; and the epoch
that is kept was chosen on the validation images, so their accuracy is a little too good.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ktransfer.errors import InputError, unknown_name
from ktransfer.training.diagnosis.suggestions import suggestions_for
from ktransfer.training.diagnosis.training import (
    EXPLODED_TIMES,
    GAP_THAT_MATTERS,
    Row,
    Training,
    check_history,
)

#: Of the way from guessing to no error: under the first nothing was learned, under the second the
#: training images are not fitted (85 % of two equal classes, 73 % of ten).
LEARNED_NOTHING, LEARNED_LITTLE = 0.1, 0.7
#: Training diverged if its loss ends at this many times where it began.
DIVERGED_TIMES = 2.0
LEAST_EPOCHS = 3

TRAINED = ("head", "blocks", "all")
#: What became of training blocks after a head alone.
TUNING = ("untried", "kept", "dropped")


@dataclass(frozen=True)
class Diagnosis:
    """What a training shows; print it for sentences.

    Attributes:
        verdict: `"underfitting"`, `"overfitting"`, `"good_fit"`, `"not_learning"`, `"diverged"` or
            `"too_short"`.
        train_accuracy: On the training images in the kept epoch; None if there is no such epoch.
        val_accuracy: On the validation images after it.
        gap: The first minus the second.
        gap_interval: 95 % interval of the gap.
        reasons: Why, in sentences with the figures.
        suggestions: What to try next, the most promising first.
    """

    verdict: str
    train_accuracy: float | None
    val_accuracy: float | None
    gap: float | None
    gap_interval: tuple[float, float] | None
    reasons: tuple[str, ...]
    suggestions: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, ready for JSON."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdict with its reasons, and the first two things to try."""
        verdict = self.verdict.replace("_", " ")
        tries = (f"try: {each}" for each in self.suggestions[:2])
        return (f"{verdict}: {' '.join(self.reasons)}", *tries)

    def __str__(self) -> str:
        lines = [self.verdict.replace("_", " "), *(f"  {reason}" for reason in self.reasons)]
        tries = [f"  - {suggestion}" for suggestion in self.suggestions]
        return "\n".join([*lines, *(["what to try next:", *tries] if tries else [])])


def diagnose(
    history: Sequence[Row],
    *,
    best_epoch: int | None,
    num_train: int,
    num_validation: int,
    num_classes: int,
    trained: str,
    learning_rate: float,
    majority_share: float | None = None,
    tuning: str = "untried",
) -> Diagnosis:
    """Judge a training by its history; the first of these that holds is the verdict.

    - diverged: a loss is not finite, or the training loss ends at over twice its first value, or
      at over ten times that of guessing;
    - too_short: fewer than 3 epochs;
    - not_learning: hardly better than guessing, under a tenth of the way to no error;
    - overfitting: the gap between training and validation accuracy in the kept epoch is more than
      chance, over 5 points, and would be both with one more image right; or the validation loss of
      the last 3 epochs lies over 10 % (on few images more) above the kept epoch's while the
      training loss fell on; or after the kept epoch only the training images were fitted;
    - underfitting: the training images are not fitted, under 70 % of the way to no error;
    - good_fit: none of these.

    Args:
        history: A dict for each epoch, in order: `epoch` (from 1), `loss`, `accuracy` (training),
            `val_loss`, `val_accuracy`.
        best_epoch: The epoch whose weights were kept; None if there is none.
        num_train: Training images.
        num_validation: Validation images.
        num_classes: At least 2.
        trained: `"head"`, `"blocks"` (the last ones, with the head) or `"all"`.
        learning_rate: The highest of the training, above 0; suggestions name others.
        majority_share: Share of the largest class, what guessing reaches; None: equal classes.
        tuning: what became of training blocks after a head alone: `"untried"`, `"kept"` (better on
            the validation images) or `"dropped"` (no better). What that has answered is not
            suggested again.

    Returns:
        A `Diagnosis`.

    Raises:
        InputError: The history is empty or lacks a figure, the best epoch is none of it, or a
            number or `trained` is out of range.

    Example:
        >>> falls = [(1, 0.9, 0.80), (2, 0.4, 0.95), (3, 0.3, 0.97)]
        >>> history = [
        ...     {"epoch": epoch, "loss": loss, "accuracy": accuracy, "val_loss": loss + 0.1,
        ...      "val_accuracy": 0.95} for epoch, loss, accuracy in falls]
        >>> diagnose(history, best_epoch=3, num_train=400, num_validation=100, num_classes=2,
        ...          trained="head", learning_rate=0.002).verdict
        'good_fit'

    Source:
        Newcombe 1998, Interval estimation for the difference between independent proportions,
        Statistics in Medicine 17, method 10, for the interval of the gap.
    """
    for name, value, least in (
        ("num_train", num_train, 1),
        ("num_validation", num_validation, 1),
        ("num_classes", num_classes, 2),
    ):
        if value < least:
            raise InputError(f"{name} must be at least {least}, got {value}")
    guessing = 1 / num_classes if majority_share is None else majority_share
    _check_settings(trained, tuning, learning_rate, guessing)
    kept = check_history(history, best_epoch)
    training = Training(
        history, num_train, num_validation, guessing, trained, learning_rate, tuning
    )
    verdict, reasons = _verdict(training, kept, math.log(num_classes))
    tries = suggestions_for(verdict, training)
    if kept is None:
        return Diagnosis(verdict, None, None, None, None, reasons, tries)
    reasons = (_gap_sentence(training, kept), *reasons)
    return Diagnosis(
        verdict, kept["accuracy"], kept["val_accuracy"], *training.gap(kept), reasons, tries
    )


def _check_settings(trained: str, tuning: str, learning_rate: float, guessing: float) -> None:
    if trained not in TRAINED:
        raise unknown_name("kind of training", trained, TRAINED)
    if tuning not in TUNING:
        raise unknown_name("tuning", tuning, TUNING)
    if not 0 < learning_rate < math.inf:
        raise InputError(f"learning_rate must be above 0, got {learning_rate}")
    if not 0 < guessing < 1:
        raise InputError(f"majority_share must lie between 0 and 1, got {guessing}")


def _verdict(
    training: Training, kept: Row | None, guessing_loss: float
) -> tuple[str, tuple[str, ...]]:
    """The verdict and the reasons but the sentence about the gap."""
    broken = _divergence(training.rows, guessing_loss)
    if broken:
        if kept is not None and training.after(kept):
            broken += f" The kept epoch {kept['epoch']} is from before."
        return "diverged", (broken,)
    if kept is None:
        raise InputError("best_epoch must be an epoch where every loss is finite, got None")
    if len(training.rows) < LEAST_EPOCHS:
        epochs = len(training.rows)
        return "too_short", (f"No trend shows in {epochs} of at least {LEAST_EPOCHS} epochs.",)
    if max(map(training.learned, training.rows)) < LEARNED_NOTHING:
        best = max(row["accuracy"] for row in training.rows)
        guess = _percent(training.guessing)
        return "not_learning", (
            f"The training accuracy reached {_percent(best)} at best; guessing reaches {guess}.",
        )
    return _fit(training, kept)


def _divergence(rows: Sequence[Row], guessing_loss: float) -> str:
    """A sentence that says how the training broke; empty if it did not."""
    for row in rows:
        if not (math.isfinite(row["loss"]) and math.isfinite(row["val_loss"])):
            return f"A loss of epoch {row['epoch']} is not finite."
    first, last = rows[0]["loss"], rows[-1]["loss"]
    if last > DIVERGED_TIMES * first:
        return f"The training loss rose from {first:.3g} to {last:.3g}."
    if last > EXPLODED_TIMES * guessing_loss:
        return f"The training loss ended at {last:.3g}; guessing has {guessing_loss:.3g}."
    return ""


def _fit(training: Training, kept: Row) -> tuple[str, tuple[str, ...]]:
    """Overfitting, underfitting or neither, of a training that learned something."""
    last = training.rows[-1]
    little = training.learned(kept) < LEARNED_LITTLE
    if training.val_loss_rose(kept):
        return "overfitting", (_rise_sentence(training, kept),)
    if training.gap_counts(kept):
        return "overfitting", ()
    if little and training.gap_counts(last):
        return "overfitting", (
            "After the kept epoch only the training images were fitted: "
            f"{_percent(last['accuracy'])} in epoch {last['epoch']}, validation "
            f"{_percent(last['val_accuracy'])}.",
        )
    if little and training.learned(last) < LEARNED_LITTLE:
        return "underfitting", (_trend_sentence(training),)
    return "good_fit", ()


def _rise_sentence(training: Training, kept: Row) -> str:
    loss, val_loss = training.last_losses()
    return (
        f"After epoch {kept['epoch']}, which was kept, the validation loss rose from "
        f"{kept['val_loss']:.3g} to {val_loss:.3g} (mean of the last 3 epochs) while the training "
        f"loss fell on from {kept['loss']:.3g} to {loss:.3g}."
    )


def _trend_sentence(training: Training) -> str:
    if not training.falling("loss"):
        return "The training images are not fitted, and their loss no longer falls."
    if training.falling("val_loss"):
        return "The training images are not fitted yet, and both losses still fell at the end."
    return "The training images are not fitted yet; their loss still fell at the end."


def _gap_sentence(training: Training, kept: Row) -> str:
    gap, interval = training.gap(kept)
    accuracies = (
        f"Training {_percent(kept['accuracy'])}, validation {_percent(kept['val_accuracy'])} of "
        f"{training.num_validation} images"
    )
    if gap <= 0:
        return f"{accuracies}: no gap."
    if interval[0] <= 0:
        judged = "may be chance"
    elif gap <= GAP_THAT_MATTERS:
        judged = "is small, though more than chance"
    elif training.gap_counts(kept):
        judged = "is more than chance"
    else:
        judged = "would be chance or small with one more image right"
    ends = f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
    return f"{accuracies}: the gap of {100 * gap:.1f} points {judged}, {ends}."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
