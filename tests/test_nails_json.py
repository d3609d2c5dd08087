"""What programs read of `--json` is still there, under the same keys and of the same types."""

import json

import pytest
from nails import json_keys
from nails.make import DATA

THEN = json.loads((DATA / "json_keys.json").read_text())
SLOW = ("tune", "export to ONNX", "backbones --data", "demo")


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With a cache of its own: phases that find something there are not in `seconds`."""
    folder = tmp_path_factory.mktemp("nails")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KTRANSFER_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def quick(folder):
    return json_keys.quick(folder)


@pytest.fixture(scope="module")
def slow(folder, quick):
    return json_keys.slow(folder)


@pytest.mark.parametrize("command", [each for each in THEN if each not in SLOW])
def test_keys_and_types_are_those_of_before(quick, command):
    assert lost(THEN[command], quick[command]) == []


@pytest.mark.slow
@pytest.mark.parametrize("command", SLOW)
def test_keys_and_types_of_longer_commands_are_those_of_before(slow, command):
    assert lost(THEN[command], slow[command]) == []


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
