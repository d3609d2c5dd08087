"""`ktransfer predict` with an exported file in the place of a run."""

import csv
import io
import json
import os
import re
import shutil

import numpy as np
import pytest
import served_models
import tensorflow  # noqa: F401 - before click's runner replaces the standard streams
from click.testing import CliRunner
from conftest import write_pictures

from ktransfer import InputError, OnnxClassifier, cli


def run(*args):
    return CliRunner().invoke(cli.main, [str(each) for each in args])


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
    *lines, counted = result.stdout.splitlines()
    assert [line.split()[1:] for line in lines] == [
        ["red", str(tmp_path / names[0])],
        ["blue", str(tmp_path / names[1])],
    ]
    assert counted.split() == ["Images", "2:", "1", "red,", "1", "blue"]


def test_with_a_csv_file_the_images_are_counted_and_the_file_is_named(model, tmp_path):
    photos, found = write_pictures(tmp_path / "photos", 4), tmp_path / "found.csv"
    result = run("predict", model, photos, "--csv", found)
    said = [line.split() for line in result.stdout.splitlines()]
    assert said == [
        ["Images", "12:", "4", "blue,", "4", "green,", "4", "red"],
        ["Wrote", str(found)],
    ]


def test_the_most_probable_classes_are_printed_and_unsure_images_marked(model, tmp_path):
    photos = write_pictures(tmp_path / "photos", 2)
    known = OnnxClassifier(model).predict(photos)
    order = np.argsort(-known.probabilities, axis=1)
    threshold = float(np.median(known.probabilities.max(axis=1)))
    result = run("predict", model, photos, "--top", 2, "--threshold", threshold)
    *lines, counted = result.stdout.splitlines()
    for line, row, best in zip(lines, known.probabilities, order, strict=True):
        words = line.split()
        assert [words[1], words[3]] == [served_models.CLASSES[at] for at in best[:2]]
        assert words[0] == f"{row[best[0]]:.1%}"
        assert ("?" in words) == (row.max() < threshold)
    unsure = int((known.probabilities.max(axis=1) < threshold).sum())
    assert 0 < unsure < len(lines)
    assert f"{unsure} unsure, under {threshold:.1%}" in counted


def test_json_has_every_probability_and_csv_says_which_are_unsure(model, tmp_path):
    photos, file = write_pictures(tmp_path / "photos", 2), tmp_path / "found.csv"
    known = OnnxClassifier(model).predict(photos)
    threshold = float(np.median(known.probabilities.max(axis=1)))
    result = run("predict", model, photos, "--json", "--threshold", threshold, "--csv", file)
    found = json.loads(result.stdout)["predictions"]
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    for each, line, row in zip(found, rows, known.probabilities, strict=True):
        assert each["probabilities"] == pytest.approx(dict(zip(known.classes, row, strict=True)))
        assert each["unsure"] == bool(row.max() < threshold)
        assert line["unsure"] == str(each["unsure"]).lower()
        assert line["label"] == each["label"]  # the best class, though nobody should rely on it


def test_who_abstains_gives_no_label_to_what_is_unsure(model, tmp_path):
    photos = write_pictures(tmp_path / "photos", 2)
    plain = OnnxClassifier(model).predict(photos)
    threshold = float(np.median(plain.probabilities.max(axis=1)))
    found = OnnxClassifier(model).predict(photos, abstain_below=threshold)
    expected = [
        None if row.max() < threshold else name
        for row, name in zip(plain.probabilities, plain.labels, strict=True)
    ]
    assert None in expected
    assert found.labels == expected
    assert [each.unsure for each in found] == [each is None for each in expected]
    with pytest.raises(InputError, match=r"abstain_below must lie in \[0, 1\], got 80"):
        OnnxClassifier(model).predict(photos, abstain_below=80)


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


@pytest.mark.parametrize(
    ("name", "holds", "opener"),
    [
        ("model.tflite", None, "ai-edge-litert"),
        ("model.keras", None, "Keras"),
        ("model", "saved_model.pb", r"TensorFlow \(Serving\)"),
    ],
)
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_other_exports_are_told_what_opens_them(command, name, holds, opener, tmp_path):
    file = tmp_path / name
    if holds:
        file.mkdir()
    (file / holds if holds else file).write_bytes(b"a model")
    result = run(command, file, write_pictures(tmp_path / "photos", 1))
    assert result.exit_code == 2
    assert re.search(rf"which {opener} opens: .* {re.escape(str(file))}.card.md", result.stderr)


def test_an_exported_file_is_evaluated_with_a_row_an_image(model, tmp_path):
    photos, file = write_pictures(tmp_path / "photos", 4), tmp_path / "rows.csv"
    (photos / "red" / "text.jpg").write_text("no picture")
    # The red ones are called blue: a third of the labels are wrong.
    shutil.copytree(photos / "red", tmp_path / "red")
    for each in (tmp_path / "red").iterdir():
        each.rename(photos / "blue" / f"red{each.name}")
    result = run("evaluate", model, photos, "--csv", file, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    known = OnnxClassifier(model).predict(photos)
    said = dict(zip(known.paths, known.labels, strict=True))
    assert [each["predicted"] for each in rows] == [said[each["path"]] for each in rows]
    assert [each["label"] for each in rows] == [
        os.path.basename(os.path.dirname(each["path"])) for each in rows
    ]
    right = sum(each["label"] == each["predicted"] for each in rows)
    assert found["accuracy"] == right / len(rows) < 1
    assert found["num_images"] == len(rows) == 16
    assert {each["label"] for each in found["mistakes"]} == {"blue"}
    assert {each["predicted"] for each in found["mistakes"]} == {"red"}
    assert len(found["skipped"]) == 2
    plain = run("evaluate", model, photos).stdout.split()
    assert "75.0%" in plain
    assert run("evaluate", model, photos, "--corruptions").exit_code == 2
