"""Whatever was public can still be imported and called as before; `--help` says the same."""

import importlib
import json
import warnings

import pytest
import tensorflow  # noqa: F401 - before click's runner replaces the standard streams
from nails import help_texts, public_names
from nails.make import DATA

NAMES = json.loads((DATA / "names.json").read_text())
SIGNATURES = json.loads((DATA / "signatures.json").read_text())
OPTIONS = json.loads((DATA / "options.json").read_text())
POSITIONAL = ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD")


def got(module, name):
    """What is imported by a name, which may say that it has moved, and where to."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        value = getattr(importlib.import_module(module), name)
    for each in said:
        assert issubclass(each.category, DeprecationWarning | FutureWarning), each.message
        assert "ktransfer." in str(each.message), "it says where to find it now"
    return value


def lost(then, now):
    """What callers of then would miss now, in words."""
    if then["is"] != now["is"]:
        return [f"it was a {then['is']} and is a {now['is']}"]
    if then["is"] == "data":
        return [f"{each!r} is gone" for each in then["holds"] if each not in now["holds"]]
    faults = lost_parameters(then.get("parameters", []), now.get("parameters", []))
    members = now.get("members", {})
    for name, member in then.get("members", {}).items():
        found = lost(member, members[name]) if name in members else ["it is gone"]
        faults += [f"{name}: {each}" for each in found]
    return faults


def lost_parameters(then, now):
    by_name = {each[0]: each for each in now}
    faults = [
        f"parameter {each} is now {by_name.get(each[0])}"
        for each in then
        if by_name.get(each[0]) != each
    ]
    before, after = (
        [name for name, kind, *_ in parameters if kind in POSITIONAL] for parameters in (then, now)
    )
    if after[: len(before)] != before:
        faults.append(f"by position it takes {after}, and took {before}")
    return faults


@pytest.mark.parametrize("module", NAMES)
def test_every_public_name_can_still_be_imported(module):
    for name in NAMES[module]:
        assert got(module, name) is not None


@pytest.mark.parametrize("name", SIGNATURES)
def test_everything_public_is_still_called_as_before(name):
    module, _, last = name.rpartition(".")
    assert lost(SIGNATURES[name], public_names.described(got(module, last))) == []


def test_what_is_lost_is_found():
    def then(a, b=1, *, c=2): ...

    def now(new, a, b=2): ...

    described = [public_names.described(each) for each in (then, now)]
    assert lost(*described) == [
        "parameter ['b', 'POSITIONAL_OR_KEYWORD', '1'] is now ['b', 'POSITIONAL_OR_KEYWORD', '2']",
        "parameter ['c', 'KEYWORD_ONLY', '2'] is now None",
        "by position it takes ['new', 'a', 'b'], and took ['a', 'b']",
    ]
    assert lost(described[0], described[0]) == []


def test_no_command_and_no_way_to_write_an_option_is_lost():
    now = help_texts.options()
    for command, options in OPTIONS.items():
        assert [each for each in options if each not in now[command]] == [], command


def test_help_reads_as_before():
    now = {name: text.split() for name, text in help_texts.help_texts().items()}
    then = {file.stem: file.read_text().split() for file in (DATA / "help").iterdir()}
    assert now == then
