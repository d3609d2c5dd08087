"""Range tests on curves with known answers, and sweeps by numbers."""

import json
import math

import numpy as np
import pytest
from drawn import lines, marks, place, words

from ktransfer import InputError
from ktransfer.show.charts import HEIGHT_PX, WIDTH_PX
from ktransfer.training.learning_rates import SWEEP_RATES, Sweep, SweepTrial, range_test_result

EXPONENTS = np.linspace(-7, 1, 100)
RATES = 10**EXPONENTS


def valley(steepest=-3.0, rises=-1.0, seed=None, noise=0.0):
    """From 2 to 0.5, fastest at 10**steepest; from 10**rises on it explodes."""
    falls = 2 - 1.5 / (1 + np.exp(-(EXPONENTS - steepest) / 0.35))
    losses = falls + 0.2 * np.exp((EXPONENTS - rises) / 0.25)
    return losses + (0 if seed is None else np.random.default_rng(seed).normal(0, noise, 100))


@pytest.mark.parametrize("steepest", [-5.0, -4.0, -3.0])
def test_the_suggestion_is_where_a_clean_valley_is_steepest(steepest):
    result = range_test_result(RATES, valley(steepest))
    assert abs(math.log10(result.suggestion) - steepest) < 0.1
    assert result.reason.startswith("There the loss fell fastest; it diverged at")
    assert 0.1 < result.diverged_at < 1


@pytest.mark.parametrize("seed", range(25))
def test_noise_moves_the_suggestion_by_less_than_a_factor_of_3(seed):
    clean = range_test_result(RATES, valley()).suggestion
    noisy = range_test_result(RATES, valley(seed=seed, noise=0.15)).suggestion
    assert clean / 3 < noisy < clean * 3


def test_a_fall_that_ends_in_a_plain_needs_no_divergence():
    result = range_test_result(RATES, valley(rises=9))
    assert result.diverged_at is None
    assert abs(math.log10(result.suggestion) + 3) < 0.1
    assert "ended at 10" in result.reason


def test_the_suggestion_keeps_a_tenth_from_the_divergence():
    losses = valley(rises=5)
    losses[EXPONENTS > -2.5] = 1e6
    result = range_test_result(RATES, losses)
    assert result.diverged_at == pytest.approx(10**-2.5, rel=0.3)
    assert result.suggestion == pytest.approx(result.diverged_at / 10)
    assert "A tenth of the rate" in result.reason


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_what_follows_a_loss_that_is_not_finite_is_left_out(broken):
    losses = valley()
    losses[60] = broken
    result = range_test_result(RATES, losses)
    assert result.diverged_at == RATES[60]
    assert len(result.smoothed) == 60
    assert result.suggestion <= RATES[60] / 10


def test_a_loss_that_falls_to_the_end_asks_for_higher_rates():
    for losses in (3 - 0.2 * EXPONENTS, valley(steepest=0.9, rises=9)):
        result = range_test_result(RATES, losses)
        assert result.suggestion is None
        assert result.reason == "The loss still fell at 10, the last rate: try higher rates."


def test_a_flat_loss_gives_no_suggestion():
    for seed in range(10):
        flat = 1 + np.random.default_rng(seed).normal(0, 0.2, 100)
        result = range_test_result(RATES, flat)
        assert result.suggestion is None
        assert "never fell by more than its noise before it ended at 10" in result.reason
    assert range_test_result(RATES, np.ones(100)).suggestion is None
    barely = range_test_result(RATES, 1 + 1e-3 * valley(rises=9))
    assert barely.suggestion is None


def test_immediate_divergence_asks_for_lower_rates():
    result = range_test_result(RATES, 10 ** (EXPONENTS + 8))
    assert result.suggestion is None
    assert result.diverged_at < 1e-6
    assert "start at lower rates" in result.reason
    close = 2.0 - 0.1 * np.arange(100)
    close[9:] = 1e9
    result = range_test_result(RATES, close)
    assert result.suggestion is None
    assert "less than 10 times the first: try lower rates" in result.reason


def test_a_loss_that_is_never_finite_says_so():
    result = range_test_result(RATES, [math.nan] * 100)
    assert (result.suggestion, result.diverged_at, result.smoothed) == (None, RATES[0], ())
    assert "not finite from the first step" in result.reason


def test_smoothing_is_the_exponential_average_of_the_losses_weighted_by_age():
    losses = valley(seed=0, noise=0.3)
    weights = 0.8 ** np.arange(100)  # a memory of 5 of 100 steps
    for step in (0, 1, 50):
        aged = weights[: step + 1][::-1]
        expected = aged @ losses[: step + 1] / aged.sum()
        assert range_test_result(RATES, losses).smoothed[step] == pytest.approx(expected)


