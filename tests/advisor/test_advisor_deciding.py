"""The decision on profiles that are made by hand, so that the right answer is known."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ktransfer import InputError
from ktransfer.advisor import (
    Advice,
    Candidate,
    Costs,
    Found,
    Situation,
    Tried,
    check_fine_tuning,
    decide,
    gains,
    hindsight,
)
from ktransfer.advisor.costs import _COMPILING_S, STEP_BY_FORWARD
from ktransfer.advisor.gains import Measured, expected_gain
from ktransfer.advisor.trying import TRIED_FROM_GAIN
from ktransfer.metrics import score
from ktransfer.plan import linear_probe
from ktransfer.profile import Columns, DomainGap, Profile
from ktransfer.profile.probes import probe

WIDTHS = {"last": 6, "all_blocks": 12, "all_blocks_and_inner": 24}
COLUMNS = (
    Columns("c", 2, 0, 6),
    Columns("a", 0, 6, 9),
    Columns("b", 1, 9, 12),
    Columns("b/inner", 1, 12, 18),
    Columns("c/inner", 2, 18, 24),
)
COSTS = Costs(0.01, (10, 20, 30), (400, 200, 100))


def gap_of(value):
    return DomainGap(value, (value, value), value < 0.04, (value,) * 3, {"bn": value}, 64)


def profile_of(number=60, *, signal=(0.0, 0.0, 0.0), gap=0.01, classes=3, seed=0):
    """Noise, and in each feature set's own columns a signal of its own strength."""
    random = np.random.default_rng(seed)
    labels = np.arange(number) % classes
    features = random.normal(size=(number, 24))
    for strength, start in zip(signal, (0, 6, 12), strict=True):
        features[:, start : start + classes] += strength * np.eye(classes)[labels]
    gap = None if gap is None else gap_of(gap)
    source = "measured on 64 images" if gap else "The domain gap is unknown: no batch norm."
    return Profile(features.astype(np.float32), labels, COLUMNS, dict(WIDTHS), gap, source)


def advice_of(profile, *, similarity=None, fine_tuning="auto", num_images=None, costs=COSTS):
    number, classes = num_images or len(profile), len(np.unique(profile.labels))
    return decide(profile, Situation(number, max(2, classes), similarity, fine_tuning, costs))


def test_a_head_on_all_depths_is_advised_where_only_these_tell_the_classes():
    advice = advice_of(profile_of(signal=(0, 0, 5)))
    assert advice.strategy == "all_blocks_and_inner_probe"
    assert advice.plan.features == "all_blocks_and_inner"
    assert advice.trainable_parameters == (24 + 1) * 3
    assert advice_of(profile_of(signal=(0, 5, 0))).strategy == "all_blocks_probe"
    assert advice_of(profile_of(signal=(5, 0, 0))).strategy == "linear_probe"


@pytest.mark.parametrize("gap", [0.01, 0.2, None])
@pytest.mark.parametrize("signal", [(0, 0, 0), (1, 0, 0), (1, 0.3, 0), (0.5, 0, 0.5), (1, 1, 1)])
def test_the_reason_for_the_head_is_what_decided(gap, signal):
    for seed in range(4):
        profile = profile_of(signal=signal, gap=gap, seed=seed)
        advice = advice_of(profile)
        found = {name: probe(profile.features_of(name), profile.labels) for name in WIDTHS}
        errors = {name: float(each.errors.mean()) for name, each in found.items()}
        chosen = advice.plan.features
        best = min(errors, key=errors.get)
        (said,) = [each for each in advice.reasons if "It will read" in each]
        said = said.partition("It will read")[2]
        assert ("are the smallest" in said) == (chosen == best)
        assert ("the simplest of these" in said) == (chosen != best)
        if chosen != best:
            difference = found[chosen].errors - found[best].errors
            assert difference.mean() <= difference.std(ddof=1) / len(difference) ** 0.5
        if "by more than one standard error" in said:
            for simpler in list(WIDTHS)[: list(WIDTHS).index(chosen)]:
                difference = found[simpler].errors - found[chosen].errors
                assert difference.mean() > difference.std(ddof=1) / len(difference) ** 0.5


def test_of_heads_that_differ_by_chance_the_simplest_is_taken_on_photos_and_the_best_elsewhere():
    def simple(number, gap):
        profiles = [
            profile_of(number, signal=(2.0, 0.8, 0.5), gap=gap, seed=seed) for seed in range(12)
        ]
        return [advice_of(each).strategy for each in profiles].count("linear_probe")

    assert simple(120, 0.01) > simple(120, 0.3)
    assert simple(60, 0.01) == simple(60, 0.3), "of few images the best is often luck"


