"""Carrying out stages: cached or not, with what memory there is, and when the loss runs away."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import write_pictures
from training_networks import (
    all_values,
    make_plan,
    make_stage,
    network_of,
    three_blocks,
    training_of,
    two_tensor_cells,
    without_seconds,
)

from ktransfer import InputError
from ktransfer.data.batches.rows import shuffled_batches
from ktransfer.features import RowSource
from ktransfer.features.views import mix_classes
from ktransfer.freezing import FrozenMovedError
from ktransfer.training import stage as stage_module
from ktransfer.training import stage_input as input_module
from ktransfer.training import training as training_module
from ktransfer.training.devices import is_out_of_memory
from ktransfer.training.head_start import root_mean_square


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("engine") / "pictures", 8)


def trained(plan, folder, model=None, **settings):
    training = training_of(plan, folder, model, **settings)
    training.run()
    return training


def check_close(one, two, tolerance=1e-5):
    for first, second in zip(all_values(one.network), all_values(two.network), strict=True):
        np.testing.assert_allclose(first, second, atol=tolerance)


def check_equal(one, two):
    for first, second in zip(all_values(one.network), all_values(two.network), strict=True):
        np.testing.assert_array_equal(first, second)


# Frozen means computed once: and comes out the same.


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (lambda: three_blocks(dropout=0.3), {"unfreeze": 1, "batch_norm": "train"}),
        (lambda: three_blocks(dropout=0.3), {"augmentation": "light", "views": 3, "unfreeze": 1}),
        pytest.param(
            three_blocks, {"augmentation": "standard", "views": 3}, marks=pytest.mark.slow
        ),
        (two_tensor_cells, {"unfreeze": 2}),
    ],
    ids=["batch norm and dropout", "light", "standard", "two tensors"],
)
def test_cached_and_uncached_training_make_the_same_model(folder, model, fields):
    plan = make_plan(make_stage(**fields, epochs=3))
    cached, uncached = (
        trained(plan, folder, model(), cache=mode, dropout=0.2, seed=4) for mode in ("on", "off")
    )
    assert [each.results[0].cached for each in (cached, uncached)] == [True, False]
    check_close(cached, uncached)
    for one, two in zip(cached.results[0].history, uncached.results[0].history, strict=True):
        assert one["val_loss"] == pytest.approx(two["val_loss"], abs=1e-5)
    fresh = network_of(model())
    assert np.abs(all_values(fresh)[-2] - all_values(cached.network)[-2]).max() > 1e-3


@pytest.mark.parametrize("in_pipeline", [pytest.param(True, marks=pytest.mark.slow), False])
@pytest.mark.parametrize(
    "fields",
    [{"unfreeze": 1, "batch_norm": "train"}, {"unfreeze": 1, "augmentation": "light", "views": 3}],
    ids=["batch norm", "views"],
)
def test_training_from_rows_at_an_earlier_cut_makes_the_same_model(
    folder, fields, in_pipeline, monkeypatch
):
    plan = make_plan(make_stage(**fields, epochs=3))
    cached = trained(plan, folder, three_blocks(), cache="on")
    monkeypatch.setattr(input_module, "prefix_in_pipeline", lambda: in_pipeline)
    read = []
    rows = RowSource.rows
    monkeypatch.setattr(
        RowSource, "rows", lambda self, *asked: (read.append(asked[1]), rows(self, *asked))[1]
    )
    earlier = trained(plan, folder, three_blocks(), cache=(1,))
    assert not earlier.results[0].cached
    assert 1 in read
    assert 2 not in read
    check_close(cached, earlier)


def test_views_are_views_and_not_the_plain_images(folder):
    plain = trained(make_plan(make_stage(epochs=3)), folder)
    views = trained(make_plan(make_stage(epochs=3, augmentation="standard", views=3)), folder)
    assert plain.results[0].history[-1]["loss"] != views.results[0].history[-1]["loss"]


@pytest.mark.slow
def test_mixed_batches_train_on_shares_and_are_judged_as_classes_are(folder, monkeypatch):
    plan = make_plan(make_stage(unfreeze=1, epochs=2, augmentation="strong"))
    training = training_of(plan, folder)
    watched = []
    run_stage = training_module.run_stage

    def watch(prepared, *how):
        batches = prepared.data.train(prepared.batch_size, 0)
        watched.append(list(batches.take(4).as_numpy_iterator()))
        return run_stage(prepared, *how)

    monkeypatch.setattr(training_module, "run_stage", watch)
    training.run()
    labels = np.concatenate([labels for _, labels in watched[0]])
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
    assert np.any((labels > 0.01) & (labels < 0.99))
    # The validation loss and accuracy of the epoch kept, by hand from the logits.
    last = training.results[0]
    held_back = training.source.splits.validation.labels
    model = training.network.trainee(0, dropout=0.0, cached=True)
    logits = model.predict(training.source.rows("validation", 0), verbose=0)
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    loss = -np.log(chances[np.arange(len(held_back)), held_back]).mean()
    assert last.val_loss == pytest.approx(loss, abs=1e-4)
    assert last.val_accuracy == pytest.approx((logits.argmax(axis=1) == held_back).mean())


def test_weights_are_mixed_as_their_images_are(folder):
    training = training_of(make_plan(make_stage(unfreeze=1)), folder)
    values = training.source.rows("train", 0)
    labels = training.source.splits.train.labels
    weight_of_class = np.array([1.0, 3.0, 10.0], np.float32)
    batches = shuffled_batches(
        values,
        labels,
        batch_size=8,
        seed=0,
        weights=weight_of_class[labels],
        mix=mix_classes(3),
    )
    mixed = False
    for _, shares, weights in batches.take(8).as_numpy_iterator():
        np.testing.assert_allclose(weights, shares @ weight_of_class, rtol=1e-5)
        mixed |= bool(np.any((shares > 0.05) & (shares < 0.95)))
    assert mixed


@pytest.mark.parametrize("in_pipeline", [True, False])
def test_dropout_of_frozen_blocks_is_off_and_of_the_head_is_on(folder, monkeypatch, in_pipeline):
    monkeypatch.setattr(input_module, "prefix_in_pipeline", lambda: in_pipeline)
    plan = make_plan(make_stage(epochs=3))
    expected = trained(plan, folder, three_blocks(), cache="off")
    with_dropout = three_blocks(dropout=0.5)
    with_dropout.set_weights(three_blocks().get_weights())
    check_equal(trained(plan, folder, with_dropout, cache="off"), expected)
    dropped = trained(plan, folder, three_blocks(), dropout=0.5)
    assert dropped.results[0].history[0]["loss"] != expected.results[0].history[0]["loss"]
    own = trained(make_plan(make_stage(epochs=3, dropout=0.0)), folder, dropout=0.5)
    assert own.results[0].history[0]["loss"] == pytest.approx(
        expected.results[0].history[0]["loss"], abs=1e-5
    )


def test_the_same_seed_is_the_same_training_whatever_python_drew_before(folder):
    plan = make_plan(make_stage(unfreeze=2))
    networks = []
    for _ in range(2):
        model = three_blocks(dropout=0.3)
        # A process of its own would have drawn other seeds for the backbone's dropout.
        for each in model.layers:
            if isinstance(each, keras.layers.Dropout):
                each.seed = len(networks) + 17
        networks.append(network_of(keras.models.clone_model(model)))
        networks[-1].backbone.model.set_weights(model.get_weights())
    one, two = (training_of(plan, folder, network=each, dropout=0.2) for each in networks)
    one.run(), two.run()
    check_equal(one, two)


def test_a_damaged_prefix_is_an_error_and_not_a_training(folder):
    model = two_tensor_cells()
    model.weights[0].assign(np.full(model.weights[0].shape, np.nan, np.float32))
    with pytest.raises(InputError, match=r"weights are NaN in layer 'conv2d"):
        trained(make_plan(), folder, model)


def test_root_mean_square_is_that_of_numpy():
    values = np.random.default_rng(0).normal(2, 3, (100, 7)).astype(np.float32)
    expected = np.sqrt(np.mean(values.astype(np.float64) ** 2))
    assert root_mean_square(values, rows_at_once=9) == pytest.approx(expected, rel=1e-12)
    assert root_mean_square(np.zeros((4, 2))) == 1.0


# What is frozen does not move.


@keras.saving.register_keras_serializable(package="tests")
class Drifting(keras.layers.Layer):
    """Moves in every call, whatever its flag."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, inputs):
        self.calls.assign(self.calls + 1.0)
        return inputs + 0.0 * self.calls


