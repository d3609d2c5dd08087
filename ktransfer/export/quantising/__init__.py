"""Exports of float32 made smaller: `quantise_file`.

Each format has its own process, `onnx_file` and `litert_file`, which imports no TensorFlow.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ktransfer.errors import RunError
from ktransfer.export.aside import run_aside
from ktransfer.files.scratch import scratch

__all__ = ["IMAGES_NAME", "QUANTISED_NAME", "SOURCE_NAME", "quantise_file"]

#: What lies in the folder between the two processes.
SOURCE_NAME, IMAGES_NAME, QUANTISED_NAME = "source", "images.npy", "quantised"


def quantise_file(
    source: Path,
    path: Path,
    format: str,
    kind: str,
    images: np.ndarray | None,
    metadata: Mapping[str, str],
) -> None:
    """Quantise an export, in a process of its own.

    Its input and output stay what they are, and so do resizing and softmax.

    Args:
        source: the file in float32.
        path: of the new one.
        format: `"onnx"` or `"litert"`.
        kind: `"float16"`, of the weights only: it computes in float32; or `"int8"`, of weights and
            activations.
        images: for int8, uint8 `(images, height, width, 3)` of the network's size; else None.
        metadata: properties of a new ONNX file, by name.

    Raises:
        RunError: it cannot be quantised, or the process died.
        OSError: the new file cannot be written.
    """
    with scratch(path.absolute().parent) as folder:
        shutil.copyfile(source, folder / SOURCE_NAME)
        if images is not None:
            np.save(folder / IMAGES_NAME, images, allow_pickle=False)
        module = f"{__name__}.{format}_file"
        outcome = run_aside(
            module, folder, {"kind": kind, "metadata": dict(metadata)}, f"quantises to {kind}"
        )
        if "reason" in outcome:
            raise RunError(f"it cannot be quantised to {kind}: {outcome['reason']}")
        (folder / QUANTISED_NAME).replace(path)
