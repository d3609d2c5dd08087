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


class DownloadError(InputError):
    """Weights cannot be downloaded; everything else about the request may be right."""


def near_names(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return the `count` known names most like `name`, best first; case does not matter."""
    by_folded = {each.casefold(): each for each in known}
    # cutoff 0: the nearest names are shown even for a far miss; an empty hint helps nobody.
    folded = difflib.get_close_matches(name.casefold(), by_folded, n=count, cutoff=0.0)
    return [by_folded[each] for each in folded]


def unknown_name(kind: str, name: str, known: Sequence[str]) -> InputError:
    """Return the error for a `name` that is none of `known`, with the three nearest names."""
    nearest = ", ".join(near_names(name, known))
    return InputError(f"unknown {kind} {name!r}: did you mean {nearest}?")


def check_pixel_range(low: float, high: float, integers: bool) -> None:
    """Raise an `InputError` if images are not RGB in [0, 255], or evidently scaled already.

    Args:
        low: the smallest value.
        high: the largest value.
        integers: whether the values are of an integer type.
    """
    received = f"got values from {low:g} to {high:g}"
    # An integer 1 is one of 256 grey levels; a float maximum of 1 is a scaled image.
    if not integers and -1 <= low < 0 and high <= 1:
        raise InputError(
            f"images must be RGB in [0, 255], {received}: they look scaled to [-1, 1]; use "
            "127.5 * (x + 1)"
        )
    if not integers and low >= 0 and 0 < high <= 1:
        raise InputError(
            f"images must be RGB in [0, 255], {received}: they look scaled to [0, 1]; multiply "
            "by 255"
        )
    if low < 0 or high > 255:
        raise InputError(
            f"images must be RGB in [0, 255], {received}: give the pixels as they were read, the "
            "preprocessing is inside the backbone"
        )
