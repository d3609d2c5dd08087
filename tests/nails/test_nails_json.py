"""What programs read of `--json` is still there, under the same keys and of the same types."""

import json

import pytest
from nails import json_keys
from nails.make import DATA

THEN = json.loads((DATA / "json_keys.json").read_text())
SLOW = ("export", "look", "tune", "export to ONNX", "backbones --data", "demo")


def lost(then, now, where="it"):
    """What is gone or of another type; whether a value is known, null or not, may change."""
    if "null" in (then, now):
        return []
    if isinstance(then, dict) and isinstance(now, dict):
        found = [f"{where} has no {name!r}" for name in then if name not in now]
        both = [name for name in then if name in now]
        return sum((lost(then[name], now[name], f"{where}.{name}") for name in both), found)
    if isinstance(then, list) and isinstance(now, list):
        if then and not now:
            return [f"{where} is empty"]
        return lost(then[0], now[0], f"{where}[0]") if then else []
    return [] if then == now else [f"{where} was {then!r} and is {now!r}"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """With a cache of its own: phases that find something there are not in `seconds`."""
    monkeypatch.setenv("KTRANSFER_CACHE", str(tmp_path / "cache"))
    return tmp_path


def all_lost(found):
    return [fault for name, keys in found.items() for fault in lost(THEN[name], keys, name)]


def test_keys_and_types_are_those_of_before(folder):
    found = json_keys.quick(folder)
    assert found.keys() == THEN.keys() - set(SLOW)
    assert all_lost(found) == []


@pytest.mark.slow
def test_keys_and_types_of_longer_commands_are_those_of_before(folder):
    json_keys.quick(folder)
    found = json_keys.slow(folder)
    assert found.keys() == set(SLOW)
    assert all_lost(found) == []


def test_no_command_but_the_first_says_that_it_failed():
    assert [name for name, keys in THEN.items() if "error" in keys] == ["error"]


def test_what_is_lost_is_found():
    then = {"a": ["number"], "b": {"c": "string"}, "d": "null", "e": "number"}
    now = {"a": [], "b": {"c": "number"}, "d": "string", "f": "string"}
    assert lost(then, now) == [
        "it has no 'e'",
        "it.a is empty",
        "it.b.c was 'string' and is 'number'",
    ]
