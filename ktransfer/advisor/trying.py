"""Whether fine-tuning is tried, and how."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ktransfer.advisor.gains import ExpectedGain, expected_gain
from ktransfer.errors import unknown_name
from ktransfer.plan import Plan, lp_ft_refit

if TYPE_CHECKING:
    from ktransfer.advisor.costs import Costs
    from ktransfer.advisor.situation import Situation

FINE_TUNING = ("auto", "on", "off")

#: Fine-tuning is tried from so many training images on: with fewer, the validation images that have
#: to tell whether it helped are a dozen or two.
TRIED_FROM_IMAGES = 100

#: And where one standard deviation above the mean it gains so much: it takes ten times as long as
#: the head, and on photos like those of the backbone gained a point or nothing.
TRIED_FROM_GAIN = 0.04

#: A try that would take longer here is left out; the reasons say so.
LONGEST_TRY_S = 10 * 60

#: Learning rates at which everything trains: 1e-3 gains most on some sets and ruins others, which
#: the first few epochs show.
_RATES_OF_ALL, _RATE_OF_LAST = (5e-4, 1e-3), 3e-4


@dataclass(frozen=True)
class Tries:
    """What is tried besides the head.

    Attributes:
        plans: the cheapest first, each from the head by itself.
        why: these and no others are, in a sentence.
        gain: what is expected of them; None where it cannot be told.
    """

    plans: tuple[Plan, ...]
    why: str
    gain: ExpectedGain | None


def check_fine_tuning(fine_tuning: str) -> None:
    """Raise an `InputError` if it is none of `FINE_TUNING`."""
    if fine_tuning not in FINE_TUNING:
        raise unknown_name("fine_tuning", str(fine_tuning), FINE_TUNING)


def tries_of(situation: Situation, mistakes: float | None, gap: float | None) -> Tries:
    """Say what is tried besides the head.

    Args:
        situation: what is known beside the profile.
        mistakes: share of the images that the head is wrong about, left out; None: not known.
        gap: the domain gap; None: not known.
    """
    every = every_try(situation.num_blocks)
    gain = None if mistakes is None else expected_gain(gap, mistakes)
    if situation.fine_tuning == "off":
        return Tries((), "Fine-tuning is not tried: it was switched off.", gain)
    if situation.fine_tuning == "on":
        return Tries(every, "Fine-tuning is tried, as asked for.", gain)
    if situation.num_images < TRIED_FROM_IMAGES or gain is None:
        why = (
            f"Fine-tuning is not tried with under {TRIED_FROM_IMAGES} training images: too few "
            "are held back to tell whether it helped."
        )
        return Tries((), why, gain)
    expected = f"of sets like this one it changed the accuracy of the head by {gain}"
    if gain.interval[1] < TRIED_FROM_GAIN:
        return Tries((), f"Fine-tuning is not tried: {expected}.", gain)
    takes = functools.partial(seconds_of, costs=situation.costs, num_images=situation.num_images)
    short = tuple(each for each in every if takes(each) <= LONGEST_TRY_S)
    left_out = _left_out({each.stages[1].name: takes(each) for each in every if each not in short})
    # The last blocks alone were seldom better than everything: they are for want of time.
    deepest = max((int(each.stages[-1].unfreeze) for each in short), default=0)
    short = tuple(each for each in short if each.stages[-1].unfreeze == deepest)
    why = (
        f"Fine-tuning is tried: {expected}. It is kept where the validation images say that it is "
        f"better by more than chance.{left_out}"
    )
    return Tries(short, why, gain)


def seconds_of(
    plan: Plan, costs: Costs, num_images: int, first: int = 1, last: int | None = None
) -> float:
    """Estimate the seconds of a try, or of some of its stages, the head's aside.

    Args:
        plan: resolved.
        costs: of the backbone.
        num_images: training images.
        first: stage.
        last: the one behind the last; None: all.
    """
    return sum(
        costs.tuning(num_images, int(stage.unfreeze), stage.epochs)[0]
        for stage in plan.stages[first:last]
    )


def _left_out(long: Mapping[str, float]) -> str:
    if not long:
        return ""
    hours = max(long.values()) / 3_600
    return (
        f" Left out is {' and '.join(long)}, which would take about {hours:.1f} hours here: "
        "fine_tuning='on' tries it all the same."
    )


def every_try(num_blocks: int) -> tuple[Plan, ...]:
    """Say what may be tried: the last third, from the cache and cheap, then everything."""
    last = lp_ft_refit(max(1, num_blocks // 3), _RATE_OF_LAST)
    plans = (last, *(lp_ft_refit(learning_rate=rate) for rate in _RATES_OF_ALL))
    return tuple(each.resolve(num_blocks) for each in plans)