@pytest.mark.parametrize(
    ("gap", "said", "similar", "cell"),
    [
        (0.01, None, True, "small_similar"),
        (0.3, None, False, "small_different"),
        (0.3, "similar", True, "small_similar"),
        (0.01, 0.2, False, "small_different"),
        (None, None, None, "small_similar"),
        (None, "different", False, "small_different"),
    ],
)
def test_the_cell_follows_what_was_measured_or_what_the_user_says(gap, said, similar, cell):
    advice = advice_of(profile_of(gap=gap), similarity=said)
    assert (advice.similar, advice.cell, advice.size) == (similar, cell, "small")
    text = " ".join(advice.reasons)
    assert ("Nobody said" in text) == (gap is None and said is None)
    assert ("contradicts" in text) == (gap is not None and said is not None)
    assert ("under 0.04: similar" in text) == (gap == 0.01)
    assert ("not under 0.04: different" in text) == (gap == 0.3)
    assert ("unknown" in text) == (gap is None)


def test_thresholds_of_size_are_those_of_the_rule():
    profile = profile_of(signal=(5, 0, 0))
    sizes = [advice_of(profile, num_images=n).size for n in (60, 600, 6_000)]
    assert sizes == ["small", "between", "large"]


def test_fine_tuning_is_tried_where_it_may_pay():
    def tried(number, signal, **how):
        advice = advice_of(profile_of(number, signal=signal, gap=0.2), **how)
        assert [stage.unfreeze for stage in advice.plan.stages] == [0]
        return [(each.stages[1].unfreeze, each.stages[1].learning_rate) for each in advice.tries]

    poor, perfect = (1.0, 0, 0), (30.0, 0, 0)
    assert tried(60, poor) == []
    assert tried(120, poor) == [(3, 5e-4), (3, 1e-3)]
    assert tried(120, perfect) == []
    assert tried(120, poor, fine_tuning="off") == []
    assert tried(60, perfect, fine_tuning="on") == [(1, 3e-4), (3, 5e-4), (3, 1e-3)]


def test_what_is_tried_begins_from_a_head_on_the_last_features():
    advice = advice_of(profile_of(120, signal=(0, 0, 5)), fine_tuning="on")
    assert advice.plan.features == "all_blocks_and_inner"
    for each in advice.tries:
        assert (each.features, each.refit) == ("last", "all_blocks_and_inner")
        assert each.stages[0] == linear_probe().resolve(3).stages[0]
        assert {stage.keep for stage in each.stages[1:]} == {"end"}


def test_the_gain_is_that_of_sets_alike():
    sets = [Measured("photos", 0.02, 0.1, 0.0)] * 6 + [Measured("drawings", 0.3, 0.3, 0.09)] * 6
    photos, drawings = (
        expected_gain(each.gap, each.mistakes, sets) for each in (sets[0], sets[-1])
    )
    assert abs(photos.mean) < 0.005
    assert 0.08 < drawings.mean < 0.09
    assert drawings.spread < 0.04
    unlike = expected_gain(5.0, 0.9, sets)
    assert abs(unlike.mean) < 0.02
    assert unlike.spread > photos.spread
    assert unlike.num_sets < 0.1
    # Where nothing is known of the domain, both count.
    assert photos.mean < expected_gain(None, 0.2, sets).mean < drawings.mean
    # By hand: the weights are those of normal curves, and one prior.
    far = (0.3 - 0.1) / gains._MISTAKES_APART, np.log(0.3 / 0.02) / gains._GAP_APART
    share = 6 * np.exp(-(far[0] ** 2 + far[1] ** 2) / 2)
    weight = 6 + share + gains._UNKNOWN_WEIGHT
    assert photos.mean == pytest.approx(0.1 * share * (0.09 / 0.3) / weight)


def test_a_gain_is_never_more_than_what_is_wrong():
    assert expected_gain(0.3, 0.02, [Measured("drawings", 0.3, 0.02, 0.5)]).mean <= 0.02


def test_what_seldom_pays_is_not_tried_and_the_reason_has_the_figure(monkeypatch):
    rows = (Measured("photos", 0.01, 0.5, -0.002),) * 9
    monkeypatch.setattr(gains, "measured", lambda: rows)
    poor = profile_of(120, signal=(1.0, 0, 0), gap=0.01)
    advice = advice_of(poor)
    assert advice.tries == ()
    assert "Fine-tuning is not tried: of sets like this one it changed" in advice.reasons[-1]
    gain = {each.name: each.gain for each in advice.candidates}
    assert gain["linear_probe"] is None
    assert gain["lp_ft"] == gain["last_blocks"] == pytest.approx(-0.002, abs=0.001)
    low, high = next(each.gain_interval for each in advice.candidates if each.name == "lp_ft")
    assert low < gain["lp_ft"] < high < TRIED_FROM_GAIN
    assert Advice.from_dict(json.loads(json.dumps(advice.to_dict()))) == advice


