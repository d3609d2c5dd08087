"""What the public modules promise: their names, and how everything in the main ones is called."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import ktransfer

#: The modules of which every signature is kept.
MAIN = ("", "tuner", "optimizers", "plan", "augment", "freezing", "serving", "data")

_PLAIN = (str, int, float, bool, type(None))


def names_by_module() -> dict[str, list[str]]:
    """The `__all__` of every module that has one, private modules left out."""
    found = {}
    for name in sorted(_public_modules()):
        module = importlib.import_module(name)
        if hasattr(module, "__all__"):
            found[name] = sorted(module.__all__)
    return found


def signatures() -> dict[str, dict[str, Any]]:
    """Everything that the main modules hold, by its full name."""
    found = {}
    for part in MAIN:
        name = f"ktransfer.{part}".rstrip(".")
        module = importlib.import_module(name)
        for each in sorted(module.__all__):
            found[f"{name}.{each}"] = described(getattr(module, each))
    return found


def described(value: Any) -> dict[str, Any]:
    """A class by its constructor and public members, a function by its parameters, data by items.

    Of a class that extends one of Keras or KerasTuner only what is ours counts.
    """
    if inspect.isclass(value):
        # Exceptions are made by C code, which says nothing of its parameters.
        constructor = [] if issubclass(value, BaseException) else parameters(value)
        return {"is": "class", "parameters": constructor, "members": _members(value)}
    if callable(value):
        return {"is": "function", "parameters": parameters(value)}
    return {"is": "data", "holds": sorted(map(str, value))}


def parameters(value: Any) -> list[list[str]]:
    """Each parameter: its name, its kind and, where there is one, the text of its default."""
    found = []
    for each in inspect.signature(value).parameters.values():
        default = [] if each.default is each.empty else [_text(each.default)]
        found.append([each.name, each.kind.name, *default])
    return found


def _public_modules() -> list[str]:
    walked = pkgutil.walk_packages(ktransfer.__path__, "ktransfer.")
    names = ["ktransfer", *(each.name for each in walked)]
    return [name for name in names if not any(part[0] == "_" for part in name.split("."))]


def _members(cls: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith("ktransfer"):
            continue
        for name in vars(base):
            if not name.startswith("_"):
                found[name] = _member(inspect.getattr_static(cls, name))
    return dict(sorted(found.items()))


def _member(value: Any) -> dict[str, Any]:
    if isinstance(value, staticmethod | classmethod):
        return {"is": type(value).__name__, "parameters": parameters(value.__func__)}
    if inspect.isfunction(value):
        return {"is": "method", "parameters": parameters(value)}
    # A property, or a cached one, is called by nobody; nor is the default of a dataclass's field.
    return {"is": "attribute"}


def _text(value: Any) -> str:
    # The text of a function holds its address, that of a class its module.
    return value.__qualname__ if callable(value) else repr(value)
