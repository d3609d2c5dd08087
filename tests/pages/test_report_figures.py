"""The figures of a report are those of scikit-learn, SciPy and NumPy."""

from collections import Counter

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from ktransfer.metrics import confused_pairs, score
from ktransfer.pages.report.classes import by_class, confused
from ktransfer.pages.report.reliability import before_temperature, reliability
from ktransfer.pages.report.verdict import how_good

NAMES = tuple("abcde")


@pytest.fixture(scope="module")
def answers():
    """Labels and predictions of five classes; "d" is never said, "e" has no image."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 300)
    predicted = np.where(random.random(300) < 0.7, labels, random.integers(0, 3, 300))
    predicted[predicted == 3] = 0
    return labels, predicted


@pytest.fixture(scope="module")
def said():
    """Probabilities of 400 images and their labels, too sure of themselves."""
    random = np.random.default_rng(1)
    logits = random.normal(size=(400, 4)) * 3
    labels = np.array([random.choice(4, p=softmax(row / 2)) for row in logits])
    return logits, softmax(logits, axis=1), labels


def numbers(text):
    return float(text.removesuffix(" %").replace(",", ""))


def test_precision_recall_and_f1_are_scikit_learns(answers):
    labels, predicted = answers
    table = by_class(score(predicted, labels, NAMES)).parts[0]
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=range(5), zero_division=0
    )
    for name, *values in table.rows:
        at = NAMES.index(name.text)
        if not support[at]:
            assert [each.text for each in values] == ["-", "-", "-", "0"]
            continue
        expected = [100 * precision[at], 100 * recall[at], 100 * f1[at], support[at]]
        np.testing.assert_allclose([numbers(each.text) for each in values], expected, atol=0.0501)


def test_the_class_found_least_comes_first_and_those_without_images_last(answers):
    labels, predicted = answers
    table = by_class(score(predicted, labels, NAMES)).parts[0]
    assert table.rows[0][0].text == "d"
    assert table.rows[-1][0].text == "e"


def test_the_table_of_confusions_is_scikit_learns(answers):
    labels, predicted = answers
    picture = confused(score(predicted, labels, NAMES), NAMES).parts[-1]
    shown = [[int(numbers(each.text)) for each in row[1:]] for row in picture.tables[-1].rows]
    assert shown == confusion_matrix(labels, predicted, labels=range(5)).tolist()


def test_confused_pairs_are_those_that_are_counted_the_most_frequent_first(answers):
    labels, predicted = answers
    found = score(predicted, labels, NAMES).confusion
    counted = Counter(pair for pair in zip(labels, predicted, strict=True) if pair[0] != pair[1])
    pairs = confused_pairs(found)
    assert set(pairs) == set(counted)
    assert [found[pair] for pair in pairs] == sorted(counted.values(), reverse=True)


def test_a_class_that_is_never_said_is_named(answers):
    labels, predicted = answers
    note = confused(score(predicted, labels, NAMES), NAMES).parts[0]
    assert note.sentences == ("2 classes are never said of any image: d, e.",)


def test_of_200_classes_the_pairs_are_listed_and_not_the_whole():
    random = np.random.default_rng(2)
    names = [f"class {each}" for each in range(200)]
    labels = random.integers(0, 200, 1_000)
    predicted = np.where(random.random(1_000) < 0.5, labels, random.integers(0, 200, 1_000))
    found = score(predicted, labels, names)
    *_, picture, pairs = confused(found, names).parts
    assert picture.tables == ()
    assert len(pairs.rows) == 15
    assert len(picture.drawings.wide) < 300_000
    assert picture.drawings.wide.count(" taken for ") >= np.count_nonzero(found.confusion)


def reference_error(probabilities, labels, bins=10):
    """The expected calibration error, image by image."""
    groups = {}
    for row, label in zip(probabilities, labels, strict=True):
        top = row.max()
        bin_of = next(at for at in range(1, bins + 1) if top <= at / bins + 1e-12)
        groups.setdefault(bin_of, []).append((top, row.argmax() == label))
    apart = [
        len(each) * abs(np.mean([top for top, _ in each]) - np.mean([right for _, right in each]))
        for each in groups.values()
    ]
    return sum(apart) / len(labels), len(groups)


def test_the_calibration_error_is_that_of_counting_image_by_image(said):
    _, probabilities, labels = said
    found = reliability(probabilities, labels)
    error, groups = reference_error(probabilities, labels)
    assert found.error == pytest.approx(error)
    assert len(found.bins) == groups
    assert sum(each.images for each in found.bins) == 400


def test_certainty_on_a_limit_is_in_the_bin_below_it_and_1_in_the_last():
    probabilities = np.array([[0.5, 0.5], [0.6, 0.4], [1.0, 0.0]])
    bins = reliability(probabilities, np.array([0, 0, 0])).bins
    assert [(each.low, each.images) for each in bins] == [(0.4, 1), (0.5, 1), (0.9, 1)]


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.7])
def test_what_was_said_before_the_temperature_is_found_from_what_is_said_after_it(
    said, temperature
):
    logits = said[0]
    after = softmax(logits / temperature, axis=1).astype(np.float32)
    found = before_temperature(after, temperature)
    np.testing.assert_allclose(found, softmax(logits, axis=1), atol=2e-6)


class _Named:
    class_names = NAMES


def judged(labels, predicted, part="test"):
    from ktransfer.pages.report.judging import Judged

    return Judged(part, score(predicted, labels, NAMES), None, (), ())


def test_the_verdict_has_wilsons_interval_and_the_largest_class_as_baseline(answers):
    labels, predicted = answers
    verdict = how_good(_Named, judged(labels, predicted)).parts[0]
    right = int((labels == predicted).sum())
    interval = binomtest(right, 300).proportion_ci(method="wilson")
    assert verdict.share == right / 300
    np.testing.assert_allclose(verdict.interval, interval)
    assert verdict.baseline == Counter(labels.tolist()).most_common(1)[0][1] / 300


@pytest.mark.parametrize(
    ("right", "words"),
    [
        (0.95, ", well above"),
        (0.6, ", above"),
        (0.5, "may have learnt nothing"),
        (0.1, "wrong"),
    ],
)
def test_the_verdict_says_whether_it_is_better_than_not_looking(right, words):
    labels = np.arange(200) % 2
    predicted = np.where(np.arange(200) < 200 * right, labels, 1 - labels)
    assert words in how_good(_Named, judged(labels, predicted)).parts[0].sentence


def test_validation_images_are_said_to_flatter_and_test_images_are_not(answers):
    def notes(part):
        return [
            each
            for each in how_good(_Named, judged(*answers, part)).parts
            if hasattr(each, "items")
        ]

    assert "optimistic" in notes("validation")[0].items[0]
    assert notes("test") == []
