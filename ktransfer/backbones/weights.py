"""Reading a weights file into a network, and saying exactly what does not fit."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import keras

from ktransfer.errors import InputError
from ktransfer.files.archives import DamageError, check_weights
from ktransfer.files.reading import open_plain
from ktransfer.files.scratch import temporary_scratch

# One layer of a file or a model: a name to show, and the shapes of its weights.
_Layer = tuple[str, list[tuple[int, ...]]]


def load_weights_file(networks: Sequence[keras.Model], path: Path, name: str) -> None:
    """Read the weights of a file into a network.

    Args:
        networks: models that hold the same weights in different structures (as the constructor
            built it, and with nested models taken apart); the file may have been saved from either.
        path: A weights file of Keras 3 (`.weights.h5`) or of Keras 2 (`.h5`); the content decides,
            not the name.
        name: the backbone's name, for messages.

    Raises:
        InputError: The file is no weights file, is damaged, leads to other files, or belongs to
            another architecture.
    """
    _check(path)
    suffix = ".h5" if _is_legacy(path) else ".weights.h5"
    errors = []
    for network in networks:
        error = _try(network, path, suffix)
        if error is None:
            return
        errors.append(error)
    raise InputError(_explain(networks[0], path, name, suffix, errors[0])) from errors[0]


def _check(path: Path) -> None:
    """Raise an error for what HDF5 or Keras should not be given at all."""
    with open_plain(path, follow_links=True) as file:
        if not h5py.is_hdf5(path):
            raise InputError(_no_hdf5(path))
        try:
            check_weights(file)
        except DamageError as error:
            raise InputError(
                f"the weights file {path.name!r} is damaged or cut off, or none of Keras: {error}"
            ) from (error.__cause__ or error)


def _try(network: keras.Model, path: Path, suffix: str) -> Exception | None:
    try:
        with warnings.catch_warnings():
            # Keras only warns when a layer finds no weights in the file and keeps its random ones.
            warnings.filterwarnings("error", message=".*freshly-initialized weights")
            _load(network, path, suffix)
    # Keras and HDF5 have no errors of their own: damage shows as AttributeError, OverflowError, ...
    except Exception as error:
        return error
    return None


def _load(network: keras.Model, path: Path, suffix: str) -> None:
    # Keras chooses the format by the file's name, and ".weights.h5" also ends in ".h5".
    legacy_name = path.name.endswith(".h5") and not path.name.endswith(".weights.h5")
    if legacy_name == (suffix == ".h5") and path.name.endswith(".h5"):
        network.load_weights(str(path))
        return
    with temporary_scratch() as folder:
        renamed = folder / f"renamed{suffix}"
        try:
            renamed.symlink_to(path.absolute())
        except OSError:  # Windows allows links to few users
            shutil.copyfile(path, renamed)
        network.load_weights(str(renamed))


def _is_legacy(path: Path) -> bool:
    """Tell whether the file has the layout of Keras 2."""
    with h5py.File(path) as file:
        keys = sorted(file)
        legacy = "layer_names" in file.attrs or "model_weights" in file
    if not legacy and "layers" not in keys and "_layer_checkpoint_dependencies" not in keys:
        raise InputError(
            f"{path.name!r} is an HDF5 file without Keras weights: it holds "
            f"{', '.join(keys) or 'nothing'}"
        )
    return legacy


def _no_hdf5(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(12)
    if not start:
        return f"the weights file {path.name!r} is empty"
    if start.startswith(b"PK"):
        return f"{path.name!r} is a whole model: give keras.models.load_model(...) as the backbone"
    return f"{path.name!r} is no weights file (.weights.h5 or .h5): it begins with {start!r}"


def fits_weights_file(network: keras.Model, path: Path) -> bool:
    """Tell whether a file that was looked through has weights of just the shapes of a network."""
    try:
        return _difference(network, path, legacy=_is_legacy(path)) is None
    except Exception:  # a damaged file does not say in which way
        return False


def _difference(network: keras.Model, path: Path, *, legacy: bool) -> str | None:
    with h5py.File(path) as file:
        found = _layers_of_keras2_file(file) if legacy else _layers_of_keras3_file(file)
    return _first_difference(_layers_of_model(network, by_class=not legacy), found, in_order=legacy)


def _explain(
    network: keras.Model, path: Path, name: str, suffix: str, error: Exception | None
) -> str:
    if _is_whole_model(path):
        return (
            f"{path.name!r} is a whole model, not the weights of {name}: give "
            f"keras.models.load_model({path.name!r}) as the backbone, in Python"
        )
    try:
        difference = _difference(network, path, legacy=suffix == ".h5")
    except Exception:  # a damaged file does not say in which way: Keras' error has to do
        difference = None
    return f"the weights in {path.name!r} do not fit {name}: {difference or error}"


def _first_difference(
    expected: dict[str, _Layer], found: dict[str, list[Any]], in_order: bool
) -> str | None:
    if in_order:
        pairs = list(zip(expected.values(), found.values(), strict=False))
    else:
        pairs = [(layer, found.get(key, [])) for key, layer in expected.items()]
    for (label, shapes), in_file in pairs:
        if shapes != in_file:
            return (
                f"layer {label!r} has the shapes {_show(shapes)} in the model "
                f"and {_show(in_file)} in the file"
            )
    if in_order and len(expected) != len(found):
        return f"the model has {len(expected)} layers with weights, the file {len(found)}"
    return None


def _show(shapes: Sequence[Any]) -> str:
    return ", ".join(map(str, shapes)) or "none"


def _is_whole_model(path: Path) -> bool:
    """Tell whether a file has a configuration, too, as `model.save("keras_model.h5")` has."""
    with h5py.File(path) as file:
        return "model_config" in file.attrs


def _layers_of_model(network: keras.Model, by_class: bool) -> dict[str, _Layer]:
    """Return the model's layers with weights, by the name that a file gives them."""
    seen: Counter[str] = Counter()
    layers: dict[str, _Layer] = {}
    for layer in network.layers:
        key = _snake_case(type(layer).__name__)
        seen[key] += 1
        if layer.weights:
            number = f"_{seen[key] - 1}" if seen[key] > 1 else ""
            shapes = [tuple(weight.shape) for weight in layer.weights]
            layers[f"{key}{number}" if by_class else layer.name] = (layer.name, shapes)
    return layers


