"""ResNet18, ResNet34 and AlexNet as backbones: torchvision's networks, with weights from a file."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from ktransfer.backbones.backbone import Backbone, build_backbone
from ktransfer.backbones.families import TORCHVISION_OF
from ktransfer.backbones.preprocessing import apply_preprocessing
from ktransfer.backbones.torchvision_networks import torchvision_network
from ktransfer.backbones.torchvision_weights import (
    PICKLED_ENDINGS,
    STATE_ENDINGS,
    TIMM_FILE,
    State,
    assign_state,
    conversion,
    difference,
    read_state,
)
from ktransfer.backbones.weights import load_weights_file
from ktransfer.errors import DownloadError, InputError

#: What KerasHub loads the ImageNet weights of; of AlexNet it has none.
_PRESETS = {"ResNet18": "resnet_18_imagenet", "ResNet34": "hf://timm/resnet34.a1_in1k"}
#: What it calls the layers of a block.
_HUB_LAYERS = {"conv1": "1_conv", "bn1": "1_bn", "conv2": "2_conv", "bn2": "2_bn"} | {
    "downsample_0": "0_conv",
    "downsample_1": "0_bn",
}


def load_torchvision(
    name: str,
    weights: Path | str | None,
    size: tuple[int, int],
    options: Mapping[str, Any],
) -> Backbone:
    """Load one of torchvision's networks.

    Args:
        name: as in `TORCHVISION_OF`.
        weights: "imagenet" (by KerasHub, once), None (random), a folder, or a file: `.safetensors`
            and `.npz` in the layout of torchvision and timm, `.weights.h5` of Keras.
        size: height and width of the images in pixels.
        options: none; there are none.

    Raises:
        InputError: the weights do not fit, cannot be read or downloaded.
    """
    check_torchvision(name, weights, options)
    images = keras.Input((*size, 3), name="images")
    scaled = apply_preprocessing(TORCHVISION_OF[name].preprocessing, images)
    network = keras.Model(images, torchvision_network(name, scaled), name=name.casefold())
    described = weights.name if isinstance(weights, Path) else weights
    backbone = build_backbone(network, name=name, weights=described)
    if weights == "imagenet":
        _take_over(network, _downloaded(name), name)
    elif isinstance(weights, Path):
        _load_file(backbone, network, weights)
    return backbone


def check_torchvision(name: str, weights: Any, options: Mapping[str, Any]) -> None:
    """Raise what `load_torchvision` raises of these arguments, as far as nothing need be built."""
    for option, value in options.items():
        raise InputError(f"{name} has no option {option}={value!r}: it has none")
    if weights != "imagenet":
        return
    if name not in _PRESETS:
        raise InputError(
            f"nobody hands out ImageNet weights of {name} that can be read here: where torchvision "
            f"is installed, {conversion(name)} writes them as a file; give that "
            f"(--weights {name.lower()}.npz)"
        )
    if importlib.util.find_spec("keras_hub") is None:
        raise InputError(
            f'KerasHub loads the ImageNet weights of {name}: pip install "ktransfer[hub]"; or give '
            f"a file, in torchvision's layout: {conversion(name)}"
        )


def _load_file(backbone: Backbone, network: keras.Model, path: Path) -> None:
    if path.suffix.casefold() in PICKLED_ENDINGS:
        raise InputError(
            f"{path.name!r} is pickled, and reading it could run what it holds: where PyTorch is "
            f"installed, {conversion(backbone.name, str(path))} writes the same as a file that can "
            "be given"
        )
    if path.is_dir() and not (path / TIMM_FILE).is_file():
        _take_over(network, _of_keras_hub(str(path), backbone.name), backbone.name)
    elif path.is_dir() or path.suffix.casefold() in STATE_ENDINGS:
        _assign(network, read_state(path, backbone.name), path.name, backbone.name)
    else:
        load_weights_file((network, backbone.model), path, backbone.name)


def _assign(network: keras.Model, state: State, file: str, name: str) -> None:
    wrong = difference(network, state)
    if wrong:
        other = _fitting(state, name)
        hint = f". They are of {other}: give that (--backbone {other})" if other else ""
        raise InputError(f"the weights in {file!r} do not fit {name}: {wrong}{hint}")
    assign_state(network, state)


def _fitting(state: State, name: str) -> str | None:
    """Return another network that has just these weights."""
    for other, family in TORCHVISION_OF.items():
        images = keras.Input((*(family.sizes_px[other],) * 2, 3))
        network = keras.Model(images, torchvision_network(other, images))
        if other != name and difference(network, state) is None:
            return other
    return None


def _downloaded(name: str) -> keras.Model:
    try:
        return _of_keras_hub(_PRESETS[name], name)
    except InputError:
        raise
    except Exception as error:  # kaggle, requests and huggingface_hub raise kinds of their own
        raise DownloadError(
            f"the ImageNet weights of {name} could not be downloaded ({error}). Without network "
            f"give a file, in torchvision's layout: {conversion(name)}"
        ) from error


def _of_keras_hub(preset: str, name: str) -> keras.Model:
    """Return KerasHub's network of a preset, by name or in a folder."""
    try:
        import keras_hub
    except ImportError as error:
        raise InputError(
            f"{preset!r} holds no {TIMM_FILE}, and KerasHub, which may know it, is not installed: "
            'pip install "ktransfer[hub]"'
        ) from error
    try:
        found: keras.Model = keras_hub.models.Backbone.from_preset(preset)
    except (OSError, ValueError, KeyError) as error:
        if not Path(preset).is_dir():
            raise
        raise InputError(
            f"{preset!r} is no folder that KerasHub reads, and holds no {TIMM_FILE}: {error}. Give "
            f"{name} a file, {' or '.join(STATE_ENDINGS)}"
        ) from error
    return found


def _take_over(network: keras.Model, found: keras.Model, name: str) -> None:
    """Give a network the weights of KerasHub's, which calls its layers otherwise."""
    theirs = {layer.name: layer for layer in found.layers if layer.weights}
    ours = {_in_keras_hub(layer.name): layer for layer in network.layers if layer.weights}
    same = theirs.keys() == ours.keys() and all(
        [each.shape for each in layer.weights] == [each.shape for each in theirs[key].weights]
        for key, layer in ours.items()
    )
    if not same:
        raise InputError(
            f"the weights are of another network than {name}: of {type(found).__name__} with "
            f"{found.count_params():,} parameters instead of {network.count_params():,}"
        )
    for key, layer in ours.items():
        layer.set_weights(theirs[key].get_weights())


def _in_keras_hub(name: str) -> str:
    """Return what KerasHub calls a layer of a ResNet; AlexNet's layers it has not."""
    if name in ("conv1", "bn1"):
        return {"conv1": "conv1_conv", "bn1": "conv1_bn"}[name]
    if not name.startswith("layer"):
        return name
    stack, block, layer = name.removeprefix("layer").split("_", 2)
    return f"stack{int(stack) - 1}_block{block}_{_HUB_LAYERS[layer]}"
