"""Sees to it that a network can be saved and loaded again, and proves it before it is trained."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import math
import warnings
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras

from ktransfer.errors import InputError
from ktransfer.files.archives import DamageError, check_config

#: The networks that were proven.
_PROVEN: weakref.WeakSet[Any] = weakref.WeakSet()

_HUB = "keras_hub."
#: Layers of these modules are read back as they were written: Keras' own tests see to that.
_PLAIN = ("keras.src.layers.", "keras.src.ops.", "keras.src.models.")


@contextlib.contextmanager
def without_hub_warnings() -> Iterator[None]:
    """Hide what Keras says of KerasHub's layers: nobody who loads them can do anything."""
    with warnings.catch_warnings():
        # Many of them have no build().
        warnings.filterwarnings("ignore", message=r"`build\(\)` was called on layer")
        warnings.filterwarnings("ignore", message="Layer '.*' looks like it has unbuilt state")
        warnings.filterwarnings("ignore", message="Layer '.*' .* an input with a mask attached")
        yield


def mend_saving(layers: Iterable[Any]) -> None:
    """Make the layers of KerasHub write configurations that their constructors can read.

    Some write derived numbers that the constructor refuses (ViT, DeiT), leave out arguments that it
    was given (ViT, MiT, Swin), or fail (all of them keras-hub 0.32). KerasHub does not
    notice, because it saves whole backbones; a network taken apart into blocks saves its layers. To
    be removed when `type(layer).from_config(layer.get_config())` works there.

    Args:
        layers: mended in place; those of Keras itself are left as they are.
    """
    for layer in layers:
        cls = type(layer)
        # Who reads in a way of their own may well write what no constructor takes.
        own_way = cls.from_config.__func__ is not keras.layers.Layer.from_config.__func__
        if cls.__module__.startswith(_HUB) and not own_way:
            layer.get_config = functools.partial(_readable_config, layer)
        if cls.__module__.startswith(_HUB):
            # Their graph builds them, as it did at first: by a list of sizes, which is what JSON
            # has kept, some cannot be built (DeepLabV3), and others warn.
            layer.get_build_config = _no_build_config
        if hasattr(layer, "interpolated_position_embeddings"):
            layer.save_own_variables = functools.partial(_save_positions, layer)


def _save_positions(layer: Any, store: Any) -> None:
    """DINOv2 saves what its positions have learned only where that is large enough to be seen."""
    learned = layer.interpolated_position_embeddings
    if learned.shape == layer.position_embeddings.shape:
        layer.position_embeddings.assign(learned)
    type(layer).save_own_variables(layer, store)


def _no_build_config() -> None:
    """Say what Keras leaves out of what it writes."""


def _readable_config(layer: Any) -> dict[str, Any]:
    """Give what the layer writes without what its constructor refuses, and what it was given."""
    cls = type(layer)
    try:
        written = cls.get_config(layer)
    except (AttributeError, TypeError):
        written = keras.layers.Layer.get_config(layer)
    known = _parameters(cls)
    config = {name: each for name, each in written.items() if name in known}
    given = {name: each for name, each in _given(layer).items() if _is_plain(each)}
    return {**given, **config}


def _given(layer: Any) -> dict[str, Any]:
    """Say what its constructor was given, as far as that can be told afterwards."""
    # Keras keeps the arguments where all of them are plain; else most layers keep theirs by name.
    recorded = getattr(layer, "_auto_config", None)
    if recorded is not None:
        return dict(recorded.config)
    own = inspect.signature(type(layer).__init__).parameters
    found = {name: each for name, each in vars(layer).items() if name in own}
    if hasattr(layer, "shift_size") and hasattr(layer, "attn"):  # the layers of Swin's blocks do
        found["qkv_bias"] = layer.attn.qkv_bias
        found["attention_dropout"] = layer.attn.attn_drop_rate
        found["dropout_rate"] = layer.attn.proj_drop_rate
        found["drop_path"] = getattr(layer.drop_path, "drop_prob", 0.0)
    return found


def _parameters(cls: type) -> set[str]:
    """Return all that a constructor takes, also what it hands on to those above it."""
    found: set[str] = set()
    for each in cls.__mro__:
        if "__init__" not in vars(each):
            continue
        parameters = inspect.signature(vars(each)["__init__"]).parameters.values()
        found |= {one.name for one in parameters}
        if all(one.kind is not inspect.Parameter.VAR_KEYWORD for one in parameters):
            break
    return found


