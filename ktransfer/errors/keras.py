"""Whether Keras can be imported here, and runs on what we do: said in one line, beforehand."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

from ktransfer.errors import InputError

BACKENDS = ("tensorflow", "jax")

#: What `keras.json` may hold; of other things Keras raises while it is imported.
_CHOICES: dict[str, tuple[str, ...]] = {
    "floatx": ("float16", "float32", "float64"),
    "image_data_format": ("channels_last", "channels_first"),
}


def keras_fault() -> InputError | None:
    """Say what `check_keras` raises; None if it raises nothing."""
    try:
        check_keras()
    except InputError as error:
        return error
    return None


def check_keras() -> None:
    """Raise an `InputError` if Keras cannot be imported here, or runs on what we do not.

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
    """Say where Keras looks for its settings."""
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
