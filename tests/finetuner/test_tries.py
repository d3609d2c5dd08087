"""Fine-tuning as it is tried: the head first, each way from it by itself, the best of all kept."""

import keras
import numpy as np
import pytest
from conftest import write_pictures
from resumed_training import KillAt, Killed, make_alike
from training_networks import three_blocks

from ktransfer import Classifier, FineTuner, InputError
from ktransfer.advisor import Costs
from ktransfer.advisor.afterwards import Tried
from ktransfer.features import RowSource, concatenated, taps_of
from ktransfer.plan import linear_probe, lp_ft_refit
from ktransfer.profile.probes import ridge_head
from ktransfer.training.calibration import is_lower
from ktransfer.training.refit import REFIT

#: Most epochs of every stage. The head has as many, then each of three tries.
HOW = {"fine_tuning": "on", "epochs": 2, "check": "off"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("tries") / "pictures", 12)


def tuner_of(**options):
    return FineTuner(three_blocks(), verbose=False, **options)


def weights_of(tuner):
    return [each.tobytes() for each in tuner.model.get_weights()]


def everything_is_better(monkeypatch):
    monkeypatch.setattr(Tried, "is_better", property(lambda each: each.advantage is not None))


def nothing_is_better(monkeypatch):
    monkeypatch.setattr(Tried, "is_better", property(lambda each: False))


def test_better_is_what_chance_does_not_explain():
    tried = Tried("everything", 3, 1e-3, advantage=0.05, error=0.04)
    assert tried.is_better
    assert not Tried("everything", 3, 1e-3, advantage=0.03, error=0.04).is_better
    assert not Tried("everything", 3, 1e-3, advantage=-1.0, error=0.04).is_better
    assert not Tried("everything", 3, 1e-3).is_better


def test_a_head_that_nothing_beats_is_the_very_one_of_a_training_without_tries(
    folder, tmp_path, monkeypatch
):
    nothing_is_better(monkeypatch)
    tried, alone = tuner_of(), tuner_of()
    alone.fit(folder, **{**HOW, "fine_tuning": "off"})
    result = tried.fit(folder, out=tmp_path / "run", **HOW)
    assert weights_of(tried) == weights_of(alone)
    assert [each.outcome for each in result.tries] == ["no better"] * 3
    assert result.unfrozen == 0
    assert result.stages[-1].unfreeze == 0
    unsaved = tuner_of()
    unsaved.fit(folder, **HOW)
    assert weights_of(unsaved) == weights_of(alone)


def test_what_is_kept_is_what_was_judged(folder, tmp_path, monkeypatch):
    everything_is_better(monkeypatch)
    tuner = tuner_of()
    result = tuner.fit(folder, out=tmp_path / "run", **HOW)
    (kept,) = [each for each in result.tries if each.kept]
    assert kept.val_calibrated_loss == min(
        each.val_calibrated_loss for each in result.tries if each.advantage is not None
    )
    assert (result.plan.name, result.unfrozen) == ("lp_ft_refit", kept.unfreeze)
    assert result.val_accuracy == kept.val_accuracy
    assert kept.refit == (result.stages[-1].name == REFIT)
    assert sum(amount > 0 for amount in result.movement.values()) == kept.unfreeze
    # By the saved model, on the images that it was judged by.
    loaded = Classifier.load(tmp_path / "run", verbose=False)
    part = tuner.classifier.validation
    found = loaded.predict([part.images.full_size(row) for row in range(len(part))])
    right = np.mean(found.probabilities.argmax(axis=1) == part.labels)
    assert right == pytest.approx(kept.val_accuracy)
    assert "kept for the lower loss, of 3 tried" in str(result)


@pytest.mark.slow
def test_of_two_rates_at_one_depth_only_the_better_one_goes_on(folder):
    last, slow, fast = tuner_of().fit(folder, **HOW).tries
    assert (last.name, slow.name, fast.name) == ("last 1", "everything", "everything")
    worse, better = sorted((slow, fast), key=lambda each: each.epochs)
    assert (last.epochs, worse.epochs, better.epochs) == (4, 2, 4)
    assert worse.advantage is None
    assert better.advantage is not None


