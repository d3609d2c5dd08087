"""Learning-rate searches: the losses are those of plain training, and nothing is left changed."""

import dataclasses
import itertools

import numpy as np
import pytest
from conftest import small_network

from ktransfer import FineTuner, InputError
from ktransfer.data.batches.rows import epoch_order
from ktransfer.plan import Plan, Stage, last_blocks, linear_probe
from ktransfer.training import search
from ktransfer.training.search import HIGHEST_RATE, LOWEST_RATE, range_test

HEAD = Stage(name="head", unfreeze=0, epochs=3, learning_rate=0.01, optimizer="sgd", batch_size=8)


def tuner_of(**options):
    return FineTuner(small_network(), verbose=False, **options)


def training_of(pictures, plan, seed=3):
    return tuner_of(seed=seed)._training(pictures, {"plan": plan})


def test_losses_of_a_range_test_are_the_held_out_ones_of_plain_gradient_descent(pictures):
    training = training_of(pictures, Plan("probe", (HEAD,)))
    found = range_test(training, num_steps=20)
    parts = {part.name: part for part in training.source.splits.parts}
    rows = {
        name: training.source.rows(name, training.network.num_blocks).astype(np.float64)
        * training.network.feature_scale
        for name in parts
    }
    labels = parts["train"].labels
    kernel, bias = np.zeros((rows["train"].shape[1], 3)), np.zeros(3)

    def shares_of(values):
        logits = values @ kernel + bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    orders = (epoch_order(len(labels), 3, epoch) for epoch in itertools.count())
    batches = (order[at : at + 8] for order in orders for at in range(0, len(labels), 8))
    losses = []
    for rate, batch in zip(np.geomspace(LOWEST_RATE, HIGHEST_RATE, 20), batches, strict=False):
        error = shares_of(rows["train"][batch]) - np.eye(3)[labels[batch]]
        kernel -= rate * rows["train"][batch].T @ error / len(batch)
        bias -= rate * error.mean(axis=0)
        held_out = parts["validation"].labels
        right = shares_of(rows["validation"])[np.arange(len(held_out)), held_out]
        losses.append(-np.log(right).mean())
    np.testing.assert_allclose(found.losses, losses[: len(found.losses)], rtol=1e-3, atol=1e-4)
    assert len(found.losses) >= 10


def test_a_range_test_begins_where_the_stages_before_are_a_tenth_done(pictures):
    training = training_of(pictures, last_blocks(1, epochs=12, head_epochs=30))
    found = range_test(training, num_steps=12)
    assert [(each.name, len(each.history)) for each in training.results] == [("head", 3)]
    (short,) = training_of(pictures, linear_probe(3)).run()
    assert found.losses[0] == pytest.approx(short.val_loss, abs=1e-4), (
        "the lowest rate moves little"
    )


@pytest.mark.parametrize("share", ["head", "blocks"])
def test_all_held_out_images_judge_a_head_and_an_even_few_what_is_dearer(
    pictures, monkeypatch, share
):
    monkeypatch.setattr(search, "MOST_HELD_OUT", 6)
    plan = Plan("mine", (dataclasses.replace(HEAD, unfreeze=int(share == "blocks")),))
    training = training_of(pictures, plan)
    labels = training.source.splits.validation.labels
    with search._trial(training) as trial:
        held_out = search.HeldOut.of(trial.prepared, labels)
        rows = training.source.rows("validation", trial.prepared.cut)
        chosen = np.arange(12) if share == "head" else np.array([0, 3, 4, 7, 8, 11])
        np.testing.assert_array_equal(np.bincount(labels[chosen]), np.bincount(held_out.labels))
        assert len(held_out.rows) == (12 if share == "head" else 6)
        for row in held_out.rows:
            assert any(np.array_equal(row, each) for each in rows)
        logits = np.asarray(trial.prepared.trainee(held_out.rows), np.float64)
        losses = (
            np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(logits)), held_out.labels]
        )
        assert held_out.loss() == pytest.approx(losses.mean(), abs=1e-5)


