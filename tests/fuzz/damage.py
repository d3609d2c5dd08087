"""Ways to damage bytes and JSON, each decided by a `random.Random`."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

_DEEP = "[" * 70 + "]" * 70
_ODD = (
    *(None, True, False, 0, -1, 1, 7, 2**31, 2**63, -(2**63), 10**30, 10**400, 0.5, -0.5, 1e300),
    *(float("nan"), float("inf"), "", "x", "0", "é\udcff\0", "../../etc/passwd", "/etc/passwd"),
    *(
        "y" * 5_000,
        [],
        {},
        [[]],
        [None],
        [1, 2, 3],
        ["a", "a"],
        {"": None},
        {"class_name": "Lambda"},
    ),
    json.loads(_DEEP),
)


def damaged_bytes(data: bytes, dice: random.Random) -> bytes:
    """The same bytes with one to eight changes: flipped, set, moved, cut, put in, torn off."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        if not changed:
            break
        # The beginning and the end hold what the rest is read by.
        size = len(changed)
        near = dice.choice((size, size, min(size, 2_048)))
        at = dice.randrange(near)
        at = size - 1 - at if dice.random() < 0.3 else at
        _damage(changed, at, dice)
    return bytes(changed)


def _damage(data: bytearray, at: int, dice: random.Random) -> None:
    kind = dice.randrange(7)
    if kind == 0:
        data[at] ^= 1 << dice.randrange(8)
    elif kind == 1:
        data[at] = dice.choice((0, 1, 127, 128, 255, dice.randrange(256)))
    elif kind == 2:
        count = dice.choice((2, 4, 8))
        values = (b"\xff" * count, b"\0" * count, len(data).to_bytes(count, "little", signed=False))
        data[at : at + count] = (
            dice.choice(values) if len(data) < 2**15 else values[dice.randrange(2)]
        )
    elif kind == 3:
        start = dice.randrange(len(data))
        piece = data[start : start + dice.randrange(1, 300)]
        data[at : at + len(piece)] = piece
    elif kind == 4:
        data[at:at] = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 40)))
    elif kind == 5:
        del data[at : at + dice.randrange(1, 40)]
    else:
        del data[at:]


def damaged_json(value: Any, dice: random.Random) -> Any:
    """The same plain data with one to three values lost, of another kind, moved or said twice."""
    box = [copy.deepcopy(value)]
    for _ in range(dice.choice((1, 1, 2, 3))):
        holder, key = dice.choice(list(_places(box)))
        _change(holder, key, box, dice)
    return box[0]


def _places(value: Any) -> Any:
    """Each place where a value lies: what holds it, and under which name or number."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        for key in each if isinstance(each, dict) else range(len(each)):
            yield each, key
            if isinstance(each[key], dict | list):
                waiting.append(each[key])


def _change(holder: Any, key: Any, box: list[Any], dice: random.Random) -> None:
    kind, value = dice.randrange(8), holder[key]
    if kind == 0 and holder is not box:
        del holder[key]
    elif kind == 1:
        holder[key] = [value]
    elif kind == 2:
        holder[key] = str(value)
    elif kind == 3 and isinstance(value, int | float) and abs(value) < 1e300:
        holder[key] = dice.choice((-value, value * 1_000_003, value + 0.5, not value))
    elif kind == 4:
        other, place = dice.choice(list(_places(box)))
        holder[key] = copy.deepcopy(other[place])
    elif kind == 5 and isinstance(holder, dict):
        holder[dice.choice(("", "class_name", "format", f"{key} "))] = value
    elif kind == 6 and isinstance(value, list) and value:
        value.append(copy.deepcopy(dice.choice(value)))
    else:
        holder[key] = copy.deepcopy(dice.choice(_ODD))


def damaged_text(value: Any, dice: random.Random) -> bytes:
    """JSON text of plain data, damaged as data or as bytes."""
    if dice.random() < 0.75:
        return json.dumps(damaged_json(value, dice)).encode()
    text = json.dumps(value)
    if dice.random() < 0.1:  # a field that is said twice
        return text.replace("{", '{"format": 1, ', 1).encode()
    if dice.random() < 0.1:
        return text.encode("utf-16")
    return damaged_bytes(text.encode(), dice)
