"""What a learning-rate multiplier cannot scale, refused by name with what to do instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from ktransfer.errors import InputError

# The names of optimizers whose step is not proportional to the learning rate, and why.
_NOT_PROPORTIONAL = {
    "Ftrl": "it computes the weights anew from sums that contain the learning rate",
    "ScheduleFreeAdamW": "it reads its averaged weights back out of the variable",
}
_WRAPPERS = {
    "LossScaleOptimizer": (
        "it would decide about the step after it is scaled; put the LossScaleOptimizer around "
        "LearningRateMultiplier (compile does it by itself under mixed_float16)"
    ),
    "MultiOptimizer": "give one optimizer, and say with multipliers what differs between groups",
}
_SETTINGS = {
    "use_ema": "it would average steps before they are scaled; give use_ema to the multiplier",
    "loss_scale_factor": "put a keras.optimizers.LossScaleOptimizer around the multiplier instead",
}


def check_inner(inner: Any, wrapper: type) -> Any:
    """Return the inner optimizer, if its steps can be scaled.

    Args:
        inner: an optimizer or the name of one.
        wrapper: the class of the multiplier, which does not nest.

    Raises:
        InputError: It is no optimizer, one that cannot be scaled, one already built, or one with a
            setting that must be elsewhere.
    """
    if isinstance(inner, str):
        inner = _by_name(inner)
    if not isinstance(inner, keras.optimizers.Optimizer):
        raise InputError(f"inner_optimizer must be a Keras optimizer; received {inner!r}")
    kind = type(inner).__name__
    if isinstance(inner, wrapper):
        raise InputError(f"a {kind} inside another: put all groups into one")
    _check_class(inner)
    for setting, remedy in _SETTINGS.items():
        if getattr(inner, setting, None):
            value = getattr(inner, setting)
            raise InputError(f"{kind}({setting}={value!r}) cannot be the inner optimizer: {remedy}")
    if inner.built:
        raise InputError(
            f"the {kind} named {inner.name!r} is already built for a model: give a new one"
        )
    return inner


def _by_name(name: str) -> Any:
    try:
        return keras.optimizers.get(name)
    except ValueError as error:
        raise InputError(f"unknown optimizer {name!r}: give one of keras.optimizers") from error


def _check_class(inner: Any) -> None:
    # () where a Keras before 3.15 does not have the optimizer: nothing is an instance of it.
    for name, remedy in _WRAPPERS.items():
        if isinstance(inner, getattr(keras.optimizers, name, ())):
            raise InputError(f"a {name} inside LearningRateMultiplier is silently wrong: {remedy}")
    for name, reason in _NOT_PROPORTIONAL.items():
        if isinstance(inner, getattr(keras.optimizers, name, ())):
            raise InputError(
                f"the steps of {name} are not proportional to the learning rate, so no multiplier "
                f"can scale them ({reason}): take AdamW or SGD"
            )


def check_strategy(inner: Any) -> None:
    """Refuse gradient accumulation on several replicas.

    Keras 3.15.1 itself fails there, for a plain Adam too: it merges replicas within a branch, which
    TensorFlow forbids. To be removed when `Adam(gradient_accumulation_steps=2)` trains under a
    MirroredStrategy.

    Raises:
        InputError: The strategy has more than one replica and the optimizer accumulates.
    """
    steps = inner.gradient_accumulation_steps
    if not steps or keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1:
        raise InputError(
            f"gradient_accumulation_steps={steps} does not work on {replicas} replicas of a "
            "tf.distribute strategy, in Keras itself: use a larger batch or one device"
        )


def check_variables(
    variables: Sequence[Any], owners: Sequence[int | None], names: Sequence[str]
) -> None:
    """Refuse constraints in groups: a part of a step towards a constraint does not keep it.

    Raises:
        InputError: A variable that is in a group has a constraint.
    """
    for variable, owner in zip(variables, owners, strict=True):
        constraint = getattr(variable, "constraint", None)
        if owner is not None and constraint is not None:
            raise InputError(
                f"{variable.path!r} of group {names[owner]!r} has the constraint "
                f"{type(constraint).__name__}, which a scaled step does not keep: remove it, or "
                "leave the variable out of the groups"
            )
