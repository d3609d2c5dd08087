"""The model of a saved run, checked before Keras reads it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras

from ktransfer.backbones.serialization import without_hub_warnings, without_values
from ktransfer.errors import RunError
from ktransfer.files.archives import DamageError, check_model_file, read_config
from ktransfer.files.reading import sha256_of
from ktransfer.runs.record import read_record

_LONGEST_CAUSE = 2_000
_OWN_LAYERS = ". If it has layers of your own, import the module that registers them first"


def read_run(folder: str | os.PathLike[str]) -> tuple[keras.Model, dict[str, Any]]:
    """Load what `write_run` saved.

    Returns:
        The model, not compiled, and its record.

    Raises:
        RunError: no run there, a damaged or unknown one, or a layer class that is not registered.
    """
    path = Path(folder)
    record = read_record(path)
    model_path = path / record["model_file"]
    if not os.path.lexists(model_path):
        raise RunError(f"the run {path} is damaged: its model {model_path.name} is missing")
    if sha256_of(model_path) != record["model_sha256"]:
        raise RunError(
            f"the run {path} is damaged: {model_path.name} is not what was saved (checksum)"
        )
    try:
        # The checksum is for accidents; who changes the model can write another one, too.
        most_bytes = 2 * check_model_file(model_path) + 2**20
        with without_hub_warnings():
            # Keras makes the weights while it reads the configuration, and looks at no size before.
            without_values(read_config(model_path), most_bytes)
            # Safe mode refuses Lambda layers, the one way for a model file to bring code along.
            return keras.models.load_model(model_path, compile=False, safe_mode=True), record
    except RunError:
        raise
    except Exception as error:
        # Keras wraps the cause in a page of configuration, one layer around the other.
        cause = str(error).rsplit("Exception encountered: ", 1)[-1]
        # zipfile, for one, repeats what it found in the place of a name: all of the archive.
        cause = cause if len(cause) <= _LONGEST_CAUSE else f"{cause[:_LONGEST_CAUSE]} ..."
        own = "" if isinstance(error, DamageError) else _OWN_LAYERS
        raise RunError(f"the model of the run {path} cannot be loaded: {cause}{own}") from error
