"""Layers: those that a policy means, and those that lie inside other layers.

A block of a transformer is one layer that holds attention and dense layers, and Keras shows these
only for models. Here they are found, so that patterns and predicates reach into them, a flag can be
set on all of them, and each variable is known to belong to the innermost layer that holds it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import keras

from ktransfer.backbones import Backbone, Block
from ktransfer.errors import InputError, near_names, unknown_name
from ktransfer.freezing.policies import BARE, Freeze


def choose(policy: Freeze, backbone: Backbone) -> list[Any]:
    """Return the layers to freeze; what lies inside them is meant with them."""
    if policy.kind == "matching":
        return [layer for each in policy.argument for layer in _matching(each, backbone)]
    if policy.kind == "where":
        return _where(policy.argument, backbone)
    return layers_of(backbone.blocks[: _num_frozen(policy, backbone)])


def _num_frozen(policy: Freeze, backbone: Backbone) -> int:
    names = [block.name for block in backbone.blocks]
    if policy.kind in ("up_to", "before"):
        at = index_of(backbone, policy.argument)
        return at + 1 if policy.kind == "up_to" else at
    if policy.kind in BARE:
        return len(names) if policy.kind == "all" else 0
    if policy.argument > len(names):
        raise InputError(
            f"{backbone.name} has {len(names)} blocks; received the freeze policy {str(policy)!r}"
        )
    return policy.argument if policy.kind == "first" else len(names) - policy.argument


def _where(predicate: Callable[[Any], bool], backbone: Backbone) -> list[Any]:
    layers = layers_of(backbone.blocks)
    found = _outermost(layers, predicate)
    if not found:
        raise InputError(
            f"the predicate {predicate!r} selects none of the {len(layers)} layers of "
            f"{backbone.name}"
        )
    return found


def _matching(pattern: str, backbone: Backbone) -> list[Any]:
    layers = layers_of(backbone.blocks)
    found = _outermost(layers, lambda layer: _matches(layer, pattern))
    taken = {id(weight) for layer in found for weight in layer.weights}
    weights = [weight for layer in layers for weight in layer.weights]
    # Keras freezes whole layers: that a kernel stays and its bias moves would not survive saving.
    for weight in weights:
        if id(weight) not in taken and fnmatchcase(weight.path, pattern):
            raise InputError(
                f"pattern {pattern!r} fits {weight.path!r}, but not all variables of its layer: "
                f"layers are frozen whole, as {weight.path.rpartition('/')[0] + '/*'!r} would"
            )
    if not found:
        near = ", ".join(near_names(pattern, [layer.name for layer in layers]))
        raise InputError(
            f"pattern {pattern!r} fits no layer and no variable path of {backbone.name}: did you "
            f"mean {near}?"
        )
    return found


def _matches(layer: Any, pattern: str) -> bool:
    return fnmatchcase(layer.name, pattern) or all(
        fnmatchcase(weight.path, pattern) for weight in layer.weights
    )


def _outermost(layers: Iterable[Any], wanted: Callable[[Any], bool]) -> list[Any]:
    """Return the layers that are wanted, and of the others what is wanted inside them."""
    found: list[Any] = []
    for layer in layers:
        if layer.weights:
            found += [layer] if wanted(layer) else _outermost(_parts(layer), wanted)
    return found


# --- blocks by name ----------------------------------------------------------------------------


def blocks_from(backbone: Backbone, name: str) -> int:
    """Return how many last blocks train where the block of this name and all behind it do.

    Args:
        backbone: the backbone.
        name: as in `index_of`; "all": all of them.

    Raises:
        InputError: as `index_of`.
    """
    return len(backbone.blocks) - (0 if name == "all" else index_of(backbone, name))


def index_of(backbone: Backbone, name: str) -> int:
    """Return which block has a name, or holds the layer of that name, from 0.

    A name may also be how the names of layers begin: `"block_13"` is the block that holds
    `block_13_expand`, and `"conv5"` the first of those that hold layers of ResNet's last stage.

    Raises:
        InputError: nothing has the name, or layers inside layers of several blocks have it.
    """
    layers: dict[str, list[int]] = {}
    inner: dict[str, list[int]] = {}
    for block in backbone.blocks:
        for each in dict.fromkeys([block.name, *(call.operation.name for call in block.calls)]):
            layers.setdefault(each, []).append(block.index)
        for each in {part.name for layer in block.layers for part in walk(layer)}:
            inner.setdefault(each, []).append(block.index)
    begun = [at for each, where in layers.items() if _begins(each, name) for at in where]
    # "conv5" begins with the first of its blocks, and "conv" would be all but any.
    clear = begun[:1] if name[-1:].isdigit() or len(set(begun)) == 1 else []
    found = layers.get(name) or clear or inner.get(name)
    if not found:
        raise unknown_name("block or layer", name, tuple(layers | inner))
    first, *others = found
    if others:
        holders = ", ".join(backbone.blocks[at].name for at in (first, *others)[:3])
        raise InputError(
            f"{len(found)} blocks of {backbone.name} hold a layer {name!r} ({holders}, ...): give "
            "the name of the block"
        )
    return first


def _begins(layer: str, name: str) -> bool:
    """Tell whether a layer's name begins with another, and not with a longer word or number."""
    rest = layer.removeprefix(name)
    if not name or rest in (layer, ""):
        return False
    # EfficientNet's "block6" has "block6a_expand_conv", and is not the beginning of "block60".
    return not rest[0].isdigit() if name[-1].isdigit() else not rest[0].isalnum()


# --- layers inside layers ----------------------------------------------------------------------


def layers_of(blocks: Sequence[Block]) -> list[Any]:
    """Return the layers of some blocks, in order."""
    return [layer for block in blocks for layer in block.layers]


def walk(layer: Any) -> Iterator[Any]:
    """Yield a layer and all that lies inside it, each behind what holds it."""
    yield layer
    for part in _parts(layer):
        yield from walk(part)


def _parts(layer: Any) -> list[Any]:
    """Return the layers directly inside a layer, each once.

    Keras tracks what is assigned to an attribute, but shows it only for models (`model.layers`), so
    the attributes are read here.
    """
    values = layer.layers if isinstance(layer, keras.Model) else _flat(vars(layer))
    return list({id(each): each for each in values if isinstance(each, keras.Layer)}.values())


def _flat(value: Any) -> Iterator[Any]:
    # keras.tree.flatten sorts dictionaries, and fails on keys that cannot be compared.
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _flat(each)
    else:
        yield value


def size(variables: Iterable[Any]) -> int:
    """Say how many numbers some variables hold together."""
    return sum(math.prod(variable.shape) for variable in variables)
