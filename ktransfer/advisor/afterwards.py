"""What came of the tries, and whether the advice was right, as far as held-back images can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ktransfer.advisor.advice import Advice
from ktransfer.metrics import Score

#: What may come of a try.
KEPT, NO_BETTER, UNFINISHED = "kept", "no better", "unfinished"
#: Standard errors by which the loss of a try must be lower than the head's.
BETTER_BY = 1.0

#: The note of a try that Ctrl-C ended.
INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Tried:
    """What one try of fine-tuning came to on the validation images.

    Attributes:
        name: what it trained, as its stages are called.
        unfreeze: how many last blocks it trained.
        learning_rate: at which.
        epochs: how many it was given.
        refit: whether the head was solved anew on the tuned blocks at its end.
        val_accuracy: share right at its end, in [0, 1]; None where it did not come to one.
        val_calibrated_loss: cross entropy at the best temperature.
        advantage: how much smaller that is than the head's, on average over the same images.
        error: the standard error of that.
        outcome: `"kept"`, `"no better"` or `"unfinished"`.
        note: why it is unfinished.
        seconds: wall time.
    """

    name: str
    unfreeze: int
    learning_rate: float
    epochs: int = 0
    refit: bool = False
    val_accuracy: float | None = None
    val_calibrated_loss: float | None = None
    advantage: float | None = None
    error: float | None = None
    outcome: str = UNFINISHED
    note: str = ""
    seconds: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether the model is its work."""
        return self.outcome == KEPT

    @property
    def is_better(self) -> bool:
        """Whether its loss is lower than the head's by more than chance: `BETTER_BY` errors."""
        if self.advantage is None or self.error is None:
            return False
        return self.advantage > BETTER_BY * self.error

    @property
    def title(self) -> str:
        """What it trained, and how fast."""
        return f"{self.name} at {self.learning_rate:g}"

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Tried:
        """Return the reverse of `to_dict`."""
        return cls(**data)

    def __str__(self) -> str:
        if self.outcome == UNFINISHED or self.val_accuracy is None:
            return f"{self.title}: {self.note or 'not finished'}"
        solved = ", then a head solved on all blocks" if self.refit else ""
        compared = ""
        if self.advantage is not None and self.error is not None:
            word = "lower" if self.advantage > 0 else "higher"
            compared = (
                f"; its loss is {abs(self.advantage):.3f} {word} than the head's, give or take "
                f"{self.error:.3f}"
            )
        return (
            f"{self.title}{solved}: {self.val_accuracy:.1%} of the validation images right"
            f"{compared}: {self.outcome}"
        )


@dataclass(frozen=True)
class Found:
    """What came of a training, on images that it was not trained on.

    Attributes:
        head: share of the validation images that the head got right before anything was tried.
        validation: score of the model on the validation images.
        test: and on the test part, which nothing was chosen by; None: there is none.
    """

    head: float
    validation: Score
    test: Score | None = None


def hindsight(advice: Advice, tries: Sequence[Tried], found: Found) -> tuple[str, ...]:
    """Compare what was expected with what came, in sentences.

    Args:
        advice: of `decide`; nothing is said of one that measured nothing.
        tries: of fine-tuning.
        found: what came.
    """
    return tuple(_sentences(advice, tries, found))


def _sentences(advice: Advice, tries: Sequence[Tried], found: Found) -> Iterator[str]:
    expected = advice.expected
    if expected is None or expected.accuracy is None or expected.interval is None:
        return
    number = found.validation.num_images
    yield _compared(
        expected.accuracy, expected.interval, found.head, number, "of the head", "validation"
    )
    kept = any(each.kept for each in tries)
    if found.test:
        # The estimate is of the head; of what was tuned only a fall below it is news.
        low, high = expected.interval
        bounds = (low, 1.0) if kept else (low, high)
        yield _compared(
            expected.accuracy, bounds, found.test.accuracy, found.test.num_images, "", "test"
        )
    done = [each for each in tries if each.outcome != UNFINISHED]
    if kept:
        yield "So fine-tuning was worth the try."
    elif done:
        yield "So a frozen backbone was the right advice, and the try cost only time."


def _compared(
    expected: float,
    interval: tuple[float, float],
    found: float,
    number: int,
    what: str,
    part: str,
) -> str:
    low, high = interval
    # The images that were found have a chance error of their own beside that of the estimate.
    slack = 1.96 * (max(expected * (1 - expected), 1 / number) / number) ** 0.5
    ends = f" ({low:.1%} to {high:.1%})" if high < 1.0 else f" (at least {low:.1%})"
    of = f" {what}" if what else ""
    figures = (
        f"{expected:.1%}{ends} were expected{of}, {found:.1%} of the {number:,} {part} images came "
        "right"
    )
    if low <= found <= high:
        return f"{figures}: as expected."
    if low - slack <= found <= high + slack:
        less = "fewer" if found < low else "more"
        return f"{figures}: {less} than expected, though {number:,} images can differ so by chance."
    if found < low:
        return (
            f"{figures}: worse than chance explains. Look at whether the {part} images are of "
            "another kind, or the training images are alike among themselves (`ktransfer doctor`)."
        )
    return (
        f"{figures}: better than chance explains. Near duplicates in both parts would do that "
        "(`ktransfer doctor`)."
    )
