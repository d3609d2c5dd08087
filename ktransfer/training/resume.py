"""What a training was started with, so that only the same one is resumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ktransfer.errors import RunError

Request = dict[str, Any]


def check_same(then: Request, now: Request, folder: str) -> None:
    """Refuse to resume a training with something else than it was started with.

    Args:
        then: what it was started with: plain data, by topic ("data", "classes", "backbone",
            "plan", "settings").
        now: what it would be resumed with.
        folder: where it lies, for the message.

    Raises:
        RunError: they differ; the message names every difference.
    """
    found = list(differences(then, now))
    if found:
        raise RunError(
            f"cannot resume {folder}: it was started with something else ({'; '.join(found)}). "
            "Give what it was started with, or start anew in another folder"
        )


def differences(
    then: Request, now: Request, sides: tuple[str, str] = ("then", "now")
) -> Iterator[str]:
    """Each difference in words: what it was then, what it is now.

    Args:
        then: by topic, as in `check_same`.
        now: the same; only its topics are compared.
        sides: what to call the two.
    """
    for topic in now:
        yield from _compared(topic, then.get(topic), now[topic], sides)


def _compared(name: str, then: Any, now: Any, sides: tuple[str, str]) -> Iterator[str]:
    if then == now:
        return
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*then, *now)):
            yield from _compared(f"{name} {key}", then.get(key), now.get(key), sides)
    elif _are_stages(then) and _are_stages(now) and len(then) == len(now):
        for old, new in zip(then, now, strict=True):
            yield from _compared(f"{name} {old['name']!r}", old, new, sides)
    elif _is_digest(then) and _is_digest(now):
        yield f"{name}: other contents than {sides[0]}"
    else:
        yield f"{name}: {_short(then)} {sides[0]}, {_short(now)} {sides[1]}"


def _are_stages(value: Any) -> bool:
    return isinstance(value, Sequence) and all(
        isinstance(each, Mapping) and "name" in each for each in value
    )


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
