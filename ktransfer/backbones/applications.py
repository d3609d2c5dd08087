"""Networks of keras.applications as backbones: their options, sizes and weights."""

from __future__ import annotations

import contextlib
import inspect
import socket
import warnings as python_warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ktransfer.backbones.backbone import Backbone, build_backbone
from ktransfer.backbones.families import FAMILY_OF, FAMILY_OF_NAME, Family
from ktransfer.backbones.preprocessing import TORCH_STD_RGB, apply_preprocessing
from ktransfer.backbones.weights import checked_weights, fits_weights_file, load_weights_file
from ktransfer.errors import DownloadError, InputError, near_names, unknown_name

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


def check_application(name: str, size: tuple[int, int] | None, options: Mapping[str, Any]) -> None:
    """Raise what `load_application` raises of these arguments, as far as nothing need be built."""
    _check_options(name, getattr(keras.applications, name), options)
    size_of(name, size)


def load_application(
    name: str, weights: Any, size: tuple[int, int] | None, options: Mapping[str, Any]
) -> Backbone:
    """Load a network of keras.applications.

    Args:
        name: the constructor.
        weights: as in `load_backbone`.
        size: height and width of the images; None: what its ImageNet weights were trained at.
        options: of the constructor.

    Raises:
        InputError: As `load_backbone`.
    """
    constructor = getattr(keras.applications, name)
    _check_options(name, constructor, options)
    if weights == "mini":
        options, size = _mini(name, options), size or (MINI_SIZE_PX, MINI_SIZE_PX)
        weights = MINI_FILE
    source = checked_weights(weights)
    shape = (*size_of(name, size), 3)
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


def size_of(name: str, size: tuple[int, int] | None) -> tuple[int, int]:
    """Return the size of images for a known name; its own by default."""
    family = FAMILY_OF_NAME[name]
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
    """Return the width that a file's weights are of, if it is another one than was asked for."""
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
    """Give EfficientNet the scaling that Keras adds for "imagenet" but not for the same file.

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
    """Return the options that the mini weights need."""
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


def canonical(name: str) -> str:
    """Return a known name as it is spelt; an `InputError` with near ones for any other."""
    by_folded = {each.casefold(): each for each in FAMILY_OF_NAME}
    if name.casefold() not in by_folded:
        raise unknown_name("backbone", name, tuple(FAMILY_OF_NAME))
    return by_folded[name.casefold()]
