"""Heads that read all blocks of a frozen backbone; test_all_blocks_trained has those that train."""

import dataclasses

import keras
import numpy as np
import pytest
from conftest import small_network, write_pictures
from resumed_training import KillAt, Killed, make_alike

from ktransfer import FineTuner, InputError, Plan, Stage, load_backbone
from ktransfer.data import image_dataset, read_folder
from ktransfer.plan import linear_probe
from ktransfer.profile import profile_part
from ktransfer.profile.probes import LEAST_DEVIATION, ridge_head
from ktransfer.training.head_start import USUAL_WIDTH, standardizing

HEAD = Stage(name="head", unfreeze=0, epochs=1, learning_rate=0.01)
LAST = Stage(name="last", unfreeze=1, epochs=1, learning_rate=0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("all_blocks") / "pictures", 12)


def tuner_of(**options):
    return FineTuner(small_network(), verbose=False, **options)


def test_head_reads_what_every_block_says(folder):
    tuner = tuner_of()
    result = tuner.fit(folder, plan=linear_probe(epochs=20, features="all_blocks"))
    assert result.val_accuracy > 0.9
    images = next(iter(image_dataset(read_folder(folder).validation, (16, 16))))[0].numpy()
    backbone = load_backbone(small_network(), preprocessing="none")
    ends = [block.outputs[0] for block in backbone.blocks]
    said = keras.Model(backbone.model.inputs[0], ends)(images.astype(np.float32))
    means = [np.asarray(each).mean(axis=(1, 2)) for each in said]
    features = np.concatenate([means[-1], *means[:-1]], axis=1)
    kernel, bias = tuner.model.get_layer("head").get_weights()
    assert kernel.shape[0] == features.shape[1] == 4 + 6
    logits = features @ kernel + bias
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(tuner.predict(images).probabilities, shares, atol=1e-5)
    assert str(tuner.summary()).count("head") == 1
    assert tuner.summary().rows[-1].trainable == (4 + 6 + 1) * 3


def still(**fields):
    """A plan that trains a head without moving it."""
    return Plan("still", (dataclasses.replace(HEAD, learning_rate=1e-12),), **fields)


@pytest.mark.parametrize("balance", ["none", "class_weights"])
def test_head_begins_as_the_ridge_regression_of_the_training_images(folder, balance):
    tuner = tuner_of()
    result = tuner.fit(folder, plan=still(features="all_blocks"), balance=balance)
    assert result.stages[0].solved
    assert result.stages[0].kept
    look = tuner_of()
    profile, _ = profile_part(look.backbone, read_folder(folder).train)
    kernel, bias = ridge_head(profile.features_of("all_blocks"), profile.labels)
    found = tuner.model.get_layer("head").get_weights()
    np.testing.assert_allclose(found[0] * result.temperature, kernel, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[1] * result.temperature, bias, rtol=1e-3, atol=1e-4)


def test_only_heads_on_other_than_the_last_features_are_solved(folder):
    def solved(**how):
        return tuner_of().fit(folder, **how).stages[0].solved

    assert not solved(plan=still())
    assert solved(plan=still(num_blocks=1))
    light = dataclasses.replace(HEAD, augmentation="light")
    assert not solved(plan=Plan("views", (light,), features="all_blocks"))
    last = dataclasses.replace(HEAD, unfreeze=1)
    assert not solved(plan=Plan("tuned", (last,), features="all_blocks"))


def test_where_no_epoch_is_better_the_regression_is_kept_and_said(folder):
    wild = dataclasses.replace(HEAD, learning_rate=1e3, epochs=3)
    result = tuner_of().fit(folder, plan=Plan("wild", (wild,), features="all_blocks"))
    (stage,) = result.stages
    assert (stage.best_epoch, stage.solved, stage.kept) == (0, True, True)
    assert "began with a ridge regression in closed form" in " ".join(result.notes)
    assert result.val_accuracy > 0.9
    assert result.unfrozen == 0


