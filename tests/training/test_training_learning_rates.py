"""Range tests on curves with known answers, and sweeps by numbers."""

import itertools
import json
import math

import numpy as np
import pytest
from drawn import lines, marks, place, words

from ktransfer import InputError
from ktransfer.show.charts import HEIGHT_PX, WIDTH_PX
from ktransfer.training.learning_rates import (
    SWEEP_RATES,
    Sweep,
    SweepTrial,
    held_out_result,
    range_test_result,
)

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
    assert {f"{result.suggestion:.2g}", "loss", "learning rate"} <= set(words(picture))
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


# Held-out losses: a rate is always named.

GUESSING = math.log(3)


def held_out(start, low, falls_to=-3.5, explodes=-2.5, seed=0, noise=0.0):
    """Losses from `start` down to `low` at 10**falls_to, and over guessing from 10**explodes on."""
    share = np.clip((EXPONENTS + 6) / (falls_to + 6), 0, 1)
    losses = start + (low - start) * share + np.random.default_rng(seed).normal(0, noise, 100)
    return np.where(explodes <= EXPONENTS, 3 * GUESSING, losses)


def named(losses, planned=3e-4, **options):
    return held_out_result(RATES, losses, guessing_loss=GUESSING, planned=planned, **options)


@pytest.mark.parametrize("start", [0.15, 0.7, GUESSING])
@pytest.mark.parametrize("fall", [0.0, 0.01, 0.1, 0.5])
@pytest.mark.parametrize("explodes", [-5.0, -3.0, -1.0, 2.0])
@pytest.mark.parametrize("planned", [1e-5, 3e-4, 1e-1])
def test_a_rate_is_always_named_a_tenth_from_the_divergence_and_its_reason_says_which(
    start, fall, explodes, planned
):
    result = named(held_out(start, start * (1 - fall), -4, explodes, noise=1e-4), planned)
    assert 0 < result.suggestion <= 10
    if explodes < 1:
        assert result.diverged_at == pytest.approx(10**explodes, rel=0.5)
        assert result.suggestion <= result.diverged_at / 10 * (1 + 1e-9) or fall >= 0.1
        assert result.suggestion < result.diverged_at
        assert f"{result.diverged_at:.2g}" in result.reason
    else:
        assert result.diverged_at is None
    if fall < 0.1:  # nothing to be seen in the noise: the plan's own, or the tenth if that is lower
        tenth = result.diverged_at / 10 if result.diverged_at else math.inf
        assert result.suggestion == pytest.approx(min(tenth, planned))
        assert ("a tenth of that" in result.reason) == (tenth < planned)
        assert ("plan's own rate" in result.reason) or tenth < planned


def test_where_the_loss_falls_the_rate_is_the_first_at_which_most_of_the_fall_is_done():
    result = named(held_out(0.4, 0.3, -4))
    assert math.log10(result.suggestion) == pytest.approx(-6 + 0.8 * 2, abs=0.2)
    assert "fell from 0.400 to 0.3" in result.reason
    near = named(held_out(0.4, 0.3, -3, explodes=-2.8))
    assert near.suggestion == pytest.approx(near.diverged_at / 10)
    assert near.reason.startswith("A tenth of the rate at which the loss diverged")


def test_a_leap_of_one_step_is_neither_a_divergence_nor_a_fall():
    calm = named(held_out(0.4, 0.3, -4))
    losses = held_out(0.4, 0.3, -4)
    losses[30], losses[20] = 9.0, 0.01
    assert named(losses).suggestion == calm.suggestion
    assert named(losses).diverged_at == calm.diverged_at


def test_a_loss_that_only_rises_names_the_lower_of_the_plans_rate_and_the_tenth():
    rising = 0.7 + np.exp(np.clip((EXPONENTS + 4) * 2, -50, 5))
    low, high = named(rising, planned=1e-6), named(rising, planned=1e-2)
    assert low.suggestion == 1e-6
    assert low.reason.endswith("the plan's own rate.")
    assert high.suggestion == pytest.approx(high.diverged_at / 10)
    assert high.reason.endswith("a tenth of that; the plan's own rate is 0.01.")


