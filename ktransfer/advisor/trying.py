"""Whether fine-tuning is tried, and with which stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ktransfer.errors import unknown_name
from ktransfer.plan import Stage, lp_ft

if TYPE_CHECKING:
    from ktransfer.advisor.situation import Situation

FINE_TUNING = ("auto", "on", "off")

#: Fine-tuning is tried from so many training images on: with fewer, the validation images that have
#: to tell whether it helped are a dozen or two.
TRIED_FROM_IMAGES = 100

#: And where the head is wrong at least so often: else there is next to nothing to gain.
TRIED_FROM_MISTAKES = 0.05

#: A try that would take longer here is left out; the reasons say so.
LONGEST_TRY_S = 10 * 60


def check_fine_tuning(fine_tuning: str) -> None:
    """Raise an `InputError` if it is none of `FINE_TUNING`."""
    if fine_tuning not in FINE_TUNING:
        raise unknown_name("fine_tuning", str(fine_tuning), FINE_TUNING)


def stages_to_try(situation: Situation, mistakes: float | None) -> tuple[tuple[Stage, ...], str]:
    """Return the stages that are tried, and why these, in a sentence."""
    every = every_stage(situation)
    if situation.fine_tuning == "off":
        return (), "Fine-tuning is not tried: it was switched off."
    if situation.fine_tuning == "on":
        return every, "Fine-tuning is tried on the validation images, as asked for."
    if situation.num_images < TRIED_FROM_IMAGES or mistakes is None:
        return (), (
            f"Fine-tuning is not tried with under {TRIED_FROM_IMAGES} training images: too few "
            "are held back to tell whether it helped."
        )
    if mistakes < TRIED_FROM_MISTAKES:
        return (), (
            f"Fine-tuning is not tried: the head is wrong in {mistakes:.1%} of the images only, so "
            "there is little to gain."
        )
    short = tuple(each for each in every if _seconds(each, situation) <= LONGEST_TRY_S)
    left_out = _left_out(every, short, situation)
    return short, (
        f"Fine-tuning is tried, since the head is wrong in {mistakes:.1%} of the images, and kept "
        f"only where the validation images say that it is better.{left_out}"
    )


def _seconds(stage: Stage, situation: Situation) -> float:
    unfreeze = int(stage.unfreeze)
    return situation.costs.tuning(situation.num_images, unfreeze, stage.epochs)[0]


def _left_out(every: Sequence[Stage], short: Sequence[Stage], situation: Situation) -> str:
    long = [each for each in every if each not in short]
    if not long:
        return ""
    names = " and ".join(each.name for each in long)
    hours = sum(_seconds(each, situation) for each in long) / 3_600
    return (
        f" Left out is {names}, which would take about {hours:.1f} hours here: "
        "fine_tuning='on' tries it all the same."
    )


def every_stage(situation: Situation) -> tuple[Stage, ...]:
    """Say what may be tried: the last third, from the cache and cheap, then everything."""
    blocks = situation.num_blocks
    tuning = lp_ft(last_first=max(1, blocks // 3)).stages[1:]
    return tuple(replace(each, unfreeze=each.num_trainable_blocks(blocks)) for each in tuning)
