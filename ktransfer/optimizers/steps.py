"""The scaled step of one variable, and how it is written back, on one device or on several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


def scaled(old: Any, new: Any, factor: Any) -> Any:
    """`old + factor * (new - old)`, but exactly `old` at 0 and exactly `new` at 1.

    Exactly, since rounding would move a frozen weight, and 0 * infinity would spoil it.
    """
    factor = ops.cast(factor, new.dtype)
    between = old + factor * (new - old)
    return ops.where(factor == 0, old, ops.where(factor == 1, new, between))


def average(
    pairs: Sequence[tuple[Any, Any]], step: Any, momentum: float, frequency: int | None
) -> None:
    """Average what the steps have left in the model, by the rules of Keras.

    Args:
        pairs: the variables of the model with their averages; None for what is not averaged.
        step: how many steps were taken before this one.
        momentum: how much of the average is kept, 0 to 1.
        frequency: after how many steps the variables are overwritten with the averages, or None.
    """
    variables, averages = zip(*(pair for pair in pairs if pair[1] is not None), strict=True)
    # The first step starts the average. Written as a difference, so that what does not move keeps
    # its value to the last bit.
    share = ops.where(ops.equal(step, 0), 1.0, 1.0 - momentum)
    values = [
        mean + ops.cast(share, mean.dtype) * (variable - mean)
        for variable, mean in zip(variables, averages, strict=True)
    ]
    assign(averages, values)
    if frequency:  # a choice and not a branch: JAX may not assign within branches
        now = ops.equal((step + 1) % frequency, 0)
        # Tensors, since JAX refuses Keras variables in `where`.
        chosen = zip(values, map(ops.convert_to_tensor, variables), strict=True)
        assign(variables, [ops.where(now, mean, value) for mean, value in chosen])


def assign(variables: Sequence[Any], values: Sequence[Any]) -> None:
    """Assign to variables of the model or the optimizer, on every replica if there are several."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if tf.distribute.has_strategy():
            # A replica may not assign to a mirrored variable; only the strategy can. Each replica
            # gets its own value back, and they are equal, because the gradients were summed.
            native = [variable.value for variable in variables]
            context = tf.distribute.get_replica_context()
            context.merge_call(_assign_through, args=(native, list(values)))
            return
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _assign_through(strategy: Any, variables: Sequence[Any], values: Sequence[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        strategy.extended.update(
            variable, lambda mine, new: mine.assign(new), args=(value,), group=False
        )
