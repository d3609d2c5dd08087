"""Sees to it that a network can be saved and loaded again, and proves it before it is trained."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import warnings
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from ktransfer.errors import InputError
from ktransfer.files.archives import DamageError, check_config

#: What the constructors of KerasHub's layers were given, while `constructors_recorded`.
_GIVEN: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()
#: The networks that were proven.
_PROVEN: weakref.WeakSet[Any] = weakref.WeakSet()

_HUB = "keras_hub."
#: Layers of these modules are read back as they were written: Keras' own tests see to that.
_PLAIN = ("keras.src.layers.", "keras.src.ops.", "keras.src.models.")


@contextlib.contextmanager
def constructors_recorded() -> Iterator[None]:
    """Layers of KerasHub that are made in this context can be mended by `mend_saving`.

    Keras has no other place that sees what every constructor is given.
    """
    make = keras.layers.Layer.__new__

    def record(cls: type, *args: Any, **options: Any) -> Any:
        layer = make(cls, *args, **options)
        if cls.__module__.startswith(_HUB):
            with contextlib.suppress(TypeError):  # the constructor itself will say what is wrong
                bound = inspect.signature(cls.__init__).bind(layer, *args, **options)  # type: ignore[misc]
                _GIVEN[layer] = _flat(bound)
        return layer

    keras.layers.Layer.__new__ = staticmethod(record)
    try:
        with warnings.catch_warnings():
            # Many layers of KerasHub have no build(); nobody who loads them can do anything.
            warnings.filterwarnings("ignore", message=r"`build\(\)` was called on layer")
            warnings.filterwarnings("ignore", message="Layer '.*' looks like it has unbuilt state")
            warnings.filterwarnings("ignore", message="Layer '.*' .* an input with a mask attached")
            yield
    finally:
        keras.layers.Layer.__new__ = staticmethod(make)


def _flat(bound: inspect.BoundArguments) -> dict[str, Any]:
    """The arguments by their names, without `self`."""
    found = dict(list(bound.arguments.items())[1:])
    for name, each in bound.signature.parameters.items():
        if each.kind is inspect.Parameter.VAR_KEYWORD:
            found |= found.pop(name, {})
    return found


def mend_saving(layers: Iterable[Any]) -> None:
    """Makes the layers of KerasHub write configurations that their constructors can read.

    Some write derived numbers that the constructor refuses (ViT, DeiT), leave out arguments that it
    was given (ViT, MiT, Swin), or fail (all of them keras-hub 0.32). KerasHub does not
    notice, because it saves whole backbones; a network taken apart into blocks saves its layers. To
    be removed when `type(layer).from_config(layer.get_config())` works there.

    Args:
        layers: mended in place, as far as `constructors_recorded` saw them made;
            those of Keras itself are left as they are.
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
    """What Keras leaves out of what it writes."""


def _readable_config(layer: Any) -> dict[str, Any]:
    """What the layer writes, less what its constructor refuses, and what it was given besides."""
    cls = type(layer)
    try:
        written = cls.get_config(layer)
    except (AttributeError, TypeError):
        written = keras.layers.Layer.get_config(layer)
    known = _parameters(cls)
    config = {name: each for name, each in written.items() if name in known}
    for name, each in _GIVEN.get(layer, {}).items():
        if name not in config and _is_plain(each):
            config[name] = each
    return config


def _parameters(cls: type) -> set[str]:
    """All that a constructor takes, also what it hands on to those above it."""
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
    """Proves that a network can be saved and read back, by its configuration alone.

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
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(network)))
    check_config(config)
    if all(type(each).__module__.startswith(_PLAIN) for each in network.layers):
        return
    with constructors_recorded(), _without_drawing():
        restored = keras.saving.deserialize_keras_object(config, safe_mode=True)
    for old, new in zip(network.layers, restored.layers, strict=True):
        shapes = [[tuple(each.shape) for each in layer.weights] for layer in (old, new)]
        if shapes[0] != shapes[1]:
            raise DamageError(
                f"its layer {old.name!r} ({type(old).__name__}) comes back with weights of the "
                f"shapes {shapes[1]} instead of {shapes[0]}"
            )


@contextlib.contextmanager
def _without_drawing() -> Iterator[None]:
    """Has all weights made as zeros: drawing random ones takes most of the time."""
    add_weight = keras.layers.Layer.add_weight

    def add(self: keras.layers.Layer, *args: Any, **options: Any) -> Any:
        if len(args) > 1:  # the shape, and the initializer behind it
            return add_weight(self, args[0], "zeros", *args[2:], **options)
        return add_weight(self, *args, **{**options, "initializer": "zeros"})

    keras.layers.Layer.add_weight = add
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = add_weight