def test_a_range_test_names_the_rate_of_the_plan_where_nothing_can_be_learned(tmp_path):
    labels = np.arange(60) % 2
    images = np.full((60, 16, 16, 3), 90, np.uint8)  # all alike
    found = tuner_of().find_learning_rate((images, labels), plan=Plan("probe", (HEAD,)))
    assert found.suggestion == HEAD.learning_rate
    assert found.reason.endswith("the plan's own rate.")


def test_a_sweep_knows_the_loss_before_it_and_that_of_guessing(pictures):
    found = tuner_of().sweep_learning_rates(pictures, (1e-3,), plan=Plan("probe", (HEAD,)))
    assert found.start_loss is None, "its head knows nothing"
    assert found.guessing_loss == pytest.approx(np.log(3))
    plan = last_blocks(1, epochs=1, head_epochs=4)
    found = tuner_of().sweep_learning_rates(pictures, (1e-3,), plan=plan)
    head = tuner_of().fit(pictures, plan=linear_probe(4)).stages[0]
    assert found.start_loss == pytest.approx(head.val_loss, abs=1e-4)


def test_range_test_leaves_the_network_as_it_was(pictures):
    training = training_of(pictures, Plan("probe", (dataclasses.replace(HEAD, unfreeze=1),)))
    before = [np.array(each) for each in training.network.backbone.model.weights]
    range_test(training, num_steps=15)
    for old, new in zip(before, training.network.backbone.model.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(new))
    assert not training.network.head.kernel.numpy().any()


def test_every_trial_of_a_sweep_begins_with_the_same_weights(pictures):
    plan = last_blocks(1, epochs=2, head_epochs=2)
    both = tuner_of(dropout=0.3).sweep_learning_rates(pictures, (0.01, 0.001), plan=plan)
    alone = tuner_of(dropout=0.3).sweep_learning_rates(pictures, (0.001,), plan=plan)
    assert [trial.learning_rate for trial in both.trials] == [0.01, 0.001]
    for one, other in zip(both.trials[1].history, alone.trials[0].history, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert both.trials[0].history[0]["loss"] != both.trials[1].history[0]["loss"]


def test_trial_of_a_sweep_is_a_training_at_that_rate(pictures):
    plan = Plan("probe", (HEAD,))
    trial = tuner_of().sweep_learning_rates(pictures, (0.05,), plan=plan).trials[0]
    result = tuner_of().fit(pictures, plan=plan.with_settings(learning_rate=0.05))
    for one, other in zip(trial.history, result.history, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-6)
        assert one["val_loss"] == pytest.approx(other["val_loss"], abs=1e-6)


@pytest.mark.slow
def test_search_leaves_no_model_and_fit_goes_as_if_there_had_been_none(pictures):
    searched, fresh = tuner_of(), tuner_of()
    assert searched.find_learning_rate(pictures, unfreeze=1, num_steps=12).rates[0] == LOWEST_RATE
    with pytest.raises(InputError, match="no model yet"):
        _ = searched.model
    for each in (searched, fresh):
        each.fit(pictures, unfreeze=1, epochs=2)
    for one, other in zip(searched.model.get_weights(), fresh.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("rates", [(), (0.1, 0.1), (0.0,), (float("nan"),)])
def test_rates_that_are_none_are_refused(pictures, rates):
    with pytest.raises(InputError, match="rates must be different numbers above 0"):
        tuner_of().sweep_learning_rates(pictures, rates)


def test_options_that_a_search_does_not_have_are_refused(pictures):
    with pytest.raises(InputError, match="unknown option 'unfreze': did you mean unfreeze"):
        tuner_of().find_learning_rate(pictures, unfreze=2)
    with pytest.raises(InputError, match="unknown option 'out'"):
        tuner_of().sweep_learning_rates(pictures, out="run")
    with pytest.raises(InputError, match="num_steps must be at least 10, got 5"):
        tuner_of().find_learning_rate(pictures, num_steps=5)
