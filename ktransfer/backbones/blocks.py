"""Blocks: the units of a backbone that a practitioner freezes and unfreezes.

Cuts alone are too fine (VGG16 has 18, MobileNetV2 73). The spans between them are joined by what
they are made of, never by names, because layer names follow no common pattern: one fits 2 of 14
families.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from ktransfer.backbones.graph import Call, Span, count_parameters, layers_with_weights

_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.RMSNormalization,
    keras.layers.UnitNormalization,
)


@dataclass(frozen=True, eq=False)
class Block:
    """The span of a backbone between two cuts, which is frozen or trained as a whole.

    Attributes:
        index: the position in the row, from 0 (next to the images).
        name: the name of the operation whose output ends the block.
        layers: the layers with weights, in order.
        outputs: the cut after the block: one tensor, two for NASNet.
        calls: every operation of the block with its tensors, in an order in which they can run. The
            tensors belong to the graph of `Backbone.model`, so `keras.Model(backbone.model.input,
            call.outputs[0])` taps one.
    """

    index: int
    name: str
    layers: tuple[Any, ...]
    outputs: tuple[Any, ...]
    calls: tuple[Call, ...] = field(repr=False)

    @property
    def parameters(self) -> int:
        """How many numbers the block's weights hold, batch-norm statistics counted."""
        return sum(int(layer.count_params()) for layer in self.layers)


def find_blocks(spans: Sequence[Span]) -> tuple[Block, ...]:
    """Join the spans between neighbouring cuts to blocks.

    A merge (residual addition, concatenation) is a block from its fork on; what follows it without
    weights belongs to it. A gate (squeeze-and-excite, hard swish) is not a block. In plain chains a
    block ends with a pooling, behind a linear bottleneck (MobileNetV2), and before a strided or
    depthwise convolution that starts a new unit. Where the network has a `keras.layers.Identity`,
    who built it says that a block ends.

    Args:
        spans: the spans of the backbone without its preprocessing, in order.

    Returns:
        The blocks in order. Every layer with weights is in exactly one of them.
    """
    pieces = _split(spans, _ends(spans))
    pieces = _join_shared(_join_norms(_join_weightless(pieces)))
    return tuple(_block(index, piece) for index, piece in enumerate(pieces))


def _block(index: int, piece: Sequence[Span]) -> Block:
    calls = tuple(call for span in piece for call in span.calls)
    return Block(index, piece[-1].last.name, layers_with_weights(calls), piece[-1].outputs, calls)


def _ends(spans: Sequence[Span]) -> set[int]:
    """Return the positions of the spans after which a block ends."""
    ends: set[int] = set()
    spatial = False  # the block so far has a convolution over space: the next unit may begin
    for position, span in enumerate(spans):
        if _is_merge(span) or _is_composed(span):
            ends |= {position - 1, _behind_merge(spans, position)}
        elif _is_pooling(span) or _is_bottleneck(spans, position) or _is_marker(span):
            ends.add(position)
        elif spatial and _starts_unit(span):
            ends.add(_before_padding(spans, position))
            spatial = False
        spatial = position not in ends and (spatial or _is_spatial(span))
    return ends - {-1}


def _is_merge(span: Span) -> bool:
    return (
        len(span.calls) > 1
        and not isinstance(span.last, keras.layers.Multiply)
        and not _is_op(span, "Multiply")
    )


def _is_op(span: Span, name: str) -> bool:
    # The operations of keras.ops are classes without a public name; only their class name is
    # stable.
    return type(span.last).__name__ == name


def _is_composed(span: Span) -> bool:
    """Return a layer of someone's own, such as a transformer block of KerasHub.

    A block by itself.
    """
    return bool(_weights(span)) and not type(span.last).__module__.startswith("keras.")


def _is_pooling(span: Span) -> bool:
    return isinstance(span.last, keras.Layer) and "Pooling" in type(span.last).__name__


def _is_marker(span: Span) -> bool:
    return isinstance(span.last, keras.layers.Identity)


def _is_convolution(span: Span) -> bool:
    return len(span.calls) == 1 and isinstance(span.last, _CONVOLUTIONS)


def _is_spatial(span: Span) -> bool:
    return _is_convolution(span) and max(span.last.kernel_size) > 1


def _starts_unit(span: Span) -> bool:
    return _is_convolution(span) and (
        isinstance(span.last, _DEPTHWISE) or max(span.last.strides) > 1
    )


def _is_norm(span: Span) -> bool:
    return len(span.calls) == 1 and isinstance(span.last, _NORMALIZATIONS)


def _is_padding(span: Span) -> bool:
    return _is_op(span, "Pad") or "Padding" in type(span.last).__name__


def _is_bottleneck(spans: Sequence[Span], position: int) -> bool:
    """MobileNetV2's linear bottleneck: a normalisation straight into the next convolution."""
    if not 0 < position < len(spans) - 1 or not _is_norm(spans[position]):
        return False
    return _is_convolution(spans[position - 1]) and _is_convolution(spans[position + 1])


def _behind_merge(spans: Sequence[Span], position: int) -> int:
    """Return the last of the spans after a merge that belong to it.

    Activation, pooling, dropout.
    """
    while position + 1 < len(spans):
        following = spans[position + 1]
        if len(following.calls) > 1 or _weights(following) or _is_padding(following):
            break
        position += 1
    return position


def _before_padding(spans: Sequence[Span], position: int) -> int:
    """Find the last position before the convolution at `position` and its padding."""
    while position > 0 and _is_padding(spans[position - 1]):
        position -= 1
    return position - 1


def _weights(span: Span) -> int:
    return count_parameters(span.calls)


def _split(spans: Sequence[Span], ends: set[int]) -> list[list[Span]]:
    pieces: list[list[Span]] = [[]]
    for position, span in enumerate(spans):
        pieces[-1].append(span)
        if position in ends and position < len(spans) - 1:
            pieces.append([])
    return pieces


def _join_weightless(pieces: list[list[Span]]) -> list[list[Span]]:
    """Pieces without weights join the piece before; at the start, the piece after."""
    joined: list[list[Span]] = []
    for piece in pieces:
        if joined and (not any(map(_weights, piece)) or not any(map(_weights, joined[-1]))):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def _join_norms(pieces: list[list[Span]]) -> list[list[Span]]:
    """Have a normalisation between merges open a block if activated, else end one."""
    joined: list[list[Span]] = []
    opening: list[Span] = []
    for number, piece in enumerate(pieces):
        alone = any(map(_is_norm, piece)) and all(
            _is_norm(span) or not _weights(span) for span in piece
        )
        if alone and len(piece) > 1 and number < len(pieces) - 1:
            opening = opening + piece
        elif alone and joined:
            joined[-1] += piece
        else:
            joined.append(opening + piece)
            opening = []
    return joined


def _join_shared(pieces: list[list[Span]]) -> list[list[Span]]:
    """Pieces that share a layer are one block with all between them: it is frozen in both."""
    joined: list[list[Span]] = []
    for piece in pieces:
        mine = _layer_ids(piece)
        first = next(
            (at for at, other in enumerate(joined) if mine & _layer_ids(other)), len(joined)
        )
        merged = [span for other in joined[first:] for span in other] + piece
        joined = [*joined[:first], merged]
    return joined


def _layer_ids(piece: Sequence[Span]) -> set[int]:
    return {
        id(layer) for layer in layers_with_weights(call for span in piece for call in span.calls)
    }
