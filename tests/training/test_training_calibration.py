"""The loss that epochs are chosen by, and the temperature that the model is given in the end."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from ktransfer.training.calibration import TEMPERATURES, CalibratedLoss, best_temperature


def drawn(images=200, classes=4, certainty=1.0, seed=0):
    """Logits, and labels drawn from their softmax as it is at certainty 1."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (images, classes))
    labels = [random.choice(classes, p=np.exp(row)) for row in log_softmax(logits, axis=1)]
    return (certainty * logits).astype(np.float32), np.array(labels)


def loss_at(temperature, logits, labels):
    shares = log_softmax(logits.astype(np.float64) / temperature, axis=1)
    return -shares[np.arange(len(labels)), labels].mean()


def measured(batches):
    metric = CalibratedLoss()
    for logits, labels in batches:
        metric.update_state(labels, logits)
    return float(metric.result())


@pytest.mark.parametrize("certainty", [0.3, 1.0, 8.0])
def test_calibrated_loss_is_the_lowest_over_the_temperatures(certainty):
    logits, labels = drawn(certainty=certainty)
    expected = min(loss_at(each, logits, labels) for each in TEMPERATURES)
    halves = [(logits[:70], labels[:70]), (logits[70:], labels[70:])]
    assert measured(halves) == pytest.approx(expected, rel=1e-5)


def test_calibrated_loss_does_not_see_certainty_and_sees_what_was_learned():
    logits, labels = drawn()
    shuffled = np.random.default_rng(1).permutation(logits)
    # Multiples of the row's own step: the temperatures that suit lie on the row as well.
    step = TEMPERATURES[1] / TEMPERATURES[0]
    sure = [measured([(logits * step**power, labels)]) for power in (0, 2, 5)]
    assert sure == pytest.approx([sure[0]] * 3, rel=1e-5)
    assert loss_at(1, logits * step**5, labels) > 1.6 * sure[0]
    assert measured([(shuffled, labels)]) > 1.3 * sure[0]


@pytest.mark.parametrize("labels_as", [lambda y: y[:, None], lambda y: np.eye(4)[y]])
def test_calibrated_loss_takes_labels_as_a_column_and_as_shares(labels_as):
    logits, labels = drawn()
    assert measured([(logits, labels_as(labels))]) == pytest.approx(measured([(logits, labels)]))


def test_calibrated_loss_of_two_classes_is_not_taken_for_shares():
    logits, labels = drawn(classes=2)
    wanted = min(loss_at(each, logits, labels) for each in TEMPERATURES)
    assert measured([(logits, labels[:, None])]) == pytest.approx(wanted, rel=1e-5)


def test_calibrated_loss_of_nan_is_nan_and_begins_anew_after_a_reset():
    logits, labels = drawn()
    metric = CalibratedLoss()
    metric.update_state(labels, np.full_like(logits, np.nan))
    assert np.isnan(float(metric.result()))
    metric.reset_state()
    metric.update_state(labels, logits)
    assert float(metric.result()) == pytest.approx(measured([(logits, labels)]))


def test_calibrated_loss_can_be_saved_with_a_model(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.compile("sgd", loss="mse", metrics=[CalibratedLoss()])
    model.fit(np.ones((2, 4)), np.eye(4)[:2], verbose=0)
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").count_params() == 20


@pytest.mark.parametrize("certainty", [0.5, 1.0, 3.0, 10.0])
def test_temperature_finds_the_certainty_that_labels_were_drawn_with(certainty):
    logits, labels = drawn(images=5_000, certainty=certainty)
    found = best_temperature(logits, labels)
    assert found == pytest.approx(certainty, rel=0.06)
    # No other one is better, the slow way; the prior is worth little on so many images.
    losses = [loss_at(each, logits, labels) for each in np.geomspace(0.25, 16, 400)]
    assert loss_at(found, logits, labels) == pytest.approx(min(losses), abs=1e-4)


def test_temperature_stays_near_one_on_few_images_that_are_all_right():
    logits, _ = drawn(images=10, certainty=5.0)
    assert 0.7 < best_temperature(logits, logits.argmax(axis=1)) < 1.0


@pytest.mark.parametrize("wild", [np.nan, np.inf])
def test_temperature_of_a_broken_network_is_one(wild):
    logits, labels = drawn()
    logits[3, 1] = wild
    assert best_temperature(logits, labels) == 1.0
