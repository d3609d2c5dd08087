"""A model that was built under other settings of Keras: taken over in float32, or refused."""

from __future__ import annotations

from typing import Any

import keras

from ktransfer.errors import InputError

_POLICIES = ("DTypePolicy", "DTypePolicyMap")
_OTHER_FLOATS = frozenset({"float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16"})


def check_formats(model: keras.Model) -> None:
    """Raise an `InputError` for a model whose layers put channels first, or are quantised."""
    for layer in model._flatten_layers(include_self=False):
        if getattr(layer, "data_format", None) == "channels_first":
            raise InputError(
                f"the layer {layer.name!r} of {model.name!r} has data_format='channels_first', "
                "and a backbone puts channels last, as its images (batch, height, width, 3): build "
                'it with keras.config.set_image_data_format("channels_last") and load its weights, '
                "whose shapes are the same"
            )
        if getattr(layer.dtype_policy, "quantization_mode", None):
            raise InputError(
                f"the layer {layer.name!r} of {model.name!r} is quantised "
                f"({layer.dtype_policy.name}), and cannot train: give the model as it was before"
            )


def clone_in_float32(model: keras.Model) -> keras.Model:
    """`keras.models.clone_model`, whose layers hold and compute float32 whatever those here do."""
    given = keras.backend.standardize_dtype(model.inputs[0].dtype)
    inputs = None
    if given in _OTHER_FLOATS:
        inputs = [keras.Input(batch_shape=model.inputs[0].shape, name=model.inputs[0].name)]
    return keras.models.clone_model(model, inputs, clone_function=_layer_in_float32)


def _layer_in_float32(layer: keras.Layer) -> keras.Layer:
    """Return the same layer, new, which holds and computes float32.

    What lies inside it likewise.
    """
    return type(layer).from_config(config_in_float32(layer.get_config()))


def config_in_float32(config: Any) -> Any:
    """Return a configuration without other numbers than float32; integers stay what they are."""
    if isinstance(config, dict):
        return {
            key: "float32" if key == "dtype" and _is_other(value) else config_in_float32(value)
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return type(config)(config_in_float32(each) for each in config)
    return config


def _is_other(dtype: Any) -> bool:
    if isinstance(dtype, dict):
        name = dtype.get("config", {}).get("name")
        return dtype.get("class_name") in _POLICIES and name != "float32"
    return isinstance(dtype, str) and dtype in _OTHER_FLOATS
