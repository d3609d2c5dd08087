"""`ktransfer backbones --data`: what it prints, writes and refuses."""

import json
import os

import pytest
import tensorflow  # noqa: F401 - before click's runner replaces the standard streams
from click.testing import CliRunner
from conftest import write_pictures

from ktransfer import cli
from ktransfer.recommend import DEFAULTS

MINI = ("--candidate", "MobileNetV2", "--weights", "mini")


def run(*args):
    return CliRunner().invoke(cli.main, ["backbones", *(os.fspath(each) for each in args)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("cli") / "pictures", 6)


def test_without_data_it_lists_them_and_what_to_begin_with():
    text = " ".join(run().stdout.split())
    assert "MobileNetV2 2,257,984 19 224" in text
    assert all(each.reason in text for each in DEFAULTS)
    found = json.loads(run("--json").stdout)
    assert len(found["backbones"]) == 43
    assert [each["role"] for each in found["defaults"]] == [each.role for each in DEFAULTS]


def test_candidates_are_compared_and_the_picture_written(folder, tmp_path):
    picture = tmp_path / "front.svg"
    result = run("--data", folder, *MINI, "--candidate", "MobileNet,alpha=0.25,weights=none,"
                 "input_size=32", "--plot", picture, "--json")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    mini, random = found["candidates"]
    assert (mini["name"], mini["weights"], mini["input_size"]) == ("MobileNetV2", "mini", [96, 96])
    assert (random["name"], random["weights"], random["options"]) == (
        "MobileNet", None, {"alpha": 0.25},
    )  # fmt: skip
    assert random["input_size"] == [32, 32]
    assert found["best"] in found["candidates"]
    assert picture.read_text().startswith("<svg")
    assert {"import", "decode", "measure", "total"} <= found["seconds"].keys()
    assert "MobileNet alpha=0.25 input_size=32: " in result.stderr


@pytest.mark.slow
def test_for_people_there_is_a_table_and_what_to_type_next(folder):
    result = run("--data", folder, "--candidate", "MobileNet,alpha=0.25,weights=none,input_size=32")
    assert result.exit_code == 0, result.stderr
    assert "best: MobileNet alpha=0.25 input_size=32, features: " in result.stdout
    assert f"ktransfer train {folder} --backbone MobileNet --backbone-option alpha=0.25 " in (
        result.stdout
    )
    assert "--weights none --input-size 32 --out runs/mine" in result.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--candidate", "ResNet50"], "candidates are compared on images: give --data DATA"),
        (["--max-size-mb", "5"], "candidates are compared on images: give --data DATA"),
        (["--data", "{}", "--candidate", "resnet5"], "unknown backbone 'resnet5': did you mean"),
        (["--data", "{}", "--candidate", "ResNet50,alpha"], "'alpha' is not of the form KEY=VALUE"),
        (["--data", "{}", "--candidate", "ResNet50,weights=no.h5"], "no weights file 'no.h5'"),
        (["--data", "{}", "--weights", "no.h5"], "no weights file 'no.h5'"),
        (
            ["--data", "{}", "--max-memory-mb", "-2"],
            "max_memory_mb must be a number above 0, got -2",
        ),
        (["--data", "{}", "--plot", "front.pdf"], "--plot 'front.pdf' must end in .svg or .png"),
        (["--data", "{}", "--plot", "/no/front.svg"], "there is no folder '/no'"),
        (["--data", "no-such-folder"], "no such folder: 'no-such-folder'"),
    ],
)
def test_errors_come_before_any_work(folder, args, message):
    result = run(*(each.format(folder) for each in args), "--json")
    assert result.exit_code == 2
    assert message in result.stderr
    assert message in json.loads(result.stdout)["error"]


def test_a_picture_cannot_replace_a_folder(folder, tmp_path):
    (tmp_path / "front.svg").mkdir()
    result = run("--data", folder, "--plot", tmp_path / "front.svg")
    assert (result.exit_code, "is a folder; name a file" in result.stderr) == (2, True)
