"""Classes of unequal size in a training: what `balance` does to it."""

import numpy as np
import pytest
from conftest import small_network, write_pictures
from resumed_training import KillAt, Killed, make_alike
from sklearn.utils.class_weight import compute_sample_weight
from training_networks import make_plan, make_stage, without_seconds

from ktransfer import FineTuner, InputError, RunError
from ktransfer.data.batches.rows import epoch_order, even_order
from ktransfer.plan import Plan, Stage
from ktransfer.training.search import range_test

SGD = Stage(name="head", unfreeze=0, epochs=3, learning_rate=0.1, optimizer="sgd", batch_size=8)
HEAD = make_stage(name="head", epochs=2, dropout=0.2)
PLANS = {
    "cached": (make_plan(HEAD, make_stage(name="last", unfreeze=1, epochs=2)), {}),
    "not cached": (
        make_plan(HEAD, make_stage(name="last", unfreeze=1, epochs=2, augmentation="standard")),
        {"cache": "off"},
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """24 blue, 8 green and 4 red pictures to train on, 5 of each to validate."""
    place = tmp_path_factory.mktemp("uneven")
    for name, count in (("blue", 24), ("green", 8), ("red", 4)):
        write_pictures(place / "train", count, classes=(name,))
    write_pictures(place / "val", 5, seed=1)
    return place


def tuner_of(**options):
    return FineTuner(small_network(), verbose=False, **options)


def fitted(folder, balance, plan=None, **options):
    tuner = tuner_of(seed=3)
    tuner.fit(folder, plan=plan or make_plan(HEAD), balance=balance, **options)
    return tuner


def gradient_descent(values, labels, weights, orders):
    """A softmax layer trained on weighted cross entropy, the mean over each batch, in float64."""
    kernel, bias = np.zeros((values.shape[1], 3)), np.zeros(3)
    for order in orders:
        for start in range(0, len(order), 8):
            rows = order[start : start + 8]
            logits = values[rows] @ kernel + bias
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            error = shares / shares.sum(axis=1, keepdims=True) - np.eye(3)[labels[rows]]
            error *= weights[rows, None]
            kernel -= 0.1 * values[rows].T @ error / len(rows)
            bias -= 0.1 * error.mean(axis=0)
    return kernel, bias


@pytest.mark.parametrize("balance", ["none", "class_weights", "sampling"])
def test_the_head_is_that_of_balanced_gradient_descent(folder, balance):
    tuner = tuner_of(seed=3)
    training = tuner._training(folder, {"plan": Plan("probe", (SGD,)), "balance": balance})
    (result,) = training.run()
    values = training.source.rows("train", training.network.num_blocks).astype(np.float64)
    values *= training.network.feature_scale
    labels = training.source.splits.train.labels
    epochs = range(result.best_epoch)
    assert len(epochs) > 0
    if balance == "sampling":
        orders = [even_order(labels, 3, epoch) for epoch in epochs]
    else:
        orders = [epoch_order(len(labels), 3, epoch) for epoch in epochs]
    weighted = balance == "class_weights"
    weights = compute_sample_weight("balanced" if weighted else None, labels)
    kernel, bias = gradient_descent(values, labels, weights, orders)
    np.testing.assert_allclose(training.network.head.get_weights()[0], kernel, atol=1e-5)
    np.testing.assert_allclose(training.network.head.get_weights()[1], bias, atol=1e-5)


def test_the_validation_loss_is_not_weighted(folder):
    tuner = fitted(folder, "class_weights")
    images = sorted((folder / "val").glob("*/*.png"))
    # What the network said while it trained, before it was given its temperature.
    powers = tuner.predict(images).probabilities.astype(np.float64) ** tuner.result.temperature
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    right = probabilities[np.arange(15), np.repeat([0, 1, 2], 5)]
    assert tuner.result.stages[-1].val_loss == pytest.approx(-np.log(right).mean(), abs=1e-4)


@pytest.mark.parametrize(
    ("balance", "name"),
    [
        ("sampling", "cached"),
        pytest.param("class_weights", "cached", marks=pytest.mark.slow),
        pytest.param("class_weights", "not cached", marks=pytest.mark.slow),
        pytest.param("sampling", "not cached", marks=pytest.mark.slow),
    ],
)
def test_every_stage_honours_it_and_a_resumed_training_is_the_same(
    folder, tmp_path, balance, name, monkeypatch
):
    make_alike(monkeypatch.setattr)
    plan, options = PLANS[name]
    plain = fitted(folder, "none", plan, **options).result
    whole = fitted(folder, balance, plan, **options)
    for one, other in zip(plain.stages, whole.result.stages, strict=True):
        assert one.history[0]["loss"] != other.history[0]["loss"]
    killed = {"out": tmp_path / "run", **options}
    with pytest.raises(Killed):
        fitted(folder, balance, plan, callbacks=[KillAt(epoch=3)], **killed)
    resumed = fitted(folder, balance, plan, resume=True, **killed)
    assert without_seconds(resumed.result.history) == without_seconds(whole.result.history)
    for one, other in zip(whole.model.weights, resumed.model.weights, strict=True):
        np.testing.assert_array_equal(np.array(one), np.array(other))


def test_resuming_with_another_balance_is_refused_by_name(folder, tmp_path):
    with pytest.raises(Killed):
        fitted(folder, "sampling", out=tmp_path / "run", callbacks=[KillAt(epoch=1)])
    with pytest.raises(RunError, match="settings balance: 'sampling' then, 'none' now"):
        fitted(folder, "none", out=tmp_path / "run", resume=True)


def test_auto_weights_these_classes_and_says_why(folder):
    result = fitted(folder, "auto").result
    (note,) = [note for note in result.notes if "class_weights" in note]
    assert "'blue', has 24 training images, the smallest, 'red', 4: 6.0 times" in note
    asked = fitted(folder, "class_weights").result
    assert without_seconds(result.history) == without_seconds(asked.history)


def test_classes_of_about_equal_size_are_left_alone(pictures):
    result = fitted(pictures, "auto").result
    assert not any("class_weights" in note for note in result.notes)
    plain = fitted(pictures, "none").result
    assert without_seconds(result.history) == without_seconds(plain.history)


def test_a_search_for_a_learning_rate_is_balanced_as_well(folder):
    losses = {}
    for balance in ("none", "class_weights"):
        options = {"plan": Plan("probe", (SGD,)), "balance": balance}
        losses[balance] = range_test(tuner_of(seed=3)._training(folder, options), 12).losses
    # Validation is never weighted, and at the lowest rate both heads are still zeros.
    assert losses["none"][0] == pytest.approx(np.log(3), abs=1e-5)
    assert losses["class_weights"][0] == pytest.approx(np.log(3), abs=1e-5)
    assert losses["class_weights"][-3:] != pytest.approx(losses["none"][-3:], rel=1e-2)


def test_weights_reach_a_training_in_mixed_precision(folder):
    tuner = tuner_of(seed=3, precision="mixed_bfloat16")
    plan = make_plan(make_stage(unfreeze=1, epochs=1))
    plain = tuner.fit(folder, plan=plan, balance="none").history[0]["loss"]
    assert tuner.fit(folder, plan=plan, balance="class_weights").history[0]["loss"] != plain


def test_balanced_figures_stand_beside_the_accuracy(folder):
    tuner = fitted(folder, "none")
    data = tuner.result.to_dict()
    assert data["val_balanced_accuracy"] == data["validation"]["balanced_accuracy"]
    assert data["val_macro_f1"] == data["validation"]["macro_f1"]
    found = tuner.evaluate(folder).to_dict()
    assert found["macro_f1"] == data["val_macro_f1"]
    assert set(found["f1"]) == set(found["precision"]) == {"blue", "green", "red"}


def test_an_unknown_balance_is_refused_before_any_image_is_read(tmp_path):
    with pytest.raises(InputError, match=r"unknown balance 'sample'.*sampling"):
        tuner_of().fit(tmp_path / "nothing", balance="sample")
