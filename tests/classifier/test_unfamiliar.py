"""Images that are unlike those of the training are told apart from the others."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import write_pictures
from training_networks import make_plan, make_stage, three_blocks

from ktransfer import Classifier, FineTuner, cli
from ktransfer.data import resize_array


def made(folder, **stage):
    finetuner = FineTuner(three_blocks(), verbose=False)
    finetuner.fit(folder, plan=make_plan(make_stage(epochs=2, **stage)))
    return finetuner.classifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("photos") / "photos", 12)


@pytest.mark.parametrize("stage", [{}, {"unfreeze": 2}, {"augmentation": "standard"}])
def test_the_distances_are_those_of_what_the_head_reads(folder, stage):
    classifier = made(folder, **stage)
    images = np.random.default_rng(0).integers(0, 256, (9, 30, 30, 3), np.uint8)
    found = classifier.predict(images)
    head = [each for each in classifier.model.layers if each.weights][-1]
    reading = keras.Model(classifier.model.input, head.input)
    pixels = resize_array(images, classifier.input_size)
    expected = classifier.familiarity.distances(reading.predict(pixels, verbose=0))
    np.testing.assert_allclose(found.distances, expected, rtol=1e-3)
    np.testing.assert_allclose(
        found.probabilities, classifier.model.predict(pixels, verbose=0), atol=1e-5
    )


def test_a_network_may_have_a_layer_of_any_name(folder):
    image = keras.Input((16, 16, 3))
    tensors = [keras.layers.Conv2D(4, 3, name=f"conv_{at}")(image) for at in range(2)]
    tensor = keras.layers.Concatenate(name="concatenate")(tensors)
    model = keras.Model(image, tensor)
    finetuner = FineTuner(model, weights=None, preprocessing="none", verbose=False)
    finetuner.fit(folder, epochs=1, plan="linear_probe")
    keras.backend.clear_session()  # names that Keras makes up begin anew, as in a new process
    assert finetuner.predict(folder).distances.shape == (36,)


def test_the_training_images_are_near_as_the_model_that_was_trained_sees_them(folder):
    classifier = made(folder, unfreeze=2)
    known = classifier.predict(folder)
    assert (known.distances > 1).mean() < 0.2
    noise = np.random.default_rng(0).integers(0, 256, (20, 40, 40, 3), np.uint8)
    assert np.median(classifier.predict(noise).distances) > np.median(known.distances)


def test_a_run_remembers_it_and_one_of_before_says_nothing(folder, tmp_path):
    classifier = made(folder)
    classifier.save(tmp_path / "run")
    again = Classifier.load(tmp_path / "run", verbose=False)
    expected = classifier.predict(folder).distances
    np.testing.assert_array_equal(again.predict(folder).distances, expected)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / record["familiar"]["file"]).unlink()
    (tmp_path / "run" / "run.json").write_text(json.dumps({**record, "familiar": None}))
    old = Classifier.load(tmp_path / "run", verbose=False).predict(folder)
    assert old.distances is None
    assert not old.unfamiliar.any()


def test_a_second_save_leaves_one_file_of_each_kind(folder, tmp_path):
    made(folder).save(tmp_path / "run")
    made(folder, unfreeze=1).save(tmp_path / "run", overwrite=True)
    names = sorted(each.name.partition("-")[0] for each in (tmp_path / "run").iterdir())
    assert names == ["familiar", "learnt", "model", "run.json"]


def test_the_command_counts_them_and_marks_them(folder, tmp_path):
    classifier = made(folder)
    near = classifier.familiarity
    # Half of the images shall be far.
    bound = near.bound * np.float32(np.median(classifier.predict(folder).distances))
    strict = dataclasses.replace(classifier, familiarity=dataclasses.replace(near, bound=bound))
    strict.save(tmp_path / "run")
    far = sorted(each.path for each in strict.predict(folder) if each.unfamiliar)
    assert 0 < len(far) < 36
    run, csv = str(tmp_path / "run"), str(tmp_path / "rows.csv")
    said = CliRunner().invoke(cli.main, ["predict", run, str(folder)]).stdout
    lines = said.splitlines()
    assert sorted(line.split()[-1] for line in lines[:36] if " ! " in line) == far
    assert f"{len(far)} of 36 are unlike the training images" in said
    done = CliRunner().invoke(cli.main, ["predict", run, str(folder), "--json", "--csv", csv])
    found = json.loads(done.stdout.splitlines()[-1])["predictions"]
    assert sorted(each["path"] for each in found if each["unfamiliar"]) == far
    header, *rows = (tmp_path / "rows.csv").read_text().splitlines()
    assert header.split(",")[-1] == "unfamiliar"
    assert sorted(row.split(",")[0] for row in rows if row.endswith(",true")) == far
