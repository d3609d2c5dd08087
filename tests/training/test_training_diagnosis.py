"""Verdicts on histories made by hand, and what they claim against exact arithmetic."""

import json
import math
import re

import numpy as np
import pytest

from ktransfer import InputError
from ktransfer.training.diagnosis import diagnose, history_table
from ktransfer.training.diagnosis.training import gap_with_interval


def make_history(losses, accuracies, val_losses, val_accuracies, **more):
    columns = zip(losses, accuracies, val_losses, val_accuracies, strict=True)
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    return [
        {"epoch": epoch, **dict(zip(names, row, strict=True)), **more}
        for epoch, row in enumerate(columns, start=1)
    ]


def fitted(train, val, epochs=10):
    """Losses fall to a plain; the accuracies of every epoch are the given ones."""
    losses = [0.3 + 0.5**epoch for epoch in range(1, epochs + 1)]
    return make_history(losses, [train] * epochs, losses, [val] * epochs)


def judge(history, best_epoch=None, **changes):
    lowest = min(history, key=lambda row: row["val_loss"])["epoch"]
    settings = {
        "best_epoch": best_epoch or lowest,
        "num_train": 400,
        "num_validation": 153,
        "num_classes": 2,
        "trained": "blocks",
        "learning_rate": 0.001,
    }
    return diagnose(history, **{**settings, **changes})


# What was tried is not suggested.


@pytest.mark.parametrize("trained", ["head", "blocks", "all"])
@pytest.mark.parametrize("train", [0.4, 0.52, 0.75, 0.99])
@pytest.mark.parametrize("val", [0.4, 0.52, 0.75, 0.98])
@pytest.mark.parametrize("epochs", [2, 10])
def test_no_suggestion_contradicts_what_became_of_fine_tuning(trained, train, val, epochs):
    def suggested(tuning, history):
        return " ".join(judge(history, trained=trained, tuning=tuning).suggestions).casefold()

    diverged = fitted(train, val, epochs)
    diverged[-1]["loss"] = 50.0
    for history in (fitted(train, val, epochs), diverged):
        kept, dropped = suggested("kept", history), suggested("dropped", history)
        assert not re.search(r"\bfreeze more", kept)
        assert "freeze the backbone" not in kept
        assert "head alone" not in kept
        assert trained != "head" or "unfreeze" not in dropped
        untried = suggested("untried", history)
        assert {*kept.split("."), *dropped.split(".")} <= {*untried.split("."), *kept.split(".")}
        assert "give the blocks" in kept or "give the blocks" not in untried
    with pytest.raises(InputError, match="unknown tuning 'tried'"):
        suggested("tried", diverged)


def test_without_a_try_freezing_and_unfreezing_are_suggested():
    assert "Freeze more blocks" in " ".join(judge(fitted(0.99, 0.7)).suggestions)
    few = judge(fitted(0.6, 0.6), trained="head").suggestions
    assert "Unfreeze the last blocks." in few


# The verdicts.


def test_a_sure_gap_is_overfitting_and_the_sentence_has_the_figures():
    found = judge(fitted(0.9925, 140 / 153))
    assert found.verdict == "overfitting"
    assert found.reasons[0] == (
        "Training 99.2 %, validation 91.5 % of 153 images: the gap of 7.7 points is more than "
        "chance, 4.0 to 13.3."
    )


def test_the_same_gap_on_few_images_may_be_chance():
    found = judge(fitted(0.97, 0.92), num_validation=25)
    assert found.verdict == "good_fit"
    assert "of 25 images: the gap of 5.0 points may be chance, -1.2 to 22.0." in found.reasons[0]


def test_a_sure_gap_that_is_small_is_a_good_fit():
    found = judge(fitted(0.99, 0.95), num_train=20_000, num_validation=5_000)
    assert found.verdict == "good_fit"
    assert "is small, though more than chance" in found.reasons[0]


@pytest.mark.parametrize("num_train", [20, 200, 2_000, 100_000])
@pytest.mark.parametrize("right", range(10))
def test_one_image_of_ten_is_never_overfitting(num_train, right):
    for train in ((right + 1) / 10, (right + 1) / 10 - 0.001):
        found = judge(
            fitted(train, right / 10), num_train=num_train, num_validation=10, num_classes=10
        )
        assert found.verdict != "overfitting"


def test_one_image_of_ten_is_said_to_be_one():
    found = judge(fitted(1.0, 0.9), num_train=2_000, num_validation=10)
    assert (
        "the gap of 10.0 points would be chance or small with one more image right"
        in found.reasons[0]
    )


