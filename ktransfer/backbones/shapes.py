"""What layers really return, where they declare something else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from ktransfer.backbones.graph import Call, trace

# Layers of Keras itself say what they return.
_TRUSTED = "keras."
_Shape = tuple[int | None, ...]


def trace_truly(network: keras.Model, images: Any) -> tuple[Any, tuple[Call, ...], tuple[Any, ...]]:
    """Trace a network with the shapes that a forward pass has.

    SigLIP's embedding declares one token more than it returns (keras-hub 0.32). Whoever makes room
    for rows by what is declared finds out in the middle of a training.

    Args:
        network: functional or sequential; its layers are used, not copied. One that declares
            another shape than it returns is corrected in place.
        images: its input.

    Returns:
        The input, the calls and the outputs, as `graph.trace` has them; a new input where a layer
        had to be corrected.
    """
    calls, outputs = trace(network, [images])
    wrong = _first_misdeclared(images, calls)
    while wrong:
        call, shape = wrong
        call.operation.compute_output_shape = _always(shape)
        images = keras.Input(batch_shape=images.shape, dtype=images.dtype, name=images.name)
        calls, outputs = trace(network, [images])
        following = _first_misdeclared(images, calls)
        if following and following[0].operation is call.operation:
            break  # called twice, with two shapes: nothing that is declared would be true
        wrong = following
    return images, calls, outputs


def _always(shape: _Shape) -> Callable[[Any], _Shape]:
    return lambda input_shape: (None, *shape[1:])


def _first_misdeclared(images: Any, calls: Sequence[Call]) -> tuple[Call, _Shape] | None:
    """Find the first call of a layer, not of Keras, that returns a shape it does not declare."""
    foreign = [
        call
        for call in calls
        if len(call.outputs) == 1 and not type(call.operation).__module__.startswith(_TRUSTED)
    ]
    if not foreign:
        return None
    # Zeros would do, but a network may divide by the deviation of what it sees.
    pixels = np.random.default_rng(0).integers(0, 256, (1, *images.shape[1:]))
    returned = keras.Model(images, [call.outputs[0] for call in foreign])(
        pixels.astype("float32"), training=False
    )
    # Keras gives the one output of a list of one without its list.
    for call, each in zip(foreign, keras.tree.flatten(returned), strict=True):
        if tuple(each.shape)[1:] != tuple(call.outputs[0].shape)[1:]:
            return call, tuple(each.shape)
    return None
