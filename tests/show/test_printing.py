"""Names of files, classes and stages on the terminal and in tables, whatever they hold."""

import csv
import dataclasses
import os
import re
import shutil
from pathlib import Path

import pytest
import served_models
from click.testing import CliRunner
from conftest import small_network, write_pictures

from ktransfer import FineTuner, cli
from ktransfer.cli.terminal import echo, show, styled
from ktransfer.data import read_data
from ktransfer.doctor import inspect_data, write_manifest
from ktransfer.files.formulas import cell_of, name_in, path_cell
from ktransfer.plan import linear_probe
from ktransfer.show.printable import printable
from ktransfer.show.progress import progress_bar, say, working

#: A title of the terminal's window, colours, a bell, a line that begins anew, text from right to
#: left; and what rich takes for markup and for an emoji.
HOSTILE = "[/x]\x1b]0;title\x07\x1b[31m[red]:car:\rok\u202egnp"
SHOWN = r"[/x]\x1b]0;title\x07\x1b[31m[red]:car:\rok\u202egnp"


def named_pictures(folder, per_class, names):
    """Pictures of classes of any names."""
    write_pictures(folder, per_class)
    for colour, name in zip(("blue", "green", "red"), names, strict=False):
        (folder / colour).rename(folder / name)
    return folder


def is_safe(text):
    """Whether there is nothing in it but text, its lines, and colours of our own."""
    without_colours = re.sub(r"\x1b\[[0-9;?]*[mKlhAG]|\r", "", text)
    return all(each.isprintable() for each in without_colours.split("\n"))


@pytest.mark.parametrize("force", ["", "1"])
def test_progress_shows_names_as_they_are(force, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", force)  # a terminal, as rich sees it
    monkeypatch.setenv("COLUMNS", "200")
    say(HOSTILE, "second")
    said = capsys.readouterr().err
    assert said == f"{SHOWN}\nsecond\n"
    with progress_bar(HOSTILE, 3) as show:
        show(1, 3)
    with working(HOSTILE):
        pass
    shown = capsys.readouterr().err
    assert (SHOWN in shown) == bool(force)
    assert is_safe(shown)


def test_lines_of_commands_show_names_as_they_are_between_colours_of_ours(capsys):
    echo(styled(HOSTILE, bold=True), HOSTILE, " end")
    said = capsys.readouterr().out
    assert re.sub(r"\x1b\[[01]m", "", said) == SHOWN * 2 + " end\n"
    assert printable(printable(HOSTILE)) == SHOWN


def test_training_shows_no_name_raw(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    names = (HOSTILE.replace("/", ""), "[bold]")
    photos = named_pictures(tmp_path / "photos", 4, names)
    shutil.copy(photos / names[0] / "000.png", photos / names[1] / "copy.png")
    tuner = FineTuner(small_network(), verbose=True)
    plan = linear_probe(epochs=1)
    plan = dataclasses.replace(plan, stages=[dataclasses.replace(plan.stages[0], name="[/x]")])
    result = tuner.fit(photos, plan=plan)
    show(result.printed())
    show(result.details(HOSTILE))
    said = capsys.readouterr()
    assert "[x]\\x1b]0;title" in said.err  # the contradiction is told while it trains
    assert "[/x]: 1 epochs" in said.out
    assert is_safe(said.err)
    assert is_safe(said.out)


def test_a_report_that_is_printed_holds_no_name_raw(tmp_path):
    photos = named_pictures(tmp_path / "photos", 2, ["plain"])
    (photos / "plain" / HOSTILE.replace("/", "")).write_text("no image")
    said = str(inspect_data(photos).report)
    assert "[x]\\x1b]0;title" in said
    assert is_safe(said)


def test_commands_write_lines_in_one_place_only():
    for file in Path(cli.__file__).parent.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        echoes = re.findall(r"(?:click\.echo|click\.secho|\bprint)\((.*)", text)
        if file.name == "terminal.py":
            assert len(echoes) == 2  # a line made safe, and JSON in ASCII
        else:
            assert echoes in ([], ["context.get_help())"])


def test_errors_of_commands_show_no_name_raw(tmp_path):
    model = served_models.write(tmp_path / "means.onnx")
    (tmp_path / HOSTILE.replace("/", "")).write_text("no image")
    done = CliRunner().invoke(cli.main, ["predict", str(model), str(tmp_path)])
    assert done.exit_code == 2
    assert is_safe(done.output)
    assert "[x]\\x1b]0;title" in done.stderr
    done = CliRunner().invoke(cli.main, ["predict", str(model), HOSTILE])
    assert is_safe(done.output)


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30", "'+49 30"),
        ("-red", "'-red"),
        ("@blue", "'@blue"),
        ("\t=1", "'\t=1"),
        ("\uff1d1", "'\uff1d1"),
        ("'=1", "''=1"),
        ("-1", "-1"),
        ("+0.5", "+0.5"),
        ("red", "red"),
        ("'s Gravenhage", "'s Gravenhage"),
        ("", ""),
    ],
)
def test_no_cell_begins_a_formula_and_every_name_comes_back(name, cell):
    assert cell_of(name) == cell
    assert name_in(cell) == name


def test_a_path_that_begins_a_formula_is_spelled_otherwise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "=1.png").touch()
    assert path_cell("=1.png") == "./=1.png"
    assert os.path.samefile(path_cell("=1.png"), "=1.png")
    assert path_cell("photos/=1.png") == "photos/=1.png"


def test_predictions_hold_no_formula(tmp_path, monkeypatch):
    described = served_models.describe(class_names=["=1+1", "green", "-red"])
    model = served_models.write(tmp_path / "means.onnx", described)
    (write_pictures(tmp_path, 1) / "red" / "000.png").rename(tmp_path / "=cmd.png")
    monkeypatch.chdir(tmp_path)
    args = ["predict", str(model), "=cmd.png", "--csv", "found.csv"]
    assert CliRunner().invoke(cli.main, args).exit_code == 0
    with open("found.csv", newline="") as stream:
        header, row = csv.reader(stream)
    assert header == ["path", "label", "probability", "'=1+1", "green", "'-red"]
    assert row[:2] == ["./=cmd.png", "'-red"]


def test_a_manifest_holds_no_formula_and_gives_the_names_back(tmp_path):
    names = ("'=1+1", "-red", "=1+1")
    photos = named_pictures(tmp_path / "photos", 2, names)
    write_manifest(tmp_path / "clean.csv", inspect_data(photos), exclude=False)
    with open(tmp_path / "clean.csv", newline="") as stream:
        labels = {row["label"] for row in csv.DictReader(stream)}
    assert labels == {"''=1+1", "'-red", "'=1+1"}
    assert read_data(tmp_path / "clean.csv").class_names == names