@pytest.mark.parametrize("cache", ["auto", "off"])
def test_saved_loaded_and_cached_or_not_it_predicts_the_same(folder, tmp_path, cache):
    plan = linear_probe(epochs=4, features="all_blocks_and_inner")
    tuner = tuner_of()
    tuner.fit(folder, plan=plan, cache=cache, out=tmp_path / "run")
    images = sorted(folder.glob("*/*.png"))[::5]
    loaded = FineTuner.load(tmp_path / "run", verbose=False)
    expected = tuner.predict(images).probabilities
    np.testing.assert_array_equal(loaded.predict(images).probabilities, expected)
    assert loaded.result.plan.features == "all_blocks_and_inner"
    assert loaded.summary().rows[-1] == tuner.summary().rows[-1]
    other = tuner_of()
    other.fit(folder, plan=plan, cache="off" if cache == "auto" else "auto")
    np.testing.assert_allclose(other.predict(images).probabilities, expected, atol=1e-5)


@pytest.mark.slow
def test_killed_and_resumed_it_is_the_same_to_the_bit(folder, tmp_path, monkeypatch):
    make_alike(lambda *given: monkeypatch.setattr(*given))
    plan = linear_probe(epochs=4, features="all_blocks")
    whole = tuner_of()
    whole.fit(folder, plan=plan)
    with pytest.raises(Killed):
        tuner_of().fit(folder, plan=plan, out=tmp_path / "run", callbacks=[KillAt(epoch=2)])
    resumed = tuner_of()
    resumed.fit(folder, plan=plan, out=tmp_path / "run", resume=True)
    for one, other in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        assert one.tobytes() == other.tobytes()


def test_standardizing_gives_mean_0_and_one_deviation():
    random = np.random.default_rng(0)
    values = random.normal(5.0, [0.5, 1.0, 30.0], (200, 3)).astype(np.float32)
    scale, offset = standardizing(values, rows_at_once=64)
    brought = values * scale + offset
    np.testing.assert_allclose(brought.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(brought.std(axis=0), 1, rtol=1e-3)
    # Of many features each is smaller, so that a step of Adam moves the logits no further.
    wide = random.normal(size=(50, 2 * USUAL_WIDTH)).astype(np.float32)
    scale, offset = standardizing(wide)
    np.testing.assert_allclose((wide * scale + offset).std(axis=0), 0.5, rtol=1e-3)


def test_features_that_hardly_vary_are_not_magnified_without_end():
    values = np.random.default_rng(0).normal(0.0, [1.0, 2.0, 4.0, 1e-2, 1e-5], (500, 5))
    scale, offset = standardizing(values.astype(np.float32))
    usual = np.median(values.std(axis=0))
    expected = [1, 1, 1, *(values[:, 3:].std(axis=0) / (LEAST_DEVIATION * usual))]
    np.testing.assert_allclose((values * scale + offset).std(axis=0), expected, rtol=1e-3)
    # A unit that wakes up says nothing that drowns all others.
    assert scale[4] * usual < 1.001 / LEAST_DEVIATION


def test_constant_features_are_brought_to_zero_and_broken_ones_refused():
    values = np.array([[1.0, 7.0], [3.0, 7.0]], np.float32)
    scale, offset = standardizing(values)
    np.testing.assert_allclose(values * scale + offset, [[-1, 0], [1, 0]], atol=1e-6)
    with pytest.raises(InputError, match="not finite"):
        standardizing(np.full((2, 2), np.nan, np.float32))


HEAD = Stage(name="head", unfreeze=0, epochs=1, learning_rate=0.01)


def test_features_that_do_not_fit_the_plan_are_refused():
    with pytest.raises(InputError, match="unknown features of plan 'p' 'all': did you mean all_bl"):
        Plan("p", (HEAD,), features="all")
    plan = Plan("p", (HEAD,), features="all_blocks", num_blocks=2)
    with pytest.raises(InputError, match="those of all 3 blocks, got num_blocks=2"):
        plan.resolve(3)
    assert Plan.from_json(plan.to_json()) == plan
    assert "a head on all_blocks" in str(plan)