def drifting():
    images = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, strides=2)(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.ReLU()(Drifting(name="drifting")(x))
    x = keras.layers.ReLU()(keras.layers.Conv2D(5, 3, strides=2)(x))
    return keras.Model(images, x)


def test_a_layer_that_moves_although_it_is_frozen_is_an_error(folder, monkeypatch):
    # On a CPU the frozen blocks run in the pipeline, as constants; elsewhere in the model.
    monkeypatch.setattr(input_module, "prefix_in_pipeline", lambda: False)
    with pytest.raises(FrozenMovedError, match=r"1 of 5 frozen variables moved: 'drifting"):
        trained(make_plan(), folder, drifting(), cache="off")
    # Computed once, its layers do not even run.
    assert trained(make_plan(), folder, drifting(), cache="on").results[0].proof.moved == ()


def test_batch_norm_does_what_the_stage_says(folder):
    def moved(batch_norm):
        plan = make_plan(make_stage(unfreeze=1, batch_norm=batch_norm, learning_rate=0.05))
        network = network_of(three_blocks())
        weights = network.backbone.model.weights
        before = [np.array(each) for each in weights]
        training_of(plan, folder, network=network).run()
        last = network.backbone.blocks[-1].layers
        own = {id(each) for layer in last for each in layer.weights}
        moved = [not np.array_equal(old, each) for old, each in zip(before, weights, strict=True)]
        named = {"prefix": False}
        for each, has_moved in zip(weights, moved, strict=True):
            name = each.path.rpartition("/")[2] if id(each) in own else "prefix"
            named[name] = named.get(name, False) or has_moved
        return named

    still = dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance", "prefix"), False)
    convolution = {"kernel": True}
    assert moved("frozen") == still | convolution
    assert moved("affine_only") == still | convolution | {"gamma": True, "beta": True}
    assert moved("train") == dict.fromkeys(still, True) | convolution | {"prefix": False}


@pytest.mark.slow
def test_statistics_come_from_the_batches_only_in_train(folder):
    # With one batch an epoch, statistics of the batch give another loss than the moving ones.
    def first_loss(batch_norm):
        stages = make_stage(), make_stage(name="two", unfreeze=1, batch_norm=batch_norm)
        plan = make_plan(*stages).with_settings(batch_size=64, epochs=1)
        return trained(plan, folder).results[1].history[0]["loss"]

    frozen, affine, train = map(first_loss, ("frozen", "affine_only", "train"))
    assert frozen == affine != train


def test_a_stage_with_nothing_to_train_in_its_blocks_is_an_error(folder):
    images = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, strides=2)(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.ReLU()(x)
    x = keras.layers.ReLU()(Drifting()(keras.layers.MaxPooling2D()(x)))
    network = network_of(keras.Model(images, x))
    assert network.backbone.blocks[-1].parameters == 1
    with pytest.raises(
        InputError, match=r"'one' unfreezes the last 1 of 2 .*'frozen'.*unfreeze mo"
    ):
        training_of(make_plan(make_stage(unfreeze=1)), folder, network=network)
    training_of(make_plan(make_stage(unfreeze=2)), folder, network=network)


# Memory runs out.


def let_memory_run_out(monkeypatch, above):
    """After some steps of an epoch, where a batch has more images than `above`."""
    real, tried = stage_module.fit, []

    def fit(run):
        prepared = run.prepared
        tried.append(prepared.batch_size)
        if prepared.batch_size > above:
            for rows, labels in prepared.data.train(prepared.batch_size, 0).take(2):
                prepared.trainee.train_on_batch(rows, labels)
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return real(run)

    monkeypatch.setattr(stage_module, "fit", fit)
    return tried


@pytest.mark.slow
def test_where_memory_runs_out_the_stage_begins_again_with_half_a_batch(folder, monkeypatch):
    plan = make_plan(make_stage(), make_stage(name="two", unfreeze=2, batch_norm="train"))
    model = three_blocks(dropout=0.3)
    expected = trained(plan.with_settings(batch_size=4), folder, model, dropout=0.2)
    tried = let_memory_run_out(monkeypatch, above=4)
    found = trained(plan.with_settings(batch_size=16), folder, model, dropout=0.2)
    assert tried == [16, 8, 4, 16, 8, 4]
    check_equal(found, expected)
    for one, two in zip(found.results, expected.results, strict=True):
        assert without_seconds(one.history) == without_seconds(two.history)
        assert one.batch_size == 4
        assert one.notes[:2] == (
            "memory ran out; the stage began again with batch_size=8",
            "memory ran out; the stage began again with batch_size=4",
        )


def test_where_not_even_one_image_fits_the_error_goes_on(folder, monkeypatch):
    tried = let_memory_run_out(monkeypatch, above=0)
    with pytest.raises(tf.errors.ResourceExhaustedError, match="OOM when"):
        trained(make_plan(make_stage(batch_size=2)), folder)
    assert tried == [2, 1]


def test_other_errors_are_not_taken_for_memory(folder, monkeypatch):
    def fail(*_):
        raise tf.errors.InvalidArgumentError(None, None, "shapes")

    monkeypatch.setattr(stage_module, "fit", fail)
    with pytest.raises(tf.errors.InvalidArgumentError, match="shapes"):
        trained(make_plan(), folder)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 3 bytes"))
    assert not is_out_of_memory(ValueError("memory"))


# The loss runs away, or gets worse.


def test_a_loss_that_becomes_nan_stops_the_training_and_keeps_the_best(folder, capsys):
    first = make_plan(make_stage(name="head"))
    plan = make_plan(
        make_stage(name="head"),
        make_stage(name="wild", unfreeze=2, learning_rate=1e30, epochs=4),
        make_stage(name="never"),
    )
    expected, found = trained(first, folder), trained(plan, folder)
    assert [each.name for each in found.results] == ["head", "wild"]
    wild = found.results[1]
    assert wild.diverged
    assert wild.best_epoch == 0
    assert wild.val_loss == expected.results[0].val_loss
    assert wild.notes[0].startswith(
        "the loss of stage 'wild' became NaN in epoch 1, so the training stopped and the weights "
        "of before are kept: lower learning_rate from 1e+30 to 1e+29, or block_multiplier"
    )
    check_equal(found, expected)
    assert capsys.readouterr().out == ""  # where --json writes


def test_weights_that_only_the_validation_loss_shows_to_be_nan_are_not_gone_on_with(folder):
    wild = make_stage(unfreeze=2, learning_rate=1e38, batch_size=64, epochs=1, optimizer="sgd")
    training = trained(make_plan(make_stage(name="a"), dataclasses.replace(wild)), folder)
    result = training.results[-1]
    assert np.isfinite(result.history[0]["loss"])
    assert not np.isfinite(result.history[0]["val_loss"])
    assert result.diverged
    assert all(np.isfinite(each).all() for each in all_values(training.network))


def test_a_stage_that_gets_worse_keeps_the_weights_of_before(folder):
    head = make_stage(name="head", epochs=4)
    worse = make_stage(name="worse", unfreeze=1, learning_rate=30.0, patience=2, epochs=9)
    expected, found = (trained(make_plan(*stages), folder) for stages in ((head,), (head, worse)))
    result = found.results[1]
    assert result.best_epoch == 0
    assert len(result.history) == 2
    assert (result.val_loss, result.val_accuracy) == (
        expected.results[0].val_loss,
        expected.results[0].val_accuracy,
    )
    assert any("the weights of before are kept" in note for note in result.notes)
    check_equal(found, expected)


def test_the_weights_kept_are_those_of_the_best_epoch(folder):
    plan = make_plan(make_stage(learning_rate=3.0, epochs=8))
    found = trained(plan, folder)
    result = found.results[0]
    losses = [row["val_calibrated_loss"] for row in result.history]
    assert result.best_epoch == 1 + int(np.argmin(losses)) < 8
    assert result.val_calibrated_loss == min(losses)
    rows, labels = found.source.rows("validation", 3), found.source.splits.validation.labels
    kernel, bias = (np.array(each, np.float64) for each in found.network.head.weights)
    logits = rows * found.network.feature_scale @ kernel + bias
    shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert -shares[range(len(labels)), labels].mean() == pytest.approx(result.val_loss, abs=1e-5)
    np.testing.assert_array_equal(found.logits("validation").argmax(axis=1), logits.argmax(axis=1))


# Stages.


def test_a_later_stage_goes_on_from_the_one_before(folder):
    head = make_stage(name="head", epochs=5)
    found = trained(make_plan(head, make_stage(name="rest", unfreeze=1)), folder)
    alone = trained(make_plan(make_stage(name="rest", unfreeze=1)), folder)
    assert found.results[1].history[0]["loss"] < alone.results[0].history[0]["loss"]


def test_every_stage_has_orders_of_its_own(folder):
    # One step at a rate of nothing: what differs is which images come first.
    stage = make_stage(learning_rate=1e-30, batch_size=4, epochs=1)
    seen = []
    real = stage_module.fit

    def fit(run):
        batches = run.prepared.data.train(4, 0).take(run.prepared.steps)
        seen.append([labels.numpy().tolist() for _, labels in batches])
        return real(run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage_module, "fit", fit)
        trained(make_plan(stage, dataclasses.replace(stage, name="two")), folder)
    assert seen[0] != seen[1]
    assert sorted(np.concatenate(seen[0])) == sorted(np.concatenate(seen[1]))


def test_freezing_afterwards_is_that_of_the_widest_stage(folder):
    training = trained(
        make_plan(make_stage(unfreeze=2, epochs=1), make_stage(name="two", epochs=1)), folder
    )
    training.freeze_as_trained()
    blocks = training.network.backbone.blocks
    trainable = [any(w.trainable for la in each.layers for w in la.weights) for each in blocks]
    assert trainable == [False, True, True]


def test_callbacks_that_set_a_rate_do_not_fit_a_schedule(folder):
    callbacks = [keras.callbacks.ReduceLROnPlateau()]
    with pytest.raises(
        InputError, match=r"'one' has the schedule 'cosine' .*ReduceLROnPlateau can"
    ):
        training_of(make_plan(make_stage(schedule="cosine")), folder, callbacks=callbacks)
    training_of(make_plan(), folder, callbacks=callbacks)


def test_the_optimizer_has_a_group_for_each_block(folder):
    stage = make_stage(unfreeze=2, block_multiplier=0.5, layer_decay=0.5, learning_rate=0.1)
    groups = trained(make_plan(stage), folder).results[0].groups
    rates = sorted(each["learning_rate"] for each in groups)
    assert rates == pytest.approx([0.0125, 0.025, 0.1])
    assert {each["group"] for each in groups} > {"head"}


@pytest.mark.parametrize("mode", ["auto", "off"])
def test_what_was_decided_is_said(folder, mode, capfd):
    result = trained(make_plan(), folder, cache=mode, verbose=2).results[0]
    said = " ".join(capfd.readouterr().err.split())
    assert f"stage 'one': {result.cache_reason}"[:40] in said
    assert "unchanged (sha256" in said
    trained(make_plan(), folder, cache=mode, verbose=1)
    assert capfd.readouterr().err == ""  # the screen of a training has a dozen lines
