"""The learning rates of a whole training, step by step, before it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ktransfer.errors import InputError
from ktransfer.plan.fields import whole
from ktransfer.plan.stage import Stage


@dataclass(frozen=True)
class StageSpan:
    """Where a stage lies: it has the steps from `start` up to, and without, `stop`."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class LearningRates:
    """The learning rate of the head and of each block at every step of a plan.

    Attributes:
        rates: from `"head"`, `"block -1"` (the last block), `"block -2"` ... to one learning rate
            a step; 0 where the block is frozen. A block that never trains is left out.
        epochs: for each step, how many epochs were done before it.
        stages: where each stage lies.
    """

    rates: Mapping[str, tuple[float, ...]]
    epochs: tuple[float, ...]
    stages: tuple[StageSpan, ...]

    def __getitem__(self, group: str) -> tuple[float, ...]:
        return self.rates[group]


def simulate(
    stages: Sequence[Stage], steps_per_epoch: int | Sequence[int], num_blocks: int | None
) -> LearningRates:
    """Return every learning rate of the stages one after the other, each run for all its epochs.

    Args:
        stages: the stages.
        steps_per_epoch: steps in an epoch, or one number for each stage.
        num_blocks: how many blocks the model has; needed if a stage says "all".

    Raises:
        InputError: A number of steps is under 1, there are not as many as stages, or the number of
            blocks is needed and missing.
    """
    per_epoch = _per_stage(steps_per_epoch, len(stages))
    scales = [stage.multipliers(num_blocks) for stage in stages]
    groups = max(scales, key=len)
    rates: dict[str, list[float]] = {group: [] for group in groups}
    epochs: list[float] = []
    spans: list[StageSpan] = []
    done = 0
    for stage, steps, scale in zip(stages, per_epoch, scales, strict=True):
        head = [stage.learning_rate_at(step, steps) for step in range(stage.epochs * steps)]
        for group in groups:
            rates[group] += [rate * scale.get(group, 0.0) for rate in head]
        spans.append(StageSpan(stage.name, len(epochs), len(epochs) + len(head)))
        epochs += [done + step / steps for step in range(len(head))]
        done += stage.epochs
    frozen_tuples = {group: tuple(values) for group, values in rates.items()}
    return LearningRates(frozen_tuples, tuple(epochs), tuple(spans))


def _per_stage(steps_per_epoch: int | Sequence[int], num_stages: int) -> list[int]:
    if not isinstance(steps_per_epoch, Sequence):
        steps_per_epoch = [steps_per_epoch] * num_stages
    if len(steps_per_epoch) != num_stages:
        raise InputError(
            f"steps_per_epoch must be one number or one for each of the {num_stages} stages, "
            f"got {steps_per_epoch!r}"
        )
    return [whole("learning_rates", "steps_per_epoch", each, 1) for each in steps_per_epoch]