def test_many_images_of_ten_may_be_overfitting():
    assert judge(fitted(1.0, 0.5), num_validation=10).verdict == "overfitting"


def test_chance_alone_is_seldom_called_overfitting():
    # Both accuracies are drawn from the same 90 %: what is called a gap is one by luck.
    rng = np.random.default_rng(0)
    called = [
        judge(
            fitted(rng.binomial(300, 0.9) / 300, rng.binomial(n, 0.9) / n),
            num_train=300,
            num_validation=n,
        ).verdict
        for n in (20, 60, 200)
        for _ in range(300)
    ]
    assert called.count("overfitting") / len(called) < 0.03


def rising(last, images=153, after=6):
    """The validation loss is lowest in epoch 4 and ends at `last` times that."""
    losses = [0.8 * 0.8**epoch for epoch in range(4 + after)]
    val_losses = [0.9, 0.7, 0.6, 0.5, *np.linspace(0.5, 0.5 * last, after - 2)[:-1].tolist()]
    val_losses += [0.5 * last] * (4 + after - len(val_losses))
    accuracies = [0.92] * len(losses)
    return judge(make_history(losses, accuracies, val_losses, accuracies), num_validation=images)


def test_a_validation_loss_that_rises_while_training_falls_is_overfitting():
    found = rising(1.3)
    assert found.verdict == "overfitting"
    assert "After epoch 4, which was kept, the validation loss rose from 0.5 to 0.65" in str(found)
    assert (
        found.suggestions[0]
        == "Fewer epochs were enough: 4 of 10 (patience ends a training there)."
    )


def test_a_small_rise_or_one_on_few_images_is_none():
    assert rising(1.08, images=5_000).verdict == "good_fit"
    assert rising(1.12, images=5_000).verdict == "overfitting"
    assert rising(1.3, images=10).verdict == "good_fit"
    assert rising(1.4, images=10).verdict == "overfitting"


def test_one_bad_last_epoch_is_no_rise():
    history = fitted(0.92, 0.92)
    history[-1]["val_loss"] = 0.42
    assert judge(history).verdict == "good_fit"
    history[-1]["val_loss"], history[-1]["loss"] = 9.0, 0.1  # only one epoch follows the kept one
    assert judge(history).verdict == "good_fit"


def test_a_rise_of_both_losses_is_not_overfitting():
    losses = [0.5, 0.4, 0.3, 0.4, 0.5, 0.5]
    assert judge(make_history(losses, [0.92] * 6, losses, [0.92] * 6)).verdict == "good_fit"


def test_a_rise_from_hardly_anything_is_none():
    history = make_history(
        [0.1, 0.01, 5e-3, 4e-3, 3e-3], [1.0] * 5, [0.1, 1e-4, *[0.01] * 3], [1.0] * 5
    )
    assert judge(history).verdict == "good_fit"


def test_only_training_images_fitted_after_the_kept_epoch_is_overfitting():
    val_losses = [0.69, 0.60, 0.62, 0.62, 0.62, 0.62]
    history = make_history(
        [0.7, 0.6, 0.4, 0.2, 0.1, 0.05], [0.55, 0.7, 0.8, 0.9, 0.98, 0.99], val_losses, [0.66] * 6
    )
    found = judge(history)
    assert found.verdict == "overfitting"
    assert "only the training images were fitted: 99.0 % in epoch 6, validation 66.0 %" in str(
        found
    )


def test_low_accuracy_with_falling_losses_is_underfitting():
    losses = [0.69 * 0.97**epoch for epoch in range(10)]
    history = make_history(losses, np.linspace(0.5, 0.7, 10), losses, np.linspace(0.5, 0.7, 10))
    found = judge(history)
    assert found.verdict == "underfitting"
    assert "both losses still fell at the end" in found.reasons[1]
    assert found.suggestions[:2] == (
        "Train longer than 10 epochs.",
        "A higher learning rate, for example 0.003, or a range test.",
    )


def test_low_accuracy_on_a_plateau_is_underfitting():
    found = judge(fitted(0.7, 0.69))
    assert found.verdict == "underfitting"
    assert "no longer falls" in found.reasons[1]
    assert not any("longer" in suggestion for suggestion in found.suggestions)
    history = fitted(0.7, 0.69)
    for row in history:
        row["loss"] = 0.7 - 0.03 * row["epoch"]
    assert "their loss still fell at the end" in judge(history).reasons[1]


def test_strong_augmentation_that_keeps_training_down_is_no_underfitting():
    assert judge(fitted(0.7, 0.95)).verdict == "good_fit"
    assert "no gap" in judge(fitted(0.7, 0.95)).reasons[0]
    # Ten images right of ten prove much less.
    assert judge(fitted(0.7, 1.0), num_validation=10).verdict == "underfitting"


