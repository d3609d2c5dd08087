"""What a backbone costs where it runs: time for an image, size on the disk, memory."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable

import keras
import numpy as np

from ktransfer.backbones import Backbone, Call, trace
from ktransfer.features import Forward, Tap, compile_forward, concatenated

WARM_UPS = 3
#: Runs go on for so long, and until there are so many: 15 runs of 5 ms would all fall into the same
#: busy moment of a shared machine.
BUDGET_S = 1.0
LEAST_RUNS = 5

_FLOAT_BYTES = 4
_MB = 2**20


def size_mb(backbone: Backbone) -> float:
    """Return the megabytes (2^20 bytes) of its weights as float32, without a head."""
    return backbone.parameters * _FLOAT_BYTES / _MB


def memory_mb(backbone: Backbone) -> float:
    """Return the memory that one image needs, estimated from the graph and not measured.

    It is that of the weights, as float32 and once, and of the activations that are alive at the
    same time, where that is most: a call's inputs and outputs, and what later calls still need.
    That is what a lean runtime needs after the export. TensorFlow takes far more: with MobileNetV2
    0.35, MobileNetV2 and ResNet50 the estimates are 6, 18 and 99 MB, and the process that compiled
    and ran them as here grew by 70, 196 and 1,497 MB. Inside a layer that hides its activations
    (attention) nothing is counted.

    Args:
        backbone: any.

    Returns:
        Megabytes (2^20 bytes).
    """
    calls, _ = trace(backbone.model, backbone.model.inputs)
    return size_mb(backbone) + _peak_numbers(calls) * _FLOAT_BYTES / _MB


def _peak_numbers(calls: tuple[Call, ...]) -> int:
    """Count the most numbers that are alive at once while the calls run, for one image."""
    last_use = {id(tensor): at for at, call in enumerate(calls) for tensor in call.inputs}
    alive = {id(tensor): _numbers(tensor) for tensor in calls[0].inputs}
    peak = 0
    for at, call in enumerate(calls):
        alive |= {id(tensor): _numbers(tensor) for tensor in call.outputs}
        peak = max(peak, sum(alive.values()))
        alive = {key: size for key, size in alive.items() if last_use.get(key, -1) > at}
    return peak


def _numbers(tensor: object) -> int:
    shape = getattr(tensor, "shape", ())
    return math.prod(length or 1 for length in shape)


def compile_taps(backbone: Backbone, taps: Iterable[Tap]) -> Forward:
    """Return the fast inference function from images to what some taps say, side by side."""
    return compile_forward(keras.Model(backbone.model.inputs[0], concatenated(tuple(taps))))


def latency_ms(forward: Forward, input_size: tuple[int, int]) -> float:
    """Return the time that one image takes in a compiled function, here and now.

    Args:
        forward: of `compile_taps`.
        input_size: `(height, width)` in pixels.

    Returns:
        The median in milliseconds of the runs of `BUDGET_S`, at least `LEAST_RUNS`, after
        `WARM_UPS` (the first of which compiles).
    """
    image = np.random.default_rng(0).integers(0, 256, (1, *input_size, 3), np.uint8)
    for _ in range(WARM_UPS):
        forward(image)
    times: list[float] = []
    while len(times) < LEAST_RUNS or sum(times) < BUDGET_S:
        started = time.perf_counter()
        forward(image)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1_000
