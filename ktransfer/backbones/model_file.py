"""A model of your own in a file that Keras saved, looked through before Keras reads it.

Free of keras until the file is loaded, so that a command line can say at once what it is not.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktransfer.errors import InputError, RunError
from ktransfer.files.archives import (
    MODEL_MEMBERS,
    DamageError,
    check_members,
    check_model_file,
    read_config,
)
from ktransfer.files.reading import open_plain, parse_json

if TYPE_CHECKING:
    import keras

ENDING = ".keras"
#: What other files with a model in them end in: said of them is how to make a `.keras` of them.
_OTHER_ENDINGS = (".h5", ".hdf5", ".pb", ".onnx", ".tflite", ".pth", ".pt", ".safetensors")
_LONGEST_CAUSE = 500


def is_model_file(name: Any) -> bool:
    """Tell whether a backbone was named by a path, by what the path looks like."""
    if not isinstance(name, str) or name.startswith("hub:"):
        return False
    apart = os.sep in name or (os.altsep is not None and os.altsep in name)
    return apart or name.casefold().endswith((ENDING, *_OTHER_ENDINGS))


def located(backbone: Any) -> Any:
    """Return a model file's path from the root, for processes elsewhere; all else as it is."""
    if isinstance(backbone, os.PathLike) or is_model_file(backbone):
        return os.path.abspath(backbone)
    return backbone


def check_model_path(path: str) -> None:
    """Raise an `InputError` for what is no archive as Keras saves models; Keras is not imported."""
    if not os.path.lexists(path):
        raise InputError(
            f"no model file {path!r}: --backbone takes a name, or the path of a file that "
            f"model.save('name{ENDING}') wrote"
        )
    if os.path.isdir(path):
        raise InputError(
            f"{path!r} is a folder, and a backbone of your own is a file that "
            f"model.save('name{ENDING}') wrote; of a run of ktransfer give the model-*{ENDING} in "
            "it"
        )
    try:
        with open_plain(Path(path), follow_links=True) as file:
            size = os.fstat(file.fileno()).st_size
            with zipfile.ZipFile(file) as archive:
                check_members(archive, size, MODEL_MEMBERS)
    except (zipfile.BadZipFile, DamageError) as error:
        raise InputError(
            f"{path!r} is no model that Keras 3 saved ({error}): open it with what wrote it, and "
            f"save it with model.save('name{ENDING}')"
        ) from error


def read_model_file(path: str) -> keras.Model:
    """Load a model, not compiled; nothing of the file is run.

    Raises:
        InputError: there is no such file, or it is none of Keras; it has a layer that would run
            code of the file, or one of a class that is not known; it is damaged.
    """
    check_model_path(path)
    real = Path(os.path.realpath(path))
    try:
        return _read(real)
    except RunError:
        raise
    except Exception as error:  # every layer has its own way to fail
        cause = str(error).rsplit("Exception encountered: ", 1)[-1][:_LONGEST_CAUSE].rstrip(". ")
        raise InputError(
            f"the model in {path!r} cannot be taken: {cause}. A Lambda layer and the like run what "
            "the file says: build the model again with layers of Keras in their place (Rescaling, "
            "keras.ops) and take over its weights. A layer of your own needs "
            "@keras.saving.register_keras_serializable(): import its module, load the model in "
            "Python, and give FineTuner the model"
        ) from error


def _read(path: Path) -> keras.Model:
    import keras

    from ktransfer.backbones.serialization import without_hub_warnings, without_values

    # What it was compiled with is neither read nor needed.
    most_bytes = 2 * check_model_file(path, compiled=False) + 2**20
    with without_hub_warnings():
        # Keras makes the weights while it reads the configuration, and looks at no size before.
        without_values(read_config(path), most_bytes)
        model: keras.Model = keras.models.load_model(path, compile=False, safe_mode=True)
    return model


def input_size_of(path: str) -> tuple[int, int]:
    """Return height and width of the images that a model in a file takes, without loading it.

    Raises:
        InputError: as `check_model_path`, or it leaves the size open.
    """
    check_model_path(path)
    said = parse_json(read_config(Path(os.path.realpath(path))))
    shape = _input_shape(said["config"]) if isinstance(said, dict) and "config" in said else None
    if not isinstance(shape, list) or len(shape) != 4 or not all(map(_is_count, shape[1:3])):
        raise InputError(
            f"the model in {path!r} does not say the size of its images: give --input-size N"
        )
    return shape[1], shape[2]


def _input_shape(config: Any) -> Any:
    """Say what the first input of a functional or sequential model is, where that is found."""
    layers = config.get("layers") if isinstance(config, dict) else None
    for layer in layers or ():
        if isinstance(layer, dict) and layer.get("class_name") == "InputLayer":
            return (layer.get("config") or {}).get("batch_shape")
    return None


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0