def _is_plain(value: Any) -> bool:
    leaves = keras.tree.flatten(value)
    return all(isinstance(each, str | int | float | bool | None) for each in leaves)


def check_keeping(network: keras.Model, name: str) -> None:
    """Prove that a network can be saved and read back, by its configuration alone.

    Args:
        network: functional.
        name: the backbone's name, for messages.

    Raises:
        InputError: it cannot; the message says why.
    """
    if network in _PROVEN:
        return
    try:
        _prove(network)
    except Exception as error:  # every layer has its own way to fail
        cause = str(error).rsplit("Exception encountered: ", 1)[-1][:_LONGEST_CAUSE]
        raise InputError(
            f"a model of {name} could be saved, but never loaded again: {cause.rstrip('. ')}. "
            "Layers and functions of your own need @keras.saving.register_keras_serializable() and "
            "a get_config() with all that their constructors take"
        ) from error
    _PROVEN.add(network)


_LONGEST_CAUSE = 500


def _prove(network: keras.Model) -> None:
    config = json.dumps(keras.saving.serialize_keras_object(network))
    check_config(json.loads(config))
    if all(type(each).__module__.startswith(_PLAIN) for each in network.layers):
        return
    with without_hub_warnings():
        restored = without_values(config)
        if restored is None:
            restored = keras.saving.deserialize_keras_object(json.loads(config), safe_mode=True)
    for old, new in zip(network.layers, restored.layers, strict=True):
        shapes = [[tuple(each.shape) for each in layer.weights] for layer in (old, new)]
        if shapes[0] != shapes[1]:
            raise DamageError(
                f"its layer {old.name!r} ({type(old).__name__}) comes back with weights of the "
                f"shapes {shapes[1]} instead of {shapes[0]}"
            )


def without_values(config: str, most_bytes: float = math.inf) -> keras.Model | None:
    """Return the network of a configuration, with weights that have a shape and take no memory.

    Args:
        config: what `serialize_keras_object` says of it, as JSON.
        most_bytes: of its weights as float32.

    Returns:
        None where a layer of the caller's own makes a variable of an array: Keras makes such only
        with its values.

    Raises:
        DamageError: its weights are larger.
    """
    # What Keras still has to give values to it notes by thread: with this one that is forgotten.
    with ThreadPoolExecutor(1) as pool:
        try:
            network = pool.submit(_without_values, config, most_bytes).result()
        except Exception as error:
            if "stateless scope" in str(error) and _has_own_layers(json.loads(config)):
                return None
            raise
    _Shapes(most_bytes).count(network.variables)
    return network


def _without_values(config: str, most_bytes: float) -> keras.Model:
    described = json.loads(config)
    # An optimizer makes a variable of a value, for which there is no place here.
    described.pop("compile_config", None)
    with _Shapes(most_bytes):
        return keras.saving.deserialize_keras_object(described, safe_mode=True)


class _Shapes(keras.StatelessScope):
    """Within it variables have a shape alone; where a layer looks at one, values are drawn for it.

    Args:
        most_bytes: that may be drawn.
    """

    def __init__(self, most_bytes: float) -> None:
        super().__init__(initialize_variables=False)
        self._left = most_bytes

    def get_current_value(self, variable: Any) -> Any:
        """Return a value that was assigned; None: Keras draws one."""
        self.count([variable])
        return super().get_current_value(variable)

    def count(self, variables: Iterable[Any]) -> None:
        """Raise a `DamageError` where these are too much."""
        self._left -= sum(4.0 * math.prod(each.shape) for each in variables)
        if self._left < 0:
            raise DamageError("its configuration asks for far more weights than it holds")


def _has_own_layers(config: Any) -> bool:
    """Tell whether some class of a configuration is registered by neither Keras nor KerasHub."""
    if isinstance(config, list):
        return any(map(_has_own_layers, config))
    if not isinstance(config, dict):
        return False
    name = str(config.get("registered_name"))
    own = name in keras.saving.get_custom_objects() and not name.startswith("keras_hub>")
    return own or any(map(_has_own_layers, config.values()))