def test_divergence_is_4_times_the_lowest_smoothed_loss():
    losses = np.array([1.0] * 50 + [4.9] * 50)
    assert range_test_result(RATES, losses).diverged_at > RATES[50]
    losses[50:] = 3.9
    assert range_test_result(RATES, losses).diverged_at is None


def test_range_tests_that_are_none_are_refused():
    with pytest.raises(InputError, match="got 100 rates and 99 losses"):
        range_test_result(RATES, valley()[1:])
    with pytest.raises(InputError, match="at least 10 steps, got 3"):
        range_test_result(RATES[:3], valley()[:3])
    for bad, received in ((-1.0, "got -1 after 0"), (math.nan, "got nan after 0"), (0, "got 0")):
        with pytest.raises(InputError, match=received):
            range_test_result([bad, *RATES[1:]], valley())
    with pytest.raises(InputError, match=r"must rise from above 0, got 8\.30218 after 10"):
        range_test_result([*RATES[::-1]], valley())


def test_a_range_test_prints_and_is_plain_data():
    losses = valley()
    losses[90:] = math.nan
    result = range_test_result(RATES, losses)
    assert str(result).startswith("learning rate: 0.001. There the loss fell fastest")
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert data["suggestion"] == result.suggestion
    assert data["losses"][95] is None
    assert str(range_test_result(RATES, np.ones(100))).startswith("learning rate: none suggested.")


def test_a_range_test_is_drawn_with_its_suggestion(tmp_path):
    result = range_test_result(RATES, valley(seed=1, noise=0.1))
    result.plot(tmp_path / "a.svg")
    picture = tmp_path / "a.svg"
    assert {f"{result.suggestion:.2g}", "training loss", "learning rate"} <= set(words(picture))
    dots, (_, (line,)) = marks(picture, "circle"), *lines(picture)
    assert (len(dots), len(line)) == (100, len(result.smoothed))
    ((_, rule),) = marks(picture, "rule")
    share = (math.log10(result.suggestion) + 7) / 8
    assert place(rule)[0] == pytest.approx(share * WIDTH_PX, abs=0.5)
    assert place(dots[50][1])[0] == pytest.approx(50 / 99 * WIDTH_PX, abs=0.5)


def test_every_loss_of_a_range_test_is_in_its_figures():
    losses = [*valley()[:-2], math.nan, 1e33]
    rows = range_test_result(RATES, losses).chart().figures()["losses"]
    said = [loss for _, loss, curve in rows[1:] if curve == "each step"]
    assert said == [f"{loss:.6g}" for loss in losses[:-2]] + ["-", "1e+33"]


def test_what_comes_after_the_divergence_does_not_press_a_range_test_flat():
    losses = valley()
    losses[90:] = 1e33
    picture = range_test_result(RATES, losses).chart()
    heights = [place(each)[1] for _, each in marks(picture, "circle")]
    assert max(heights[:85]) - heights[0] > 0.5 * HEIGHT_PX
    assert -1e5 < heights[95] < 0


def test_a_range_test_without_a_loss_can_be_drawn():
    chart = range_test_result(RATES, [math.nan] * 100).chart()
    assert "learning-rate range test: none suggested" in words(chart)
    assert marks(chart, "rule") == []


# Sweeps.


def make_trial(rate, val_losses, *, diverged=False, loss=0.5):
    history = tuple(
        {"epoch": epoch, "loss": loss, "accuracy": 0.8, "val_loss": each, "val_accuracy": 0.75}
        for epoch, each in enumerate(val_losses, start=1)
    )
    finite = [each for each in val_losses if math.isfinite(each)]
    best = val_losses.index(min(finite)) + 1 if finite else None
    return SweepTrial(rate, history, best, diverged)


def make_sweep():
    return Sweep(
        (
            make_trial(1e-4, [0.9, 0.8, 0.7]),
            make_trial(1e-3, [0.6, 0.4, 0.5]),
            make_trial(1e-2, [0.1, 9.0, math.nan], diverged=True),
        )
    )


def test_the_best_trial_has_the_lowest_validation_loss_of_those_that_did_not_diverge():
    assert make_sweep().best.learning_rate == 1e-3
    assert Sweep((make_trial(0.1, [0.1], diverged=True),)).best is None
    assert Sweep((make_trial(0.1, [math.nan]),)).best is None