def _snake_case(name: str) -> str:
    # The same two steps as keras.src.utils.naming.to_snake_case, which has no public name.
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _layers_of_keras3_file(file: h5py.File) -> dict[str, list[Any]]:
    root = file["layers"] if "layers" in file else file["_layer_checkpoint_dependencies"]
    return {
        name: [tuple(group["vars"][key].shape) for key in sorted(group["vars"], key=int)]
        for name, group in root.items()
        if "vars" in group
    }


def _layers_of_keras2_file(file: h5py.File) -> dict[str, list[Any]]:
    root = file if "layer_names" in file.attrs else file["model_weights"]
    names = [_text(name) for name in root.attrs["layer_names"]]
    shapes = {
        name: [
            tuple(root[name][_text(weight)].shape) for weight in root[name].attrs["weight_names"]
        ]
        for name in names
    }
    return {name: each for name, each in shapes.items() if each}


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def checked_weights(weights: Any, *, folder: bool = False) -> Path | str | None:
    """Return the path of a weights file, or of a folder where there may be one, or a name."""
    if weights is None or weights == "imagenet":
        return weights
    if not isinstance(weights, str | os.PathLike):
        raise InputError(
            "weights must be 'imagenet', 'mini', the path of a weights file or None, got "
            f"{weights!r}"
        )
    if weights == "mini":
        raise InputError("weights='mini' exist for MobileNetV2 only")
    if not Path(weights).is_file() and not (folder and Path(weights).is_dir()):
        raise InputError(
            f"no weights file {str(weights)!r}; weights are 'imagenet', 'mini', a path or None"
        )
    return Path(weights)
