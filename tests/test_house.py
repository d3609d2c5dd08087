"""The house is as CONTRIBUTING draws it: rows of rooms, no circles, no file too long to read."""

import configparser
import re
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ktransfer"


@pytest.fixture(scope="module")
def imports():
    """For each module that is no front of a package, those of the same kind that it imports."""
    graph = grimp.build_graph("ktransfer", cache_dir=None)
    fronts = {name for name in graph.modules if graph.find_children(name)}
    found = {
        name: graph.find_modules_directly_imported_by(name) - fronts
        for name in graph.modules - fronts
    }
    inwards = {
        (name, each)
        for name in graph.modules
        for each in graph.find_modules_directly_imported_by(name)
        if each in fronts and name.startswith(f"{each}.")
    }
    return found, inwards


def rows_of_contract():
    contract = configparser.ConfigParser()
    contract.read(ROOT / "setup.cfg")
    layers = contract["importlinter:contract:rows"]["layers"].split("\n")
    return [set(re.split(r" [:|] ", line)) for line in layers if line and not line.startswith("#")]


def test_contributing_draws_the_rows_of_the_contract():
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("| rooms of a row |")[2]
    table = text.partition("\n\n")[0].splitlines()[2:]
    drawn = [set(re.findall(r"`(\w+)`", line.split("|")[1])) for line in table]
    assert drawn == rows_of_contract()
    assert len(drawn) <= 13


def test_files_that_contributing_sends_to_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("| to do this |")[2]
    named = re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", text.partition("\n\n")[0])
    assert len(named) >= 10
    assert [each for each in named if not (PACKAGE / each).is_file()] == []


def test_the_top_floor_is_small():
    top = {each.name for each in PACKAGE.iterdir() if each.name != "__pycache__"}
    assert len(top) <= 32
    assert len([each for each in top if re.match("_[^_]", each)]) <= 3


def test_no_file_is_too_long_to_read():
    lengths = {each: len(each.read_text().splitlines()) for each in PACKAGE.rglob("*.py")}
    assert {str(each): length for each, length in lengths.items() if length > 400} == {}
    assert lengths[PACKAGE / "finetuner" / "finetuner.py"] <= 350


def test_no_module_imports_the_front_of_its_own_package(imports):
    # The errors are in their front; what both halves of a quantising process share is in theirs.
    own = {"ktransfer.errors", "ktransfer.export.quantising"}
    assert {(name, front) for name, front in imports[1] if front not in own} == set()


def test_no_circle_of_imports(imports):
    left = {name: set(others) for name, others in imports[0].items()}
    while ends := {name for name, others in left.items() if not others}:
        left = {name: others - ends for name, others in left.items() if name not in ends}
    assert left == {}, "modules of a circle, and those that lead to one"


@pytest.mark.parametrize(
    ("module", "name"), [("export", "Trained"), ("plan", "choose_plan"), ("rates", "Sweep")]
)
def test_what_has_moved_is_said_where_it_is_asked_for(module, name):
    sys.modules.pop(f"ktransfer.{module}" if module == "rates" else "", None)
    with pytest.warns(FutureWarning, match="the old name goes") as said:
        exec(compile(f"from ktransfer.{module} import {name}", "asked here.py", "exec"), {})
    assert {each.filename for each in said} == {"asked here.py"}


def test_what_is_no_code_is_installed_with_the_package():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    patterns = settings["options.package_data"]["ktransfer"].split()
    files = [
        each.relative_to(PACKAGE)
        for each in PACKAGE.rglob("*")
        if each.is_file() and each.suffix not in (".py", ".pyc")
    ]
    assert len(files) > 20
    installed = {found for pattern in patterns for found in PACKAGE.glob(pattern)}
    assert [each for each in files if PACKAGE / each not in installed] == []
