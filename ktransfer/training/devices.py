"""What the device at hand is good at: number formats and XLA."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from ktransfer.errors import unknown_name
from ktransfer.freezing.layers import walk

#: Instructions that multiply bfloat16, as Linux names them; oneDNN uses them.
_BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16"}
_CPU_INFO = Path("/proc/cpuinfo")

PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
FLOAT32, BFLOAT16 = "float32", "mixed_bfloat16"


@dataclass(frozen=True)
class PrecisionDecision:
    """What a stage computes in.

    Attributes:
        precision: a dtype policy of Keras.
        reason: in a sentence, where it was measured.
    """

    precision: str
    reason: str = ""


def on_accelerator() -> bool:
    """Tell whether the Keras backend computes on a GPU or TPU."""
    kinds = {
        str(each).rpartition("/")[2].split(":")[0] for each in keras.distribution.list_devices()
    }
    return bool(kinds - {"cpu"})


def prefix_in_pipeline() -> bool:
    """Tell whether frozen blocks that are not cached run in the input pipeline, not in the step.

    On a CPU they do: there the pipeline and the step compute on the same cores. An accelerator
    would stand still while the CPU computed them. JAX traces its own programs.
    """
    return keras.backend.backend() == "tensorflow" and not on_accelerator()


def choose_precision(precision: str) -> str:
    """Return the dtype policy to train with.

    Args:
        precision: one of `PRECISIONS`. "auto" is float32 on a CPU, unless `measures_bfloat16` and
            a stage is faster without, and mixed_bfloat16 on an accelerator: it has the range of
            float32, so that no loss needs scaling.

    Raises:
        InputError: it is none of them.
    """
    if precision not in PRECISIONS:
        raise unknown_name("precision", str(precision), PRECISIONS)
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if on_accelerator() else "float32"


def measures_bfloat16(precision: str) -> bool:
    """Tell whether a training measures for its stages whether bfloat16 pays.

    Only on a CPU that multiplies it, and where TensorFlow computes: XLA, which JAX always uses, is
    slow on a CPU in any format.

    Args:
        precision: one of `PRECISIONS`; only "auto" leaves it open.
    """
    return (
        precision == "auto"
        and keras.backend.backend() == "tensorflow"
        and not on_accelerator()
        and bool(_BFLOAT16_FLAGS & set(_cpu_info("flags").split()))
    )


def processor() -> str:
    """Return the name of the processor, as far as the system tells it."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _cpu_info(field: str) -> str:
    """Return what Linux says of the first processor; nothing on other systems."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in found if name.strip() == field), "")


def choose_jit_compile(jit_compile: bool | str) -> bool:
    """Tell whether to compile the training step with XLA.

    Args:
        jit_compile: True, False, or "auto": on an accelerator only. On a CPU it made MobileNetV2
            12 times slower.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(jit_compile, bool):
        return jit_compile
    if jit_compile != "auto":
        raise unknown_name("jit_compile", str(jit_compile), ("auto", "True", "False"))
    # JAX compiles everything with XLA, and Keras refuses to be told otherwise only on other ones.
    return on_accelerator()


@contextmanager
def computing_in(model: keras.Model, precision: str) -> Iterator[None]:
    """Let the layers of a model compute in a precision for the time of a `with` block.

    The weights stay float32, and so does what is saved afterwards.
    """
    layers: list[Any] = [] if precision == "float32" else list(walk(model))
    before = [layer.dtype_policy for layer in layers]
    for layer in layers:
        layer.dtype_policy = precision
    try:
        yield
    finally:
        for layer, policy in zip(layers, before, strict=True):
            layer.dtype_policy = policy


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error of TensorFlow, JAX or Python says that memory ran out."""
    return isinstance(error, MemoryError) or any(
        word in f"{type(error).__name__}: {error}"
        for word in ("ResourceExhausted", "RESOURCE_EXHAUSTED", "Out of memory")
    )
