import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_recall_fscore_support

from ktransfer.metrics import Score, score, wilson_interval


def test_score_counts_by_hand():
    labels = np.array([0, 0, 0, 0, 1, 1])
    predicted = np.array([0, 0, 0, 1, 1, 2])
    found = score(predicted, labels, ("a", "b", "c"))
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.per_class == {"a": 0.75, "b": 0.5, "c": None}
    assert found.balanced_accuracy == pytest.approx((0.75 + 0.5) / 2)
    np.testing.assert_array_equal(found.confusion, [[3, 1, 0], [0, 1, 1], [0, 0, 0]])


@pytest.mark.parametrize("missing", [None, 0, 3])
def test_figures_of_classes_are_scikit_learns(missing):
    random = np.random.default_rng(4)
    labels = random.choice(5, 300, p=[0.5, 0.3, 0.1, 0.07, 0.03])
    predicted = np.where(random.random(300) < 0.7, labels, random.integers(0, 5, 300))
    predicted[predicted == 4] = 0  # a class that is never named: its precision is 0, not undefined
    if missing is not None:
        kept = labels != missing
        labels, predicted = labels[kept], predicted[kept]
    names = tuple("abcde")
    found = score(predicted, labels, names)
    present = np.unique(labels)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=present, zero_division=0
    )
    for ours, theirs in ((found.precision, precision), (found.per_class, recall), (found.f1, f1)):
        assert [ours[names[each]] for each in present] == pytest.approx(theirs.tolist())
        assert all(ours[names[each]] is None for each in {*range(5)} - {*present})
    macro = f1_score(labels, predicted, labels=present, average="macro", zero_division=0)
    assert found.macro_f1 == pytest.approx(macro)
    assert found.balanced_accuracy == pytest.approx(recall.mean())


def test_balanced_accuracy_is_scikit_learns():
    labels, predicted = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 1, 1, 0, 2])
    found = score(predicted, labels, ("a", "b", "c"))
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_a_score_comes_back_from_plain_data():
    found = score(np.array([0, 1, 1]), np.array([0, 0, 1]), ("a", "b"))
    again = Score.from_dict(found.to_dict())
    assert again.to_dict() == found.to_dict()


def test_wilson_interval_is_that_of_the_literature():
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263, and 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
