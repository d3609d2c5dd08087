"""Dataclasses read from JSON: tuples again, and what their annotations say, however deep."""

from __future__ import annotations

import collections.abc
import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

#: A whole number of more bits cannot be made a float.
_MOST_BITS = 1_023


def with_tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same with the tuples that JSON made lists of; what lies deeper stays as it is."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}


def check_typed(value: Any, where: str) -> None:
    """Raise an error unless every field of a dataclass is of its annotated type.

    A whole number counts as a float, as JSON writes 1.0 by hand as 1; a bool counts as neither.

    Args:
        value: an instance of a dataclass.
        where: what it is, for the message.

    Raises:
        TypeError: a field is of another type; the message names it.
    """
    for name, hint in _hints(type(value)).items():
        _check(getattr(value, name), hint, f"{where}.{name}")


def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {each.name: hints[each.name] for each in dataclasses.fields(kind)}


def _check(value: Any, hint: Any, where: str) -> None:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return
    if origin in (typing.Union, types.UnionType):
        _check_union(value, args, where)
    elif origin is tuple:
        _check_tuple(value, args, where)
    elif origin in (dict, collections.abc.Mapping):
        _expect(value, dict, where)
        for key, each in value.items():
            _check(key, args[0], f"{where}: the name {key!r}")
            _check(each, args[1], f"{where}[{key!r}]")
    else:
        _expect(value, origin or hint, where)
        if dataclasses.is_dataclass(value):
            check_typed(value, where)
        if isinstance(value, np.ndarray) and value.dtype.kind not in "fiu":
            raise TypeError(f"{where} does not hold numbers")


def _check_union(value: Any, args: tuple[Any, ...], where: str) -> None:
    faults = []
    for each in args:
        try:
            return _check(value, each, where)
        except TypeError as error:
            faults.append(error)
    raise faults[0]


def _check_tuple(value: Any, args: tuple[Any, ...], where: str) -> None:
    _expect(value, tuple, where)
    if args[-1] is Ellipsis:
        args = (args[0],) * len(value)
    if len(args) != len(value):
        raise TypeError(f"{where} has {len(value)} parts instead of {len(args)}")
    for at, (each, hint) in enumerate(zip(value, args, strict=True)):
        _check(each, hint, f"{where}[{at}]")


def _expect(value: Any, kind: Any, where: str) -> None:
    kinds = (int, float) if kind is float else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
        name = getattr(kind, "__name__", str(kind))
        raise TypeError(f"{where} is {type(value).__name__}, not {name}")
    if kind is float and isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise TypeError(f"{where} is a number of {value.bit_length():,} bits, and no float is")