def test_the_measured_gains_are_whole():
    rows = gains.measured()
    assert len({each.name for each in rows}) >= 3
    for each in rows:
        assert each.gap > 0
        assert 0 <= each.mistakes <= 1
        assert -0.5 < each.gain < 0.5


def test_tries_that_take_long_here_are_left_out_and_said():
    profile = profile_of(120, signal=(1.0, 0, 0))
    assert [each.stages[1].unfreeze for each in advice_of(profile).tries] == [3, 3]
    # 12 epochs of 120 images: everything takes over ten minutes, the last seventh does not.
    slow = Costs(0.4, COSTS.parameters, COSTS.activations)
    some = advice_of(profile, costs=slow)
    assert [each.stages[1].unfreeze for each in some.tries] == [1]
    assert "Left out is everything, which would take about 0.7 hours" in some.reasons[-1]
    none = advice_of(profile, costs=Costs(40.0, COSTS.parameters, COSTS.activations))
    assert none.tries == ()
    assert len(advice_of(profile, costs=slow, fine_tuning="on").tries) == 3


def test_every_candidate_has_its_figures():
    advice = advice_of(profile_of(120, signal=(1.5, 1.0, 0)))
    names = [each.name for each in advice.candidates]
    assert names == [
        "linear_probe",
        "earlier_linear_probe",
        "all_blocks_probe",
        "all_blocks_and_inner_probe",
        "last_blocks",
        "lp_ft",
        "from_scratch",
    ]
    heads, tuned = advice.candidates[:4], advice.candidates[4:]
    for each in heads:
        assert each.interval[0] < each.accuracy < each.interval[1]
        assert set(each.scores) == {"logme", "h_score"}
    assert all(each.accuracy is None and not each.scores for each in tuned)
    assert all(each.seconds > 0 and each.memory_mb > 0 for each in advice.candidates)
    assert [each.trainable_parameters for each in heads] == [21, 12, 39, 75]
    assert [each.trainable_parameters for each in tuned] == [30, 60, 60]
    assert heads[2].memory_mb == pytest.approx(120 * 12 * 4 / 2**20)
    chosen = [line for line in advice.table().splitlines() if line.startswith("*")]
    assert len(chosen) == 1
    assert advice.expected.name in chosen[0]


def test_the_earlier_block_is_that_of_the_textbook():
    profile = profile_of(signal=(0, 0, 0))
    features = profile.features.copy()
    features[:, 9:12] += 9 * np.eye(3)[profile.labels]  # block 1 of 3: two thirds of the blocks
    earlier = Profile(features, profile.labels, COLUMNS, dict(WIDTHS), None, "unknown")
    found = {each.name: each.accuracy for each in advice_of(earlier).candidates}
    assert found["earlier_linear_probe"] == 1.0
    assert found["linear_probe"] < 0.7


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1], "No head can be judged on 2 training images of 2 classes"),
        ([0, 1, 2, 3], "No head can be judged on 4 training images of 4 classes, of which none"),
    ],
)
def test_what_cannot_be_judged_says_what_can_still_be_measured(labels, said):
    profile = profile_of(len(labels))
    alone = Profile(
        profile.features, np.array(labels), COLUMNS, dict(WIDTHS), profile.gap, "measured"
    )
    advice = advice_of(alone)
    assert advice.strategy == "linear_probe"
    assert any(said in each and "can still be measured" in each for each in advice.reasons)
    assert advice.expected.accuracy is None
    assert advice.more_data is None
    assert advice.gap is not None


def test_a_class_with_one_image_and_constant_features_are_pointed_out():
    profile = profile_of(signal=(5, 0, 0))
    labels = profile.labels.copy()
    labels[0] = 3
    lonely = Profile(profile.features, labels, COLUMNS, dict(WIDTHS), None, "unknown")
    assert any(
        "1 of 4 classes have a single training image" in r for r in advice_of(lonely).reasons
    )
    flat = Profile(np.ones_like(profile.features), profile.labels, COLUMNS, dict(WIDTHS), None, "u")
    assert any("its features are constant" in each for each in advice_of(flat).reasons)
    assert advice_of(flat).strategy == "linear_probe"


