"""Plain data, as JSON gives it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the tuples that JSON made lists of; what lies deeper stays as it is."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
