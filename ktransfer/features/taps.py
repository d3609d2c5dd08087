"""Taps: where a backbone is read besides its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from ktransfer.backbones import Backbone, Block
from ktransfer.features.heads import pool

_WITH_KERNELS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.Dense,
)


@dataclass(frozen=True, eq=False)
class Tap:
    """One place where a backbone is read.

    Attributes:
        name: the block's, with "/inner" for the place inside it.
        block: index of the block.
        tensor: `(batch, channels)`, averaged over the positions.
    """

    name: str
    block: int
    tensor: Any

    @property
    def width(self) -> int:
        """How many numbers it gives of an image."""
        return int(self.tensor.shape[-1])


def taps_of(backbone: Backbone, features: str, pooling: str = "avg") -> tuple[Tap, ...]:
    """Say where the head of a feature set reads a backbone, in order.

    "last" is the end of the last block. "all_blocks" adds the ends of the others. The inner places
    are what the last convolution or dense layer behind another operation of its block reads: in
    MobileNetV2 the depthwise activations, in ResNet those behind the 3 x 3 convolution, in
    transformers the hidden layer of the MLP where the graph shows it. They are wider than the ends
    of the blocks.

    Args:
        backbone: the backbone.
        features: one of `FEATURE_SETS`.
        pooling: of the end, as in `features.pool`; all other places are averaged.

    Source: reading all depths at once is Evci et al. 2021, Head2Toe (arXiv 2201.03529). Changed: a
        few fixed sets to choose from instead of a selection of single features, which picks by luck
        where images are few.
    """
    last = len(backbone.blocks) - 1
    taps = [Tap(backbone.blocks[last].name, last, pool(backbone.model.output, pooling))]
    if features == "last":
        return tuple(taps)
    taps += [tap for block in backbone.blocks[:-1] for tap in _ends(block)]
    if features == "all_blocks_and_inner":
        taps += [tap for block in backbone.blocks for tap in _inner(block)]
    return tuple(taps)


def concatenated(taps: Sequence[Tap]) -> Any:
    """Say what some taps say, side by side: `(batch, features)`."""
    if len(taps) == 1:
        return taps[0].tensor
    return keras.layers.Concatenate()([tap.tensor for tap in taps])


def _ends(block: Block) -> Iterator[Tap]:
    for number, tensor in enumerate(block.outputs):
        if _can_be_pooled(tensor):
            yield Tap(
                block.name + (f"/{number}" if number else ""), block.index, pool(tensor, "avg")
            )


def _inner(block: Block) -> Iterator[Tap]:
    calls = [call for call in block.calls if isinstance(call.operation, _WITH_KERNELS)]
    # The first of a block, and one on a shortcut, read what the block before it said.
    made = {id(tensor) for call in block.calls for tensor in call.outputs}
    inside = [call.inputs[0] for call in calls if id(call.inputs[0]) in made]
    if len(calls) > 1 and inside and _can_be_pooled(inside[-1]):
        yield Tap(f"{block.name}/inner", block.index, pool(inside[-1], "avg"))


def _can_be_pooled(tensor: Any) -> bool:
    return 2 <= len(tensor.shape) <= 4 and tensor.shape[-1] is not None
