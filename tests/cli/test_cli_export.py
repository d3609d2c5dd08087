"""`ktransfer export`: what it prints, writes and refuses."""

import json
import os
import subprocess
import sys

import pytest
import tensorflow  # noqa: F401 - before click's runner replaces the standard streams
from click.testing import CliRunner
from conftest import small_network, write_pictures

from ktransfer import FineTuner, RunError, cli


def run(*args):
    return CliRunner().invoke(cli.main, ["export", *map(os.fspath, args)])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    tuner = FineTuner(small_network(), verbose=False)
    tuner.fit(write_pictures(folder / "photos", 12), plan="linear_probe", epochs=2)
    tuner.save(folder / "run")
    return folder / "run"


def test_export_prints_a_table_and_writes_the_file_and_its_card(saved, tmp_path):
    result = run(saved, "--out", tmp_path / "colours.keras")
    assert result.exit_code == 0, result.stderr
    assert "100.0% the same class on" in " ".join(result.stdout.split())
    assert sorted(os.listdir(tmp_path)) == ["colours.keras", "colours.keras.card.md"]


def test_json_is_one_object_with_the_figures(saved, tmp_path):
    photos = saved.parent / "photos" / "red"
    result = run(
        saved, "--out", tmp_path / "a", "--format", "savedmodel", "--data", photos, "--json"
    )
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["format"] == "savedmodel"
    assert found["agreement"]["num_images"] == 12
    assert found["agreement"]["top1_agreement"] == 1.0
    assert found["seconds"].keys() >= {"import", "load", "convert", "compare", "export", "total"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere", "--out", "a.keras"], "no such run: nowhere is not a folder"),
        (["{run}", "--out", "a.kers"], "does not say which format is wanted"),
        (["{run}", "--out", "a.keras", "--format", "kerass"], "did you mean keras"),
        (["{run}", "--out", "a.onnx", "--opset", "3"], "from 10 to 18, got 3"),
        (["{run}", "--out", "a.keras", "--data", "nowhere"], "nowhere"),
        (["{run}", "--out", "a.onnx", "--quantise", "int9"], "did you mean int8"),
        (["{run}", "--out", "a.keras", "--quantise", "int8"], "keras cannot be quantised"),
        (["{run}", "--out", "a.onnx", "--max-loss", "150"], "counts in points), got 1.5"),
        (["{run}", "--out", "a.onnx", "--quantise", "int8", "--calibration", "nowhere"], "nowhere"),
        (["{run}", "--out", "{run}/run.json/a.keras"], "is not a folder"),
    ],
)
def test_what_is_wrong_is_one_line(saved, args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*(each.format(run=saved) for each in args))
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_training_that_never_finished_is_named(tmp_path):
    (tmp_path / "training").mkdir()
    result = run(tmp_path, "--out", tmp_path / "a.keras")
    assert "holds no run.json: it is no run, or its training never finished" in result.stderr


def test_a_mistake_is_told_without_importing_tensorflow(saved, tmp_path):
    script = (
        "import sys\nfrom ktransfer.cli import main\n"
        "try:\n    main()\nfinally:\n    assert 'tensorflow' not in sys.modules\n"
    )
    command = [sys.executable, "-c", script, "export", str(saved), "--out", "a.onxx"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert "does not say which format" in done.stderr
    assert "Traceback" not in done.stderr


def test_points_that_may_be_lost_reach_the_export_as_a_share(saved, tmp_path, monkeypatch):
    given = {}

    def refuse(classifier, path, format, **options):
        given.update(options)
        raise RunError("refused")

    monkeypatch.setattr("ktransfer.export.exporting.export", refuse)
    photos = saved.parent / "photos"
    out = tmp_path / "a.onnx"
    run(saved, "--out", out, "--quantise", "int8", "--max-loss", "2.5", "--calibration", photos)
    assert given["max_loss"] == pytest.approx(0.025)
    assert (given["quantise"], given["calibration"]) == ("int8", str(photos))
    run(saved, "--out", out)
    assert (given["quantise"], given["max_loss"]) == (None, 0.01)
