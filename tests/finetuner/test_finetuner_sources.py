"""Training, evaluating and predicting on every source as on a folder of the same images."""

import csv
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from click.testing import CliRunner
from conftest import small_network, write_pictures

from ktransfer import FineTuner, InputError, RunError
from ktransfer.cli import main
from ktransfer.data import decode_image, joined, read_folder

CLASSES = ("blue", "green", "red")


def tuner_of():
    return FineTuner(small_network(), verbose=False)


def arrays_of(part):
    return np.stack([decode_image(each) for each in part.files]), part.labels


def csv_of(splits, path):
    with open(path, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "split"])
        for part in splits.parts:
            for file, label in zip(part.files, part.labels, strict=True):
                writer.writerow([file.path, splits.class_names[label], part.name])
    return path


def hits(score):
    return score.confusion.tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for at, name in enumerate(("train", "val", "test")):
        write_pictures(root / name, 6, seed=at)
    return root


@pytest.fixture(scope="module")
def reference(folder):
    tuner = tuner_of()
    tuner.fit(folder, epochs=3, cache="off")
    return tuner


@pytest.mark.parametrize("source", ["csv", "frame", "arrays", "dataset"])
def test_weights_and_accuracy_are_those_of_the_folder_bit_for_bit(
    folder, reference, source, tmp_path
):
    splits = read_folder(folder)
    pairs = {part.name: arrays_of(part) for part in splits.parts}
    table = csv_of(splits, tmp_path / "photos.csv")
    data = {
        "csv": lambda: table,
        "frame": lambda: pd.read_csv(table),
        "arrays": lambda: pairs,
        "dataset": lambda: {
            name: tf.data.Dataset.from_tensor_slices(pair).batch(4) for name, pair in pairs.items()
        },
    }[source]()
    tuner = tuner_of()
    result = tuner.fit(data, epochs=3, cache="off", class_names=CLASSES)
    for found, expected in zip(
        tuner.model.get_weights(), reference.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert hits(result.test) == hits(reference.result.test)
    assert hits(tuner.evaluate(data).score) == hits(reference.evaluate(folder).score)
    if source in ("arrays", "dataset"):
        expected = reference.predict(folder / "test").probabilities
        np.testing.assert_array_equal(tuner.predict(data).probabilities, expected)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder without parts, and its images in one row, shuffled."""
    root = write_pictures(tmp_path_factory.mktemp("whole"), 10)
    splits = read_folder(root)
    every = joined([splits.train, splits.validation])
    return root, every.select(np.random.default_rng(0).permutation(len(every)))


def test_arrays_of_the_training_are_known_again_in_any_order(whole, tmp_path):
    images, labels = arrays_of(whole[1])
    tuner = tuner_of()
    result = tuner.fit((images, labels), epochs=3, class_names=CLASSES)
    tuner.save(tmp_path / "run")
    loaded = FineTuner.load(tmp_path / "run", verbose=False)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(30, seed=5)
    for data in ((images, labels), (images[::-1], labels[::-1]), dataset):
        for one in (tuner, loaded):
            evaluation = one.evaluate(data)
            assert evaluation.part == "validation"
            assert hits(evaluation.score) == hits(result.validation)
            assert "data of the training" in evaluation.notes[0]
    other = tuner.evaluate((255 - images, labels))
    assert (other.part, other.score.num_images, other.notes) == ("all", 30, ())
    assert (other.seen_in_training, other.unseen.num_images) == (0, 30)


def test_folder_of_the_training_is_known_in_a_table_and_elsewhere(whole, tmp_path):
    root, every = whole
    tuner = tuner_of()
    result = tuner.fit(root, epochs=1)
    frame = pd.DataFrame(
        [(file.path, CLASSES[at]) for file, at in zip(every.files, every.labels, strict=True)],
        columns=["path", "label"],
    )
    copy = tmp_path / "copy"
    copy.symlink_to(root)
    for data in (frame, copy, root):
        evaluation = tuner.evaluate(data)
        assert evaluation.part == "validation"
        assert hits(evaluation.score) == hits(result.validation)
    # More images at the same place: none of those that were trained on is evaluated.
    write_pictures(tmp_path / "more", 12, seed=4)
    tuner.classifier.data["source"] = str(tmp_path / "more")
    with pytest.raises(InputError, match="none of the 0 images of the data can be decoded"):
        tuner.evaluate(tmp_path / "more")


class KilledError(Exception):
    """Stands for a kill."""


class Kill(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 2:
            raise KilledError


@pytest.mark.parametrize("source", [pytest.param("csv", marks=pytest.mark.slow), "arrays"])
def test_killed_training_goes_on_with_the_same_data_only(folder, source, tmp_path):
    splits = read_folder(folder)
    pairs = {part.name: arrays_of(part) for part in splits.parts}
    data = pairs if source == "arrays" else csv_of(splits, tmp_path / "photos.csv")
    whole = tuner_of()
    whole.fit(data, epochs=4, patience=4)

    out = tmp_path / "run"
    with pytest.raises(KilledError):
        tuner_of().fit(data, epochs=4, patience=4, out=out, callbacks=[Kill()])
    other = dict(pairs, train=(pairs["train"][0][::-1], pairs["train"][1][::-1]))
    with pytest.raises(RunError, match="data train contents: other contents than then"):
        tuner_of().fit(other, epochs=4, patience=4, out=out, resume=True, class_names=CLASSES)
    resumed = tuner_of()
    resumed.fit(data, epochs=4, patience=4, out=out, resume=True)
    for found, expected in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    again = tuner_of()
    assert again.fit(data, epochs=4, patience=4, out=out, resume=True).stages


def test_learning_rates_are_searched_on_arrays(whole):
    data = arrays_of(whole[1])
    found = tuner_of().find_learning_rate(data, num_steps=12, class_names=CLASSES)
    assert len(found.losses) >= 10
    assert len(tuner_of().sweep_learning_rates(data, (1e-3, 1e-2), epochs=1).trials) == 2


@pytest.mark.slow
def test_command_line_takes_csv_files(folder, tmp_path, monkeypatch):
    # Relative: the run notes where it is from the root.
    monkeypatch.chdir(tmp_path)
    table = csv_of(read_folder(folder), "photos.csv")
    said = run("train", table, "--out", "run", "--weights", "mini", "--epochs", "1")
    assert said["classes"] == list(CLASSES)
    assert said["test_accuracy"] == run("evaluate", "run", table)["accuracy"]
    with open("new.csv", "w") as stream:
        stream.write("path\n" + os.path.join(folder, "test", "red", "000.png") + "\n")
    (prediction,) = run("predict", "run", "new.csv")["predictions"]
    assert prediction["path"].endswith("red/000.png")


def run(*arguments):
    done = CliRunner().invoke(main, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("photos.csv", "line 2 names a file that does not exist"),
        ("foto.csv", "no such file: 'foto.csv'; did you mean 'photos.csv'"),
        ("a.png", "'a.png' is neither a folder nor a .csv file with the columns path, label"),
        ("fotos", "no such folder: 'fotos'"),
        ("tfds:mnist", "'tfds:mnist' needs TensorFlow Datasets, which is not installed"),
    ],
)
def test_command_line_refuses_data_before_tensorflow_is_imported(tmp_path, data, message):
    (tmp_path / "photos.csv").write_text("path,label\nx.png,red\n")
    (tmp_path / "a.png").touch()
    program = (
        "import sys\n"
        "sys.modules['tensorflow'] = sys.modules['tensorflow_datasets'] = None\n"
        "from ktransfer.cli import main\n"
        f"main(['train', {data!r}, '--out', 'run', '--weights', 'mini'])\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "run").exists()
