"""What is exported: a trained model and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ktransfer.classifier.results import FitResult
from ktransfer.data import Part
from ktransfer.data.images.value_range import ValueRange
from ktransfer.data.learnt import Learnt
from ktransfer.export.agreement import Predict
from ktransfer.runs.held_back import range_of


@dataclass(frozen=True, eq=False)
class Trained:
    """A model after `fit`, or of a saved run.

    Attributes:
        model: RGB images `(batch, height, width, 3)` in [0, 255] to probabilities.
        forward: the same, compiled for inference.
        class_names: one for each column of the probabilities.
        input_size: height and width in pixels.
        backbone: its name.
        weights: where its weights came from; None: random.
        options: of its constructor.
        result: how the training went; None where that was not saved.
        data: what is remembered of the data (`data.held_back.record_of`).
        learnt: digests of its images; None where they are not known.
    """

    model: keras.Model
    forward: Predict
    class_names: tuple[str, ...]
    input_size: tuple[int, int]
    backbone: str
    weights: str | None
    options: Mapping[str, Any]
    result: FitResult | None
    data: Mapping[str, Any]
    learnt: Learnt | None = None

    @property
    def data_sha256(self) -> str | None:
        """Of the training and validation images together, in any order; None if not known."""
        return self.data.get("contents")

    @property
    def value_range(self) -> ValueRange | None:
        """Which values it takes for black and white in images of more than 8 bits."""
        return range_of(self.data)


@dataclass(frozen=True, eq=False)
class Proof:
    """The images that an export is compared on.

    Attributes:
        part: the images, all of which the model could read.
        probabilities: float32 `(images, classes)`, what the model says of them.
        notes: on how they were chosen.
        calibration: uint8 `(images, height, width, 3)`, what an int8 export is calibrated on; None
            for any other.
    """

    part: Part
    probabilities: np.ndarray
    notes: tuple[str, ...]
    calibration: np.ndarray | None = None
