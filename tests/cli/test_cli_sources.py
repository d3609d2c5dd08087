"""The command line: how every command is told what labelled images are."""

import json
import os
import shlex

import numpy as np
import pytest
import tensorflow  # noqa: F401 - before click's runner replaces the standard streams
from click.testing import CliRunner
from conftest import write_pictures

from ktransfer import FineTuner, cli
from ktransfer.tuner import search

MINI = ("--weights", "mini")
SMALL = (*MINI, "--input-size", "32")
CLASSES = ("ant", "bee", "fly")
NAMES = ",".join(CLASSES)


def run(*args):
    return CliRunner().invoke(cli.main, [os.fspath(each) for each in args])


def last_json(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """An .npz file whose labels are numbers, three of them."""
    path = tmp_path_factory.mktemp("arrays") / "digits.npz"
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)
    np.savez(path, images=images, labels=np.arange(12) % 3)
    return path


@pytest.mark.parametrize(
    "command",
    [
        ("advise", "{data}", *SMALL),
        ("train", "{data}", *SMALL, "--out", "{out}"),
        ("tune", "{data}", *SMALL, "--out", "{out}"),
        ("look", "{data}", "--out", "{out}.png"),
        ("doctor", "{data}"),
        ("backbones", "--data", "{data}", *MINI, "--candidate", "MobileNetV2"),
    ],
    ids=lambda command: command[0],
)
def test_every_command_takes_names_for_labels_that_are_numbers(digits, tmp_path, command):
    given = [each.format(data=digits, out=tmp_path / "out") for each in command]
    result = run(*given, "--class-names", "ant,bee")
    assert result.exit_code == 2
    assert "outside the class range 0 to 1 of the 2 class names" in result.stderr


def test_what_is_shown_and_found_has_the_names_that_were_given(digits, tmp_path):
    page = last_json(
        run("look", digits, "--out", tmp_path / "x.png", "--json", "--class-names", NAMES)
    )
    assert {each["label"] for each in page["images"]} <= set(CLASSES)
    tuner = FineTuner("MobileNetV2", "mini", verbose=False)
    drawn = tuner.look(digits, tmp_path / "y.png", class_names=CLASSES)
    assert {label for _, label in drawn.images} <= set(CLASSES)
    report = last_json(run("doctor", digits, "--json", "--class-names", NAMES))
    assert report["counts"]["train"].keys() == set(CLASSES)


def test_names_decide_how_a_folder_is_read(tmp_path):
    folder = write_pictures(tmp_path / "pictures", 3, classes=("red", "blue"))
    names = ("images_1", "images_2")
    for name, new in zip(("red", "blue"), names, strict=True):
        (folder / name).rename(folder / new)
    refused = run("doctor", folder, "--json")
    assert json.loads(refused.stdout)["findings"][0]["kind"] == "layout"
    report = last_json(run("doctor", folder, "--json", "--class-names", ",".join(names)))
    assert "layout" not in [
        each["kind"] for each in report["findings"] if each["severity"] == "error"
    ]
    assert run("look", folder, "--out", tmp_path / "x.png").exit_code == 2
    assert run(
        "look", folder, "--out", tmp_path / "x.png", "--class-names", ",".join(names)
    ).exit_code == 0  # fmt: skip
    result = run("doctor", folder, "--class-names", "images_1,image_2")
    assert result.exit_code == 2
    assert "unknown class 'image_2': did you mean images_2" in result.stderr


def test_labels_of_a_table_are_positions_for_the_doctor_too(tmp_path):
    folder = write_pictures(tmp_path / "pictures", 3, classes=("red", "blue"))
    lines = [f"{name}/00{at}.png,{int(name == 'red')}" for name in ("red", "blue") for at in (0, 1)]
    (folder / "x.csv").write_text("\n".join(["path,label", *lines]))
    report = last_json(run("doctor", folder / "x.csv", "--json", "--class-names", "blue,red"))
    assert report["counts"]["train"] == {"blue": 2, "red": 2}


@pytest.mark.parametrize("role", ["chief of its own", "worker"])
def test_a_search_reads_its_images_by_the_names_noted(digits, tmp_path, monkeypatch, role):
    noted = []

    def carried_out(command, *_):
        noted.append(command)
        raise KeyboardInterrupt

    monkeypatch.setattr(search, "run", carried_out)
    monkeypatch.setattr(search, "work", carried_out)
    more = ("--role", "worker", "--chief", "localhost:1") if role == "worker" else ()
    run("tune", digits, *SMALL, *more, "--out", tmp_path / "out", "--class-names", NAMES)
    (command,) = noted
    assert search._read(command, {}).class_names == CLASSES


def test_the_command_to_type_next_has_the_names(digits):
    result = run("advise", digits, *SMALL, "--class-names", NAMES)
    assert result.exit_code == 0, result.output
    (line,) = (each for each in result.stdout.splitlines() if "ktransfer train" in each)
    words = shlex.split(line)
    assert words[words.index("--class-names") + 1] == NAMES
