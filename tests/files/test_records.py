"""Dataclasses hold what their annotations say."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from ktransfer.files.records import check_typed


@dataclasses.dataclass
class Inner:
    number: int = 1


@dataclasses.dataclass
class Outer:
    text: str = "x"
    ratio: float = 0.5
    yes: bool = True
    maybe: float | None = None
    pair: tuple[float, float] = (0.0, 1)
    names: tuple[str, ...] = ("a",)
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    rows: tuple[dict[str, Any], ...] = ({"a": [object()]},)
    inner: Inner | None = dataclasses.field(default_factory=Inner)
    array: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2))


def test_what_its_annotations_say_passes():
    check_typed(Outer(), "it")
    check_typed(Outer(maybe=1, counts={"a": 2}, inner=None), "it")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("ratio", 10**400, "it.ratio is a number of 1,329 bits"),
        ("text", None, "it.text is NoneType, not str"),
        ("ratio", "0.5", "it.ratio is str, not float"),
        ("ratio", True, "it.ratio is bool, not float"),
        ("yes", 1, "it.yes is int, not bool"),
        ("maybe", "x", "it.maybe is str, not float"),
        ("pair", (1.0,), "it.pair has 1 parts instead of 2"),
        ("pair", [1.0, 2.0], "it.pair is list, not tuple"),
        ("names", ("a", 1), r"it.names\[1\] is int, not str"),
        ("counts", {"a": 0.5}, r"it.counts\['a'\] is float, not int"),
        ("rows", ({1: 2},), r"it.rows\[0\]: the name 1 is int, not str"),
        ("inner", Inner("x"), "it.inner.number is str, not int"),
        ("array", np.array(["x"]), "it.array does not hold numbers"),
    ],
)
def test_field_of_another_type_is_named(field, value, message):
    with pytest.raises(TypeError, match=message):
        check_typed(dataclasses.replace(Outer(), **{field: value}), "it")
