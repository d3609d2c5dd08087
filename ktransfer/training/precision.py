"""Whether bfloat16 pays on this processor, for this backbone: measured, and remembered.

Processors with AMX or AVX-512 bf16 multiply bfloat16 twice to many times as fast as float32, and
what a network gains by it nobody can tell from its name: on one of them ResNet50 trained 1.6 times
as fast, and MobileNetV2 and EfficientNetB0 1.4 times as slowly, since the gradients of depthwise
convolutions have no fast path. So a few real steps of a stage are run in both, where the stage is
long enough to earn that back.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ktransfer.cache import CacheUnavailable
from ktransfer.cache.place import default_folder
from ktransfer.data.batches.parallel import num_cores
from ktransfer.errors import RunError
from ktransfer.features import RowSource
from ktransfer.files.reading import read_json
from ktransfer.files.writing import write_whole
from ktransfer.training.batch_norm import quick_statistics
from ktransfer.training.callbacks import assign, values_of
from ktransfer.training.devices import (
    BFLOAT16,
    FLOAT32,
    PrecisionDecision,
    computing_in,
    is_out_of_memory,
    processor,
)
from ktransfer.training.stage import compile_trainee
from ktransfer.training.stage_input import Prepared

#: bfloat16 must be so many times as fast: it rounds to three digits, and a measurement scatters.
LEAST_GAIN = 1.2

#: A stage that is estimated to take less is not worth the measurement, two tracings of the training
#: step and eight steps: 15 s for MobileNetV2, of which half of the backbones win a third back.
LEAST_STAGE_S = 90.0

#: Fewer views of images in a stage are not even estimated.
_LEAST_IMAGES = 1_000

#: A training step takes so many times as long as the same blocks compiled for inference.
_TRAINING_TIMES = 2.3

_TRIED_ROWS, _STEPS = 8, 4
_FILE_NAME, _MOST_MB = "precision.json", 1


def decide_precision(prepared: Prepared, source: RowSource) -> PrecisionDecision:
    """Decide what a stage computes in on a processor that knows bfloat16.

    Args:
        prepared: the stage; its weights are afterwards what they were.
        source: of what it reads.
    """
    if prepared.cut == prepared.network.num_blocks:
        return PrecisionDecision(FLOAT32)  # a head alone waits for memory
    memory = _Memory(prepared)
    speeds = memory.speeds
    if speeds is None:
        if estimated_seconds(prepared, source) < LEAST_STAGE_S:
            return PrecisionDecision(FLOAT32)
        speeds = images_per_second(prepared, FLOAT32), images_per_second(prepared, BFLOAT16)
        if not min(speeds):  # memory ran out: the stage itself halves its batches
            return PrecisionDecision(FLOAT32)
        memory.keep(speeds)
    return _chosen(prepared.stage.name, *speeds)


def _chosen(stage: str, in_float32: float, in_bfloat16: float) -> PrecisionDecision:
    faster = in_bfloat16 >= LEAST_GAIN * in_float32
    taken = "bfloat16" if faster else "float32"
    return PrecisionDecision(
        BFLOAT16 if faster else FLOAT32,
        f"stage {stage!r} computes in {taken}: on this processor a training step of it takes "
        f"{in_bfloat16:.3g} images a second in bfloat16 and {in_float32:.3g} in float32, measured; "
        f"precision={'float32' if faster else BFLOAT16!r} takes the other",
    )


def estimated_seconds(prepared: Prepared, source: RowSource) -> float:
    """Say how long a stage may take, from the time its blocks take for black images; 0: short."""
    images = prepared.stage.epochs * prepared.data.num_train
    if images < _LEAST_IMAGES:
        return 0.0
    forward = source.forward(prepared.cut, prepared.network.num_blocks)
    shape = prepared.network.row_shape(prepared.cut)
    rows = np.zeros((_TRIED_ROWS, *shape), np.float32)
    forward(rows)
    started = time.perf_counter()
    forward(rows)
    return _TRAINING_TIMES * images * (time.perf_counter() - started) / _TRIED_ROWS


def images_per_second(prepared: Prepared, precision: str) -> float:
    """Train a few steps in a precision, and put the weights back; 0 where memory does not do."""
    variables, clock = prepared.variables, _Clock()
    before = values_of(variables)
    backbone = prepared.network.backbone
    try:
        with computing_in(backbone.model, precision), quick_statistics(backbone):
            compile_trainee(prepared)
            prepared.trainee.fit(
                prepared.data.train(prepared.batch_size, 0),
                steps_per_epoch=_STEPS,
                shuffle=False,
                verbose=0,
                callbacks=[clock],
            )
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return 0.0
    finally:
        assign(variables, before)
    return prepared.batch_size / clock.shortest_s


class _Clock(keras.callbacks.Callback):
    """The time between the ends of two steps, which the first one's tracing is not in."""

    def __init__(self) -> None:
        super().__init__()
        self._ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Take the time."""
        self._ends.append(time.perf_counter())

    @property
    def shortest_s(self) -> float:
        return min(end - start for start, end in zip(self._ends, self._ends[1:], strict=False))


class _Memory:
    """What was measured before, in a file of the cache folder, by machine and network.

    Args:
        prepared: the stage that is asked about.
    """

    def __init__(self, prepared: Prepared) -> None:
        self._key = _key(prepared)
        self._path = _path() if prepared.settings.cache != "off" else None

    @property
    def speeds(self) -> tuple[float, float] | None:
        """Images a second in float32 and in bfloat16; None: not known."""
        match self._read().get(self._key):
            case [float(in_float32), float(in_bfloat16)] if min(in_float32, in_bfloat16) > 0:
                return in_float32, in_bfloat16
        return None

    def keep(self, speeds: Sequence[float]) -> None:
        """Remember them; where nothing can be written, the next run measures again."""
        if self._path is None:
            return
        known = {**self._read(), self._key: list(speeds)}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, json.dumps(known, indent=1).encode())
        except OSError:
            return

    def _read(self) -> dict[str, Any]:
        """Return what the file says; nothing where it is missing or damaged."""
        if self._path is None:
            return {}
        try:
            found = read_json(self._path, most_mb=_MOST_MB)
        except (RunError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _path() -> Path | None:
    try:
        return default_folder() / _FILE_NAME
    except CacheUnavailable:
        return None


def _key(prepared: Prepared) -> str:
    """Digest all that the speed depends on: processor, versions, and what is computed."""
    import tensorflow as tf

    backbone, stage = prepared.network.backbone, prepared.stage
    parts = [
        [processor(), num_cores(), keras.__version__, tf.__version__],
        [backbone.name, list(backbone.input_size), [each.parameters for each in backbone.blocks]],
        [prepared.cut, prepared.network.num_blocks, prepared.network.features],
        [stage.trains, stage.rank, stage.batch_norm, prepared.batch_size],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
