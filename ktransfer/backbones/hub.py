"""Backbones of KerasHub: presets by name and ready instances, as rows of blocks."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from ktransfer.backbones.backbone import Backbone, build_backbone
from ktransfer.backbones.hub_networks import deepest, expanded
from ktransfer.backbones.preprocessing import MODES, apply_preprocessing
from ktransfer.backbones.weights import load_weights_file
from ktransfer.errors import DownloadError, InputError, near_names, unknown_name

HUB_PREFIX = "hub:"
_DEFAULT_SIZE_PX = 224


def _resnet(block_type: str, *num_blocks: int) -> dict[str, Any]:
    return {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [7],
        "stackwise_num_filters": [64, 128, 256, 512],
        "stackwise_num_blocks": list(num_blocks),
        "stackwise_num_strides": [1, 2, 2, 2],
        "block_type": block_type,
    }


_VIT_BASE = {
    "patch_size": 16,
    "num_layers": 12,
    "num_heads": 12,
    "hidden_dim": 768,
    "mlp_dim": 3072,
}

# KerasHub asks the network for a preset's configuration even with load_weights=False (0.32). These
# are the published architectures (arXiv 1512.03385, 2010.11929), so that random weights and weights
# files need no network.
_CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet_18_imagenet": ("ResNetBackbone", _resnet("basic_block", 2, 2, 2, 2)),
    "resnet_50_imagenet": ("ResNetBackbone", _resnet("bottleneck_block", 3, 4, 6, 3)),
    "resnet_101_imagenet": ("ResNetBackbone", _resnet("bottleneck_block", 3, 4, 23, 3)),
    "resnet_152_imagenet": ("ResNetBackbone", _resnet("bottleneck_block", 3, 8, 36, 3)),
    "vit_base_patch16_224_imagenet": ("ViTBackbone", _VIT_BASE),
}

# How the weights of the configurations above were trained, as their presets' image converters say.
_PREPROCESSING = {"ResNetBackbone": "torch", "ViTBackbone": "tf"}


def load_hub_backbone(
    name: str, weights: Path | str | None, size: tuple[int, int] | None, options: Mapping[str, Any]
) -> Backbone:
    """Load a KerasHub preset by its name.

    Args:
        name: "hub:" and the name of a preset, such as "hub:resnet_18_imagenet".
        weights: "imagenet" (the preset's own weights, downloaded by KerasHub once), the path of a
            weights file, or None for random weights.
        size: height and width in pixels; 224 by default.
        options: options of the constructor that replace those of the preset; not with the preset's
            weights.

    Returns:
        The backbone.

    Raises:
        InputError: KerasHub is not installed, the preset is unknown or cannot be downloaded, an
        option does not fit.
    """
    hub = _keras_hub(name)
    preset = name.removeprefix(HUB_PREFIX)
    if weights == "imagenet":
        return _load_preset(hub, name, preset, size, options)
    network, mode = _build(hub, preset, size, options)
    description = weights.name if isinstance(weights, Path) else None
    backbone = _divide(
        network, functools.partial(apply_preprocessing, mode), size, name, description, options
    )
    if isinstance(weights, Path):
        load_weights_file((network, backbone.model), weights, name)
    return backbone


def load_hub_instance(
    model: keras.Model, size: tuple[int, int] | None, preprocessing: str
) -> Backbone:
    """Take a KerasHub backbone that someone else built.

    Args:
        model: A `keras_hub.models.Backbone` for images.
        size: height and width in pixels; the model's own, or 224, by default.
        preprocessing: how RGB in [0, 255] must be scaled: "none", "tf", "caffe" or "torch".

    Returns:
        The backbone; it shares the model's weights.

    Raises:
        InputError: The preprocessing is "auto", for an instance does not tell it; the model is not
        one for images.
    """
    if preprocessing == "auto":
        raise InputError(
            f"a {type(model).__name__} does not say how its images must be scaled: give "
            "preprocessing='tf' (KerasHub's ViT presets), 'torch' (its ResNet presets) or another "
            f"of {', '.join(MODES)}"
        )
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        shapes = [tuple(tensor.shape) for tensor in model.inputs]
        raise InputError(
            f"{type(model).__name__} is no backbone for images (batch, height, width, 3): inputs "
            f"{shapes}"
        )
    scale = functools.partial(apply_preprocessing, preprocessing)
    return _divide(model, scale, size, model.name, "own", {})


def _keras_hub(name: str) -> ModuleType:
    try:
        import keras_hub
    except ImportError as error:
        raise InputError(f'{name} needs KerasHub: pip install "ktransfer[hub]"') from error
    return keras_hub


def check_hub_preset(name: str, options: Mapping[str, Any]) -> None:
    """Raise an `InputError` for a preset that there is not, or that takes no options."""
    known = sorted(_keras_hub(name).models.Backbone.presets)
    if options:
        raise InputError(
            f"the weights of {name} fit only its own options, got {', '.join(sorted(options))}"
        )
    preset = name.removeprefix(HUB_PREFIX)
    if preset not in known and "/" not in preset:
        raise unknown_name("KerasHub preset", preset, known)


def _load_preset(
    hub: ModuleType,
    name: str,
    preset: str,
    size: tuple[int, int] | None,
    options: Mapping[str, Any],
) -> Backbone:
    check_hub_preset(name, options)
    try:
        network = hub.models.Backbone.from_preset(preset)
        converter = hub.layers.ImageConverter.from_preset(preset)
    except Exception as error:  # kaggle, requests and huggingface_hub raise kinds of their own
        raise DownloadError(
            f"{name} could not be downloaded ({error}). Without network give a file, "
            f"weights='path.weights.h5', for one of {', '.join(_CONFIGURATIONS)}; a private model "
            "needs the login that KerasHub asks for"
        ) from error

    def scale(images: Any) -> Any:
        scaling = keras.layers.Rescaling(
            converter.scale or 1.0, offset=converter.offset or 0.0, name="preprocessing"
        )
        return scaling(images)

    weights = "imagenet" if preset.endswith("_imagenet") else preset
    return _divide(network, scale, size, name, weights, {})


def _build(
    hub: ModuleType, preset: str, size: tuple[int, int] | None, options: Mapping[str, Any]
) -> tuple[keras.Model, str]:
    """Return the network of a preset with random weights, and its preprocessing."""
    if preset not in _CONFIGURATIONS:
        near = ", ".join(near_names(preset, _CONFIGURATIONS))
        raise InputError(
            f"without its own weights only {len(_CONFIGURATIONS)} KerasHub presets can be built, "
            f"got {preset!r} "
            f"(near: {near}); for another one build the keras_hub backbone and give that"
        )
    class_name, configuration = _CONFIGURATIONS[preset]
    cls = getattr(hub.models, class_name)
    known = list(inspect.signature(cls.__init__).parameters)[1:]
    for option, value in options.items():
        if option not in known:
            near = ", ".join(near_names(option, known))
            raise InputError(f"{class_name} has no option {option}={value!r}: did you mean {near}?")
    shape = (*(size or (_DEFAULT_SIZE_PX, _DEFAULT_SIZE_PX)), 3)
    try:
        return cls(**{**configuration, "image_shape": shape, **options}), _PREPROCESSING[class_name]
    except ValueError as error:
        raise InputError(f"keras_hub.models.{class_name} refuses these options: {error}") from error


def _divide(
    network: keras.Model,
    scale: Any,
    size: tuple[int, int] | None,
    name: str,
    weights: str | None,
    options: Mapping[str, Any],
) -> Backbone:
    own = tuple(each or _DEFAULT_SIZE_PX for each in network.inputs[0].shape[1:3])
    images = keras.Input((*(size or own), 3), name="images")
    try:
        outputs = expanded(network)(scale(images))
    except ValueError as error:
        raise InputError(f"{name} cannot take images of {size} px: {error}") from error
    features, notes = deepest(outputs, images, name)
    whole = keras.Model(images, features, name=network.name)
    return build_backbone(whole, name=name, weights=weights, options=options, notes=notes)
