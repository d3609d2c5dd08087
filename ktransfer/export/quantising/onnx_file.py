"""The process that quantises an ONNX file: onnxruntime's tools keep all activations in memory.

`quantising` starts it with a folder; it has no other use.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from ktransfer.export.aside import JOB_NAME, note_outcome
from ktransfer.export.quantising import IMAGES_NAME, QUANTISED_NAME, SOURCE_NAME
from ktransfer.serving.session import INPUT_NAME, OUTPUT_NAME

#: Operators with weights; all that float16 touches.
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")

#: What computes in whole numbers. Means of feature maps and what follows them do not: `head_of`.
QUANTISED = (
    *WEIGHTED,
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "MaxPool",
    "Relu",
)

_BEFORE_HEAD = ("Clip", "Conv", "ConvTranspose", "Relu")
_BATCH_SIZE = 8
# Batches whose activations are held at once.
_MOST_HELD = (4, 5, 3, 7)


def with_float16_weights(model: onnx.ModelProto) -> None:
    """Keep the weights as float16, and cast them where they are used, in place.

    The runtime casts them once, when it loads the file: it computes in float32 and is as fast as
    before. A network that computes in float16 throughout (onnxruntime's own converter makes one)
    took twice the time on a CPU, which has few kernels for it, and is no smaller.
    """
    graph = model.graph
    used = {name for node in graph.node if node.op_type in WEIGHTED for name in node.input}
    casts = []
    for tensor in graph.initializer:
        if tensor.name not in used or len(tensor.dims) < 2 or tensor.data_type != TensorProto.FLOAT:
            continue
        halved, name = numpy_helper.to_array(tensor).astype(np.float16), tensor.name
        casts.append(
            onnx.helper.make_node("Cast", [f"{name}/float16"], [name], to=TensorProto.FLOAT)
        )
        tensor.CopyFrom(numpy_helper.from_array(halved, f"{name}/float16"))
    for at, node in enumerate(casts):  # before all that read them
        graph.node.insert(at, node)


def split(model: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.ModelProto, str]:
    """Return the resizing and the network as two models, and the name of what goes between them.

    The resizing ends with the file's first rounding to whole grey levels and the clipping after it.
    Eight bits would do for its pixels, but not for the coordinates it computes.
    """
    nodes = list(model.graph.node)
    pixels = next(each.output[0] for each in nodes if each.op_type == "Round")
    while True:
        readers = [each for each in nodes if pixels in each.input]
        if len(readers) != 1 or readers[0].op_type not in ("Clip", "Min", "Max"):
            break
        pixels = readers[0].output[0]
    _declare(model, pixels, None)
    front = onnx.utils.Extractor(model).extract_model([INPUT_NAME], [pixels])
    black = np.zeros((1, 8, 8, 3), np.uint8)
    (found,) = _session(front).run([pixels], {INPUT_NAME: black})
    _declare(model, pixels, ("batch", *found.shape[1:]))
    network = onnx.utils.Extractor(model).extract_model([pixels], [OUTPUT_NAME])
    return front, network, pixels


def joined(front: onnx.ModelProto, network: onnx.ModelProto, pixels: str) -> onnx.ModelProto:
    """Return the reverse of `split`."""
    used = {each.domain for model in (front, network) for each in model.graph.node}
    # onnxruntime adds domains that nobody uses, and the same one twice.
    versions = {each.domain: each.version for each in network.opset_import if each.domain in used}
    opsets = [onnx.helper.make_opsetid(*each) for each in versions.items()]
    ir_version = max(front.ir_version, network.ir_version)
    for each in (front, network):
        del each.metadata_props[:], each.graph.value_info[:], each.opset_import[:]
        each.opset_import.extend(opsets)
        each.ir_version = ir_version
    # Constants that both of them have get two names.
    network = onnx.compose.add_prefix(
        network, "network/", rename_inputs=False, rename_outputs=False
    )
    model = onnx.compose.merge_models(front, network, io_map=[(pixels, pixels)])
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    return model


class _Pixels(CalibrationDataReader):
    """What the network sees of the images, by way of the file's own resizing."""

    def __init__(self, front: onnx.ModelProto, pixels: str, images: np.ndarray) -> None:
        self._batches = self._resized(_session(front), pixels, images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch; None after the last one."""
        return next(self._batches, None)

    @staticmethod
    def _resized(session: Any, name: str, images: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, len(images), _BATCH_SIZE):
            batch = images[start : start + _BATCH_SIZE]
            yield {name: session.run([name], {INPUT_NAME: batch})[0]}


def before_weights(network: onnx.ModelProto) -> list[str]:
    """Return the operators that no weights come before, by name: they scale the pixels.

    Rounded after each of them, pixels would be rounded three times instead of once.
    """
    weighted: set[str] = set()
    names = []
    for node in network.graph.node:
        if node.op_type in WEIGHTED or weighted.intersection(node.input):
            weighted.update(node.output)
        else:
            names.append(node.name)
    return names


def head_of(network: onnx.ModelProto) -> list[str]:
    """Return the operators from the pooled features to the probabilities, by name.

    They are a thousandth of the work, and what is rounded there is in the result at once.
    """
    sources = {name: node for node in network.graph.node for name in node.output}
    names, weighted, at = [], 0, OUTPUT_NAME
    while at in sources:
        node = sources[at]
        weighted += node.op_type in WEIGHTED
        if weighted > 1 or node.op_type in _BEFORE_HEAD:
            break
        names.append(node.name)
        at = node.input[0]
    return names


def with_int8(model: onnx.ModelProto, images: np.ndarray, folder: Path) -> onnx.ModelProto:
    """Weight and activations of the network as whole numbers of 8 bits (QDQ format).

    Each channel of the weights has a scale of its own, each tensor of activations one from its
    smallest to its largest number on the images. Measured with MobileNetV2 on 128 images; weights
    of 7 bits, which older CPUs without VNNI add up safely, moved probabilities ten times as far.

    Args:
        model: of float32.
        images: uint8 `(images, height, width, 3)`.
        folder: for what onnxruntime keeps in files.
    """
    front, network, pixels = split(model)
    plain, prepared, done = (folder / f"{each}.onnx" for each in ("plain", "prepared", "done"))
    onnx.save(network, plain)
    # Batch norms become part of the convolutions before them.
    quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
    ready = onnx.load(prepared)
    quantize_static(
        prepared,
        done,
        _Pixels(front, pixels, images),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(QUANTISED),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        nodes_to_exclude=[*before_weights(ready), *head_of(ready)],
        # Products of activations, as attention has them, stay in float32.
        extra_options={"MatMulConstBOnly": True, "CalibMaxIntermediateOutputs": _held(len(images))},
    )
    return joined(front, onnx.load(done), pixels)


def _held(num_images: int) -> int:
    """Batches held at once; no divisor of their number, at which onnxruntime (1.32) loses them."""
    batches = -(-num_images // _BATCH_SIZE)
    return next(each for each in _MOST_HELD if batches % each)


def _declare(model: onnx.ModelProto, name: str, shape: tuple[str | int, ...] | None) -> None:
    known = [each for each in model.graph.value_info if each.name != name]
    del model.graph.value_info[:]
    model.graph.value_info.extend(known)
    model.graph.value_info.append(
        onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    )


def _session(model: onnx.ModelProto) -> Any:
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def quantised(folder: Path, job: Mapping[str, Any]) -> onnx.ModelProto:
    """Say what the job asks for, made of the model in the folder."""
    model = onnx.load(folder / SOURCE_NAME)
    if job["kind"] == "float16":
        with_float16_weights(model)
        del model.metadata_props[:]
    else:
        model = with_int8(model, np.load(folder / IMAGES_NAME, mmap_mode="r"), folder)
    onnx.helper.set_model_props(model, job["metadata"])
    return model


def main(folder: Path) -> None:
    """Quantise what lies in a folder, and say there how it went."""
    job = json.loads((folder / JOB_NAME).read_text(encoding="utf-8"))
    outcome: dict[str, Any] = {}
    try:
        onnx.save(quantised(folder, job), folder / QUANTISED_NAME)
        onnx.checker.check_model(str(folder / QUANTISED_NAME), full_check=True)
    except Exception as error:
        outcome["reason"] = f"{type(error).__name__}: {error}"[:2_000]
    note_outcome(folder, outcome)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
