"""What is done about classes of unequal size, against scikit-learn."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from ktransfer.data.batches.balance import choose_balance, class_weights
from ktransfer.errors import InputError

NAMES = ("ant", "bee", "cat")


def labels_of(*counts: int) -> np.ndarray:
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    return np.random.default_rng(0).permutation(labels)


@pytest.mark.parametrize("counts", [(5, 5, 5), (100, 20, 1), (7, 0, 3), (4,)])
def test_class_weights_are_scikit_learns(counts: tuple[int, ...]) -> None:
    labels = labels_of(*counts)
    weights = class_weights(labels)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, compute_sample_weight("balanced", labels), rtol=1e-6)
    assert weights.mean() == pytest.approx(1)


@pytest.mark.parametrize(
    ("counts", "method"),
    [((30, 30, 30), "none"), ((29, 10, 20), "none"), ((30, 10, 20), "class_weights")],
)
def test_auto_weights_the_classes_from_a_ratio_on(counts: tuple[int, ...], method: str) -> None:
    assert choose_balance("auto", labels_of(*counts), NAMES).method == method


def test_the_reason_names_the_classes_their_sizes_and_the_way_out() -> None:
    reason = choose_balance("auto", labels_of(2_000, 100, 1_000), NAMES).reason
    for part in ("'ant', has 2,000", "'bee', 100", "20.0 times", 'balance="none"'):
        assert part in reason
    assert choose_balance("auto", labels_of(10, 9, 10), NAMES).reason == ""
    assert choose_balance("none", labels_of(90, 1, 10), NAMES).reason == ""


@pytest.mark.parametrize("method", ["none", "class_weights", "sampling"])
def test_what_is_asked_for_is_done_whatever_the_sizes(method: str) -> None:
    for counts in ((5, 5, 5), (500, 1, 5)):
        assert choose_balance(method, labels_of(*counts), NAMES).method == method


def test_an_unknown_balance_is_refused_with_the_near_name() -> None:
    with pytest.raises(InputError, match=r"unknown balance 'weights'.*class_weights"):
        choose_balance("weights", labels_of(1, 1, 1), NAMES)
