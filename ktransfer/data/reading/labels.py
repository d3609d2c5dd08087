"""Labels as people have them, integers, one-hot rows or names, as positions in the class names."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from ktransfer.data.parts import listed
from ktransfer.data.reading.odd_labels import NO_LABEL, whole_numbers
from ktransfer.errors import InputError, unknown_name


def check_class_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the class names as a tuple.

    An `InputError` unless they are two or more different strings.
    """
    if isinstance(class_names, str) or not all(isinstance(each, str) for each in class_names):
        raise InputError(f"class_names must be several strings, got {class_names!r}")
    names = tuple(class_names)
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice or len(names) < 2:
        fault = f"{listed(twice)} come twice" if twice else f"got {len(names)}"
        raise InputError(f"class_names must be two or more different names: {fault}")
    return names


def positions(
    labels: Any, class_names: Sequence[str] | None, source: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Label as positions in the class names.

    Args:
        labels: integers `(n,)` or `(n, 1)`, from 0, or booleans, also as Python objects; one-hot
            rows `(n, classes)`; or names `(n,)`.
        class_names: what the positions are called. None: "0", "1", ... or the names, sorted. Where
            they are "0", "1", ... in another order, integers count as names.
        source: what the labels come from, in words.

    Returns:
        int32 `(n,)`, and the class names.

    Raises:
        InputError: a label is NaN, no integer, no one-hot row, out of range or an unknown name.
    """
    values = np.asarray(labels)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dtype.kind == "O":
        values = _unboxed(values, source)
    if values.dtype.kind in "SUO":
        return _of_names(values, class_names, source)
    if values.dtype.kind not in "fiub" or values.ndim not in (1, 2):
        raise InputError(
            f"labels of {source} must be integers (n,), one-hot rows (n, classes) or names (n,), "
            f"got {values.dtype} of shape {values.shape}"
        )
    _check_numbers(values, source)
    width = values.shape[1] if values.ndim == 2 else None
    found = _hot(values, source) if width else values.astype(np.int64)
    names = _names(found, width, class_names, source)
    if set(names) == {str(at) for at in range(len(names))}:
        at_name = np.array([names.index(str(at)) for at in range(len(names))], np.int32)
        return at_name[found], names
    return found.astype(np.int32), names


def labels_by_name(labels: Any, own: tuple[str, ...], source: str) -> np.ndarray:
    """Label by the names that their source has for them, of which others have another order."""
    return np.array(own, object)[positions(labels, own, source)[0]]


def _unboxed(values: np.ndarray, source: str) -> np.ndarray:
    """Python's numbers as an array of numbers: a column of a table holds them so."""
    each = values.ravel().tolist()
    others = [at for at, one in enumerate(each) if not isinstance(one, Real | np.bool_)]
    if not each or any(isinstance(each[at], str | bytes) for at in others):
        return values
    if others:
        raise InputError(
            f"label {others[0]} of {source} is {each[others[0]]!r}: expected a name, or whole "
            "numbers alone; leave out what has no label"
        )
    whole = all(isinstance(one, Integral | np.bool_) for one in each)
    return values.astype(np.int64 if whole else np.float64)


def _check_numbers(values: np.ndarray, source: str) -> None:
    if values.dtype.kind != "f":
        return
    bad = ~np.isfinite(values)
    if bad.any():
        where = np.argwhere(bad)[0]
        raise InputError(
            f"label {where[0]} of {source} is {values[tuple(where)]}, one of {int(bad.sum())} that "
            "are no numbers: leave out what has no label"
        )
    if values.ndim == 1 and (values != np.rint(values)).any():
        first = int(np.flatnonzero(values != np.rint(values))[0])
        raise InputError(
            f"labels of {source} must be integers, got {values[first]:g} at {first}: this is no "
            "class"
        )


def _hot(rows: np.ndarray, source: str) -> np.ndarray:
    bad = ((rows != 0) & (rows != 1)).any(axis=1) | (rows.sum(axis=1) != 1)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        shown = np.array2string(rows[first], threshold=8, precision=3, separator=", ")
        raise InputError(
            f"label {first} of {source} is {shown}: expected a one-hot row, a 1 among zeros; "
            "several classes for an image, or shares of them, are not supported"
        )
    return rows.argmax(axis=1)


def _names(
    found: np.ndarray, width: int | None, class_names: Sequence[str] | None, source: str
) -> tuple[str, ...]:
    if class_names is None:
        _check_gaps(found, width, source)
        return tuple(str(at) for at in range(width or int(found.max(initial=-1)) + 1))
    if width and width != len(class_names):
        raise InputError(
            f"one-hot labels of {source} have {width} classes, class_names has {len(class_names)}"
        )
    _check_range(found, len(class_names), source)
    return tuple(class_names)


def _check_range(found: np.ndarray, count: int, source: str) -> None:
    bad = (found < 0) | (found >= count)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"label {found[first]} of {source} (at {first}, one of {int(bad.sum())}) lies outside "
            f"the class range 0 to {count - 1} of the {count} class names"
        )


def _check_gaps(found: np.ndarray, width: int | None, source: str) -> None:
    if (found < 0).any():
        first = int(np.flatnonzero(found < 0)[0])
        raise InputError(
            f"label {found[first]} of {source} (at {first}) lies outside the class range: labels "
            "count from 0"
        )
    used = np.unique(found)
    count = width or int(used.max(initial=-1)) + 1
    if len(used) < count:
        # Not np.arange(count): a label may be a number of a million.
        gaps = np.flatnonzero(used != np.arange(len(used)))
        absent = int(gaps[0]) if len(gaps) else len(used)
        raise InputError(
            f"labels of {source} go up to {count - 1}, but there is no image of {absent}: labels "
            "must be 0, 1, ... without a gap, unless class_names says what they are"
        )


def _of_names(
    values: np.ndarray, class_names: Sequence[str] | None, source: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    if values.ndim != 1:
        raise InputError(f"names as labels of {source} must be (n,), got {values.shape}")
    texts = [
        each.decode(errors="surrogateescape") if isinstance(each, bytes) else each
        for each in values.tolist()
    ]
    for at, each in enumerate(texts):
        if not isinstance(each, str) or each.casefold() in NO_LABEL:
            raise InputError(
                f"label {at} of {source} is {each!r}: expected a name, or whole numbers alone; "
                "leave out what has no label"
            )
    numbers = whole_numbers(texts)
    if numbers and not set(texts) <= set(class_names or ()):
        texts = [numbers[each] for each in texts]
    names = tuple(class_names) if class_names else tuple(sorted(set(texts)))
    at_name = {name: at for at, name in enumerate(names)}
    for each in dict.fromkeys(texts):
        if each not in at_name:
            raise InputError(f"{unknown_name('class', each, names)} (in {source})")
    return np.array([at_name[each] for each in texts], np.int32), names