def test_the_table_has_a_row_for_each_rate():
    lines = str(make_sweep()).splitlines()
    assert lines[0].split()[:3] == ["rate", "epochs", "best"]
    assert lines[2].split() == ["0.0001", "3", "3", "0.5000", "0.7000", "75.0%", "still", "falling"]
    assert lines[3].split() == ["0.001", "3", "2", "0.5000", "0.4000", "75.0%", "best"]
    assert lines[4].split() == ["0.01", "3", "1", "0.5000", "0.1000", "75.0%", "diverged"]
    assert str(Sweep((make_trial(0.1, [0.5, 0.4]),))).endswith("best, still falling")
    assert str(Sweep((make_trial(0.1, [math.nan]),))).split()[-6:] == ["0.1", "1", *"----"]
    # One epoch shows no direction.
    assert str(Sweep((make_trial(0.1, [0.5]),))).endswith("best")


def test_a_sweep_is_plain_data():
    data = json.loads(json.dumps(make_sweep().to_dict(), allow_nan=False))
    assert data["best_learning_rate"] == 1e-3
    assert [trial["diverged"] for trial in data["trials"]] == [False, False, True]
    assert data["trials"][2]["history"][2]["val_loss"] is None


def curves(sweep):
    return [(each.get("stroke"), each.get("d")) for _, each in marks(sweep.chart(), "line")]


def test_a_sweep_is_drawn_in_two_panels_of_the_same_colours(tmp_path):
    make_sweep().plot(tmp_path / "a.svg")
    drawn = curves(make_sweep())
    assert [colour for colour, _ in drawn[:3]] == [colour for colour, _ in drawn[3:]]
    assert len({colour for colour, _ in drawn}) == 3
    said = words(tmp_path / "a.svg")
    assert {"training loss", "validation loss", "0.001 (best)", "0.01 (diverged)"} <= set(said)
    assert said.count("0.001 (best)") == 1, "one legend"


def test_a_loss_of_a_sweep_that_is_not_finite_ends_its_curve_and_every_one_is_in_the_figures():
    _, *rows = make_sweep().chart().figures()["losses"]
    assert [row[1:] for row in rows if row[0] == "0.01 (diverged)"] == [
        ["1", "0.5", "0.1"],
        ["2", "0.5", "9"],
        ["3", "0.5", "-"],
    ]
    ended = [pieces for said, pieces in lines(make_sweep().chart()) if "diverged" in said]
    assert [[len(each) for each in pieces] for pieces in ended] == [[3], [2]]


def test_rates_that_look_alike_have_a_curve_each():
    alike = [make_trial(rate, [0.9, 0.8]) for rate in (0.2, 0.2000000001)]
    sweep = Sweep((make_trial(0.1, [0.5, 0.4]), *alike))
    assert len(lines(sweep.chart())) == 6


def test_a_diverged_curve_does_not_press_the_others_flat():
    whole = make_trial(1e-3, [0.6, 0.4, 0.5])
    alone = Sweep((whole,))
    both = Sweep((whole, make_trial(1, [1.0, 1e33, 1e33], diverged=True)))
    assert set(curves(alone)) <= set(curves(both))
    heights = [y for _, pieces in lines(both.chart()) for piece in pieces for _, y in piece]
    assert -1e5 < min(heights) < 0, "it leaves at the top, and can be drawn"


def test_a_large_range_of_losses_is_drawn_logarithmically():
    for trial in (make_trial(1, [5.0, 0.5, 0.05]), make_trial(1, [0.9, 0.6, 0.3])):
        _, (_, (line,)) = lines(Sweep((trial,)).chart())
        first, second, third = (y for _, y in line)
        assert second - first == pytest.approx(third - second, abs=0.2)  # equal factors, or steps
        assert second - first > 100


def test_sweeps_without_anything_finite_can_be_drawn():
    chart = Sweep((make_trial(1, [math.nan], diverged=True),)).chart()
    assert "1 (diverged)" in words(chart)


def test_wrong_sweeps_and_trials_are_refused():
    with pytest.raises(InputError, match=r"at least one trial, each at its own rate, got \[\]"):
        Sweep(())
    with pytest.raises(InputError, match=r"each at its own rate, got \[0\.1, 0\.1\]"):
        Sweep((make_trial(0.1, [1.0]), make_trial(0.1, [1.0])))
    with pytest.raises(InputError, match="learning_rate must be above 0, got -1"):
        make_trial(-1, [1.0])
    with pytest.raises(InputError, match=r"lacks 'val_accuracy', got \{'epoch': 1"):
        SweepTrial(0.1, ({"epoch": 1, "loss": 1, "accuracy": 1, "val_loss": 1},), 1)
    with pytest.raises(InputError, match=r"best_epoch must be .*, got 7 of \[1\]"):
        SweepTrial(0.1, make_trial(0.1, [1.0]).history, 7)


def test_the_usual_rates_are_decades():
    assert SWEEP_RATES == (1e-4, 1e-3, 1e-2, 1e-1)