@pytest.mark.parametrize(("classes", "train"), [(2, 0.54), (10, 0.18)])
def test_hardly_better_than_guessing_is_not_learning(classes, train):
    found = judge(fitted(train, train - 0.02), num_classes=classes)
    assert found.verdict == "not_learning"
    assert f"at best; guessing reaches {100 / classes:.1f} %" in found.reasons[1]
    assert judge(fitted(train + 0.1, train + 0.08), num_classes=classes).verdict == "underfitting"


def test_naming_the_largest_class_is_not_learning():
    assert judge(fitted(0.81, 0.8)).verdict == "underfitting"
    assert judge(fitted(0.81, 0.8), majority_share=0.8).verdict == "not_learning"


def test_a_high_loss_asks_for_a_lower_rate_where_nothing_is_learned():
    history = fitted(0.5, 0.5)
    assert "A learning rate of 0.01, or a range test." in judge(history).suggestions
    for row in history:
        row["loss"] = 3.0
    assert "A learning rate of 0.0001: the loss is above guessing." in judge(history).suggestions


def test_a_loss_that_breaks_or_doubles_has_diverged():
    history = fitted(0.9, 0.9)
    history[7]["loss"] = math.nan
    found = judge(history, best_epoch=5)
    assert found.verdict == "diverged"
    assert found.reasons[1] == "A loss of epoch 8 is not finite. The kept epoch 5 is from before."
    assert found.suggestions[0].startswith("A learning rate of 0.0001")
    history[7]["loss"], history[7]["val_loss"] = 0.3, math.inf
    assert "A loss of epoch 8 is not finite." in str(judge(history, best_epoch=5))
    history = fitted(0.9, 0.9)
    history[-1]["loss"] = 2.1 * history[0]["loss"]
    assert "is from before" not in str(judge(history, best_epoch=10))
    assert "The training loss rose from 0.8 to 1.68." in str(judge(history, best_epoch=5))
    history[-1]["loss"] = 1.9 * history[0]["loss"]
    assert judge(history, best_epoch=5).verdict == "good_fit"


def test_a_training_without_any_epoch_to_keep_has_no_accuracies():
    history = make_history([math.nan] * 3, [0.5] * 3, [math.inf] * 3, [0.5] * 3)
    found = diagnose(
        history,
        best_epoch=None,
        num_train=10,
        num_validation=5,
        num_classes=2,
        trained="head",
        learning_rate=1.0,
    )
    assert found.verdict == "diverged"
    assert found.train_accuracy is found.gap is found.gap_interval is None
    assert json.loads(json.dumps(found.to_dict()))["gap"] is None


def test_two_epochs_are_too_short():
    found = judge(fitted(1.0, 0.5, epochs=2))
    assert found.verdict == "too_short"
    assert found.gap == 0.5
    assert "No trend shows in 2 of at least 3 epochs." in found.reasons


# The interval.


def test_the_interval_of_the_gap_is_that_of_the_literature():
    # Newcombe 1998, table II, method 10.
    for right, images, val_right, val_images, low, high in (
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (10, 10, 0, 20, 0.6791, 1.0000),
    ):
        gap, interval = gap_with_interval(
            right / images, images, val_right / val_images, val_images
        )
        assert gap == pytest.approx(right / images - val_right / val_images)
        assert interval == pytest.approx((low, high), abs=1e-4)


# Suggestions.


@pytest.mark.parametrize("trained", ["head", "blocks", "all"])
def test_suggestions_fit_what_was_trained(trained):
    over = str(judge(fitted(1.0, 0.7), trained=trained))
    assert ("Freeze more blocks" in over) == (trained != "head")
    assert "augmentation" in over
    assert "More training images than 400." in over
    under = str(judge(fitted(0.7, 0.69), trained=trained))
    assert ("Unfreeze" in under) == (trained != "all")
    assert ("larger backbone" in under) == (trained == "all")
    stuck = str(judge(fitted(0.5, 0.5), trained=trained))
    assert ("Unfreeze the last blocks" in stuck) == (trained == "head")
    history = fitted(0.9, 0.9)
    history[-1]["loss"] = math.nan
    assert ("Train the head alone" in str(judge(history, trained=trained))) == (trained != "head")


