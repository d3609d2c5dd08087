"""Names of a package that load on first use (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ktransfer._keras_settings import keras_fault


def lazy_names(
    package: str, home: Mapping[str, str], more: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and the `__dir__` of a package.

    Args:
        package: its `__name__`.
        home: the module in the package that each name lives in.
        more: names that `dir` shows besides.
    """

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = importlib.import_module(f"{package}.{home[name]}")
        except Exception:
            # Keras fails to be imported in as many ways as there are backends: said in one line.
            fault = keras_fault()
            if fault is None:
                raise
            raise fault from None
        return getattr(module, name)

    return get, lambda: sorted([*home, *more])
