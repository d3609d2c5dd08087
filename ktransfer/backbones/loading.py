"""Loading a backbone by name: keras.applications, KerasHub, or a model of your own."""

from __future__ import annotations

import contextlib
import inspect
import os
import socket
import warnings as python_warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ktransfer.backbones.backbone import Backbone, build_backbone
from ktransfer.backbones.families import FAMILY_OF, Family
from ktransfer.backbones.float32 import check_formats, clone_in_float32, config_in_float32
from ktransfer.backbones.hub import (
    HUB_PREFIX,
    check_hub_preset,
    load_hub_backbone,
    load_hub_instance,
)
from ktransfer.backbones.own_model import check_graph, load_own_model
from ktransfer.backbones.preprocessing import TORCH_STD_RGB, apply_preprocessing
from ktransfer.backbones.saving import constructors_recorded, mend_saving
from ktransfer.backbones.weights import fits_weights_file, load_weights_file
from ktransfer.errors import DownloadError, InputError, near_names, unknown_name
from ktransfer.processes.keras_settings import own_settings

MINI_ALPHA, MINI_SIZE_PX = 0.35, 96
MINI_FILE = Path(__file__).parent / "mini" / "mobilenetv2_0.35_96_mini.weights.h5"

# A download may be slow, but a connection that says nothing for so long is dead. Keras sets no
# limit of its own.
_SILENCE_S = 20.0

_OURS = {
    "include_top": "a backbone has no classifier; leave it out",
    "pooling": "the head does the pooling; leave it out",
    "classes": "the head knows the classes; leave it out",
    "classifier_activation": "a backbone has no classifier; leave it out",
    "input_shape": "give input_size=(height, width)",
    "input_tensor": "give input_size=(height, width)",
    "name": "a backbone has the name of its constructor",
    "include_preprocessing": "the preprocessing stays in the model: give RGB images in [0, 255]",
}


@own_settings()
def load_backbone(
    name_or_model: str | keras.Model,
    weights: str | os.PathLike[str] | None = "imagenet",
    input_size: int | tuple[int, int] | None = None,
    *,
    preprocessing: str = "auto",
    **options: Any,
) -> Backbone:
    """Loads a network as a row of blocks, with its preprocessing inside.

    Args:
        name_or_model: A constructor of keras.applications ("MobileNetV2", upper and lower case
            equal), a KerasHub preset ("hub:resnet_18_imagenet", needs `pip install
            "ktransfer[hub]"`), a KerasHub backbone, or any functional or sequential `keras.Model`.
            A model of your own is copied, in float32, so that nothing reaches it; a classifier at
            its end is left out where that is evident.
        weights: "imagenet" (downloaded by Keras once), the path of a `.weights.h5` or `.h5` file,
            "mini" (shipped with ktransfer, for MobileNetV2 with alpha 0.35), or None for random
            weights. A model of your own keeps the weights that it has; leave this out.
        input_size: Height and width of the images in pixels; an int means a square. Defaults to the
            size that the weights were trained at.
        preprocessing: Only for a model of your own, how RGB in [0, 255] must be scaled for it:
            "none" (it does that itself, or needs nothing), "tf" (to [-1, 1]), "caffe" (BGR minus
            ImageNet's mean) or "torch" (ImageNet's mean and deviation). "auto" takes what the
            model's structure proves, and refuses to guess.
        **options: Options of the constructor, such as `alpha=0.35`.

    Returns:
        The backbone. Its model takes RGB images in [0, 255], uint8 or float.

    Raises:
        InputError: The name is unknown; an option, size or weights do not fit; the weights cannot
            be downloaded or read; the preprocessing of a model of your own is not evident; it puts
            channels first, or is quantised.

    Example:
        >>> from ktransfer.backbones import load_backbone
        >>> backbone = load_backbone("MobileNetV2", weights=None, input_size=96, alpha=0.35)
        >>> len(backbone.blocks), backbone.parameters
        (19, 410208)
        >>> backbone.prefix(18).output_shape
        (None, 3, 3, 112)
    """
    with constructors_recorded():
        return _load(name_or_model, weights, input_size, preprocessing, options)


