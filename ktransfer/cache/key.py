"""Keys of entries: the checksum of all that decides the values, as plain data."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from typing import Any

from ktransfer.errors import InputError

FORMAT = 1
KEY = re.compile(r"[0-9a-f]{64}")


def content_key(**parts: Any) -> str:
    """Return the key of what these parts decide: the SHA-256 of their canonical JSON, in hex.

    Args:
        parts: all that the values depend on, as plain data: None, booleans, finite numbers, text,
            lists (tuples count as such) and dictionaries with text as keys. 1 and 1.0 differ.

    Returns:
        64 hexadecimal digits. The order of the parts does not count; `FORMAT` does.

    Raises:
        InputError: a part is not plain data; the message names it.

    Example:
        >>> content_key(cut=3, images=["ab12"]) == content_key(images=["ab12"], cut=3)
        True
    """
    for name, value in parts.items():
        check_plain(f"the part {name!r} of a cache key", value)
    content = {"format": FORMAT, "parts": parts}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def check_key(key: str) -> str:
    """Return the key itself; InputError if it is none."""
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise InputError(f"a cache key is 64 hexadecimal digits, from content_key; got {key!r}")
    return key


def check_plain(what: str, value: Any) -> None:
    """Refuse what JSON would not give back as it is (NaN, objects, keys that are no text)."""
    try:
        found = next(_not_plain(value), None)
    except RecursionError:
        found = "nesting without end"
    if found is not None:
        raise InputError(
            f"{what} must be plain data (None, booleans, finite numbers, text, lists, dictionaries "
            f"with text as keys), got {found}"
        )


def _not_plain(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"the key {key!r}" for key in value if not isinstance(key, str))
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _not_plain(each)
    elif isinstance(value, float) and not math.isfinite(value):
        yield repr(value)
    elif not isinstance(value, str | int | float | None):
        yield f"{value!r} ({type(value).__name__})"
