"""Which operators ONNX has, from which opset on, and what stands in a network's way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras

from ktransfer.errors import InputError


@dataclass(frozen=True)
class Obstacle:
    """An operation that cannot be written.

    Attributes:
        operator: its kind, as TensorFlow or ONNX names it.
        operation: the name of this one in the graph; it begins with those of the layers it is in.
        needs: the first opset that has it; None where none has.
    """

    operator: str
    operation: str
    needs: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `Obstacle(**plain)` is its reverse."""
        return asdict(self)


def refusal(obstacles: Sequence[Obstacle], model: keras.Model, opset: int) -> InputError:
    """Return the error that says what cannot be written, and which layers it is in."""
    unknown = [each for each in obstacles if each.needs is None]
    if not unknown:
        needs = max(each.needs or 0 for each in obstacles)
        names = sorted({f"{each.operator} (needs {each.needs})" for each in obstacles})
        return InputError(
            f"opset {opset} is too low for {', '.join(names)}: say opset={needs} or higher"
        )
    named = [f"{each.operator} in {_place(each.operation, model)}" for each in unknown]
    places = "; ".join(dict.fromkeys(named))
    return InputError(
        f"the model cannot be converted to ONNX, which has no operator for {places}; "
        "write that layer with other operations, or export format='savedmodel'"
    )


def _place(operation: str, model: keras.Model) -> str:
    """Return the innermost layer that an operation of the graph is in."""
    layers = {each.name: each for each in _with_inner(model)}
    for scope in reversed(operation.split("/")):
        # TensorFlow numbers a scope that is entered again, and Keras enters each one twice: once to
        # build the layer, once to call it.
        name = scope.removesuffix("_1") if scope.removesuffix("_1") in layers else scope
        if name in layers and layers[name] is not model:
            return f"the layer {name!r} ({type(layers[name]).__name__})"
    return f"the operation {operation!r}"


def _with_inner(model: keras.Model) -> Iterable[Any]:
    """Yield all layers, those inside of other layers too, and the operations between them."""
    for layer in model._flatten_layers():
        yield from getattr(layer, "operations", ())
        yield layer
