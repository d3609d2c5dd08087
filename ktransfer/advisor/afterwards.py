"""Whether the advice was right, as far as the validation images can tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ktransfer.advisor.advice import Advice


@dataclass(frozen=True)
class Tried:
    """What one stage of the plan came to on the validation images.

    Attributes:
        unfreeze: how many last blocks it trained.
        val_accuracy: of what was kept at its end, in [0, 1]; None where nothing was any good.
        kept: whether one of its epochs was kept.
    """

    unfreeze: int
    val_accuracy: float | None
    kept: bool


def hindsight(advice: Advice, stages: Sequence[Tried], num_validation: int) -> tuple[str, ...]:
    """Compare what was expected with what came, in sentences.

    Args:
        advice: of `decide`; nothing is said of one that measured nothing.
        stages: in order, the head first.
        num_validation: validation images.
    """
    return tuple(_sentences(advice, stages, num_validation))


def _sentences(advice: Advice, stages: Sequence[Tried], number: int) -> Iterator[str]:
    expected = advice.expected
    if expected is None or expected.accuracy is None or expected.interval is None or not stages:
        return
    head, tuning = stages[0], stages[1:]
    if head.unfreeze == 0 and head.val_accuracy is not None:
        yield _of_the_head(expected.accuracy, expected.interval, head.val_accuracy, number)
    before = head.val_accuracy
    for each in tuning:
        yield _of_the_tuning(each, before)
        before = each.val_accuracy
    if tuning and not any(each.kept for each in tuning):
        yield "So a frozen backbone was the right advice, and the try cost only time."
    elif tuning:
        yield "So fine-tuning was worth the try."


def _of_the_head(expected: float, interval: tuple[float, float], found: float, number: int) -> str:
    low, high = interval
    # The validation images have a chance error of their own beside that of the estimate.
    slack = 1.96 * (max(expected * (1 - expected), 1 / number) / number) ** 0.5
    figures = (
        f"{expected:.1%} ({low:.1%} to {high:.1%}) were expected of the head, {found:.1%} of the "
        f"{number:,} validation images came right"
    )
    if low <= found <= high:
        return f"{figures}: as expected."
    if low - slack <= found <= high + slack:
        less = "fewer" if found < low else "more"
        return f"{figures}: {less} than expected, though {number:,} images can differ so by chance."
    if found < low:
        return (
            f"{figures}: worse than chance explains. Look at whether the validation images are of "
            "another kind (`ktransfer doctor`)."
        )
    return (
        f"{figures}: better than chance explains. Near duplicates in both parts would do that "
        "(`ktransfer doctor`)."
    )


def _of_the_tuning(stage: Tried, before: float | None) -> str:
    what = f"Training the last {stage.unfreeze} blocks"
    if not stage.kept or stage.val_accuracy is None:
        return f"{what} was tried and was no better on the validation images, so it was dropped."
    against = f" (before it {before:.1%})" if before is not None else ""
    return (
        f"{what} was tried and kept: its validation loss is lower, and {stage.val_accuracy:.1%} of "
        f"the validation images came right{against}."
    )
