"""Learning-rate searches: the losses are those of plain training, and nothing is left changed."""

import dataclasses
import itertools

import numpy as np
import pytest
from conftest import small_network

from ktransfer import FineTuner, InputError
from ktransfer.data.batches.rows import epoch_order
from ktransfer.plan import Plan, Stage, last_blocks
from ktransfer.training.search import HIGHEST_RATE, LOWEST_RATE, range_test

HEAD = Stage(name="head", unfreeze=0, epochs=3, learning_rate=0.01, optimizer="sgd", batch_size=8)


def tuner_of(**options):
    return FineTuner(small_network(), verbose=False, **options)


def training_of(pictures, plan, seed=3):
    return tuner_of(seed=seed)._training(pictures, {"plan": plan})


def test_losses_of_a_range_test_are_those_of_plain_gradient_descent(pictures):
    training = training_of(pictures, Plan("probe", (HEAD,)))
    found = range_test(training, num_steps=20)
    values = training.source.rows("train", training.network.num_blocks).astype(np.float64)
    values *= training.network.feature_scale
    labels = training.source.splits.train.labels
    kernel, bias = np.zeros((values.shape[1], 3)), np.zeros(3)
    orders = (epoch_order(len(labels), 3, epoch) for epoch in itertools.count())
    batches = (order[at : at + 8] for order in orders for at in range(0, len(labels), 8))
    losses = []
    for rate, rows in zip(np.geomspace(LOWEST_RATE, HIGHEST_RATE, 20), batches, strict=False):
        logits = values[rows] @ kernel + bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        losses.append(-np.log(shares[np.arange(len(rows)), labels[rows]]).mean())
        error = shares - np.eye(3)[labels[rows]]
        kernel -= rate * values[rows].T @ error / len(rows)
        bias -= rate * error.mean(axis=0)
    np.testing.assert_allclose(found.losses, losses[: len(found.losses)], atol=1e-4)
    assert len(found.losses) >= 10


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
    with pytest.raises(InputError, match="at least 10 steps, got 5"):
        tuner_of().find_learning_rate(pictures, num_steps=5)
