"""Low-rank training: two thin factors beside each kernel, merged into it when the stage ends.

A kernel is taken as a matrix, from all numbers of its inputs (of a convolution, the channels of its
window) to its outputs, and computes as `kernel + inwards @ outwards`. For a convolution that is one
of the same window to `rank` channels and a 1 x 1 convolution behind it, beside the old one. The sum
is made of the weights and not of activations: it is exact for every layer that has a kernel, also
inside attention; and merging adds the very numbers that were trained.

Source: Hu et al. 2021, LoRA (arXiv 2106.09685). Keras' and KerasHub's own `enable_lora` has factors
for each head of attention, cannot be undone, and KerasHub's leaves convolutions out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from ktransfer.backbones import Block
from ktransfer.freezing import frozen_variables
from ktransfer.freezing.layers import walk

_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_FULL = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)


@dataclass(frozen=True, eq=False)
class Kernel:
    """A kernel as a matrix.

    Attributes:
        variable: the kernel.
        axes: of the variable, those of the inputs first.
        num_inputs: how many of these axes are those of the inputs.
    """

    variable: Any
    axes: tuple[int, ...]
    num_inputs: int

    @property
    def shape(self) -> tuple[int, int]:
        """Inputs and outputs of the matrix."""
        sizes = [self.variable.shape[axis] for axis in self.axes]
        return math.prod(sizes[: self.num_inputs]), math.prod(sizes[self.num_inputs :])

    def gains_by(self, rank: int) -> bool:
        """Tell whether the factors hold fewer numbers than the kernel."""
        return rank * sum(self.shape) < math.prod(self.shape)

    def from_matrix(self, matrix: Any) -> Any:
        """Return a matrix in the shape of the kernel."""
        wide = ops.reshape(matrix, [self.variable.shape[axis] for axis in self.axes])
        return ops.transpose(wide, np.argsort(self.axes).tolist())


def kernels_of(block: Block, rank: int) -> tuple[Kernel, ...]:
    """Return the kernels of a block that factors of a rank are for, each once.

    Depthwise and grouped kernels have few inputs for each output, so that there is nothing to make
    thinner; nor have kernels where the factors would hold as many numbers.
    """
    layers = [part for layer in block.layers for part in walk(layer)]
    found = {id(each.variable): each for layer in layers for each in _kernels(layer)}
    return tuple(each for each in found.values() if each.gains_by(rank))


def _kernels(layer: Any) -> Iterator[Kernel]:
    if isinstance(layer, keras.layers.EinsumDense):
        yield from _einsum_kernel(layer)
    elif isinstance(layer, _FULL) and getattr(layer, "groups", 1) == 1:
        yield _last_out(layer.kernel)
    elif isinstance(layer, _SEPARABLE):
        yield _last_out(layer.pointwise_kernel)


def _last_out(variable: Any) -> Kernel:
    rank = len(variable.shape)
    return Kernel(variable, tuple(range(rank)), rank - 1)


def _einsum_kernel(layer: Any) -> Iterator[Kernel]:
    """Yield the kernel of an `EinsumDense`: of attention, all heads together."""
    inputs, _, rest = layer.equation.partition(",")
    labels, _, outputs = rest.partition("->")
    summed = [at for at, label in enumerate(labels) if label not in outputs]
    # An axis that inputs and outputs share makes it a matrix for each of its positions.
    if summed and not any(label in inputs and label in outputs for label in labels):
        others = [at for at in range(len(labels)) if at not in summed]
        yield Kernel(layer.kernel, (*summed, *others), len(summed))


class Factors(keras.layers.Layer):
    """The two factors beside one kernel; the second is zero at first, so that nothing changes.

    Args:
        kernel: the kernel.
        rank: columns of the first factor.
        name: of the layer.
        seed: of the first factor.
    """

    def __init__(self, kernel: Kernel, rank: int, *, name: str, seed: int) -> None:
        super().__init__(name=name)
        self.kernel = kernel  # no variable: Keras would take it for a weight of this layer
        inputs, outputs = kernel.shape
        drawn = keras.initializers.VarianceScaling(1.0, "fan_in", seed=seed)
        self.inwards = self.add_weight(shape=(inputs, rank), initializer=drawn, name="inwards")
        self.outwards = self.add_weight(shape=(rank, outputs), initializer="zeros", name="outwards")
        self.built = True

    def sum(self) -> Any:
        """Return the kernel with what the factors add to it."""
        change = self.kernel.from_matrix(ops.matmul(self.inwards, self.outwards))
        return ops.add(self.kernel.variable, change)


class LowRank(keras.layers.Layer):
    """Runs a network whose kernels have factors beside them.

    Args:
        network: frozen as the stage wants it; its weights are those of the backbone.
        blocks: the blocks whose kernels get factors.
        rank: as in `Stage`.
        seed: of the factors.
    """

    def __init__(
        self, network: keras.Model, blocks: Sequence[Block], rank: int, *, seed: int
    ) -> None:
        super().__init__(name="low_rank")
        self.network = network
        self.factors: list[Factors] = []
        self._names: list[str] = []  # of the block of each
        for block in blocks:
            for kernel in kernels_of(block, rank):
                at = len(self.factors)
                name = f"factors_{at}_{kernel.variable.path.replace('/', '_')}"
                self.factors.append(Factors(kernel, rank, name=name, seed=seed + at))
                self._names.append(block.name)
        still = {id(each) for each in frozen_variables(network)}
        #: What the network itself moves as it runs: statistics that follow, generators of dropout.
        self._moving = [id(each) not in still for each in network.non_trainable_variables]
        self.built = True

    def call(self, rows: Any, training: bool | None = None) -> Any:
        """Return what the network says of the rows."""
        network = self.network
        sums = {id(each.kernel.variable): each.sum() for each in self.factors}
        # All variables by value: in a scope of its own, JAX would not find those of the outer one.
        trainable, others = (
            [sums.get(id(each), each.value) for each in variables]
            for variables in (network.trainable_variables, network.non_trainable_variables)
        )
        said, moved = network.stateless_call(trainable, others, rows, training=training)
        if training:
            moving = zip(network.non_trainable_variables, moved, self._moving, strict=True)
            for variable, value, moves in moving:
                if moves:
                    variable.assign(value)
        return said

    def of_block(self, block: Block) -> tuple[Factors, ...]:
        """Return the factors in a block."""
        pairs = zip(self.factors, self._names, strict=True)
        return tuple(each for each, name in pairs if name == block.name)

    def merge(self) -> None:
        """Add to each kernel what its factors add to it; where that is zero it stays as it is."""
        for each in self.factors:
            if np.any(ops.convert_to_numpy(each.outwards)):
                each.kernel.variable.assign(each.sum())


def with_factors(
    trainee: keras.Model, blocks: Sequence[Block], rank: int, *, seed: int
) -> keras.Model:
    """Return a model that says the same as a trainee, with factors beside the kernels of blocks."""
    rows = keras.Input(trainee.input_shape[1:], name="rows")
    return keras.Model(rows, LowRank(trainee, blocks, rank, seed=seed)(rows), name=trainee.name)


def low_rank_of(trainee: keras.Model) -> LowRank | None:
    """Return the layer that `with_factors` put around a model; None where it did not."""
    return next((each for each in trainee.layers if isinstance(each, LowRank)), None)


def merge_factors(trainee: keras.Model) -> None:
    """Merge the factors of a model, where it has any."""
    if found := low_rank_of(trainee):
        found.merge()


def with_their_factors(trainee: keras.Model, blocks: Sequence[Block]) -> tuple[Block, ...]:
    """Return blocks whose layers hold the factors in them, too, for the groups of an optimizer."""
    found = low_rank_of(trainee)
    if found is None:
        return tuple(blocks)
    return tuple(replace(each, layers=(*each.layers, *found.of_block(each))) for each in blocks)
