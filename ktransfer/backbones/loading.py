"""Loading a backbone by name: keras.applications, torchvision, KerasHub, or your own model."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import keras

from ktransfer.backbones.applications import (
    canonical,
    check_application,
    load_application,
    size_of,
)
from ktransfer.backbones.backbone import Backbone, build_backbone
from ktransfer.backbones.families import TORCHVISION_OF
from ktransfer.backbones.float32 import check_formats, clone_in_float32, config_in_float32
from ktransfer.backbones.hub import (
    HUB_PREFIX,
    check_hub_preset,
    load_hub_backbone,
    load_hub_instance,
)
from ktransfer.backbones.model_file import is_model_file, read_model_file
from ktransfer.backbones.own_model import check_graph, load_own_model
from ktransfer.backbones.serialization import mend_saving, without_hub_warnings
from ktransfer.backbones.torchvision import check_torchvision, load_torchvision
from ktransfer.backbones.weights import checked_weights
from ktransfer.errors import InputError
from ktransfer.processes.keras_settings import own_settings


@own_settings()
def load_backbone(
    name_or_model: str | os.PathLike[str] | keras.Model,
    weights: str | os.PathLike[str] | None = "imagenet",
    input_size: int | tuple[int, int] | None = None,
    *,
    preprocessing: str = "auto",
    **options: Any,
) -> Backbone:
    """Load a network as a row of blocks, with its preprocessing inside.

    Args:
        name_or_model: A constructor of keras.applications ("MobileNetV2", upper and lower case
            equal), "ResNet18", "ResNet34" or "AlexNet" (torchvision's), a KerasHub preset
            ("hub:resnet_18_imagenet", needs `pip install "ktransfer[hub]"`), a KerasHub backbone,
            any functional or sequential `keras.Model`, or the path of one, "model.keras".
            A model of your own is copied, in float32, so that nothing reaches it; a classifier at
            its end is left out where that is evident.
        weights: "imagenet" (downloaded by Keras once), the path of a `.weights.h5` or `.h5` file,
            "mini" (shipped with ktransfer, for MobileNetV2 with alpha 0.35), or None for random
            weights. Those of torchvision's networks may also lie in a `.safetensors` or `.npz` file
            in the layout of torchvision or timm, or in a folder of timm or KerasHub.
            A model of your own keeps the weights that it has; leave this out.
        input_size: height and width of the images in pixels; an int means a square. Defaults to the
            size that the weights were trained at.
        preprocessing: only for a model of your own, how RGB in [0, 255] must be scaled for it:
            "none" (it does that itself, or needs nothing), "tf" (to [-1, 1]), "caffe" (BGR minus
            ImageNet's mean) or "torch" (ImageNet's mean and deviation). "auto" takes what the
            model's structure proves, and refuses to guess.
        **options: options of the constructor, such as `alpha=0.35`.

    Returns:
        The backbone. Its model takes RGB images in [0, 255], uint8 or float.

    Raises:
        InputError: The name is unknown; an option, size or weights do not fit; the weights cannot
            be downloaded or read; the preprocessing of a model of your own is not evident; it puts
            channels first, or is quantised; its file is none that Keras saved, or has layers that
            would run code.

    Example:
        >>> from ktransfer.backbones import load_backbone
        >>> backbone = load_backbone("MobileNetV2", weights=None, input_size=96, alpha=0.35)
        >>> len(backbone.blocks), backbone.parameters
        (19, 410208)
        >>> backbone.prefix(18).output_shape
        (None, 3, 3, 112)
    """
    with without_hub_warnings():
        return _load(name_or_model, weights, input_size, preprocessing, options)


def _load(
    name_or_model: Any, weights: Any, input_size: Any, preprocessing: str, options: dict[str, Any]
) -> Backbone:
    if isinstance(name_or_model, keras.Model):
        return _load_instance(name_or_model, weights, input_size, preprocessing, options)
    if isinstance(name_or_model, os.PathLike) or is_model_file(name_or_model):
        path = os.fspath(name_or_model)
        return _load_file(path, weights, input_size, preprocessing, options)
    if not isinstance(name_or_model, str):
        raise InputError(f"a backbone is a name or a keras.Model, got {name_or_model!r}")
    _check_preprocessing(name_or_model, preprocessing)
    size = _checked_size(input_size)
    if name_or_model.startswith(HUB_PREFIX):
        return load_hub_backbone(name_or_model, checked_weights(weights), size, options)
    name = canonical(name_or_model)
    if name in TORCHVISION_OF:
        own = checked_weights(weights, folder=True)
        return load_torchvision(name, own, size_of(name, size), options)
    return load_application(name, weights, size, options)


def _load_file(
    path: str, weights: Any, input_size: Any, preprocessing: str | None, options: dict[str, Any]
) -> Backbone:
    """Load a model from a file, and call the backbone as the file is called."""
    if weights != "imagenet":  # the default, meant for names
        raise InputError(
            f"the model in {path!r} has weights of its own, got weights={weights!r} beside it: "
            "leave weights (--weights) out"
        )
    # What the command line makes of `--backbone-option preprocessing=none`.
    mode = "none" if preprocessing is None else preprocessing
    model = read_model_file(path)
    backbone = _load_instance(model, None, input_size, mode, options)
    said = {} if mode == "auto" else {"preprocessing": mode}
    return dataclasses.replace(backbone, name=os.path.basename(path), options=said)


def _check_preprocessing(name: str, preprocessing: str) -> None:
    if preprocessing != "auto":
        raise InputError(
            f"preprocessing={preprocessing!r} is for a model of your own; {name} brings its own "
            "preprocessing"
        )


def _load_instance(
    model: keras.Model,
    weights: Any,
    input_size: Any,
    preprocessing: str,
    options: Mapping[str, Any],
) -> Backbone:
    if options:
        raise InputError(
            f"options are for a name, not for a finished model: got {', '.join(sorted(options))}"
        )
    if weights not in (None, "imagenet"):  # "imagenet" is the default, meant for names
        raise InputError(
            f"a finished model keeps the weights that it has: load {str(weights)!r} into it before"
        )
    size = _checked_size(input_size)
    if type(model).__module__.startswith("keras_hub."):
        return load_hub_instance(_copied(model), size, preprocessing)
    check_graph(model)
    return load_own_model(_copied(model), size, preprocessing)


def check_named(
    name: str, input_size: Any = None, *, preprocessing: str = "auto", **options: Any
) -> None:
    """Raise what `load_backbone` raises of these arguments, as far as nothing need be built."""
    _check_preprocessing(name, preprocessing)
    size = _checked_size(input_size)
    if name.startswith(HUB_PREFIX):
        check_hub_preset(name, options)
        return
    name = canonical(name)
    if name in TORCHVISION_OF:
        check_torchvision(name, "imagenet", options)
        size_of(name, size)
    else:
        check_application(name, size, options)


def restore_backbone(body: keras.Model, described: Mapping[str, Any]) -> Backbone:
    """Return the backbone of a saved run.

    Args:
        body: the saved network, from images to features.
        described: what the run says of it: name, weights and options.

    Returns:
        The backbone; it has copies of the weights.

    Raises:
        InputError: the network cannot be one.
    """
    with without_hub_warnings():
        check_graph(body)
        return build_backbone(
            _copied(body),
            name=described["name"],
            weights=described["weights"],
            options=described["options"],
        )


def _copied(model: keras.Model) -> keras.Model:
    """Return the same network with weights of its own: training must not reach the user's model."""
    check_formats(model)
    mend_saving(model.layers)  # of a loaded run, say
    try:
        if isinstance(model, keras.Sequential) or type(model).__module__.startswith("keras.src."):
            copy = clone_in_float32(model)
        else:
            copy = type(model).from_config(config_in_float32(model.get_config()))
        copy.set_weights(model.get_weights())
    except (TypeError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"{model.name!r} cannot be copied, and so could not be saved either: {error}. Layers "
            "of your own need a get_config()"
        ) from error
    return copy


def _checked_size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else size
    whole = isinstance(pair, tuple | list) and all(
        isinstance(each, int) and each is not True for each in pair
    )
    if not whole or len(pair) != 2 or min(pair) < 1:
        raise InputError(
            f"input_size must be an int or (height, width) in whole pixels, got {size!r}"
        )
    return (pair[0], pair[1])
