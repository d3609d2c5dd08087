"""What chief and workers say to each other beyond KerasTuner's own messages.

KerasTuner's protocol has room for hyperparameters and metrics alone. What is said beyond them is
one more fixed hyperparameter, whose value is JSON; it is added where a call or an answer leaves,
and reaches no plan, no record and none of KerasTuner's files.

    GetSpace      what the search is made of, and how soon a silent worker is given up
    CreateTrial   the record of the trial, and the curves that the median rule compares it with
    EndTrial      the record of the trial, with how it went
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from keras_tuner import HyperParameters

#: Its name, by which chiefs and workers of every version find what tells their versions.
MESSAGE = "ktransfer/letter"


def with_message(hyperparameters: HyperParameters, contents: Mapping[str, Any]) -> HyperParameters:
    """Return the same hyperparameters and a message."""
    copied = hyperparameters.copy()
    copied.Fixed(MESSAGE, json.dumps(contents))
    return copied


def message_of(hyperparameters: HyperParameters) -> dict[str, Any] | None:
    """Say what the message among them says; None where there is none that can be read."""
    for each in hyperparameters.space:
        if each.name == MESSAGE:
            try:
                return dict(json.loads(each.value))
            except (ValueError, TypeError, RecursionError):
                return None
    return None
