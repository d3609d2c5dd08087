"""A classifier is all that training made: a run can be used without what only training needs."""

import errno

import numpy as np
import pytest
from conftest import small_network, write_pictures

from ktransfer import FineTuner, InputError, RunError
from ktransfer.classifier import Classifier
from ktransfer.export import export


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("classifier") / "photos", 12)


@pytest.fixture(scope="module")
def finetuner(photos):
    finetuner = FineTuner(small_network(), verbose=False)
    finetuner.fit(photos, plan="last_blocks", unfreeze=1, epochs=2)
    return finetuner


@pytest.fixture(scope="module")
def loaded(finetuner, tmp_path_factory):
    run = tmp_path_factory.mktemp("classifier") / "run"
    finetuner.classifier.save(run)
    return Classifier.load(run, verbose=False)


def test_before_fit_there_is_none():
    with pytest.raises(InputError, match="call fit"):
        _ = FineTuner(small_network(), verbose=False).classifier


def test_what_is_loaded_is_what_was_made(finetuner, loaded, photos):
    made = finetuner.classifier
    for name in ("class_names", "backbone", "blocks", "pooling", "dropout", "seed", "input_size"):
        assert getattr(loaded, name) == getattr(made, name), name
    assert dict(loaded.data) == dict(made.data)
    assert loaded.request == made.request
    assert loaded.result.to_dict() == made.result.to_dict()
    np.testing.assert_array_equal(loaded.learnt.train, made.learnt.train)
    assert str(loaded.summary()) == str(made.summary()) == str(finetuner.summary())
    one, other = (each.predict(photos).probabilities for each in (loaded, made))
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert loaded.evaluate(photos).to_dict() == finetuner.evaluate(photos).to_dict()


def test_loading_builds_no_backbone(finetuner, loaded, tmp_path, monkeypatch):
    finetuner.save(tmp_path / "run")
    monkeypatch.setattr("ktransfer.finetuner.pretrained.restore_backbone", None)
    found = Classifier.load(tmp_path / "run", verbose=False)
    assert found.class_names == loaded.class_names
    with pytest.raises(TypeError):
        FineTuner.load(tmp_path / "run", verbose=False)


def test_a_classifier_is_exported_and_trained_on(loaded, photos, tmp_path):
    found = export(loaded, tmp_path / "colours.keras", validation=photos)
    assert found.agreement.num_images == 6  # those that were held back
    again = FineTuner.of_classifier(loaded)
    assert again.classifier is loaded
    again.fit(photos, plan="linear_probe", epochs=1)
    assert again.classifier.learnt is not None
    assert len(again.classifier.learnt.train) >= len(loaded.learnt.train)


def test_a_disk_that_is_full_loses_nothing_that_was_trained(photos, tmp_path, monkeypatch):
    finetuner = FineTuner(small_network(), verbose=False)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("ktransfer.runs.saving.save_model", full)
        with pytest.raises(RunError, match="No space left"):
            finetuner.fit(photos, plan="linear_probe", epochs=1, out=tmp_path / "run")
    assert finetuner.result.stages
    finetuner.save(tmp_path / "elsewhere")
    assert Classifier.load(tmp_path / "elsewhere", verbose=False).class_names


def test_a_plan_after_a_training_looks_through_the_pretrained_weights(photos):
    finetuner = FineTuner(small_network(), verbose=False)
    before = finetuner.advise(photos, cache="off").to_dict()
    for weight in finetuner.backbone.model.trainable_weights:  # as a training does
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    after = finetuner.advise(photos, cache="off").to_dict()
    probed = [
        [each["scores"] for each in advice["candidates"] if each["scores"]]
        for advice in (before, after)
    ]
    assert probed[0] == probed[1] != []
