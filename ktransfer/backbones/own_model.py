"""A model of your own as a backbone: what it proves about itself, where its classifier begins."""

from __future__ import annotations

import re
from collections.abc import Sequence

import keras

from ktransfer.backbones.backbone import Backbone, build_backbone, count_preprocessing
from ktransfer.backbones.graph import Span, find_spans, is_nested, trace
from ktransfer.backbones.preprocessing import MODES, apply_preprocessing
from ktransfer.errors import InputError, unknown_name

# Names that keras.applications gives its models, a layer that proves the structure, and the
# preprocessing. The families that scale inside the network are recognised by that.
_KNOWN = (
    (r"mobilenet_\d", "conv_dw_1", "tf"),
    (r"mobilenetv2_\d", "block_1_expand", "tf"),
    (r"inception_v3", "mixed10", "tf"),
    (r"inception_resnet_v2", "conv_7b", "tf"),
    (r"xception", "block1_conv1_bn", "tf"),
    (r"nasnet", "stem_conv1", "tf"),
    (r"resnet(50|101|152)v2", "post_bn", "tf"),
    (r"resnet(50|101|152)$", "conv2_block1_0_conv", "caffe"),
    (r"vgg(16|19)$", "block5_conv3", "caffe"),
    (r"densenet(121|169|201)$", "conv2_block1_0_bn", "torch"),
)

_TOP_LAYERS = (
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Activation,
    keras.layers.Softmax,
    keras.layers.ReLU,
    keras.layers.BatchNormalization,
    keras.layers.Conv2D,  # the classifier of MobileNet is a convolution behind the global pooling
)
_TOP_STARTS = (
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.Flatten,
)


def load_own_model(
    model: keras.Model, size: tuple[int, int] | None, preprocessing: str
) -> Backbone:
    """Take a functional or sequential model as a backbone.

    The backbone uses the model's own layers: give a copy of what must not be frozen or trained.

    Args:
        model: A model, passed by `check_graph`, from images `(batch, height, width, 3)` to a
            feature map, or with a classifier behind it, which is left out.
        size: height and width in pixels; the model's own by default.
        preprocessing: how RGB in [0, 255] must be scaled for it, or "auto".

    Returns:
        The backbone.

    Raises:
        InputError: The model has no graph, other inputs or outputs, an open input size, a
        preprocessing or a
            classifier that is not evident.
    """
    if preprocessing not in ("auto", *MODES):
        raise unknown_name("preprocessing", preprocessing, ("auto", *MODES))
    size = size or _own_size(model)
    mode = _evident_preprocessing(model) if preprocessing == "auto" else preprocessing
    whole = _whole(model, size, mode)
    calls, outputs = trace(whole, whole.inputs)
    spans = find_spans(calls, outputs[0])
    kept = _kept(spans, model.name)
    network = keras.Model(whole.inputs[0], spans[kept - 1].outputs[0], name=model.name)
    left = ", ".join(span.last.name for span in spans[kept:])
    notes = (f"The classifier of {model.name} is left out: {left}",) if left else ()
    return build_backbone(network, name=model.name, weights="own", notes=notes)


def check_graph(model: keras.Model) -> None:
    """Raise an `InputError` if `model` has no graph from one image to one output."""
    if not is_nested(model):
        raise InputError(
            f"{model.name!r} is a {type(model).__name__} with a call() of its own: blocks can be "
            "found only in a functional model (keras.Model(inputs, outputs)) or a keras.Sequential"
        )
    if not model.built:
        raise InputError(
            f"{model.name!r} is not built: give it a keras.Input((height, width, 3)) first"
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InputError(
            f"a backbone has one input and one output, {model.name!r} has {len(model.inputs)} and "
            f"{len(model.outputs)}"
        )
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or shape[-1] != 3:
        raise InputError(
            f"a backbone takes images (batch, height, width, 3), {model.name!r} takes {shape}"
            + _CHANNELS_FIRST * (len(shape) == 4 and shape[1] == 3)
        )


_CHANNELS_FIRST = (
    ": build it with channels last (data_format, or keras.config.set_image_data_format) and load "
    "its weights, whose shapes are the same"
)


def _own_size(model: keras.Model) -> tuple[int, int]:
    height, width = model.inputs[0].shape[1:3]
    if height is None or width is None:
        raise InputError(
            f"{model.name!r} leaves the size of its images open: give input_size=(height, width)"
        )
    return (height, width)


def _evident_preprocessing(model: keras.Model) -> str:
    calls, outputs = trace(model, model.inputs)
    spans = find_spans(calls, outputs[0])
    front = count_preprocessing(spans)
    if any(not type(span.last).__name__.startswith("Random") for span in spans[:front]):
        return "none"
    # A known network proves something about the images only if it is the first to see them.
    nested = [layer for layer in model.layers if is_nested(layer)]
    first = [each for each in nested if calls[front].operation in each.layers]
    for each in (model, *first):
        mode = _known_mode(each)
        if mode is not None:
            return mode
    raise InputError(
        f"{model.name!r} does not show how its images must be scaled: give preprocessing='none' "
        "(it takes RGB in [0, 255]), 'tf' ([-1, 1]), 'caffe' (BGR minus ImageNet's mean) or "
        "'torch' (ImageNet's mean and deviation), or --backbone-option preprocessing=none and so on"
    )


def _known_mode(model: keras.Model) -> str | None:
    names = {layer.name for layer in model.layers}
    matches = (
        mode
        for name, layer, mode in _KNOWN
        if re.match(name, model.name.casefold()) and layer in names
    )
    return next(matches, None)


def _whole(model: keras.Model, size: tuple[int, int], mode: str) -> keras.Model:
    """Return the model behind the preprocessing, for images of a fixed size."""
    if mode == "none" and tuple(model.inputs[0].shape[1:3]) == size:
        return model
    images = keras.Input((*size, 3), name="images")
    try:
        return keras.Model(images, model(apply_preprocessing(mode, images)), name=model.name)
    except ValueError as error:
        own = tuple(model.inputs[0].shape[1:3])
        raise InputError(
            f"{model.name!r} is built for images of {own} px and cannot take {size}: {error}"
        ) from error


def _kept(spans: Sequence[Span], name: str) -> int:
    """Say how many spans lead to the last feature map, before a classifier if there is one."""
    output = spans[-1].outputs[0]
    if len(output.shape) in (3, 4):
        return len(spans)
    start = len(spans)
    while start and _belongs_to_top(spans[start - 1]):
        start -= 1
    top = next(
        (at for at in range(start, len(spans)) if isinstance(spans[at].last, _TOP_STARTS)), None
    )
    if not top or len(spans[top - 1].outputs[0].shape) != 4:
        maps = [span.last.name for span in spans if len(span.outputs[0].shape) == 4]
        raise InputError(
            f"{name!r} ends in {tuple(output.shape)} and it is not evident where its classifier "
            "begins: give keras.Model(model.input, feature_map) with a feature map (batch, height, "
            f"width, channels), such as model.get_layer({(maps or ['its last'])[-1]!r}).output; as "
            'a file, keras.Model(model.input, feature_map).save("cut.keras")'
        )
    return top


def _belongs_to_top(span: Span) -> bool:
    return len(span.calls) == 1 and isinstance(span.last, _TOP_LAYERS + _TOP_STARTS)
