"""What reaches the batch-norm layers of a backbone, beside what they remember of their training.

A batch-norm layer keeps the mean and the variance, per channel, of everything that reached it while
its network was trained. That is a summary of the source images which travels with the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from ktransfer.backbones import Backbone
from ktransfer.features import Forward, compile_forward


@dataclass(frozen=True, eq=False)
class NormLayer:
    """A batch-norm layer of a backbone.

    Attributes:
        name: the layer's.
        block: index of the block that it lies in.
        mean: what it remembers, float64 `(channels,)`.
        variance: likewise, with the layer's epsilon.
        epsilon: of the layer.
        tensor: its input in the graph of the backbone.
        axis: of the channels in it.
    """

    name: str
    block: int
    mean: np.ndarray
    variance: np.ndarray
    epsilon: float
    tensor: Any
    axis: int


@dataclass(frozen=True, eq=False)
class Moments:
    """What reached the batch-norm layers, image by image, relative to what they remember.

    Attributes:
        shifts: float32 `(images, channels of all layers)`: mean over the positions of x - mean.
        squares: the same of (x - mean)^2.
    """

    shifts: np.ndarray
    squares: np.ndarray

    def __len__(self) -> int:
        return len(self.shifts)


def norm_layers(backbone: Backbone) -> tuple[NormLayer, ...]:
    """Return the batch-norm layers that remember something, in the order of the blocks.

    Those whose statistics are what they were created with (0 and 1), as random weights have them
    and weights whose batch norm was folded into the convolutions, are left out.
    """
    found = []
    for block in backbone.blocks:
        for call in block.calls:
            layer = call.operation
            if isinstance(layer, keras.layers.BatchNormalization):
                mean, variance = (
                    np.asarray(each, np.float64)
                    for each in (layer.moving_mean, layer.moving_variance)
                )
                if np.all(mean == 0) and np.all(variance == 1):
                    continue
                axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
                tensor = call.inputs[0]
                remembered = (mean, variance + layer.epsilon, layer.epsilon)
                found.append(
                    NormLayer(
                        layer.name, block.index, *remembered, tensor, axis % len(tensor.shape)
                    )
                )
    return tuple(found)


def compile_moments(backbone: Backbone, layers: Sequence[NormLayer]) -> Forward:
    """Return a function from images to the moments of the inputs of some layers, laid side by side.

    Args:
        backbone: whose layers they are; its weights are copied into the program.
        layers: at least one, of `norm_layers`.

    Returns:
        From RGB images `(batch, height, width, 3)` in [0, 255] to float32 `(batch, 2 * channels of
        all layers)`: shifts, then squares, as `Moments` has them.
    """
    shifts, squares = [], []
    for layer in layers:
        shape = [1] * len(layer.tensor.shape)
        shape[layer.axis] = len(layer.mean)
        # About the remembered mean: the difference of large numbers would lose the small variance.
        centred = layer.tensor - layer.mean.astype(np.float32).reshape(shape)
        axes = [each for each in range(1, len(shape)) if each != layer.axis]
        shifts.append(ops.mean(centred, axis=axes) if axes else centred)
        squares.append(ops.mean(ops.square(centred), axis=axes) if axes else ops.square(centred))
    moments = ops.concatenate([*shifts, *squares], axis=-1)
    return compile_forward(keras.Model(backbone.model.inputs[0], moments))


def measure_moments(forward: Forward, batches: Iterable[Any]) -> Moments:
    """Run batches of images through the function of `compile_moments`."""
    rows = np.concatenate([forward(images) for images in batches])
    half = rows.shape[1] // 2
    return Moments(rows[:, :half], rows[:, half:])
