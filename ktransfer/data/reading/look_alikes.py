"""Names that look alike and are not the same: capitals, blanks, and two ways to write an accent."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Group names that look alike, each group sorted."""
    groups: dict[str, set[str]] = {}
    for name in names:
        groups.setdefault(_seen(name), set()).add(name)
    return [tuple(sorted(each)) for _, each in sorted(groups.items()) if len(each) > 1]


def look_alike_notes(names: Iterable[str]) -> list[str]:
    """Return a note for each group of classes whose names look alike."""
    return [
        f"the classes {told(group)} look alike and differ in {difference(group)}: they are read as "
        f"{len(group)} classes; give them one name if they are one"
        for group in look_alikes(names)
    ]


def differing(expected: Collection[str], found: Collection[str]) -> str:
    """Say what to add to a message on names that are not the same.

    Those which only look the same.
    """
    mixed = set(expected) ^ set(found)
    groups = look_alikes(mixed)
    pairs = [f"{told(each)} look alike and differ in {difference(each)}" for each in groups]
    return f" ({'; '.join(pairs)})" if pairs else ""


def folded(name: str) -> str:
    """Return a name without what systems do not agree on: capitals, accents, blanks at its ends."""
    return unicodedata.normalize("NFC", name).casefold().strip()


def difference(names: Collection[str]) -> str:
    """In what names differ that look alike, in words.

    Example:
        >>> difference(("Ants", "ants")), difference(("ants", "ants "))
        ('capitals', 'blanks')
    """
    steps = {
        "how accents are written, Unicode NFC and NFD": lambda name: _composed(name),
        "capitals": lambda name: name.casefold(),
        "blanks": lambda name: " ".join(name.split()),
        "blanks, hyphens and underscores": _without_separators,
        "capitals and accents": lambda name: _composed(_composed(name).casefold()),
    }
    for words, step in steps.items():
        if len({step(each) for each in names}) == 1:
            return words
    return "capitals, blanks or characters that cannot be seen"


def told(names: Collection[str]) -> str:
    """Names in quotes; with what makes the difference spelt out where print does not show it."""
    composed = {unicodedata.normalize("NFC", each) for each in names}
    show = ascii if len(composed) < len(set(names)) else repr
    return " and ".join(show(each) for each in names)


def _seen(name: str) -> str:
    """Say what is left of a name as it is seen."""
    return _without_separators(_composed(_composed(name).casefold()))


def _composed(name: str) -> str:
    return unicodedata.normalize("NFKC", name)


def _without_separators(name: str) -> str:
    seen = "".join(each for each in name if each.isspace() or not _is_unseen(each))
    return re.sub(r"[\s_-]+", " ", seen.strip())


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in ("Cf", "Cc")
