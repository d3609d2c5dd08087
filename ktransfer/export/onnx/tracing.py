"""The graph of a model and its weights apart from it, as files for the process that converts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ktransfer.errors import InputError
from ktransfer.export.servable import servable

#: What lies in the folder between the two processes, besides what `aside` has there.
GRAPH_NAME, WEIGHTS_NAME, MODEL_NAME = "graph.pb", "weights.npz", "model.onnx"


@dataclass(frozen=True)
class Traced:
    """A graph that takes its weights as inputs, so that it is small whatever the model.

    Attributes:
        graph: a `GraphDef`; every placeholder but the images has a value in `values`.
        values: the weights, and other constants that the model holds, by the placeholder's name.
        output: the name of the operation that gives the probabilities.
    """

    graph: Any
    values: dict[str, np.ndarray]
    output: str

    def write(self, folder: Path) -> None:
        """Write both into a folder."""
        (folder / GRAPH_NAME).write_bytes(self.graph.SerializeToString())
        np.savez(folder / WEIGHTS_NAME, allow_pickle=False, **self.values)


def trace(model: keras.Model, input_size: tuple[int, int]) -> Traced:
    """Trace `servable(model, input_size)`.

    Raises:
        InputError: Keras does not run on TensorFlow, or a layer keeps a state that is no variable
            of Keras, such as a lookup table.
    """
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"an export is traced by TensorFlow, and Keras runs on {keras.backend.backend()!r}: "
            "save the run and export it with KERAS_BACKEND=tensorflow"
        )
    serve = servable(model, input_size)
    variables = list(model.variables)
    signature = [tf.TensorSpec(each.shape, _dtype(each)) for each in variables]

    @tf.function(input_signature=[*serve.input_signature, signature])
    def with_weights(images: tf.Tensor, weights: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        with keras.StatelessScope(state_mapping=list(zip(variables, weights, strict=True))):
            result: dict[str, tf.Tensor] = serve.python_function(images)
        return result

    function = with_weights.get_concrete_function()
    # The images come first, then the weights, then what the function has captured.
    names = [each.op.name for each in function.inputs][1:]
    captured = [_captured(each) for each in function.captured_inputs]
    arrays = [np.asarray(each.value, _dtype(each)) for each in variables]
    values = dict(zip(names, [*arrays, *captured], strict=True))
    return Traced(function.graph.as_graph_def(), values, function.outputs[0].op.name)


def _dtype(variable: Any) -> str:
    floating = keras.backend.is_float_dtype(variable.dtype)
    return "float32" if floating else keras.backend.standardize_dtype(variable.dtype)


def _captured(tensor: Any) -> np.ndarray:
    """Return a constant that a layer holds as a tensor, as `Normalization` its statistics."""
    if tensor.dtype in (tf.resource, tf.variant):
        raise InputError(
            "a layer of the model keeps a state that is no variable of Keras (a tf.Variable or a "
            "lookup table): it would be lost in an export; create it by add_weight"
        )
    return np.asarray(tensor)