def test_a_loss_that_falls_to_the_last_rate_names_a_tenth_of_that():
    result = named(np.linspace(1.0, 0.2, 100))
    assert result.suggestion == pytest.approx(1.0)
    assert result.reason.startswith("A tenth of the last rate")


@pytest.mark.parametrize("at", [0, 1, 40])
def test_a_loss_that_breaks_names_a_rate_below(at):
    losses = held_out(0.5, 0.5)
    losses[at:] = math.nan
    result = named(losses)
    assert result.diverged_at == RATES[at]
    assert 0 < result.suggestion <= RATES[at] / 10
    if not at:
        assert "not finite from the first step, at 1e-07: check the images" in result.reason
    assert result.chart() is not None


def test_a_head_that_begins_at_guessing_may_rise_a_little_over_it():
    losses = held_out(GUESSING, 0.4, -3)
    losses[:10] = 1.05 * GUESSING
    losses[0] = GUESSING
    assert named(losses).diverged_at == pytest.approx(10**-2.5, rel=0.3)


def test_steps_that_are_none_are_refused_of_held_out_losses_too():
    with pytest.raises(InputError, match="at least 10 steps, got 3"):
        held_out_result(RATES[:3], [1.0] * 3, guessing_loss=1.0, planned=1e-3)


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
    broken = str(Sweep((make_trial(0.1, [math.nan]),)))
    assert broken.split()[-7:] == ["0.1", "1", *"----", "diverged"]
    # One epoch shows no direction.
    assert str(Sweep((make_trial(0.1, [0.5]),))).endswith("best")


LOSSES = (0.05, 0.3, 0.5, 0.7, 1.3, 2.0, 13.7, 69.7)


@pytest.mark.parametrize("start", [None, 0.4, 0.9])
@pytest.mark.parametrize("guessing", [None, 0.693, 1.609])
def test_a_verdict_compares_with_guessing_and_with_the_start(start, guessing):
    for first, last in itertools.product(LOSSES, LOSSES):
        check_verdict(start, guessing, first, last)


def check_verdict(start, guessing, first, last):
    trial = make_trial(0.01, [first, last])
    sweep = Sweep((trial,), start, guessing)
    best, verdict = min(first, last), sweep.verdict(trial)
    guesses, gains = guessing is not None and best >= guessing, start is None or best < start
    assert (verdict == "no better than guessing") == guesses
    assert (sweep.best is None) == guesses
    assert (verdict == "ended worse than guessing") == (
        guessing is not None and best < guessing <= last
    )
    if not guesses and verdict != "ended worse than guessing":
        assert (verdict == "no better than before") == (not gains)
    if verdict == "still falling":
        assert last < first
        assert gains
        assert guessing is None or last < guessing
    assert verdict in str(sweep)
    assert sweep.to_dict()["trials"][0]["verdict"] == verdict


def test_losses_far_above_guessing_are_not_still_falling():
    trials = (make_trial(0.01, [31.0, 13.7]), make_trial(0.1, [214.0, 69.7]))
    sweep = Sweep(trials, None, math.log(5))
    assert "falling" not in str(sweep)
    assert str(sweep).count("no better than guessing") == 2
    assert sweep.best is None
    assert sweep.to_dict()["best_learning_rate"] is None


def test_a_table_ends_with_the_losses_that_its_verdicts_compare_with():
    trials = (make_trial(0.1, [0.5, 0.4]),)
    both, one = Sweep(trials, 0.45, 1.0986), Sweep(trials, None, 1.0986)
    assert str(both).endswith("val loss: 0.4500 before, 1.0986 by guessing")
    assert str(one).endswith("val loss: 1.0986 by guessing")


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
