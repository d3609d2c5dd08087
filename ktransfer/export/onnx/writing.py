"""A trained model as an ONNX file."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

import keras

from ktransfer.errors import InputError, RunError
from ktransfer.export.aside import run_aside
from ktransfer.export.formats import DEFAULT_OPSET, check_opset
from ktransfer.export.onnx.operators import Obstacle, refusal
from ktransfer.export.onnx.tracing import MODEL_NAME, trace
from ktransfer.files.scratch import scratch

_NEEDED = ("onnx", "tf2onnx")
_CONVERTING = "ktransfer.export.onnx.converting"


def write_onnx(
    model: keras.Model,
    input_size: tuple[int, int],
    path: str | os.PathLike[str],
    *,
    opset: int = DEFAULT_OPSET,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a model as an ONNX file; what it computes is `servable`.

    Its input `images` is uint8 RGB `(batch, height, width, 3)` in [0, 255] of any batch, height and
    width, its output `probabilities` float32 `(batch, classes)`. The conversion runs in a process
    of its own.

    Args:
        model: RGB `(batch, height, width, 3)` in [0, 255] to probabilities `(batch, classes)`.
        input_size: height and width that the model takes, in pixels.
        path: the file; one that is there is replaced.
        opset: of ONNX's operators, one of `OPSETS`.
        metadata: properties of the file, by name.

    Raises:
        InputError: onnx or tf2onnx is not installed, the opset is unknown or too low for an
        operator, ONNX has no operator for what a layer does.
        RunError: the file cannot be written, or the process died.
    """
    check_opset(opset)
    check_installed()
    try:
        # Beside the file: elsewhere another disk may be full.
        with scratch(Path(path).absolute().parent) as folder:
            traced = trace(model, input_size)
            traced.write(folder)
            job = {"output": traced.output, "opset": opset, "metadata": dict(metadata or {})}
            del traced
            outcome = run_aside(_CONVERTING, folder, job, "converts to ONNX")
            if "obstacles" in outcome:
                obstacles = [Obstacle(**each) for each in outcome["obstacles"]]
                raise refusal(obstacles, model, opset)
            if "reason" in outcome:
                raise InputError(
                    f"the model cannot be converted to ONNX opset {opset}: {outcome['reason']}"
                )
            (folder / MODEL_NAME).replace(path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error}") from error


def check_installed() -> None:
    """Raise an `InputError` that names the extra where something of it is missing."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f'an ONNX export needs {" and ".join(missing)}: pip install "ktransfer[onnx]"'
        )
