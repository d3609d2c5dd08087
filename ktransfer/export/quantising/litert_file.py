"""The process that quantises a LiteRT file, by Google's ai-edge-quantizer.

TensorFlow's own converter would quantise the coordinates of the resizing as well: it has no way to
say which operators, but by a debugger. `quantising` starts this with a folder; it has no other use.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_quantizer import qtyping, quantizer
from ai_edge_quantizer.algorithm_manager import AlgorithmName

from ktransfer.export.aside import JOB_NAME, note_outcome
from ktransfer.export.quantising import IMAGES_NAME, QUANTISED_NAME, SOURCE_NAME
from ktransfer.serving.session import INPUT_NAME

_SIGNATURE = "serving_default"
# A layer of this name, as TensorFlow numbers it; one of another name is quantised like the rest.
_HEAD = r"/head(_\d+)?/"

#: Operators with weights; the resizing has none of them.
WEIGHTED = (
    qtyping.TFLOperationName.CONV_2D,
    qtyping.TFLOperationName.DEPTHWISE_CONV_2D,
    qtyping.TFLOperationName.FULLY_CONNECTED,
)


def quantised(folder: Path, job: Mapping[str, Any]) -> bytes:
    """Say what the job asks for, made of the file in the folder."""
    work = quantizer.Quantizer(folder / SOURCE_NAME)
    found = None
    for operator in WEIGHTED:
        if job["kind"] == "float16":
            _keep_as_float16(work, operator)
        else:
            work.add_static_config(".*", operator, activation_num_bits=8, weight_num_bits=8)
    if job["kind"] == "int8":
        # What is rounded in the head is in the result at once, and it is a thousandth of the work.
        work.update_quantization_recipe(
            _HEAD, qtyping.TFLOperationName.FULLY_CONNECTED, algorithm_key=AlgorithmName.NO_QUANTIZE
        )
        images = np.load(folder / IMAGES_NAME, mmap_mode="r")
        rows = [{INPUT_NAME: np.asarray(each)[np.newaxis]} for each in images]
        found = work.calibrate({_SIGNATURE: rows})
    return bytes(work.quantize(found, enable_progress_report=False).quantized_model)


def _keep_as_float16(work: Any, operator: Any) -> None:
    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    config = qtyping.OpQuantizationConfig(
        weight_tensor_config=weights,
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    work.update_quantization_recipe(".*", operator, config, AlgorithmName.FLOAT_CASTING)


def main(folder: Path) -> None:
    """Quantise what lies in a folder, and say there how it went."""
    job = json.loads((folder / JOB_NAME).read_text(encoding="utf-8"))
    outcome: dict[str, Any] = {}
    try:
        (folder / QUANTISED_NAME).write_bytes(quantised(folder, job))
    except Exception as error:
        outcome["reason"] = f"{type(error).__name__}: {error}"[:2_000]
    note_outcome(folder, outcome)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
