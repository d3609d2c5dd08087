"""Multipliers measured from gradients: how much each block asks to be changed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from ktransfer.errors import InputError
from ktransfer.optimizers.groups import MultiplierGroup
from ktransfer.optimizers.policies import trainable_paths, with_head
from ktransfer.optimizers.report import as_array


def auto_rgn(
    backbone: Any,
    model: keras.Model,
    batches: Iterable[tuple[Any, Any]],
    loss: Any,
    *,
    head: float | None = 1.0,
) -> tuple[MultiplierGroup, ...]:
    """Return one group per block, as fast as its relative gradient norm says.

    The multiplier of a block is the norm of its gradient over the norm of its weights, averaged
    over batches, over the largest of all blocks. The model is left as it was, batch-norm statistics
    and random seeds included. The paper measures again at every epoch: pass the result to
    `LearningRateMultiplier.set_multipliers`.

    Args:
        backbone: the backbone, frozen as it will be trained; its blocks are part of `model`.
        model: the functional or Sequential model to be trained, from images to outputs.
        batches: A few pairs of inputs and targets, as `train_on_batch` takes them; a
            `tf.data.Dataset` will do.
        loss: the loss, as `compile` takes it.
        head: the multiplier of all that is in no block; None leaves it without a group. Defaults
            to 1.

    Returns:
        The groups with multipliers from 0 to 1 and, last, the head.

    Raises:
        InputError: The model is no functional one, there is no batch, a block is not part of the
            model, or the gradients are all zero or not finite.

    Source: Lee et al. 2022, Surgical Fine-Tuning Improves Adaptation to Distribution Shifts
        (arXiv 2210.11466), Auto-RGN. Changed: per block instead of per tensor, the largest over the
        blocks only, and a fixed multiplier for the head, since a new one has large gradients.
    """
    blocks = [(block.name, trainable_paths(block)) for block in backbone.blocks]
    blocks = [(name, paths) for name, paths in blocks if paths]
    where = _positions(blocks, model)
    with _unchanged(model):
        measured = [
            _relative(squares, model.trainable_variables, where)
            for squares in _gradient_squares(model, batches, loss)
        ]
    if not measured:
        raise InputError("auto_rgn needs at least one batch; received none")
    means = np.mean(measured, axis=0)
    if not np.isfinite(means).all() or not means.max() > 0:
        raise InputError(
            f"the relative gradient norms of the blocks are {means.tolist()}: they must be finite "
            "and one of them above 0; look at the loss and the targets"
        )
    groups = [
        MultiplierGroup(name, paths, float(value / means.max()))
        for (name, paths), value in zip(blocks, means, strict=True)
    ]
    return with_head(groups, head)


def _positions(
    blocks: Sequence[tuple[str, tuple[str, ...]]], model: keras.Model
) -> list[list[int]]:
    """For each block the positions of its variables among the trainable ones of the model."""
    positions = {each.path: index for index, each in enumerate(model.trainable_variables)}
    for name, paths in blocks:
        missing = [path for path in paths if path not in positions]
        if missing:
            raise InputError(f"{missing[0]!r} of block {name!r} is not trained by {model.name!r}")
    return [[positions[path] for path in paths] for _, paths in blocks]


def _gradient_squares(
    model: keras.Model, batches: Iterable[tuple[Any, Any]], loss: Any
) -> Iterator[np.ndarray]:
    """For each batch the sums of squares of the gradients, one per trainable variable."""
    inputs = getattr(model, "inputs", None)
    if inputs is None:
        raise InputError(f"auto_rgn needs a functional or Sequential model; received {model!r}")
    # A second model over the same variables: the compilation of the caller's stays as it is.
    probe = keras.Model(inputs, model.outputs)
    recorder = _SquareRecorder()
    # Without loss scaling: an overflow in the first steps would leave no gradient to record.
    probe.compile(recorder, loss, auto_scale_loss=False)
    for features, targets in batches:
        probe.train_on_batch(features, targets)
        yield as_array(recorder.squares)


def _relative(
    squares: np.ndarray, variables: Sequence[Any], where: Sequence[Sequence[int]]
) -> list[float]:
    """Return the norm of the gradient over the norm of the weights, for each block."""
    weights = [float(np.sum(as_array(each).astype("float64") ** 2)) for each in variables]
    with np.errstate(divide="ignore", invalid="ignore"):  # weights of zero: refused by the caller
        return [
            math.sqrt(np.divide(squares[at].sum(), sum(weights[each] for each in at)))
            for at in map(list, where)
        ]


@contextmanager
def _unchanged(model: keras.Model) -> Iterator[None]:
    """Put batch-norm statistics and the state of random seeds back, whatever happens within."""
    before = [(each, as_array(each)) for each in model.non_trainable_variables]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)


class _SquareRecorder(keras.optimizers.Optimizer):
    """An optimizer that moves nothing and keeps the squared norms of the last gradients.

    Keras has no gradient function for all backends, but every backend hands them to an optimizer.
    """

    def __init__(self) -> None:
        # Named, since TensorFlow takes no scope that begins with an underscore, as the class does.
        super().__init__(learning_rate=0.0, name="gradient_norms")

    def build(self, variables: Sequence[Any]) -> None:
        super().build(list(variables))
        self.squares = self.add_variable(shape=(len(variables),), dtype="float32", name="squares")

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        if not self.built:
            self.build(list(trainable_variables or ()))
        self.squares.assign(ops.stack([_sum_of_squares(each) for each in grads]))


def _sum_of_squares(gradient: Any) -> Any:
    if gradient is None:
        return ops.zeros((), "float32")
    # convert_to_tensor: embeddings have sparse gradients.
    return ops.sum(ops.square(ops.cast(ops.convert_to_tensor(gradient), "float32")))
