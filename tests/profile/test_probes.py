"""Closed-form probes against the slow, straightforward way."""

import numpy as np
import pytest
from scipy.optimize import minimize

from ktransfer.errors import InputError
from ktransfer.profile import probes, samples
from ktransfer.profile.probes import (
    PENALTIES,
    Probe,
    choose_simplest,
    even_sample,
    evidence_scores,
    probe,
    ridge_head,
)


def drawn(images=40, width=12, classes=3, signal=1.0, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    features = random.normal(size=(images, width))
    features[:, :classes] += signal * np.eye(classes)[labels]
    return features, labels


def standard(features):
    centred = features - features.mean(axis=0)
    return centred / np.sqrt(np.mean(centred**2, axis=0)) / np.sqrt(features.shape[1])


def left_out_slowly(features, labels, penalty):
    """Every image predicted by a ridge with an intercept that was fitted on the others."""
    inputs, targets = standard(features), np.eye(labels.max() + 1)[labels]
    rows = []
    for out in range(len(inputs)):
        keep = np.arange(len(inputs)) != out
        mean_x, mean_y = inputs[keep].mean(axis=0), targets[keep].mean(axis=0)
        x, y = inputs[keep] - mean_x, targets[keep] - mean_y
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
        rows.append((inputs[out] - mean_x) @ weights + mean_y)
    return np.array(rows)


@pytest.mark.parametrize(("images", "width"), [(40, 12), (20, 60)])
def test_probe_is_the_ridge_that_leaves_every_image_out(images, width):
    features, labels = drawn(images, width)
    found = probe(features, labels)
    targets = np.eye(3)[labels]
    slow = {each: left_out_slowly(features, labels, each) for each in PENALTIES}
    penalty = min(slow, key=lambda each: np.mean((slow[each] - targets) ** 2))
    assert found.penalty == penalty
    np.testing.assert_array_equal(found.correct, slow[penalty].argmax(axis=1) == labels)
    np.testing.assert_allclose(found.errors, np.sum((slow[penalty] - targets) ** 2, axis=1))


def test_probe_of_noise_is_as_good_as_guessing_and_of_signal_nearly_perfect():
    noise = [probe(*drawn(signal=0.0, seed=seed, width=200)).accuracy for seed in range(10)]
    assert 0.2 < np.mean(noise) < 0.45  # 1 / 3, of 400 images
    assert probe(*drawn(signal=8.0)).accuracy > 0.95


def test_probe_does_not_depend_on_scale_shift_or_constant_features():
    features, labels = drawn()
    odd = np.concatenate([1e3 * features + 7.0, np.full((40, 2), 3.3)], axis=1)
    np.testing.assert_array_equal(probe(odd, labels).correct, probe(features, labels).correct)


def test_probe_of_features_that_are_all_constant_guesses():
    labels = np.array([0] * 6 + [1] * 4)
    assert probe(np.ones((10, 3)), labels).accuracy <= 0.6


def test_probe_takes_labels_that_are_not_numbered_from_zero():
    features, labels = drawn()
    np.testing.assert_array_equal(
        probe(features, 5 * labels + 2).correct, probe(features, labels).correct
    )


def test_many_images_are_thinned_evenly_by_class():
    labels = np.array([1] * 300 + [0] * 100)
    rows = even_sample(labels, 40)
    assert len(set(rows.tolist())) == 40
    assert np.bincount(labels[rows]).tolist() == [10, 30]
    np.testing.assert_array_equal(even_sample(labels, 400), np.arange(400))


@pytest.mark.parametrize(
    ("sizes", "most", "least", "taken"),
    [
        ([2600, 4, 4, 4, 2600], 600, 2, [297, 2, 2, 2, 297]),
        ([2600, 4, 4, 4, 2600], 128, 1, [62, 1, 1, 1, 63]),
        ([5] * 1000, 600, 2, [2] * 1000),
        ([1, 90, 3], 10, 2, [1, 7, 2]),
        ([90, 1, 5, 90], 9, 3, [3, 1, 3, 3]),
    ],
)
def test_every_class_keeps_its_place_in_a_sample(sizes, most, least, taken):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    rows = even_sample(labels, most, least=least)
    assert np.all(np.diff(rows) > 0)
    assert np.bincount(labels[rows]).tolist() == taken
    np.testing.assert_array_equal(even_sample(labels[rows], most, least=least), range(len(rows)))


def test_a_probe_of_very_many_classes_takes_some_of_them(monkeypatch):
    features, labels = np.eye(60)[np.repeat(np.arange(60), 3)], np.repeat(np.arange(60), 3)
    monkeypatch.setattr(samples, "MOST_CLASSES", 4)
    monkeypatch.setattr(probes, "MOST_IMAGES", 8)
    found = probe(features, labels)
    assert (len(found.correct), found.accuracy) == (8, 1.0)
    kernel, bias = ridge_head(features, labels)
    np.testing.assert_array_equal((features @ kernel + bias).argmax(axis=1), labels)


@pytest.mark.parametrize(
    ("features", "labels", "said"),
    [
        (np.ones((2, 2)), [0, 1], "at least 3 images of 2 classes, got 2 of 2"),
        (np.ones((5, 2)), [1] * 5, "got 5 of 1"),
        (np.ones((5, 2)), [0, 1], r"\(5, 2\) and 2 labels"),
        (np.ones(5), [0, 1, 0, 1, 0], r"\(5,\) and 5 labels"),
        (np.full((4, 2), np.nan), [0, 1, 0, 1], "not finite"),
    ],
)
def test_what_cannot_be_probed_is_refused(features, labels, said):
    with pytest.raises(InputError, match=said):
        probe(features, np.array(labels))


def with_errors(errors):
    return Probe(np.asarray(errors) < 0.5, np.asarray(errors, float), 1.0)


def test_advantage_is_paired():
    hard = np.random.default_rng(0).uniform(0, 1, 100)
    worse = np.where(np.arange(100) < 4, 0.5, 0.0)
    difference, error = with_errors(hard).advantage(with_errors(hard + worse))
    assert difference == pytest.approx(0.02)
    assert error == pytest.approx(np.std(worse, ddof=1) / 10)


def test_the_simplest_within_the_tolerance_is_chosen():
    random = np.random.default_rng(0)
    best = with_errors(random.uniform(0, 0.4, 100))
    noise = random.normal(0, 0.1, 100)
    noise -= noise.mean()
    chance, worse = (with_errors(best.errors + noise + more) for more in (0.005, 0.1))
    assert choose_simplest([chance, best]) == 0
    assert choose_simplest([chance, best], tolerance=0.0) == 1
    assert choose_simplest([worse, best]) == 1
    assert choose_simplest([worse, best, best]) == 1
    assert choose_simplest([best]) == 0


def evidence_directly(features, labels):
    """The evidence of each class's regression, maximised by a general optimiser."""
    found = []
    for each in np.unique(labels):
        y = (labels == each).astype(float)

        def negative(logs, y=y):
            alpha, beta = np.exp(logs)
            covariance = np.eye(len(y)) / beta + features @ features.T / alpha
            _, determinant = np.linalg.slogdet(covariance)
            fit = y @ np.linalg.solve(covariance, y)
            return 0.5 * (fit + determinant + len(y) * np.log(2 * np.pi)) / len(y)

        found.append(-minimize(negative, [0.0, 0.0], method="Nelder-Mead", tol=1e-8).fun)
    return np.mean(found)


@pytest.mark.parametrize(("images", "width"), [(60, 8), (30, 50)])
def test_logme_is_the_maximal_evidence(images, width):
    features, labels = drawn(images, width, signal=3.0)
    expected = evidence_directly(features, labels)
    assert evidence_scores(features, labels)["logme"] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(("images", "width"), [(60, 8), (30, 50)])
def test_h_score_is_the_shrunk_trace(images, width):
    features, labels = drawn(images, width, signal=3.0)
    from sklearn.covariance import ledoit_wolf

    covariance, shrinkage = ledoit_wolf(features)
    means = np.array([features[labels == each].mean(axis=0) for each in labels])
    between = np.cov(means.T)
    expected = (1 - shrinkage) * np.trace(np.linalg.inv(covariance) @ between)
    assert evidence_scores(features, labels)["h_score"] == pytest.approx(expected)
    tiny = evidence_scores(1e-6 * features, labels)["h_score"]
    assert tiny == pytest.approx(expected)
    noise = evidence_scores(drawn(images, width, signal=0.0)[0], labels)
    signal = evidence_scores(features, labels)
    assert all(signal[name] > noise[name] for name in signal)


def ridge_directly(features, labels, penalty, weights):
    """A weighted ridge with an intercept, on standardised features, by its normal equations."""
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    standard = (features - mean) / deviation / np.sqrt(features.shape[1])
    design = np.concatenate([standard, np.ones((len(standard), 1))], axis=1)
    ridge = penalty * np.diag([1.0] * features.shape[1] + [0.0])
    normal = design.T @ (weights[:, None] * design) + ridge
    solved = np.linalg.solve(normal, design.T @ (weights[:, None] * np.eye(3)[labels]))

    def predict(new):
        brought = (new - mean) / deviation / np.sqrt(features.shape[1])
        return brought @ solved[:-1] + solved[-1]

    return predict


@pytest.mark.parametrize(("images", "width"), [(40, 12), (20, 60)])
@pytest.mark.parametrize("weighted", [False, True])
def test_ridge_head_is_the_probe_of_all_images_as_logits(images, width, weighted):
    features, labels = drawn(images, width, signal=2.0)
    weights = np.random.default_rng(1).uniform(0.5, 1.5, images) if weighted else None
    kernel, bias = ridge_head(features, labels, weights)
    assert (kernel.shape, bias.shape, kernel.dtype) == ((width, 3), (3,), np.float32)
    plain = np.ones(images) if weights is None else weights
    expected = ridge_directly(features, labels, probe(features, labels).penalty, plain)
    new = np.random.default_rng(2).normal(size=(50, width))
    logits = new @ kernel + bias
    ratio = logits / expected(new)
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-3)
    assert 0.5 <= np.median(ratio) <= 64


def test_features_may_be_looked_at_in_pieces(monkeypatch):
    features, labels = drawn(30, 50, signal=2.0)
    features[:, 7] = 3.0
    weights = np.random.default_rng(1).uniform(0.5, 1.5, 30)
    whole = probe(features, labels), ridge_head(features, labels, weights)
    monkeypatch.setattr("ktransfer.profile.probes._COLUMNS_AT_ONCE", 8)
    np.testing.assert_allclose(probe(features, labels).errors, whole[0].errors)
    for one, other in zip(ridge_head(features, labels, weights), whole[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_ridge_head_ignores_constant_features_and_is_as_sure_as_it_is_right():
    features, labels = drawn(60, 12, signal=6.0)
    sure, _ = ridge_head(features, labels)
    unsure, _ = ridge_head(*drawn(60, 12, signal=0.5))
    assert np.abs(sure).max() > 2 * np.abs(unsure).max()
    flat = np.concatenate([features, np.full((60, 2), 3.0)], axis=1)
    kernel, _ = ridge_head(flat, labels)
    np.testing.assert_array_equal(kernel[-2:], 0)
    np.testing.assert_allclose(kernel[:-2], sure, rtol=1e-4, atol=1e-5)
