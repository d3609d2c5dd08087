"""Labels that say something else than they seem to: 1.0 a whole number, NA that there is none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ktransfer.data.parts import listed

#: What no class is called: nothing, and how pandas and NumPy print a missing value.
NO_LABEL = ("", "nan")

# How other programs write that there is no value. Each may be a class, and hardly ever is.
_MISSING = frozenset(("na", "n/a", "#n/a", "<na>", "nan", "nat", "none", "null", "nil"))
_FRACTION = re.compile(r"-?\d*\.\d+")
_WHOLE = re.compile(r"(-?\d+)(\.0*)?")


def whole_numbers(labels: Iterable[str]) -> dict[str, str]:
    """Say what labels are read as where all are whole numbers, some of them written as fractions.

    A column of whole numbers that has a gap becomes one of fractions in pandas, and in the CSV file
    that is written of it: 1 and 1.0 are one class.

    Example:
        >>> whole_numbers(["0.0", "1.0", "2"]), whole_numbers(["1.0", "1.5"])
        ({'0.0': '0', '1.0': '1', '2': '2'}, {})
    """
    found = {label: _WHOLE.fullmatch(label) for label in labels}
    if not any("." in label for label in found) or None in found.values():
        return {}
    return {label: str(int(match[1])) for label, match in found.items() if match}


def says_nothing(class_name: str) -> bool:
    """Tell whether a class is called as programs call a missing value: NA, None, null."""
    return class_name.strip().casefold() in _MISSING


def label_hint(class_name: str) -> str:
    """Say what to add to a message on a class of few images, where its name says why."""
    if says_nothing(class_name):
        return f"; or leave it out, if {class_name!r} says that there is no label"
    if _FRACTION.fullmatch(class_name):
        return "; measured numbers are no classes: divide them into some, as pandas.cut does"
    return ""


def several_notes(class_names: Sequence[str]) -> list[str]:
    """Return a note on classes called as several others together: `cat|dog` beside cat, dog."""
    known = set(class_names)
    several = [name for name in class_names if len(own := _pieces(name)) > 1 and own <= known]
    if not several:
        return []
    are = "is called as several classes" if len(several) == 1 else "are called as several classes"
    return [
        f"{listed(several, 4)} {are} together, and read as one of its own: an image has one label "
        "here"
    ]


def _pieces(name: str) -> set[str]:
    return {each for each in re.split(r"[|;,\s]+", name) if each}


def counted(counts: Mapping[str, int]) -> str:
    """Return names with how many images each has: 'NA' (3 images) and 'None' (1 image)."""
    each = [f"{name!r} ({n:,} image{'' if n == 1 else 's'})" for name, n in counts.items()]
    return " and ".join(filter(None, (", ".join(each[:-1]), each[-1])))


def missing_value_notes(counts: Mapping[str, int]) -> list[str]:
    """Return a note on classes called as a missing value is, of the images of each class."""
    found = {name: count for name, count in counts.items() if says_nothing(name)}
    if not found:
        return []
    return [
        f"{counted(found)} {'is' if len(found) == 1 else 'are'} read as a class: where it says "
        "that there is no label, leave these images out, by their rows or their folder"
    ]
