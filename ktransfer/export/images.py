"""Which images an export is compared on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ktransfer.data import Part, read_images, read_labelled
from ktransfer.data.reading.items import is_array
from ktransfer.data.reading.layout import TFDS_PREFIX
from ktransfer.errors import InputError, RunError
from ktransfer.profile.probes import even_sample
from ktransfer.runs.seen import held_back, range_of

if TYPE_CHECKING:
    from ktransfer.classifier import Classifier

#: Images that an export is compared on at most.
MOST_IMAGES = 128

#: For a quantised one, where single images count: of 1,000, one is a tenth of a point.
MOST_JUDGED = 1_000

_HOW = (
    "an export is compared with the model on real images before it is written: give some with "
    "validation= (--data), a folder, files or any other source"
)


@dataclass(frozen=True, eq=False)
class ComparisonImages:
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


def images_to_compare(
    classifier: Classifier, validation: Any, *, most: int = MOST_IMAGES
) -> tuple[Part, tuple[str, ...]]:
    """At most `most` images, evenly spread over those there are, and notes on them.

    Args:
        classifier: whose export is to be compared.
        validation: a source that the user gives, labelled or not; None: that of the training.
        most: how many.

    Raises:
        RunError: there are none to be had.
        InputError: the source that was given cannot be read, or is empty.
    """
    if validation is not None:
        part, notes = _of_source(validation, classifier.class_names, classifier.data)
    elif classifier.validation is not None:
        part, notes = classifier.validation, ()
    else:
        part, notes = _of_record(classifier.class_names, classifier.data)
    if not len(part):
        raise InputError(f"there is no image to compare the export on: {_HOW}")
    return spread(part, most), notes


def check_images(validation: Any, record: Mapping[str, Any]) -> None:
    """Raise the `RunError` of `images_to_compare` for a loaded model, without TensorFlow."""
    if validation is None:
        recorded_source(record, RunError, _HOW)


def _of_source(
    source: Any, class_names: Sequence[str], record: Mapping[str, Any]
) -> tuple[Part, tuple[str, ...]]:
    value_range = range_of(record)
    if is_array(source):  # images alone, as `predict` takes them
        return read_images(source, value_range=value_range)[0], ()
    try:
        part, _, _ = read_labelled(source, class_names, value_range=value_range)
    except InputError as error:
        part, _ = read_images(source, value_range=value_range)
        return part, (f"the images to compare on are taken without labels: {error}",)
    return held_back(source, part, dict(record))


def _of_record(
    class_names: Sequence[str], record: Mapping[str, Any]
) -> tuple[Part, tuple[str, ...]]:
    source = recorded_source(record, RunError, _HOW)
    # The test part is not looked at. Where there is no other, what was held back lies in train.
    part, _, _ = read_labelled(
        source,
        class_names,
        preferred=("validation", "train", "test"),
        value_range=range_of(record),
    )
    part, _ = held_back(source, part, dict(record))
    return part, ()


def recorded_source(record: Mapping[str, Any], error: type[InputError], how: str) -> str:
    """Return the source of the training's images, as `read_data` takes it.

    Args:
        record: of `runs.seen.record_of`.
        error: what is raised where they are not to be had.
        how: what else can be given, for its message.
    """
    source = record.get("source")
    if source is None:
        raise error(f"the run does not say where its images are; {how}")
    if not os.path.isabs(source):  # of TFDS; a builder has its name without the prefix
        return f"{TFDS_PREFIX}{source.removeprefix(TFDS_PREFIX)}"
    if not os.path.exists(source):
        raise error(f"the images of the training are no longer at {source}; {how}")
    return str(source)


def spread(part: Part, most: int) -> Part:
    """Evenly by class, and an image of each, unless there are more classes than that."""
    least = int(len(np.unique(part.labels)) <= most)
    return part.select(even_sample(part.labels, most, least=least))
