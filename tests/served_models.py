"""Small ONNX files written by hand, whose answers NumPy works out."""

import json

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from ktransfer.serving.metadata import RESIZING

CLASSES = ("blue", "green", "red")
SIZE = (16, 12)
# The class is the brightest of the three channels, read the other way round.
WEIGHTS = np.array([[0, 0, 0.05], [0, 0.05, 0], [0.05, 0, 0]], np.float32)


def describe(**fields):
    """The metadata that an export has."""
    return {
        "format": 1,
        "versions": {"ktransfer": "0.1.0"},
        "class_names": list(CLASSES),
        "input_size": list(SIZE),
        "resizing": RESIZING,
        "created": "2026-01-01T00:00:00+00:00",
        "data_sha256": None,
        "quantisation": None,
        **fields,
    }


def build(metadata=None, *, weights=WEIGHTS, nodes=None, output="probabilities", props=None):
    """A network that takes the mean of each channel to class probabilities, as a ModelProto."""
    nodes = nodes or [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [output], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", "h", "w", 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", weights.shape[1]])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    described = json.dumps(describe() if metadata is None else metadata)
    helper.set_model_props(model, {"ktransfer": described} if props is None else props)
    return model


def write(path, *args, **options):
    """The file of `build`."""
    path.write_bytes(build(*args, **options).SerializeToString())
    return path


def answer(images):
    """What the network says of uint8 `(batch, height, width, 3)`."""
    logits = images.astype(np.float64).mean(axis=(1, 2)) @ WEIGHTS.astype(np.float64)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)
