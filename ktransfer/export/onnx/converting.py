"""The process that converts a graph: its memory is given back whole, and a crash is its own.

`writing` starts it with a folder; it has no other use.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from tf2onnx import optimizer, tf_loader, tfonnx
from tf2onnx.handler import tf_op

from ktransfer.export.aside import JOB_NAME, note_outcome
from ktransfer.export.onnx.mending import (
    allow_inlining,
    fill_in,
    mend_erfc,
    mend_max_pooling,
    mend_scalar_addition,
)
from ktransfer.export.onnx.operators import Obstacle
from ktransfer.export.onnx.tracing import GRAPH_NAME, MODEL_NAME, WEIGHTS_NAME
from ktransfer.export.servable import INPUT_NAME, OUTPUT_NAME


class ObstaclesError(Exception):
    """Operations that cannot be written."""

    def __init__(self, obstacles: Sequence[Obstacle]) -> None:
        super().__init__(obstacles)
        self.obstacles = obstacles


def prepared(folder: Path, output: str) -> Any:
    """Return the mended graph of a folder that `Traced.write` wrote, with its weights."""
    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString((folder / GRAPH_NAME).read_bytes())
    # Without the weights, for these steps copy the graph.
    allow_inlining(graph)
    graph = _optimized(graph, output)
    mend_erfc(graph)
    shapes = _shapes(graph)
    mend_max_pooling(graph, shapes)
    mend_scalar_addition(graph, shapes)
    with np.load(folder / WEIGHTS_NAME) as weights:
        fill_in(graph, weights)
    return _optimized(graph, output)


def converted(graph: Any, output: str, opset: int) -> onnx.ModelProto:
    """Return the graph in ONNX.

    Raises:
        ObstaclesError: some of its operations cannot be written.
    """
    inputs, outputs = [f"{INPUT_NAME}:0"], [f"{output}:0"]
    with tf.Graph().as_default() as tf_graph:
        tf.import_graph_def(graph, name="")
        graph.Clear()
        half = tfonnx.process_tf_graph(
            tf_graph,
            opset=opset,
            input_names=inputs,
            output_names=outputs,
            tensors_to_rename={inputs[0]: INPUT_NAME, outputs[0]: OUTPUT_NAME},
        )
    _check_operators(half.get_nodes(), opset)
    # Catching errors would copy all weights before each of a dozen steps, again and again.
    steps = {name: partial(_Step, each) for name, each in optimizer._get_optimizers().items()}
    whole = optimizer.optimize_graph(half, catch_errors=False, optimizers=steps)
    model: onnx.ModelProto = whole.make_model("ktransfer")
    _name_dimensions(model)
    return model


class _Step:
    """One step of the optimizer, without its copy of all weights into memory that is never freed.

    A message of protobuf keeps what is deleted from it, and tf2onnx (1.17) writes all of its
    messages anew after each step; the last time is enough.
    """

    def __init__(self, factory: Callable[[], Any]) -> None:
        self._step = factory()

    @property
    def graph_been_opt(self) -> bool:
        """Whether it has changed something."""
        return bool(self._step.graph_been_opt)

    def optimize(self, graph: Any, iteration: int) -> Any:
        """Optimize a graph in place."""
        self._step.opt_iteration = iteration
        graph = self._step._optimize(graph)
        graph.delete_unused_nodes(graph.outputs)
        return graph


def _optimized(graph: Any, output: str) -> Any:
    """Functions inlined, constants computed, what nobody reads left out."""
    with tf.Graph().as_default():
        return tf_loader.tf_optimize([f"{INPUT_NAME}:0"], [f"{output}:0"], graph)


def _shapes(graph: Any) -> dict[str, list[int | None]]:
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(graph, name="")
    first = {each.name: each.outputs[0].shape for each in imported.get_operations() if each.outputs}
    return {name: shape.as_list() for name, shape in first.items() if shape.rank is not None}


def _check_operators(nodes: Sequence[Any], opset: int) -> None:
    obstacles = [
        Obstacle(node.type, node.name, _needs(node.type))
        for node in nodes
        if node.domain == "" and not _known(node.type, opset)
    ]
    if obstacles:
        raise ObstaclesError(obstacles)


def _known(operator: str, opset: int) -> bool:
    try:
        onnx.defs.get_schema(operator, opset, "")
    except onnx.defs.SchemaError:
        return operator in ("Const", "Placeholder")
    return True


def _needs(operator: str) -> int | None:
    """Return the first opset with an operator of ONNX, or that writes TensorFlow's."""
    versions = [each.since_version for each in onnx.defs.get_all_schemas_with_history()
                if each.name == operator and each.domain == ""]  # fmt: skip
    handlers = tf_op.get_opsets()[""]
    versions += [at for at, handled in enumerate(handlers) if operator in handled]
    return min(versions, default=None)


def _name_dimensions(model: onnx.ModelProto) -> None:
    """Batch, height and width by their names, whatever the converter called them."""
    for value, names in ((model.graph.input[0], ("batch", "height", "width")),
                         (model.graph.output[0], ("batch",))):  # fmt: skip
        for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
            dimension.dim_param = name


def main(folder: Path) -> None:
    """Convert what lies in a folder, and say there how it went."""
    job = json.loads((folder / JOB_NAME).read_text(encoding="utf-8"))
    outcome: dict[str, Any] = {}
    try:
        model = converted(prepared(folder, job["output"]), job["output"], job["opset"])
        onnx.helper.set_model_props(model, job["metadata"])
        onnx.save(model, folder / MODEL_NAME)
        del model
        onnx.checker.check_model(str(folder / MODEL_NAME), full_check=True)
    except ObstaclesError as error:
        outcome["obstacles"] = [each.to_dict() for each in error.obstacles]
    except Exception as error:
        outcome["reason"] = f"{type(error).__name__}: {error}"[:2_000]
    note_outcome(folder, outcome)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
