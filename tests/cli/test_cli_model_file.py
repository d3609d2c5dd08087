"""`--backbone PATH.keras`: a model of one's own from the command line, also when it has moved."""

import csv
import json
import os
import shlex

import pytest
import tensorflow  # noqa: F401 - before click's runner replaces the standard streams
from click.testing import CliRunner
from conftest import small_network, write_pictures

from ktransfer import FineTuner, cli
from ktransfer.cli.resume import command_to_resume
from ktransfer.finetuner.made import Circumstances

QUICK = ("--unfreeze", "1", "--epochs", "1", "--no-check", "--similarity", "similar")


def run(*args):
    return CliRunner().invoke(cli.main, [os.fspath(each) for each in args])


def last_json(result):
    return json.loads(result.stdout.splitlines()[-1])


def said(result):
    return " ".join(result.output.split())


@pytest.fixture
def model(tmp_path):
    small_network().save(tmp_path / "mine.keras")
    return tmp_path / "mine.keras"


@pytest.fixture
def photos(tmp_path):
    return write_pictures(tmp_path / "photos", 12)


def test_a_run_of_an_own_model_needs_its_file_no_more(model, photos, tmp_path):
    out = tmp_path / "run"
    trained = run("train", photos, "--backbone", model, *QUICK, "--out", out, "--json")
    assert trained.exit_code == 0, trained.output
    assert last_json(trained)["backbone"] == "mine.keras"
    model.unlink()
    predicted = run("predict", out, photos, "--csv", tmp_path / "said.csv", "--json")
    assert predicted.exit_code == 0, predicted.output
    with (tmp_path / "said.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 36
    assert run("evaluate", out, photos, "--json").exit_code == 0
    assert "mine.keras" in FineTuner.load(out, verbose=False).backbone.name
    report = run("report", out, "--out", tmp_path / "report.html")
    assert report.exit_code == 0, report.output
    page = (tmp_path / "report.html").read_text()
    assert "--backbone mine.keras" in page
    assert "--weights own" not in page


def interrupted(*args, **options):
    raise KeyboardInterrupt


def test_a_training_goes_on_where_the_model_file_is_now(model, photos, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as once:
        once.setattr(Circumstances, "classifier", interrupted)
        run("train", photos, "--backbone", model, *QUICK, "--out", out)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    model.rename(moved / model.name)
    gone = run("train", "--resume", out)
    assert gone.exit_code != 0
    assert f"begun with the model in {str(model)!r}, which is no longer there" in said(gone)
    assert "--backbone PATH" in said(gone)
    resumed = run("train", "--resume", out, "--backbone", moved / model.name, "--json")
    assert resumed.exit_code == 0, resumed.output
    assert last_json(resumed)["backbone"] == "mine.keras"


def test_another_model_in_its_place_is_refused(model, photos, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as once:
        once.setattr(Circumstances, "classifier", interrupted)
        run("train", photos, "--backbone", model, *QUICK, "--out", out)
    changed = small_network()
    changed.layers[2].kernel.assign_add(changed.layers[2].kernel)
    changed.save(model)
    refused = run("train", "--resume", out)
    assert refused.exit_code != 0
    assert "it was started with something else (backbone weights" in said(refused)


def test_the_next_command_names_the_file_and_no_weights(model, photos):
    result = run("advise", photos, "--backbone", model, "--similarity", "similar", "-q")
    assert result.exit_code == 0, result.output
    line = next(each for each in result.stdout.splitlines() if each.startswith("Next"))
    words = shlex.split(line)
    assert words[words.index("--backbone") + 1] == str(model)
    assert "--weights" not in words


def test_candidates_may_be_files(model, photos):
    result = run("backbones", "--data", photos, "--candidate", model)
    assert result.exit_code == 0, result.output
    assert f"--backbone {model}" in said(result)
    assert "--weights" not in said(result)


def test_look_and_simulate_know_a_model_file(model, photos, tmp_path):
    looked = run("look", photos, "--backbone", model, "--out", tmp_path / "page.png", "--json")
    assert last_json(looked)["input_size"] == [16, 16]
    shown = run("simulate", "--backbone", model, "--out", tmp_path / "page.html", "--json")
    (found,) = last_json(shown)["backbones"]
    assert found == {"name": str(model), "blocks": 2}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--backbone", "gone.keras"], "no model file 'gone.keras': --backbone takes a name, or"),
        (["--backbone", "MODEL", "--weights", "mini"], "got --weights mini beside it: leave"),
        (["--backbone", "MODEL", "--weights", "none"], "got --weights none beside it: leave"),
    ],
)
@pytest.mark.parametrize("command", ["train", "advise", "tune"])
def test_what_cannot_be_used_is_said_before_anything_is_loaded(
    command, words, message, model, photos, tmp_path, monkeypatch
):
    monkeypatch.setattr("keras.models.load_model", None)
    out = [] if command == "advise" else ["--out", tmp_path / "run"]
    result = run(command, photos, *(model if each == "MODEL" else each for each in words), *out)
    assert result.exit_code != 0
    assert message in said(result)
    assert not (tmp_path / "run").exists()


def test_a_named_backbone_is_not_exchanged_when_a_run_goes_on(photos, model):
    noted = {"data": str(photos), "backbone": "MobileNetV2", "weights": "mini"}
    noted["backbone_options"] = []
    with pytest.raises(ValueError, match=r"whose backbone is MobileNetV2: leave out --backbone"):
        command_to_resume(noted, None, str(model), "runs/mine")
    assert command_to_resume(noted, None, None, "runs/mine")["backbone"] == "MobileNetV2"
