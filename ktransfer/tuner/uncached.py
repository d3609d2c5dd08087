"""What trials would have cost if the frozen blocks ran in every epoch of each."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ktransfer.advisor import Costs
from ktransfer.backbones import Backbone
from ktransfer.errors import RunError
from ktransfer.features import FORWARD_BATCH_SIZE, compile_forward
from ktransfer.tuner.records import Record, read_json, write_json

_KEPT = "seconds_per_image"


def measured_costs(backbone: Backbone, path: Path) -> Costs:
    """Say what an image costs at each depth, by one timed batch of black ones.

    Args:
        backbone: what is trained.
        path: where the time is kept, so that a search that is asked again says the same.

    Raises:
        RunError: the file is damaged, or cannot be written.
    """
    if not os.path.lexists(path):
        write_json(path, json.dumps({_KEPT: _seconds_per_image(backbone)}))
    seconds = read_json(path).get(_KEPT)
    if not isinstance(seconds, float) or not 0.0 < seconds < math.inf:
        raise RunError(f"{path} is damaged: it has no {_KEPT}; delete it")
    return Costs.of(backbone, seconds)


def _seconds_per_image(backbone: Backbone) -> float:
    forward = compile_forward(backbone.model)
    images = np.zeros((FORWARD_BATCH_SIZE, *backbone.input_size, 3), np.uint8)
    forward(images)
    started = time.perf_counter()
    forward(images)
    return (time.perf_counter() - started) / len(images)


def uncached_seconds(records: Sequence[Record], costs: Costs, num_images: int) -> dict[str, float]:
    """About what each trial would have taken with its frozen blocks run in every epoch.

    Args:
        records: of trials.
        costs: of an image.
        num_images: that an epoch runs over, to train and to validate.

    Returns:
        Seconds by the names of the trials.
    """
    blocks = len(costs.activations)
    return {
        each.name: each.seconds
        + sum(
            epochs * costs.prefix_s(num_images, blocks - int(stage["unfreeze"]))
            for stage, epochs in zip(each.plan["stages"], each.epochs, strict=False)
        )
        for each in records
    }
