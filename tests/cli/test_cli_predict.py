"""`ktransfer predict` with an exported file in the place of a run."""

import json
import os

import numpy as np
import pytest
import served_models
import tensorflow  # noqa: F401 - before click's runner replaces the standard streams
from click.testing import CliRunner
from conftest import write_pictures

from ktransfer import OnnxClassifier, cli


def run(*args):
    return CliRunner().invoke(cli.main, [os.fspath(each) for each in args])


@pytest.fixture
def model(tmp_path):
    return served_models.write(tmp_path / "means.onnx")


def test_json_holds_what_the_classifier_says(model, tmp_path):
    photos = write_pictures(tmp_path / "photos", 4)
    (photos / "red" / "text.jpg").write_text("no picture")
    result = run("predict", model, photos, "--json", "--csv", tmp_path / "found.csv")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    expected = OnnxClassifier(model).predict(photos)
    assert [each["path"] for each in found["predictions"]] == list(expected.paths)
    assert [each["label"] for each in found["predictions"]] == expected.labels
    np.testing.assert_allclose(
        [each["probability"] for each in found["predictions"]],
        expected.probabilities.max(axis=1),
        atol=1e-7,
    )
    assert [each["path"] for each in found["skipped"]] == [str(photos / "red" / "text.jpg")]
    assert found["classes"] == list(served_models.CLASSES)
    assert found["seconds"].keys() == {"import", "load", "predict", "total"}
    assert len((tmp_path / "found.csv").read_text().splitlines()) == 13


def test_a_csv_of_paths_is_predicted_in_its_order(model, tmp_path):
    write_pictures(tmp_path / "photos", 2)
    names = ["photos/red/001.png", "photos/blue/000.png"]
    (tmp_path / "list.csv").write_text("\n".join(["path", *names, ""]))
    result = run("predict", model, tmp_path / "list.csv")
    assert [line.split()[1:] for line in result.stdout.splitlines()] == [
        ["red", str(tmp_path / names[0])],
        ["blue", str(tmp_path / names[1])],
    ]


def test_a_file_need_not_be_named_onnx(model, tmp_path):
    photos = write_pictures(tmp_path / "photos", 1)
    plain = model.rename(tmp_path / "model")
    assert run("predict", plain, photos).exit_code == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["means.onx", "photos"], "no such run: means.onx is not a folder"),
        (["mean.onnx", "photos"], "no such file: 'mean.onnx'; did you mean 'means.onnx'"),
        (["photos/red/000.png", "photos"], "photos/red/000.png is no ONNX file that can be run"),
        (["means.onnx", "foto"], "no such file or folder: 'foto'"),
        (["means.onnx", "bad.jpg", "--csv", "new.csv"], "none of the 1 files can be read: bad.jpg"),
        (["means.onnx", "photos", "--csv", "no/new.csv"], "there is no folder 'no'"),
    ],
)
def test_predict_refuses_in_one_line_and_leaves_nothing(
    args, message, model, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "photos", 1)
    (tmp_path / "bad.jpg").touch()
    before = sorted(os.listdir())
    result = run("predict", *args, "--json")
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert message in json.loads(result.stdout)["error"]
    assert sorted(os.listdir()) == before