def _load(
    name_or_model: Any, weights: Any, input_size: Any, preprocessing: str, options: dict[str, Any]
) -> Backbone:
    if isinstance(name_or_model, keras.Model):
        return _load_instance(name_or_model, weights, input_size, preprocessing, options)
    if not isinstance(name_or_model, str):
        raise InputError(f"a backbone is a name or a keras.Model, got {name_or_model!r}")
    _check_preprocessing(name_or_model, preprocessing)
    size = _checked_size(input_size)
    if name_or_model.startswith(HUB_PREFIX):
        return load_hub_backbone(name_or_model, _checked_weights(weights), size, options)
    return _load_application(_application(name_or_model), weights, size, options)


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
    """Raises what `load_backbone` raises of these arguments, as far as nothing need be built."""
    _check_preprocessing(name, preprocessing)
    size = _checked_size(input_size)
    if name.startswith(HUB_PREFIX):
        check_hub_preset(name, options)
        return
    known = _application(name)
    _check_options(known, getattr(keras.applications, known), options)
    _size_of(known, size)


def restore_backbone(body: keras.Model, described: Mapping[str, Any]) -> Backbone:
    """The backbone of a saved run.

    Args:
        body: the saved network, from images to features.
        described: what the run says of it: name, weights and options.

    Returns:
        The backbone; it has copies of the weights.

    Raises:
        InputError: the network cannot be one.
    """
    with constructors_recorded():
        check_graph(body)
        return build_backbone(
            _copied(body),
            name=described["name"],
            weights=described["weights"],
            options=described["options"],
        )


def _copied(model: keras.Model) -> keras.Model:
    """The same network with weights of its own: training must not reach the user's model."""
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


def _application(name: str) -> str:
    by_folded = {each.casefold(): each for each in FAMILY_OF}
    if name.casefold() not in by_folded:
        raise unknown_name("backbone", name, tuple(FAMILY_OF))
    return by_folded[name.casefold()]


def _load_application(
    name: str, weights: Any, size: tuple[int, int] | None, options: Mapping[str, Any]
) -> Backbone:
    constructor = getattr(keras.applications, name)
    _check_options(name, constructor, options)
    if weights == "mini":
        options, size = _mini(name, options), size or (MINI_SIZE_PX, MINI_SIZE_PX)
        weights = MINI_FILE
    source = _checked_weights(weights)
    shape = (*_size_of(name, size), 3)
    build = _builder(constructor, FAMILY_OF[name], shape, options)
    network = _download(name, build) if source == "imagenet" else _construct(name, build, None)
    backbone = build_backbone(network, name=name, weights=_description(source), options=options)
    if isinstance(source, Path):
        try:
            load_weights_file((network, backbone.model), source, name)
        except InputError as error:
            alpha = _fitting_alpha(constructor, shape, options, source)
            if alpha is None:
                raise
            raise InputError(
                f"the weights in {source.name!r} are of {name} with alpha={alpha}, not "
                f"alpha={options.get('alpha', 1.0)}: give alpha={alpha} (--backbone-option "
                f"alpha={alpha})"
            ) from error
        _mend_efficientnet(network)
    return backbone


def _size_of(name: str, size: tuple[int, int] | None) -> tuple[int, int]:
    """The size of images for a constructor; its own by default."""
    family = FAMILY_OF[name]
    height, width = size or (family.sizes_px[name],) * 2
    if min(height, width) < family.minimum_px:
        raise InputError(
            f"{name} needs images of at least {family.minimum_px} px, got "
            f"input_size={(height, width)}"
        )
    return height, width


#: The widths that there are weights of: MobileNet's, MobileNetV2's and MobileNetV3's.
_ALPHAS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.3, 1.4)


def _fitting_alpha(
    constructor: Any, shape: tuple[int, int, int], options: Mapping[str, Any], path: Path
) -> float | None:
    """The width that a file's weights are of, if it is another one than was asked for."""
    if "alpha" not in inspect.signature(constructor).parameters:
        return None
    for alpha in _ALPHAS:
        network = constructor(
            include_top=False, weights=None, input_shape=shape, **{**options, "alpha": alpha}
        )
        if fits_weights_file(network, path):
            return alpha
    return None


def _description(source: Path | str | None) -> str | None:
    if source == MINI_FILE:
        return "mini"
    return source.name if isinstance(source, Path) else source


