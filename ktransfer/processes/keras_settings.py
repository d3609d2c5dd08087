"""Keras as this library is written for it, whatever the process has it set to.

`keras.json`, environment variables and `keras.config` decide for the whole process how new layers
lie in memory and what they compute in. What is built here would silently be another network.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

#: Of `keras.config`, one for the whole process. The last two cut every training short.
_OWN: dict[str, Any] = {
    "floatx": "float32",
    "image_data_format": "channels_last",
    "epsilon": 1e-7,
    "max_epochs": None,
    "max_steps_per_epoch": None,
}


class _Holder:
    """Who is inside, and what was set before the first of them came."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.depth = 0
        self.before: dict[str, Any] = {}

    def enter(self) -> None:
        with self.lock:
            if not self.depth:
                self.before = _set(_OWN)
            self.depth += 1

    def leave(self) -> None:
        with self.lock:
            self.depth -= 1
            if not self.depth:
                _set(self.before)


_HOLDER = _Holder()


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """Float32, channels last, and no limit on epochs, for the time of a `with` block or a call.

    What the process had is put back by the last one that leaves, be it in another thread. What the
    user has set within, as in a callback, ends with it.
    """
    import keras

    # The policy belongs to a thread, and the rest to the process.
    policy = keras.config.dtype_policy()
    _HOLDER.enter()
    try:
        keras.config.set_dtype_policy("float32")
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        _HOLDER.leave()


def _set(values: dict[str, Any]) -> dict[str, Any]:
    """Set these; the values before."""
    import keras

    before = {name: getattr(keras.config, name)() for name in values}
    for name, value in values.items():
        getattr(keras.config, f"set_{name}")(value)
    return before
