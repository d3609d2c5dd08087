"""What keeps networks that TensorFlow runs from running in ONNX Runtime, or from being right there.

Every function changes one `GraphDef` in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_COMPILED = ("_XlaMustCompile", "_XlaCompile", "_noinline")
_LOWEST = np.finfo(np.float32).min


def fill_in(graph: Any, values: Mapping[str, np.ndarray]) -> None:
    """Make constants of placeholders.

    Keras' own export leaves two tensors that EfficientNet holds, the statistics of its pixels, as
    inputs of the graph, which passes the checker and cannot run.

    Args:
        graph: a `GraphDef`.
        values: by the placeholder's name.
    """
    for node in graph.node:
        if node.op == "Placeholder" and node.name in values:
            _make_constant(node, values[node.name])


def allow_inlining(graph: Any) -> None:
    """Let calls of functions that XLA should compile be replaced by what is in the functions.

    Keras runs grouped convolutions in such functions, ConvNeXt's among them.
    """
    functions = list(graph.library.function)
    nodes = [*graph.node, *(node for each in functions for node in each.node_def)]
    for each in (*nodes, *functions):
        for name in _COMPILED:
            each.attr.pop(name, None)


def mend_erfc(graph: Any) -> None:
    """Write 1 - erf(x) for erfc(x), which ONNX does not have; exact GELU is made of it."""
    for node in [each for each in graph.node if each.op == "Erfc"]:
        name, source, dtype = node.name, node.input[0], node.attr["T"].type
        one, erf = graph.node.add(), graph.node.add()
        one.name, erf.name, erf.op = f"{name}/one", f"{name}/erf", "Erf"
        _make_constant(one, np.asarray(1, tf.as_dtype(dtype).as_numpy_dtype))
        erf.input.append(source)
        node.op = "Sub"
        node.input[:] = [one.name, erf.name]
        erf.attr["T"].type = dtype


def mend_scalar_addition(graph: Any, shapes: Mapping[str, Sequence[int | None]]) -> None:
    """Write x + [c] for x + c.

    The optimizer of tf2onnx (1.17) fails where a number is added to what a convolution says, as the
    hard sigmoid of MobileNetV3 does.

    Args:
        graph: a `GraphDef`.
        shapes: of what each node says, by its name.
    """
    nodes = {each.name: each for each in graph.node}
    for node in [each for each in graph.node if each.op in ("Add", "AddV2")]:
        for at, name in enumerate(list(node.input)[:2]):
            term = nodes[_node_of(name)]
            if term.op == "Const" and shapes.get(term.name) == [] and shapes.get(node.name):
                one = graph.node.add()
                one.name = f"{node.name}/term_{at}"
                _make_constant(one, tf.make_ndarray(term.attr["value"].tensor)[None])
                node.input[at] = one.name


def mend_max_pooling(graph: Any, shapes: Mapping[str, Sequence[int | None]]) -> None:
    """Have max pooling do the padding with zeros in front of it itself.

    ONNX Runtime up to 1.31 fuses the two into a pooling that takes minus infinity for what was
    padded, which is wrong for what lies below zero (ResNet50V2); so do tools that make files
    smaller (onnx/optimizer pull request 318). To be removed when nobody serves with those.

    Args:
        graph: a `GraphDef`.
        shapes: of what each node says, by its name; None where a length is unknown.
    """
    nodes = {each.name: each for each in graph.node}
    for pool in [each for each in graph.node if each.op == "MaxPool"]:
        pad = nodes[_node_of(pool.input[0])]
        size = [each for each in shapes.get(pad.name, ())[1:3] if each is not None]
        plain = (pool.attr["padding"].s, pool.attr["data_format"].s) == (b"VALID", b"NHWC")
        if pad.op == "Pad" and plain and len(size) == 2:
            paddings = tf.make_ndarray(nodes[_node_of(pad.input[1])].attr["value"].tensor)
            kernel = [*pool.attr["ksize"].list.i][1:3]
            # Wider padding than windows is more than a pooling can do by itself.
            if np.all(paddings[1:3].max(axis=1) < kernel) and not paddings[[0, 3]].any():
                _pool_with_padding(graph, pool, pad, paddings, size)


def _pool_with_padding(
    graph: Any, pool: Any, pad: Any, paddings: np.ndarray, size: Sequence[int]
) -> None:
    """Pool what was not padded, and let zeros win wherever a window has some of the padding."""
    kernel, strides = ([*pool.attr[each].list.i][1:3] for each in ("ksize", "strides"))
    touched = [
        _touches(length, kernel[axis], strides[axis], paddings[1 + axis])
        for axis, length in enumerate(size)
    ]
    border = np.where(touched[0][:, None] | touched[1], np.float32(0), _LOWEST)
    mask, inner = graph.node.add(), graph.node.add()
    inner.CopyFrom(pool)
    inner.name, inner.input[0], mask.name = f"{pool.name}/inner", pad.input[0], f"{pool.name}/mask"
    inner.attr["padding"].s = b"EXPLICIT"
    inner.attr["explicit_paddings"].list.i[:] = [int(each) for each in paddings.ravel()]
    _make_constant(mask, border[None, :, :, None])
    dtype = pool.attr["T"].type
    pool.op = "Maximum"
    pool.attr.clear()
    pool.attr["T"].type = dtype
    pool.input[:] = [inner.name, mask.name]


def _touches(length: int, kernel: int, stride: int, padding: Sequence[int]) -> np.ndarray:
    """Say which of the windows along one axis have some of the padding in them."""
    starts = np.arange(0, length - kernel + 1, stride)
    return (starts < padding[0]) | (starts + kernel > length - padding[1])


def _make_constant(node: Any, value: np.ndarray) -> None:
    name = node.name
    node.Clear()
    node.name, node.op = name, "Const"
    node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))


def _node_of(tensor: str) -> str:
    return tensor.lstrip("^").partition(":")[0]
