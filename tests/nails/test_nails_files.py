"""What the code of before has written is read by the code of now, and says the same.

The keys of cache entries hold the versions of Keras and TensorFlow that computed them, so that a
training finds them only where these are installed; elsewhere the entries are read by their keys.
The resumed training rounds as this machine does, with as many cores as there are: its weights are
compared to 1e-4. Neither the request of a training nor that of a search holds a version or a
machine.
"""

import importlib.metadata
import json
import shutil

import numpy as np
import pytest
import same_weights
from nails import files
from nails.make import DATA

from ktransfer import FineTuner, OnnxClassifier
from ktransfer.cache import Store

#: What the entries of the cache were computed with.
VERSIONS = json.loads((DATA / "versions.json").read_text())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return same_weights.draw_pictures(tmp_path_factory.mktemp("nails") / "pictures")


@pytest.fixture(scope="module")
def then():
    with np.load(DATA / "probabilities.npz") as arrays:
        return dict(arrays)


@pytest.fixture
def copied(tmp_path):
    """Copies what lies there, so that the test may change it."""
    return lambda name: shutil.copytree(DATA / name, tmp_path / name)


def contents(folder):
    return {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def assert_holds(then, now):
    """What a record said it says still; what it did not know may be beside it."""
    if isinstance(then, dict):
        for name, value in then.items():
            assert_holds(value, now[name])
    elif isinstance(then, list) and len(then) == len(now):
        for one, other in zip(then, now, strict=True):
            assert_holds(one, other)
    else:
        assert now == then


# A saved run.


def test_a_run_predicts_what_it_predicted(pictures, then):
    found = FineTuner.load(DATA / "run", verbose=False).predict(pictures)
    assert found.classes == ("blue", "green", "red")
    np.testing.assert_allclose(found.probabilities, then["keras"], rtol=0, atol=1e-5)
    assert then["keras"].std(axis=0).min() > 0.2, "the pictures look different to the network"


def test_a_run_knows_how_it_was_trained_and_what_it_has_seen(pictures):
    finetuner = FineTuner.load(DATA / "run", verbose=False)
    result = finetuner.result
    record = json.loads((DATA / "run" / "run.json").read_text())["result"]
    now = json.loads(json.dumps(result.to_dict()))
    assert_holds(record, now)
    assert [each.name for each in result.stages] == ["head", "last"]
    evaluation = finetuner.evaluate(pictures)
    assert evaluation.apart.unseen is None, "all of the pictures were seen"
    assert evaluation.apart.held_back.num_images == 6
    assert evaluation.apart.held_back.accuracy == result.val_accuracy


# A training that was killed.


def test_a_training_that_was_killed_ends_with_the_weights_that_it_would_have_had(pictures, copied):
    out = copied("killed")
    found = same_weights.train(pictures, out=out, resume=True)
    expected = same_weights.read(DATA / "three_stages.npz")
    for weight, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(weight, other, rtol=0, atol=1e-4)
    # The seconds of what was trained then are in what is said of it now: it was not trained again.
    stages = FineTuner.load(out, verbose=False).result.stages
    assert [len(each.history) for each in stages] == [2, 2, 2]
    assert all(row["seconds"] > 1 for row in stages[0].history), "the kill was waited for"


# A search.


def test_a_search_that_was_complete_trains_nothing(pictures, copied):
    folder = copied("search")
    before = contents(folder)
    tuner = files.search_of(folder)
    result = tuner.search(pictures)
    trials = [json.loads((folder / "trials" / f"{name}.json").read_text()) for name in "01"]
    assert [each.val_accuracy for each in result.trials] == [
        each["val_accuracy"] for each in trials
    ]
    assert [each.unfreeze for each in result.trials] == [0, 1]
    now = contents(folder)
    changed = {each.relative_to(folder).parts[0] for each in now if before.get(each) != now[each]}
    assert changed <= {"keras_tuner"}, "KerasTuner's files are for those who look there"
    assert tuner.load_best().class_names == ("blue", "green", "red")


# An exported file.


def test_an_exported_file_says_the_same(pictures, then):
    classifier = OnnxClassifier(DATA / "classifier.onnx")
    found = classifier.predict(pictures)
    assert found.classes == ("blue", "green", "red")
    np.testing.assert_allclose(found.probabilities, then["onnx"], rtol=0, atol=1e-5)
    assert classifier.seen_in_training(pictures).all()


# The cache.


def test_entries_are_read_by_their_keys_and_equal_what_is_computed_now(
    pictures, copied, tmp_path, monkeypatch
):
    monkeypatch.setenv("KTRANSFER_CACHE", str(tmp_path / "empty"))
    files.train_head(pictures)
    new = Store(tmp_path / "empty")
    computed = [new.load(each.name, budget_mb=1) for each in new.folder.iterdir()]
    store = Store(copied("cache"))
    keys = [each.name for each in sorted(store.folder.iterdir())]
    found = [store.load(key, budget_mb=1) for key in keys]
    assert store.remarks == []
    assert len(found) == len(computed) == 2
    for one, two in zip(*(sorted(each, key=len_of) for each in (found, computed)), strict=True):
        np.testing.assert_allclose(one.values, two.values, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(one.indices, two.indices)


def len_of(entry):
    return len(entry.values)


@pytest.mark.skipif(
    {name: importlib.metadata.version(name) for name in VERSIONS} != VERSIONS,
    reason=f"other versions than those of the entries: {VERSIONS}",
)
def test_a_training_finds_the_entries_of_before(pictures, copied, monkeypatch):
    folder = copied("cache")
    before = sorted(each.name for each in folder.iterdir())
    monkeypatch.setenv("KTRANSFER_CACHE", str(folder))
    files.train_head(pictures)
    # What it had not found it would have computed, and kept under another key.
    assert sorted(each.name for each in folder.iterdir()) == before
