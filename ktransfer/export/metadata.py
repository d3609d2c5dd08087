"""What travels inside an export besides the network, as JSON under the key `ktransfer`."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ktransfer import __version__

#: Of the layout below; a reader refuses another one.
FORMAT = 1

KEY = "ktransfer"

RESIZING = "centre crop, means of whole squares, bilinear"


def metadata_of(
    class_names: Sequence[str],
    input_size: tuple[int, int],
    data_sha256: str | None,
    quantisation: str | None = None,
) -> dict[str, Any]:
    """The metadata, as plain data.

    Args:
        class_names: one for each column of the probabilities.
        input_size: height and width in pixels that the network sees.
        data_sha256: of the images that it learnt from; None where that is not known.
        quantisation: None, `"float16"` or `"int8"`.
    """
    now = datetime.datetime.now(datetime.UTC)
    return {
        "format": FORMAT,
        "versions": {
            "ktransfer": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
        "class_names": list(class_names),
        "input_size": list(input_size),
        "resizing": RESIZING,
        "created": now.isoformat(timespec="seconds"),
        "data_sha256": data_sha256,
        "quantisation": quantisation,
    }


def as_json(metadata: dict[str, Any]) -> str:
    """One line of ASCII, so that bytes of a class name that are not UTF-8 survive any format."""
    return json.dumps(metadata)