def test_a_refitted_head_is_the_ridge_regression_on_the_tuned_blocks(folder):
    tuner = tuner_of()
    result = tuner.fit(folder, plan=lp_ft_refit(1, 0.01, epochs=(1, 1)), check="off")
    assert result.stages[-1].name == REFIT, "on these pictures it is no worse"
    wide = concatenated(taps_of(tuner.backbone, "all_blocks_and_inner"))
    part = tuner.classifier.train
    images = np.stack([part.images.full_size(row) for row in range(len(part))])
    sized = keras.ops.image.resize(images, tuner.backbone.input_size, antialias=True)
    features = keras.Model(tuner.backbone.model.inputs[0], wide).predict(sized, verbose=0)
    kernel, bias = ridge_head(features, part.labels)
    logits = features @ kernel + bias
    said = tuner.model.predict(sized, verbose=0)
    expected = keras.ops.softmax(logits / result.temperature)
    np.testing.assert_allclose(said, expected, atol=2e-3)


def test_losses_are_lower_only_by_more_than_chance():
    random = np.random.default_rng(0)
    losses = random.random(60)
    assert is_lower(losses, losses + 0.1)
    assert not is_lower(losses, losses)
    assert not is_lower(losses + 0.1, losses)
    assert not is_lower(losses, losses + random.normal(0.01, 1.0, 60))
    assert not is_lower(losses[:1], losses[:1] + 1.0), "of one image nothing can be told"


def test_a_kill_in_a_try_leaves_the_head_as_a_run(folder, tmp_path):
    alone = tuner_of()
    alone.fit(folder, **{**HOW, "fine_tuning": "off"})
    with pytest.raises(Killed):
        tuner_of().fit(folder, out=tmp_path / "run", callbacks=[KillAt(epoch=3)], **HOW)
    saved = Classifier.load(tmp_path / "run", verbose=False)
    assert [each.tobytes() for each in saved.model.get_weights()] == weights_of(alone)
    assert saved.result.tries == ()
    assert (tmp_path / "run" / "training" / "request.json").exists()


@pytest.mark.slow
def test_ctrl_c_in_a_try_keeps_the_best_so_far_and_can_be_resumed(folder, tmp_path, monkeypatch):
    nothing_is_better(monkeypatch)
    make_alike(lambda *given: monkeypatch.setattr(*given))
    stop = KillAt(epoch=5, error=KeyboardInterrupt)
    tuner, alone = tuner_of(), tuner_of()
    result = tuner.fit(folder, out=tmp_path / "run", callbacks=[stop], **HOW)
    alone.fit(folder, **{**HOW, "fine_tuning": "off"})
    assert result.interrupted
    assert [each.note for each in result.tries][-1] == "interrupted"
    assert weights_of(tuner) == weights_of(alone)
    assert Classifier.load(tmp_path / "run", verbose=False).result.interrupted
    again = tuner_of().fit(folder, out=tmp_path / "run", resume=True, **HOW)
    assert not again.interrupted
    assert [each.outcome for each in again.tries] == ["no better"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 2, 3, 5, 7, 8, 10, 11])
def test_killed_anywhere_and_resumed_it_is_the_same_to_the_bit(
    folder, tmp_path, monkeypatch, epoch
):
    everything_is_better(monkeypatch)
    make_alike(lambda *given: monkeypatch.setattr(*given))
    expected, found = tuner_of(), tuner_of()
    first = expected.fit(folder, **HOW)
    with pytest.raises(Killed):
        tuner_of().fit(folder, out=tmp_path / "run", callbacks=[KillAt(epoch=epoch)], **HOW)
    second = found.fit(folder, out=tmp_path / "run", resume=True, **HOW)
    assert weights_of(found) == weights_of(expected)
    assert [(each.title, each.outcome, each.val_calibrated_loss) for each in second.tries] == [
        (each.title, each.outcome, each.val_calibrated_loss) for each in first.tries
    ]


