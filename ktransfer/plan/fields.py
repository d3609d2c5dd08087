"""Checks of single fields, the same for a constructor's arguments and for what a file says."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

from ktransfer.errors import InputError, unknown_name


class Range(NamedTuple):
    """Which numbers a field takes: in words for the error, and as a test."""

    words: str
    holds: Callable[[float], bool]


POSITIVE = Range("above 0", lambda value: value > 0)
NOT_NEGATIVE = Range("at least 0", lambda value: value >= 0)
SHARE = Range("at least 0 and under 1", lambda value: 0 <= value < 1)
FACTOR = Range("above 0 and at most 1", lambda value: 0 < value <= 1)


def text(where: str, field: str, value: Any) -> str:
    """Check a name: not empty, and no line break, which would spoil every table."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise InputError(f"{where}: {field} must be a printable, non-empty string, got {value!r}")
    return value


def truth(where: str, field: str, value: Any) -> bool:
    """Check for True or False, and not a number or a string that only looks like it."""
    if not isinstance(value, bool):
        raise InputError(f"{where}: {field} must be true or false, got {value!r}")
    return value


def whole(where: str, field: str, value: Any, at_least: int) -> int:
    """Return a whole number; NumPy's integers count, bools do not."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{where}: {field} must be a whole number, got {value!r}")
    if value < at_least:
        raise InputError(f"{where}: {field} must be at least {at_least}, got {value!r}")
    return int(value)


def number(where: str, field: str, value: Any, bounds: Range) -> float:
    """Check a finite number within bounds, as a float: JSON reads 1.0 back as it wrote it."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not real or not _is_finite(value) or not bounds.holds(value):
        raise InputError(f"{where}: {field} must be a finite number {bounds.words}, got {value!r}")
    return float(value)


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the largest float, as JSON allows it
        return False


def one_of(where: str, field: str, value: Any, known: Sequence[str]) -> str:
    """Return one of the known names."""
    if not isinstance(value, str):
        raise InputError(f"{where}: {field} must be one of {', '.join(known)}, got {value!r}")
    if value not in known:
        raise InputError(f"{where}: {unknown_name(field, value, known)}")
    return value


def check_names(where: str, kind: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse names that are not known, the first one by name with near ones."""
    for name in given:
        if name not in known:
            raise InputError(f"{where}: {unknown_name(kind, str(name), known)}")


def field_names(kind: Any) -> tuple[str, ...]:
    """Return the names of the fields of a dataclass."""
    return tuple(each.name for each in dataclasses.fields(kind))


def build(kind: Any, data: Any, where: str) -> Any:
    """Return a dataclass from plain data, whose fields the class itself checks.

    Raises:
        InputError: It is no mapping, has a field that the class does not have, or lacks one that
            has no default.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{where} must be an object with fields, got {data!r}")
    check_names(where, "field", data, field_names(kind))
    for each in dataclasses.fields(kind):
        if each.default is dataclasses.MISSING and each.name not in data:
            raise InputError(f"{where}: the field {each.name!r} is missing, got {sorted(data)}")
    return kind(**data)
