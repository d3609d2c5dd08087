"""Mends what would keep a network from being saved and loaded again."""

from __future__ import annotations

import functools
from typing import Any

import keras

# What these layers' get_config() writes although their constructors refuse it: derived numbers.
_DERIVED = {
    "ViTPatchingAndEmbedding": ("num_patches", "num_positions"),
    "ViTEncoderBlock": ("key_dim",),
}


def mend_saving(network: keras.Model) -> None:
    """Makes the layers of KerasHub's vision transformers write configurations they can read.

    They write derived numbers that their constructors refuse, and the patch embedding leaves out
    `use_patch_bias` (keras-hub 0.32). KerasHub does not notice, because it saves whole backbones; a
    network taken apart into blocks saves its layers. To be removed when
    `type(layer).from_config(layer.get_config())` works there.

    Args:
        network: its layers are mended in place; a network without such layers is left as it is.
    """
    for layer in network.layers:
        if type(layer).__name__ in _DERIVED and type(layer).__module__.startswith("keras_hub."):
            layer.get_config = functools.partial(_readable_config, layer)


def _readable_config(layer: Any) -> dict[str, Any]:
    config = type(layer).get_config(layer)
    for name in _DERIVED[type(layer).__name__]:
        config.pop(name, None)
    if hasattr(layer, "patch_embedding"):
        config["use_patch_bias"] = layer.patch_embedding.use_bias
    return config