def test_a_good_fit_may_still_ask_for_epochs_or_images():
    losses = [0.6, 0.5, 0.4, 0.3]
    history = make_history(losses, [0.95] * 4, losses, [0.95] * 4)
    assert judge(history, num_validation=2_000).suggestions == (
        "A few more epochs: the validation loss still fell at the end.",
    )
    # Falling on the whole, but lowest before the last epoch: a few more would be ended by patience.
    losses = [0.6, 0.5, 0.5, 0.5, 0.5, 0.45, 0.4, 0.42]
    history = make_history(losses, [0.95] * 8, losses, [0.95] * 8)
    assert judge(history, num_validation=2_000).suggestions == ()
    (found,) = judge(fitted(0.95, 0.95), num_validation=40).suggestions
    assert found == "More validation images: 40 leave the accuracy anywhere from 83 to 99 %."
    assert judge(fitted(0.95, 0.95), num_validation=2_000).suggestions == ()


def test_a_diagnosis_prints_and_is_plain_data():
    found = judge(fitted(1.0, 0.7))
    lines = str(found).splitlines()
    assert lines[0] == "overfitting"
    assert lines[2] == "what to try next:"
    data = json.loads(json.dumps(found.to_dict()))
    assert data["verdict"] == "overfitting"
    assert data["gap_interval"] == list(found.gap_interval)
    assert data["suggestions"] == list(found.suggestions)
    assert str(judge(fitted(0.95, 0.95), num_validation=2_000)).startswith("good fit\n")


# What is refused.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_train": 0}, "num_train must be at least 1, got 0"),
        ({"num_validation": 0}, "num_validation must be at least 1, got 0"),
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"trained": "block"}, "unknown kind of training 'block': did you mean blocks"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0, got nan"),
        ({"majority_share": 1.0}, r"majority_share must lie between 0 and 1, got 1\.0"),
        ({"best_epoch": 99}, r"best_epoch must be an epoch of the history, got 99 of \[1, 2"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        judge(fitted(0.9, 0.9), **changes)


def test_wrong_histories_are_refused():
    settings = {"num_train": 9, "num_validation": 9, "num_classes": 2}
    settings |= {"trained": "head", "learning_rate": 1.0}
    with pytest.raises(InputError, match=r"the history is empty, got \[\]"):
        diagnose([], best_epoch=1, **settings)
    with pytest.raises(InputError, match=r"lacks 'loss', got \{'epoch': 1\}"):
        diagnose([{"epoch": 1}], best_epoch=1, **settings)
    with pytest.raises(InputError, match="every loss is finite, got None"):
        diagnose(fitted(0.9, 0.9), best_epoch=None, **settings)


# The table.


def epochs_of(table):
    return [line.replace("*", " ").split()[0] for line in table.splitlines()[2:]]


def test_the_table_marks_the_kept_epoch():
    table = history_table(fitted(0.9, 0.8, epochs=4), best_epoch=3)
    marked = [line for line in table.splitlines() if line.startswith("*")]
    assert [line.split() for line in marked] == [["*", "3", "0.4250", "90.0%", "0.4250", "80.0%"]]
    assert table.splitlines()[0].split() == [
        "epoch",
        "loss",
        "accuracy",
        "val_loss",
        "val_accuracy",
    ]
    assert "*" not in history_table(fitted(0.9, 0.8))


def test_the_table_has_the_columns_that_are_there_and_is_aligned():
    history = make_history([0.5] * 3, [0.9] * 3, [0.5] * 3, [0.9] * 3, stage="head", seconds=1.25)
    history[1]["learning_rate"] = 1e-5
    lines = history_table(history, best_epoch=1).splitlines()
    assert lines[0].split()[1] == "stage"
    assert lines[0].split()[-2:] == ["learning_rate", "seconds"]
    assert [line.split()[-2] for line in lines[2:]] == ["-", "1e-05", "-"]
    assert len({len(line) for line in lines}) == 1


def test_a_long_history_is_thinned_in_the_middle():
    history = fitted(0.9, 0.9, epochs=30)
    thinned = history_table(history, best_epoch=15)
    assert epochs_of(thinned) == [*"123", "...", "14", "15", "16", "...", "28", "29", "30"]
    assert epochs_of(history_table(history, best_epoch=15, every=True)) == [
        str(epoch) for epoch in range(1, 31)
    ]
    assert epochs_of(history_table(history)) == [*"123", "...", "28", "29", "30"]


def test_a_single_epoch_is_not_replaced_by_dots():
    table = history_table(fitted(0.9, 0.9, epochs=7), best_epoch=1)
    assert epochs_of(table) == list("1234567")
    assert epochs_of(history_table(fitted(0.9, 0.9, epochs=1))) == ["1"]


def test_the_table_of_no_history_is_refused():
    with pytest.raises(InputError, match=r"the history is empty, got \[\]"):
        history_table([])
    with pytest.raises(InputError, match="got 99 of"):
        history_table(fitted(0.9, 0.9), best_epoch=99)
