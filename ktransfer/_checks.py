"""The library's errors and the wording they share.

Everything that a caller can get wrong is raised as an `InputError` at the boundary, before any
download or training: what was received, what was expected, how to mend it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class InputError(ValueError):
    """What the caller gave cannot be used; the message says why and what to do instead."""


class RunError(InputError):
    """A saved run cannot be read (damaged, incomplete, of an unknown version) or written."""


def near_names(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The `count` known names most like `name`, best first; case does not matter."""
    by_folded = {each.casefold(): each for each in known}
    # cutoff 0: the nearest names are shown even for a far miss; an empty hint helps nobody.
    folded = difflib.get_close_matches(name.casefold(), by_folded, n=count, cutoff=0.0)
    return [by_folded[each] for each in folded]


def unknown_name(kind: str, name: str, known: Sequence[str]) -> InputError:
    """The error for a `name` that is none of `known`, with the three nearest names."""
    nearest = ", ".join(near_names(name, known))
    return InputError(f"unknown {kind} {name!r}: did you mean {nearest}?")