def _mend_efficientnet(network: keras.Model) -> None:
    """Gives EfficientNet the scaling that Keras adds for "imagenet" but not for the same file.

    keras.applications.EfficientNet divides once more by the root of ImageNet's deviation
    (https://github.com/tensorflow/tensorflow/issues/49930). Here that factor goes into the variance
    of the
    normalisation: without it the published weights work on wrongly scaled images, silently.
    """
    deviation = np.array(TORCH_STD_RGB)
    for layer in network.layers:
        if network.name.startswith("efficientnetb") and isinstance(
            layer, keras.layers.Normalization
        ):
            mean, variance, count = layer.get_weights()
            if np.allclose(variance, deviation**2, rtol=1e-3):
                layer.set_weights([mean, variance * deviation, count])
                layer.finalize_state()


def _builder(
    constructor: Any, family: Family, shape: tuple[int, int, int], options: Mapping[str, Any]
) -> Any:
    def build(weights: str | None) -> keras.Model:
        images = keras.Input(shape, name="images")
        mode = "none" if family.preprocessing == "in_model" else family.preprocessing
        # Built on the scaled images, not called on them: so each layer has one call, and
        # `layer.output` is ours.
        scaled = apply_preprocessing(mode, images)
        return constructor(
            include_top=False, weights=weights, input_tensor=scaled, input_shape=shape, **options
        )

    return build


def _construct(name: str, build: Any, weights: str | None) -> keras.Model:
    try:
        with python_warnings.catch_warnings():
            # "Weights for input shape (224, 224) will be loaded as the default": that is what every
            # user expects.
            python_warnings.filterwarnings("ignore", message=".*Weights for input shape.*")
            return build(weights)
    except (ValueError, TypeError) as error:
        raise InputError(f"keras.applications.{name} refuses these options: {error}") from error


def _download(name: str, build: Any) -> keras.Model:
    with _limited_silence():
        try:
            return _construct(name, build, "imagenet")
        except InputError:
            raise
        except Exception as error:  # keras.utils.get_file raises the bare Exception
            raise DownloadError(
                f"the ImageNet weights of {name} could not be downloaded ({error}). Without "
                'network give a file, weights="path.weights.h5", or use the embedded '
                'weights="mini" of MobileNetV2, which are for demonstrations'
            ) from error


@contextlib.contextmanager
def _limited_silence() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _mini(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the mini weights need."""
    if name != "MobileNetV2":
        raise InputError(f"weights='mini' exist for MobileNetV2 only, got {name}")
    alpha = options.get("alpha", MINI_ALPHA)
    if alpha != MINI_ALPHA:
        raise InputError(
            f"weights='mini' exist for MobileNetV2 with alpha={MINI_ALPHA}, got alpha={alpha}"
        )
    if not MINI_FILE.exists():
        raise InputError(f"weights='mini' are missing in this installation: no file {MINI_FILE}")
    return {**options, "alpha": alpha}


def _check_options(name: str, constructor: Any, options: Mapping[str, Any]) -> None:
    known = [
        each
        for each in inspect.signature(constructor).parameters
        if each not in (*_OURS, "weights")
    ]
    for option, value in options.items():
        if option in _OURS:
            raise InputError(
                f"{option}={value!r} is not an option of load_backbone: {_OURS[option]}"
            )
        if option not in known:
            hint = (
                f"did you mean {', '.join(near_names(option, known))}?" if known else "it has none"
            )
            raise InputError(f"{name} has no option {option}={value!r}: {hint}")


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


def _checked_weights(weights: Any) -> Path | str | None:
    """The path of a weights file, "imagenet" or None."""
    if weights is None or weights == "imagenet":
        return weights
    if not isinstance(weights, str | os.PathLike):
        raise InputError(
            "weights must be 'imagenet', 'mini', the path of a weights file or None, got "
            f"{weights!r}"
        )
    if weights == "mini":
        raise InputError("weights='mini' exist for MobileNetV2 only")
    if not Path(weights).is_file():
        raise InputError(
            f"no weights file {str(weights)!r}; weights are 'imagenet', 'mini', a path or None"
        )
    return Path(weights)
