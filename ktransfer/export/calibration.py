"""The training images on which an int8 export learns how large its activations get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ktransfer.data import Part, read_data, read_images
from ktransfer.data.images.host import read_on_host
from ktransfer.data.images.value_range import ValueRange
from ktransfer.data.reading.items import is_array
from ktransfer.errors import InputError
from ktransfer.export.images import recorded_source, spread
from ktransfer.runs.seen import range_of

if TYPE_CHECKING:
    from ktransfer.classifier import Classifier

#: Images that are used at most.
MOST_IMAGES = 128

_HOW = (
    "int8 is calibrated on images like those of the training: give some with calibration= "
    "(--calibration), a folder, files or any other source, or choose quantise='float16', which "
    "needs none"
)


def calibration_images(classifier: Classifier, calibration: Any) -> np.ndarray:
    """Return a sample of at most `MOST_IMAGES` images, as many of each class as there are.

    Args:
        classifier: whose export is to be quantised.
        calibration: a source that the user gives, labelled or not; None: that of the training.

    Returns:
        uint8 `(images, height, width, 3)`, resized as for the network.

    Raises:
        InputError: there are none to be had, or none can be read.
    """
    if calibration is not None:
        part = _of_source(calibration, classifier.class_names, classifier.value_range)
    elif classifier.train is not None:
        part = classifier.train
    else:
        part = _of_record(classifier.class_names, classifier.data)
    part = spread(part, MOST_IMAGES)
    read = [_pixels(part, row, classifier.input_size) for row in range(len(part))]
    pixels = [each for each in read if each is not None]
    if not pixels:
        raise InputError(f"there is no image to calibrate on that can be decoded: {_HOW}")
    return np.stack(pixels)


def check_calibration(calibration: Any, record: Mapping[str, Any]) -> None:
    """Raise the `InputError` of `calibration_images` for a loaded model, without TensorFlow."""
    if calibration is None:
        recorded_source(record, InputError, _HOW)


def _of_source(source: Any, class_names: Sequence[str], value_range: ValueRange | None) -> Part:
    if is_array(source):  # images alone, as `predict` takes them
        return read_images(source, value_range=value_range)[0]
    try:
        return read_data(source, class_names=class_names, value_range=value_range).train
    except InputError:  # no labels, or others: any sample of them will do
        return read_images(source, value_range=value_range)[0]


def _of_record(class_names: Sequence[str], record: Mapping[str, Any]) -> Part:
    source = recorded_source(record, InputError, _HOW)
    splits = read_data(source, class_names=class_names, value_range=range_of(record))
    held = record.get("held_back")
    if not held:
        return splits.train
    # Another split than that of the training may have been read: what was held back then is judged.
    digests = [each.tobytes().hex()[: len(held[0])] for each in splits.train.images.digests()]
    return splits.train.select(np.flatnonzero(~np.isin(digests, held)))


def _pixels(part: Part, row: int, input_size: tuple[int, int]) -> np.ndarray | None:
    try:
        return read_on_host(part.images, row, input_size)
    except Exception:  # damaged files make Pillow raise nearly anything
        return None
