"""An exported network in onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np

from ktransfer.data.batches.parallel import num_cores
from ktransfer.errors import InputError, RunError

INPUT_NAME, OUTPUT_NAME = "images", "probabilities"

# How far the sum of a row may lie from 1; float16 inside a network costs some thousandths.
_SUM_TOLERANCE = 0.02
_ONLY_FATAL = 4


class Session:
    """A network that was loaded from bytes, and is asked for probabilities.

    Args:
        name: of the file, for messages.
        content: the file.
        num_classes: how many probabilities an image has.
        num_threads: that compute; None: as many as there are cores.

    Raises:
        InputError: onnxruntime is not installed.
        RunError: it cannot load the network, or the network takes or gives something else.
    """

    def __init__(
        self, name: str, content: bytes, num_classes: int, num_threads: int | None = None
    ) -> None:
        self._name = name
        self._num_classes = num_classes
        self._session = _load(name, content, num_threads or num_cores())
        self._check_ends()

    def run(self, images: np.ndarray) -> np.ndarray:
        """Return class probabilities, float32 `(batch, classes)`.

        Args:
            images: uint8 `(batch, height, width, 3)`.

        Raises:
            RunError: the network fails on them, or what it says are no probabilities.
        """
        try:
            (found,) = self._session.run([OUTPUT_NAME], {INPUT_NAME: images})
        except Exception as error:  # onnxruntime has a class for each code, with no common one
            raise self._fault(f"it cannot be run: {_first_line(error)}") from error
        expected = (len(images), self._num_classes)
        if found.shape != expected:
            raise self._fault(f"it has an output of shape {found.shape}, expected {expected}")
        if not np.abs(found.sum(axis=1, dtype=np.float64) - 1).max(initial=0) < _SUM_TOLERANCE:
            raise self._fault("what it says are no probabilities: they do not sum to 1")
        return np.asarray(found)

    def _check_ends(self) -> None:
        try:
            inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
            ends = [(each.name, each.type, len(each.shape)) for each in (*inputs, *outputs)]
        except UnicodeDecodeError as error:
            raise self._fault(
                f"the names of its inputs and outputs are no text ({error})"
            ) from error
        expected = [(INPUT_NAME, "tensor(uint8)", 4), (OUTPUT_NAME, "tensor(float)", 2)]
        if ends != expected:
            raise self._fault(
                f"it has the inputs and outputs {_listed(ends)}, expected {_listed(expected)}"
            )
        num_outputs = outputs[0].shape[1]
        # A name in place of a number stands for any number.
        if isinstance(num_outputs, int) and num_outputs != self._num_classes:
            raise self._fault(f"it has {num_outputs} outputs for {self._num_classes} classes")

    def _fault(self, what: str) -> RunError:
        return RunError(f"{self._name} cannot be used: {what}")


def _load(name: str, content: bytes, num_threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            f"predicting with {name} needs onnxruntime, which cannot be imported ({error}): "
            'pip install "ktransfer[onnx]"'
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ONLY_FATAL  # what goes wrong is in the exception
    options.intra_op_num_threads = num_threads
    # Threads that wait in a busy loop take the cores from those that decode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        # From bytes: what was checked is what is run. The fallback would print to standard output.
        return onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:
        raise RunError(
            f"{name} cannot be used: onnxruntime cannot load it: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _listed(ends: list[tuple[str, str, int]]) -> str:
    return ", ".join(f"{name} ({kind} of rank {rank})" for name, kind, rank in ends)
