"""Learning-rate schedules as plain functions of the step.

Each returns the share of the peak learning rate that is left, from 0 to 1, before step `step` of a
stage; the first step is 0. They agree with `keras.optimizers.schedules`, which is what the tests
compare them with.
"""

from __future__ import annotations

import math

SCHEDULES = ("constant", "cosine", "linear", "step", "exponential")
#: Those that need to know after how many epochs they multiply by what.
PERIODIC = ("step", "exponential")


def warm_up(step: int, warmup_steps: int) -> float:
    """Linear from 0 up to 1, reached at step `warmup_steps`.

    As in Keras, the first step has the rate 0 and moves nothing.

    Example:
        >>> [warm_up(step, 4) for step in range(5)]
        [0.0, 0.25, 0.5, 0.75, 1.0]

    Source: Goyal et al. 2017, Accurate, Large Minibatch SGD (arXiv 1706.02677), gradual warm-up.
    """
    return min(step / warmup_steps, 1.0)


def cosine(step: int, decay_steps: int) -> float:
    """Half a cosine from 1 to 0, reached at step `decay_steps`; 0 from then on.

    Example:
        >>> [round(cosine(step, 4), 3) for step in range(6)]
        [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]

    Source: Loshchilov and Hutter 2016, SGDR (arXiv 1608.03983). Changed: no restarts.
    """
    return 0.5 * (1.0 + math.cos(math.pi * min(step / decay_steps, 1.0)))


def linear(step: int, decay_steps: int) -> float:
    """Return a straight line from 1 to 0, reached at step `decay_steps`; 0 from then on.

    Example:
        >>> [linear(step, 4) for step in range(6)]
        [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """
    return 1.0 - min(step / decay_steps, 1.0)


def step_decay(step: int, every_steps: int, factor: float) -> float:
    """Multiplied by `factor` after every `every_steps` steps.

    The first step with a lower rate is step `every_steps`, as in PyTorch's StepLR. The boundaries
    of Keras' `PiecewiseConstantDecay` are the last steps of the higher rate: one less.

    Example:
        >>> [step_decay(step, 2, 0.5) for step in range(5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    return float(factor ** (step // every_steps))


def exponential(step: int, every_steps: int, factor: float) -> float:
    """As `step_decay`, but falling smoothly in between.

    Example:
        >>> [round(exponential(step, 2, 0.25), 3) for step in range(5)]
        [1.0, 0.5, 0.25, 0.125, 0.062]
    """
    return float(factor ** (step / every_steps))


def scheduled(
    schedule: str,
    step: int,
    *,
    total_steps: int,
    warmup_steps: int = 0,
    every_steps: int = 1,
    factor: float = 1.0,
) -> float:
    """Return the share of the peak learning rate before a step: the warm-up, then the schedule.

    Args:
        schedule: one of `SCHEDULES`; it begins when the warm-up ends.
        step: how many steps of the stage were taken.
        total_steps: how many steps the stage has; "cosine" and "linear" reach 0 after the last.
        warmup_steps: how many of these are the warm-up, fewer than all.
        every_steps: of "step" and "exponential": after how many steps they multiply.
        factor: of "step" and "exponential": by what.

    Returns:
        A number from 0 to 1.

    Example:
        >>> [scheduled("linear", step, total_steps=4, warmup_steps=2) for step in range(5)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if step < warmup_steps:
        return warm_up(step, warmup_steps)
    step, decay_steps = step - warmup_steps, total_steps - warmup_steps
    match schedule:
        case "cosine":
            return cosine(step, decay_steps)
        case "linear":
            return linear(step, decay_steps)
        case "step":
            return step_decay(step, every_steps, factor)
        case "exponential":
            return exponential(step, every_steps, factor)
    return 1.0
