import math
from dataclasses import replace

import numpy as np
import pytest

from ktransfer import InputError
from ktransfer.metrics import wilson_interval
from ktransfer.plan import last_blocks, linear_probe
from ktransfer.tuner.choice import by_depth, choose, contenders, repeated
from ktransfer.tuner.median import is_bad
from ktransfer.tuner.records import DONE, FAILED, STOPPED, Record
from ktransfer.tuner.repetition import Repetition


def record(name, unfreeze, accuracy, **fields):
    plan = (last_blocks(unfreeze) if unfreeze else linear_probe()).resolve(10)
    fields = {"status": DONE, **fields}
    return Record(name, {}, plan.to_dict(), 0, val_accuracy=accuracy, **fields)


def test_a_depth_is_its_best_trial_with_the_repeats_of_it():
    records = [
        record("0", 2, 0.80),
        record("1", 2, 0.90),
        record("1-seed-1", 2, 0.80, repeats="1"),
        record("1-seed-2", 2, 0.70, repeats="1"),
        record("2", 0, 0.60),
        record("3", 0, 0.99, status=FAILED),
        record("4", 4, 0.99, status=STOPPED),
    ]
    probe, deep = by_depth(records, 100)
    assert (probe.unfreeze, probe.mean, probe.runs, probe.trials) == (0, 0.6, 1, 1)
    assert (deep.unfreeze, deep.name, deep.runs, deep.trials) == (2, "1", 3, 2)
    runs = [0.9, 0.8, 0.7]
    assert deep.mean == pytest.approx(np.mean(runs))
    assert deep.error == pytest.approx(math.sqrt(0.8 * 0.2 / 100 + np.std(runs, ddof=1) ** 2 / 3))
    low, high = deep.interval
    assert low == pytest.approx(0.7112, abs=1e-4)
    assert high == pytest.approx(0.8666, abs=1e-4)


def test_of_trials_that_have_as_many_right_the_one_with_the_lowest_loss_counts():
    records = [
        record("0", 2, 0.90, val_calibrated_loss=0.30),
        record("1", 2, 0.90, val_calibrated_loss=0.20),
        record("2", 2, 0.90, val_calibrated_loss=0.25),
        record("3", 2, 0.85, val_calibrated_loss=0.01),
    ]
    assert [each.name for each in by_depth(records, 100)] == ["1"]


def test_a_depth_that_was_carried_out_in_folds_is_what_the_folds_say_together():
    right, images = np.array([9, 8, 3]), np.array([10, 10, 9])
    folds = [
        record(f"0-fold-{at}", 1, right[at] / images[at], repeats="0", fold=at) for at in range(3)
    ]
    folds = [replace(each, num_validation=int(n)) for each, n in zip(folds, images, strict=True)]
    (depth,) = by_depth([record("0", 1, 1.0), *folds], 50)
    assert depth.mean == pytest.approx(20 / 29), "the lucky trial that found it does not count"
    assert depth.runs == 3
    spread = np.std(right / images, ddof=1) / math.sqrt(3)
    assert depth.error == pytest.approx(spread)
    assert spread > math.sqrt(20 / 29 * 9 / 29 / 29)
    assert depth.interval == wilson_interval(20, 29)
    # Folds that are as good as each other differ less than as many images would by chance.
    even = [replace(each, val_accuracy=0.8) for each in folds]
    (depth,) = by_depth([record("0", 1, 1.0), *even], 50)
    assert depth.error == pytest.approx(math.sqrt(0.8 * 0.2 / 29))


def test_a_fold_that_failed_is_left_out():
    folds = [
        record("0-fold-0", 1, 0.8, repeats="0", fold=0, num_validation=10),
        record("0-fold-1", 1, None, repeats="0", fold=1, status=FAILED),
    ]
    (depth,) = by_depth([record("0", 1, 1.0), *folds], 50)
    assert (depth.mean, depth.runs, depth.interval) == (0.8, 1, wilson_interval(8, 10))


@pytest.mark.parametrize(
    ("repeats", "folds", "message"),
    [
        (2, 5, "repeats=2 and folds=5: .* leave one of them out"),
        (0, 5, "repeats=0 and folds=5"),
        (None, 1, "folds must be at least 2, got 1"),
        (None, 2.5, r"folds must be a whole number, got 2\.5"),
        (-1, None, "repeats must be at least 0, got -1"),
    ],
)
def test_ways_to_carry_out_again_that_cannot_be_are_refused(repeats, folds, message):
    with pytest.raises(InputError, match=message):
        Repetition(repeats, folds, 0).check()


def test_a_plan_that_is_best_once_a_lucky_one_was_carried_out_again_is_carried_out_again():
    trials = [record("0", 0, 0.5), record("1", 1, 0.8), record("2", 2, 0.99)]
    accuracies = {"1": 0.78, "2": 0.6}

    def carried_out(again):
        right = accuracies[again.repeats]
        return replace(again, status=DONE, val_accuracy=right, num_validation=50)

    found = repeated(trials, 100, Repetition(1, None, 5), carried_out)
    # Trial 0 is never near the best.
    assert [(each.name, each.seed) for each in found] == [("2-seed-6", 6), ("1-seed-6", 6)]
    found = repeated(trials, 100, Repetition(None, 2, 5), carried_out)
    assert [each.name for each in found] == ["2-fold-0", "2-fold-1", "1-fold-0", "1-fold-1"]
    assert [
        len(repeated(trials, n, Repetition(None, None, 5), carried_out)) for n in (499, 500)
    ] == [
        4,
        0,
    ]


def test_the_simplest_within_one_standard_error_is_chosen():
    # The error of 0.9 on 100 images is 0.03.
    depths = by_depth([record("0", 0, 0.85), record("1", 1, 0.88), record("2", 5, 0.90)], 100)
    assert [each.unfreeze for each in contenders(depths)] == [1, 5]
    assert choose(depths).unfreeze == 1
    many = by_depth([record("0", 0, 0.85), record("1", 1, 0.88), record("2", 5, 0.90)], 10_000)
    assert choose(many).unfreeze == 5


OTHERS = [[0.5, 0.6, 0.7, 0.8], [0.6, 0.6, 0.6, 0.6], [0.9, 0.9, 0.9, 0.9]]


def test_a_trial_under_the_median_of_the_means_is_bad():
    # Means after 3 epochs: 0.6, 0.6, 0.9.
    assert is_bad([0.1, 0.59, 0.2], OTHERS)
    assert not is_bad([0.1, 0.60, 0.2], OTHERS)


def test_the_median_counts_no_trial_that_ended_sooner():
    assert not is_bad([0.1] * 4, [*OTHERS[:2], [0.9] * 3])
    assert is_bad([0.1] * 4, OTHERS)


def test_nothing_is_bad_before_there_are_three_epochs_and_three_trials():
    assert not is_bad([0.1, 0.1], OTHERS)
    assert not is_bad([0.1, 0.1, 0.1], OTHERS[:2])
