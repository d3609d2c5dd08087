import numpy as np
import pytest

from ktransfer.metrics import score, wilson_interval


def test_score_counts_by_hand():
    labels = np.array([0, 0, 0, 0, 1, 1])
    predicted = np.array([0, 0, 0, 1, 1, 2])
    found = score(predicted, labels, ("a", "b", "c"))
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.per_class == {"a": 0.75, "b": 0.5, "c": None}
    assert found.balanced_accuracy == pytest.approx((0.75 + 0.5) / 2)
    np.testing.assert_array_equal(found.confusion, [[3, 1, 0], [0, 1, 1], [0, 0, 0]])


def test_wilson_interval_is_that_of_the_literature():
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263, and 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
