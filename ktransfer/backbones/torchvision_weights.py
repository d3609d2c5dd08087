"""Weights in the layout of torchvision and timm, for the networks that are built as theirs.

Files are read, never unpickled: `.safetensors`, `.npz`, or a folder with one, as timm's are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ktransfer.errors import InputError
from ktransfer.files.archives import DamageError, read_arrays
from ktransfer.files.reading import open_plain
from ktransfer.files.safetensors import read_safetensors

STATE_ENDINGS = (".safetensors", ".npz")
#: What `torch.save` writes: pickled, so that reading it may run what it holds.
PICKLED_ENDINGS = (".pth", ".pt", ".bin", ".ckpt")
#: The file in a folder of timm.
TIMM_FILE = "model.safetensors"
_PARALLEL = "module."  # before each name, where torch.nn.DataParallel trained it
#: The weights of Keras' layers in their order, as PyTorch calls them.
_NAMES = {
    "Conv2D": ("weight", "bias"),
    "BatchNormalization": ("weight", "bias", "running_mean", "running_var"),
}

#: The last layer, of a ResNet and of AlexNet.
_CLASSIFIERS = ("fc.", "classifier.6.")

State = Mapping[str, np.ndarray]


def conversion(name: str, file: str = "") -> str:
    """Say how weights of PyTorch are written as a file that is read here, in one line of shell.

    Args:
        name: of the backbone; the result is called so.
        file: with the pickled weights; none: those that torchvision downloads.
    """
    read = f"torch.load({file!r}, weights_only=True, map_location='cpu')"
    if not file:
        read = f"torchvision.models.{name.lower()}(weights='DEFAULT').state_dict()"
    imported = "torch" if file else "torchvision"
    return (
        f'python -c "import {imported}, numpy; numpy.savez({name.lower() + ".npz"!r}, '
        f'**{{name: each.numpy() for name, each in {read}.items()}})"'
    )


def read_state(path: Path, name: str) -> State:
    """Return the tensors of a file or a folder with weights of PyTorch.

    Args:
        path: `.safetensors`, `.npz`, or a folder with `model.safetensors`.
        name: of the backbone, for messages.

    Raises:
        InputError: it is damaged, or something else.
    """
    file = path / TIMM_FILE if path.is_dir() else path
    try:
        if file.suffix.casefold() == ".npz":
            with open_plain(file, follow_links=True) as opened:
                found: State = read_arrays(opened)
        else:
            found = read_safetensors(file)
    except DamageError as error:
        again = f". Written like this it can be read: {conversion(name)}"
        raise InputError(
            f"the weights file {file.name!r} cannot be read: {error}"
            + again * (file.suffix.casefold() == ".npz")
        ) from (error.__cause__ or error)
    if found and all(each.startswith(_PARALLEL) for each in found):
        found = {each.removeprefix(_PARALLEL): value for each, value in found.items()}
    return found


def difference(network: keras.Model, state: State) -> str | None:
    """Say what does not fit first, a name or a shape; None: all of the network is there.

    What is left over is the classifier, and a count of batches: a backbone has no use for them.
    """
    for key, variable in _places(network):
        wanted = _torch_shape(variable)
        if key not in state:
            return f"it holds no {key!r} ({_nearby(key, state)})"
        if tuple(state[key].shape) not in (wanted, _flattened(wanted)):
            return f"{key!r} has the shape {tuple(state[key].shape)} instead of {wanted}"
        if state[key].dtype.kind not in "fiu":
            return f"{key!r} holds no numbers but {state[key].dtype}"
    own = {key for key, _ in _places(network)}
    more = [each for each in state if each not in own and not _is_left_out(each)]
    return f"it holds {more[0]!r}, too, which the network has not" if more else None


def _is_left_out(key: str) -> bool:
    return key.startswith(_CLASSIFIERS) or key.endswith("num_batches_tracked")


def _nearby(key: str, state: State) -> str:
    shown = [each for each in state if each.split(".")[0] == key.split(".")[0]] or list(state)
    return f"it has {', '.join(shown[:3])}, ..." if shown else "it is empty"


def assign_state(network: keras.Model, state: State) -> None:
    """Give a network the weights of PyTorch, which `difference` has found to fit."""
    for key, variable in _places(network):
        value = np.asarray(state[key])
        if len(variable.shape) == 4:
            # (outputs, inputs, height, width) there; and a layer on a whole map is one on a row.
            value = value.reshape(_torch_shape(variable)).transpose(2, 3, 1, 0)
        variable.assign(value.astype("float32"))


def _places(network: keras.Model) -> Iterator[tuple[str, Any]]:
    """Yield each weight with the name that it has in PyTorch."""
    for layer in network.layers:
        kinds = _NAMES.get(type(layer).__name__, ())
        # A convolution before a normalisation has no bias.
        for kind, variable in zip(kinds, layer.weights, strict=False):
            yield f"{layer.name.replace('_', '.')}.{kind}", variable


def _torch_shape(variable: Any) -> tuple[int, ...]:
    shape = tuple(variable.shape)
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape


def _flattened(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the same layer on a row: of AlexNet's classifier."""
    return (shape[0], int(np.prod(shape[1:]))) if len(shape) == 4 else shape
