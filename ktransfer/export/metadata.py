"""What travels inside an export besides the network, as JSON; `serving.metadata` reads it."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ktransfer._version import __version__
from ktransfer.data.images.value_range import ValueRange
from ktransfer.data.learnt import Learnt
from ktransfer.serving.metadata import FORMAT, FORMAT_WITH_RANGE, RESIZING

#: Images whose digests an export carries along, 11 bytes each: about 100 kB.
MOST_CARRIED = 10_000


def metadata_of(
    class_names: Sequence[str],
    input_size: tuple[int, int],
    data_sha256: str | None,
    learnt: Learnt | None = None,
    quantisation: str | None = None,
    *,
    sealed: bool = False,
    value_range: ValueRange | None = None,
) -> dict[str, Any]:
    """Return the metadata, as plain data.

    Args:
        class_names: one for each column of the probabilities.
        input_size: height and width in pixels that the network sees.
        data_sha256: of the images that it learnt from; None where that is not known.
        learnt: digests of these images; None where they are not known.
        quantisation: None, `"float16"` or `"int8"`.
        sealed: whether the file will end with a checksum, as of `ktransfer.files.seal`.
        value_range: the values that are black and white in images of more than 8 bits; None: those
            of their type.
    """
    now = datetime.datetime.now(datetime.UTC)
    return {
        # A reader that does not know of ranges must not read such a file: it would see black.
        "format": FORMAT if value_range is None else FORMAT_WITH_RANGE,
        "versions": {
            "ktransfer": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
        "class_names": list(class_names),
        "input_size": list(input_size),
        "resizing": RESIZING,
        "value_range": None if value_range is None else list(value_range),
        "created": now.isoformat(timespec="seconds"),
        "data_sha256": data_sha256,
        "learnt": _described(learnt),
        "quantisation": quantisation,
        "sealed": sealed,
    }


def _described(learnt: Learnt | None) -> dict[str, Any] | None:
    """Say how many images it learnt from, and which, unless these are too many to carry along."""
    if learnt is None:
        return None
    train, validation = len(learnt.train), len(learnt.validation)
    carried = train + validation <= MOST_CARRIED
    digests = base64.b64encode(learnt.to_bytes()).decode("ascii") if carried else None
    return {"train": train, "validation": validation, "digests": digests}


def as_json(metadata: dict[str, Any]) -> str:
    """Write one line of ASCII, so that class names that are not UTF-8 survive any format."""
    return json.dumps(metadata)