def test_a_time_budget_that_is_too_short_says_what_a_pass_takes(folder, monkeypatch):
    monkeypatch.setattr(RowSource, "seconds_per_image", lambda source, cut: 100.0)
    with pytest.raises(InputError, match=r"one pass over 36 images takes about 3600 s here"):
        tuner_of().fit(folder, time_budget=60.0, cache="off", **HOW)
    with pytest.raises(InputError, match="time_budget must be a finite number above 0"):
        tuner_of().fit(folder, time_budget=0)


def test_a_time_budget_leaves_out_what_does_not_fit_in_and_says_so(folder, monkeypatch):
    monkeypatch.setattr(Costs, "tuning", lambda *known: (1_000.0, 1.0))
    result = tuner_of().fit(folder, time_budget=500.0, **HOW)
    assert [each.note for each in result.tries] == ["the time budget was used up"] * 3
    assert not result.interrupted
    assert "0 of 3 ways tried to an end, none kept (the time budget was used up)" in " ".join(
        str(result).split()
    )


@pytest.mark.slow
def test_a_plan_of_ones_own_ends_with_the_time_and_keeps_what_it_has(folder):
    # Long enough for a step, and not for a million.
    plan = linear_probe(epochs=20_000, patience=None)
    result = tuner_of().fit(folder, plan=plan, time_budget=12.0, check="off")
    assert result.stages[0].out_of_time
    assert 0 < len(result.history) < 20_000
    assert any("the time budget ended stage 'head' after" in each for each in result.notes)
    assert not result.interrupted


# The head that learns from all images at the end.


@pytest.mark.parametrize("features", ["last", "all_blocks_and_inner"])
def test_a_refitted_head_learns_from_the_validation_images_too(folder, features):
    plan = linear_probe(features=features)
    before, after = tuner_of(), tuner_of()
    scores = (
        before.fit(folder, plan=plan, check="off"),
        after.fit(folder, plan=plan, check="off", refit=True),
    )
    assert scores[0].validation.to_dict() == scores[1].validation.to_dict()
    assert scores[0].temperature == scores[1].temperature
    assert weights_of(before)[:-2] == weights_of(after)[:-2], "the blocks are as they were"
    assert weights_of(before)[-2:] != weights_of(after)[-2:]
    assert any(
        "learnt from all 36 training and validation images" in each for each in scores[1].notes
    )
    apart = [each.evaluate(folder).apart for each in (before, after)]
    assert [(each.seen_in_training, each.seen_in_validation) for each in apart] == [(0, 6), (6, 0)]


def test_in_closed_form_it_is_the_ridge_regression_on_all_images(folder):
    tuner = tuner_of()
    plan = linear_probe(features="all_blocks", epochs=1, learning_rate=1e-30)
    result = tuner.fit(folder, plan=plan, check="off", refit=True)
    assert result.stages[0].best_epoch == 0, "an epoch at such a rate is no better"
    parts = tuner.classifier.train, tuner.classifier.validation
    images = np.stack([part.images.full_size(row) for part in parts for row in range(len(part))])
    labels = np.concatenate([part.labels for part in parts])
    sized = keras.ops.image.resize(images, tuner.backbone.input_size, antialias=True)
    wide = concatenated(taps_of(tuner.backbone, "all_blocks"))
    features = keras.Model(tuner.backbone.model.inputs[0], wide).predict(sized, verbose=0)
    kernel, bias = ridge_head(features, labels)
    expected = keras.ops.softmax((features @ kernel + bias) / result.temperature)
    np.testing.assert_allclose(tuner.model.predict(sized, verbose=0), expected, atol=2e-3)


def test_a_head_that_trained_with_blocks_is_left_as_it_is_and_that_is_said(folder):
    plain, refit = tuner_of(), tuner_of()
    plain.fit(folder, unfreeze=1, epochs=2, check="off")
    result = refit.fit(folder, unfreeze=1, epochs=2, check="off", refit=True)
    assert result.unfrozen == 1
    assert weights_of(plain) == weights_of(refit)
    assert any("refit: the head was trained together with blocks" in each for each in result.notes)
