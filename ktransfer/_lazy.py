"""Names of a package that load on first use (PEP 562), and names that live elsewhere now."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ktransfer.errors.keras import keras_fault

#: Modules of 0.1.0 that are elsewhere now, those in them along with them.
MOVED_MODULES = {
    "ktransfer.diagnosis": "ktransfer.training.diagnosis",
    "ktransfer.fitting": "ktransfer.finetuner",
    "ktransfer.heads": "ktransfer.features.heads",
    "ktransfer.learning_curve": "ktransfer.profile.learning_curve",
    "ktransfer.looking": "ktransfer.augment",
    "ktransfer.probes": "ktransfer.profile.probes",
    "ktransfer.rates": "ktransfer.training.learning_rates",
    "ktransfer.record": "ktransfer.runs.record",
    "ktransfer.results": "ktransfer.classifier",
    "ktransfer.shift": "ktransfer.classifier.shift",
    "ktransfer.unseen": "ktransfer.classifier.unseen",
}


def lazy_names(
    package: str,
    home: Mapping[str, str],
    more: Iterable[str] = (),
    *,
    moved: Mapping[str, str] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package.

    Args:
        package: its `__name__`.
        home: the module in the package that each name lives in.
        more: names that `dir` shows besides.
        moved: as in `moved_names`.
    """

    def get(name: str) -> Any:
        if name not in home:
            return _elsewhere(package, moved or {}, name)
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


def moved_names(package: str, moved: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package that some names have left.

    They are found, with a warning.

    Args:
        package: its `__name__`.
        moved: the package that each name lives in now, `package:name` where it is called otherwise.
    """
    return lambda name: _elsewhere(package, moved, name)


def moved_method(old: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method under the name that it had in an earlier version: it warns, and is the same.

    Args:
        old: the class and the name.
        method: what it is now.
    """

    @functools.wraps(method)
    def get(*args: Any, **options: Any) -> Any:
        _warn(old, f"{old.partition('.')[0]}.{method.__name__}", 3)
        return method(*args, **options)

    return get


def _elsewhere(package: str, moved: Mapping[str, str], name: str) -> Any:
    if name not in moved:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    place, _, now = moved[name].partition(":")
    _warn(f"{package}.{name}", f"{place}.{now or name}", 4)
    return getattr(importlib.import_module(place), now or name)


class MovedModules(MetaPathFinder, Loader):
    """Finds modules at the places that they had in an earlier version, with a warning."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a module that hands on what is asked of it; None for all that never moved."""
        place = _place_now(name)
        if place is None or importlib.util.find_spec(place) is None:
            return None
        return ModuleSpec(name, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        """Warn, and have the module answer for the one that it is now."""
        place = _place_now(module.__name__)
        assert place is not None  # of find_spec
        _warn(module.__name__, place, 3)
        now = importlib.import_module(place)
        module.__dict__.update(__doc__=now.__doc__, __getattr__=lambda name: getattr(now, name))


def find_moved_modules() -> None:
    """Have the modules of earlier versions found."""
    if not any(isinstance(each, MovedModules) for each in sys.meta_path):
        sys.meta_path.append(MovedModules())


def _place_now(name: str) -> str | None:
    for old, new in MOVED_MODULES.items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return None


def _warn(old: str, new: str, level: int) -> None:
    """Once for each place that asks, `level` calls above; FutureWarning is shown to users."""
    said = f"{old} is {new} now; the old name goes with 0.3"
    warnings.warn(said, FutureWarning, stacklevel=level)
