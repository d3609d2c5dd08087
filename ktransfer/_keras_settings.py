"""Keras as this library is written for it, whatever the process has it set to.

`keras.json`, environment variables and `keras.config` decide for the whole process how new layers
lie in memory and what they compute in. What is built here would silently be another network.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ktransfer._checks import InputError

BACKENDS = ("tensorflow", "jax")

#: Of `keras.config`, one for the whole process. The last two cut every training short.
_OWN: dict[str, Any] = {
    "floatx": "float32",
    "image_data_format": "channels_last",
    "epsilon": 1e-7,
    "max_epochs": None,
    "max_steps_per_epoch": None,
}

#: What `keras.json` may hold; of other things Keras raises while it is imported.
_CHOICES: dict[str, tuple[str, ...]] = {
    "floatx": ("float16", "float32", "float64"),
    "image_data_format": ("channels_last", "channels_first"),
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


def keras_fault() -> InputError | None:
    """What `check_keras` raises; None if it raises nothing."""
    try:
        check_keras()
    except InputError as error:
        return error
    return None


def check_keras() -> None:
    """Raises an `InputError` if Keras cannot be imported here, or runs on what we do not.

    Without importing it: so it is said at once, in one line.
    """
    loaded = sys.modules.get("keras")
    if loaded is not None and hasattr(loaded, "config"):
        _check_backend(loaded.config.backend(), "Keras runs on the backend")
        return
    path = _settings_file()
    said = _read_settings(path)
    if os.environ.get("KERAS_BACKEND"):
        _check_backend(os.environ["KERAS_BACKEND"], "KERAS_BACKEND is")
    elif "backend" in said:
        _check_backend(said["backend"], f"{path} names the backend")


def _check_backend(name: Any, said: str) -> None:
    if name not in BACKENDS:
        raise InputError(
            f"{said} {name!r}, and ktransfer runs on {' or '.join(BACKENDS)}: set "
            "KERAS_BACKEND=tensorflow"
        )
    if importlib.util.find_spec(name) is None:
        raise InputError(
            f"{said} {name!r}, which is not installed: set KERAS_BACKEND=tensorflow, or install it"
        )


def _settings_file() -> Path:
    """Where Keras looks for its settings."""
    home = os.path.expanduser("~")
    folder = os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    folder = os.environ.get("KERAS_HOME", folder)
    return Path(os.path.expanduser(os.path.join(folder, "keras.json")))


def _read_settings(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        said = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"the settings of Keras in {path} cannot be read: {error}") from error
    except ValueError:  # Keras passes over what is no JSON
        return {}
    if not isinstance(said, dict):
        raise InputError(f"the settings of Keras in {path} are no JSON object, {_MEND}")
    for name, choices in _CHOICES.items():
        if said.get(name, choices[0]) not in choices:
            raise InputError(
                f"the settings of Keras in {path} have {name} {said[name]!r}, expected one of "
                f"{', '.join(choices)}: {_MEND}"
            )
    if not isinstance(said.get("epsilon", 1e-7), float):
        raise InputError(
            f"the settings of Keras in {path} have epsilon {said['epsilon']!r}, expected a number "
            f"such as 1e-07: {_MEND}"
        )
    return said


_MEND = "mend the file, or delete it and Keras writes another"
