"""The learning curve of a probe, on features whose true curve is known or whose answer is clear."""

import re

import numpy as np
import pytest

from ktransfer.errors import InputError
from ktransfer.profile.learning_curve import learning_curve
from ktransfer.profile.probes import MOST_IMAGES, even_sample, probe


def drawn(images, signal, seed=0, width=60, classes=3):
    random = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    features = random.normal(size=(images, width))
    features[:, :classes] += signal * np.eye(classes)[labels]
    return features, labels


def test_last_point_is_the_probe_on_all_images():
    features, labels = drawn(120, 2.0)
    found = learning_curve(features, labels)
    assert found.num_images == (30, 60, 120)
    assert found.accuracies[-1] == probe(features, labels).accuracy
    assert list(found.accuracies) == sorted(found.accuracies)


def test_gain_of_twice_as_many_is_what_twice_as_many_gain():
    gains, real = [], []
    for seed in range(6):
        features, labels = drawn(480, 2.0, seed)
        half = learning_curve(features[:240], labels[:240])
        gains.append(half.gain)
        real.append(probe(features, labels).accuracy - half.accuracies[-1])
        assert half.gain_interval[0] <= half.gain <= half.gain_interval[1]
    assert np.mean(real) > 0.01  # there is something to predict
    assert np.mean(gains) == pytest.approx(np.mean(real), abs=0.02)


def test_where_every_image_is_right_more_of_them_will_not_help():
    found = learning_curve(*drawn(240, 12.0))
    assert found.gain < 0.005
    assert found.advice.startswith("More images of this kind will hardly help")


def test_where_the_curve_still_rises_the_number_of_images_is_said():
    found = learning_curve(*drawn(120, 2.0))
    number = int(re.match(r"About ([\d,]+) more images would gain 2 points", found.advice)[1])
    # By the curve itself: a + b / sqrt(n).
    slope = found.gain / (120**-0.5 - 240**-0.5)
    assert slope * (120**-0.5 - (120 + number) ** -0.5) == pytest.approx(0.02, abs=0.005)


def test_same_seed_same_curve():
    features, labels = drawn(100, 1.5)
    assert learning_curve(features, labels) == learning_curve(features, labels)
    assert learning_curve(features, labels, seed=1) != learning_curve(features, labels)


def test_of_many_images_some_are_measured_and_the_gain_is_that_of_all():
    features, labels = drawn(3 * MOST_IMAGES, 2.0)
    found = learning_curve(features, labels)
    rows = even_sample(labels, MOST_IMAGES)
    some = learning_curve(features[rows], labels[rows])
    assert found.accuracies == some.accuracies
    number = 3 * MOST_IMAGES
    slope = some.gain / (MOST_IMAGES**-0.5 - (2 * MOST_IMAGES) ** -0.5)
    assert found.gain == pytest.approx(slope * (number**-0.5 - (2 * number) ** -0.5))
    assert 0 < found.gain < some.gain


def test_too_few_images_are_refused():
    with pytest.raises(InputError, match="at least 24 images, got 20"):
        learning_curve(*drawn(20, 1.0))
