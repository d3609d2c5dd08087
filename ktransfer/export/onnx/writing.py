"""A trained model as an ONNX file."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from ktransfer._checks import InputError, RunError
from ktransfer.export.formats import DEFAULT_OPSET, check_opset
from ktransfer.export.onnx.operators import Obstacle, refusal
from ktransfer.export.onnx.tracing import JOB_NAME, MODEL_NAME, OUTCOME_NAME, trace

_NEEDED = ("onnx", "tf2onnx")


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
        with tempfile.TemporaryDirectory(prefix="ktransfer-onnx-") as name:
            folder = Path(name)
            traced = trace(model, input_size)
            traced.write(folder)
            job = {"output": traced.output, "opset": opset, "metadata": dict(metadata or {})}
            del traced
            outcome = _convert(folder, job)
            if "obstacles" in outcome:
                obstacles = [Obstacle(**each) for each in outcome["obstacles"]]
                raise refusal(obstacles, model, opset)
            if "reason" in outcome:
                raise InputError(
                    f"the model cannot be converted to ONNX opset {opset}: {outcome['reason']}"
                )
            shutil.copyfile(folder / MODEL_NAME, path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error}") from error


def check_installed() -> None:
    """Raise an `InputError` that names the extra where something of it is missing."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f'an ONNX export needs {" and ".join(missing)}: pip install "ktransfer[onnx]"'
        )


def _convert(folder: Path, job: Mapping[str, Any]) -> dict[str, Any]:
    """Have a process convert what lies in a folder.

    Returns:
        What stood in the way; empty where the model was written.

    Raises:
        RunError: the process died.
    """
    (folder / JOB_NAME).write_text(json.dumps(job), encoding="utf-8")
    # A process by its own command, not by multiprocessing, which would run the caller's script
    # again.
    command = [sys.executable, "-W", "ignore", "-m", "ktransfer.export.onnx.converting"]
    with (folder / "log").open("wb") as log:
        done = subprocess.run(
            [*command, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                # Nothing is computed there but constants: the accelerator stays the caller's.
                "CUDA_VISIBLE_DEVICES": "-1",
            },
        )
    if done.returncode == 0:
        outcome: dict[str, Any] = json.loads((folder / OUTCOME_NAME).read_text(encoding="utf-8"))
        return outcome
    words = (folder / "log").read_text(encoding="utf-8", errors="replace").strip()[-1_000:]
    raise RunError(f"the process that converts to ONNX died ({_ending(done.returncode)}): {words}")


def _ending(code: int) -> str:
    if code == -signal.SIGKILL:
        return "SIGKILL: by hand, or since memory ran out"
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