def test_advice_survives_json():
    for advice in (advice_of(profile_of(120, signal=(1, 1, 1))), advice_of(profile_of(3))):
        assert Advice.from_dict(json.loads(json.dumps(advice.to_dict()))) == advice
    assert advice_of(profile_of(gap=0.3)).to_dict()["domain_gap"] == 0.3
    assert advice_of(profile_of(gap=None)).to_dict()["domain_gap"] is None
    limits = advice_of(profile_of()).to_dict()["thresholds"]
    assert limits["similar_below_domain_gap"] == 0.04
    assert limits["small_below_images"] == 500


def test_wrong_words_are_refused_with_near_ones():
    with pytest.raises(InputError, match="unknown fine_tuning 'of': did you mean off"):
        check_fine_tuning("of")
    with pytest.raises(InputError, match=r"\[0, 1\].*got 7"):
        advice_of(profile_of(), similarity=7)


def test_costs_are_those_of_the_blocks_that_train():
    seconds, memory = COSTS.tuning(100, 1, 12)
    share = 100 / 700
    assert seconds == pytest.approx(
        100 * 0.01 + _COMPILING_S + 12 * 100 * STEP_BY_FORWARD * share * 0.01
    )
    assert memory == pytest.approx((2 * 32 * 100 + 3 * 30) * 4 / 2**20)
    everything, _ = COSTS.tuning(100, 3, 12)
    assert everything == pytest.approx(1.0 + _COMPILING_S + 12 * 100 * STEP_BY_FORWARD * 0.01)


def score_of(right, number):
    labels = np.arange(number) % 2
    return score(np.where(np.arange(number) < right, labels, 1 - labels), labels, ("a", "b"))


def found_of(accuracy, number=100):
    return Found(accuracy, score_of(round(accuracy * number), number))


def expecting(accuracy, interval):
    candidate = Candidate("linear_probe", accuracy, interval, 1.0, 1.0, 10)
    advice = advice_of(profile_of(signal=(5, 0, 0)))
    return Advice(**{**vars(advice), "candidates": (candidate,)})


def test_hindsight_compares_the_estimate_with_what_came():
    advice = expecting(0.80, (0.75, 0.84))

    def said(found):
        return hindsight(advice, (), found_of(found))[0]

    assert said(0.80).endswith("as expected.")
    assert "fewer than expected, though 100 images can differ so by chance" in said(0.70)
    assert "more than expected, though 100 images can differ so by chance" in said(0.88)
    assert "worse than chance explains" in said(0.5)
    assert "better than chance explains" in said(0.99)


@pytest.mark.parametrize("number", [10, 100, 1000])
def test_as_expected_is_said_only_within_the_interval(number):
    low, high = 0.819, 0.900
    advice = expecting(0.864, (low, high))
    for right in range(number + 1):
        said = hindsight(advice, (), found_of(right / number, number))[0]
        verdicts = (
            "as expected",
            "fewer than",
            "more than",
            "worse than chance",
            "better than chance",
        )
        (verdict,) = [each for each in verdicts if each in said]
        assert (verdict == "as expected") == (low <= right / number <= high)
        assert (verdict in ("fewer than", "worse than chance")) == (right / number < low)


def test_hindsight_says_what_the_tries_came_to():
    advice = expecting(0.80, (0.75, 0.84))
    tried = Tried("everything", 3, 1e-3, 12, True, 0.9, 0.3, 0.1, 0.02, "kept")
    dropped = replace(tried, advantage=-0.1, outcome="no better")
    assert hindsight(advice, [dropped], found_of(0.8))[-1] == (
        "So a frozen backbone was the right advice, and the try cost only time."
    )
    assert hindsight(advice, [dropped, tried], found_of(0.8))[-1] == (
        "So fine-tuning was worth the try."
    )
    unfinished = hindsight(advice, [Tried("everything", 3, 1e-3)], found_of(0.8))
    assert len(unfinished) == 1
    assert "its loss is 0.100 lower than the head's, give or take 0.020: kept" in str(tried)
    assert "its loss is 0.100 higher than the head's" in str(dropped)


def test_hindsight_looks_at_the_test_part_which_nothing_was_chosen_by():
    advice = expecting(0.80, (0.75, 0.84))
    leaking = replace(found_of(0.8), test=score_of(50, 100))
    first, second = hindsight(advice, (), leaking)
    assert first.endswith("as expected.")
    assert "50.0% of the 100 test images came right: worse than chance explains" in second
    tuned = Tried("everything", 3, 1e-3, outcome="kept")
    better = hindsight(advice, [tuned], replace(found_of(0.8), test=score_of(97, 100)))
    assert better[1].endswith("as expected."), "of what was tuned more may come right"


def test_nothing_is_said_where_nothing_was_measured():
    assert hindsight(expecting(None, None), (), found_of(0.8)) == ()
