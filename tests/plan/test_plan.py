"""What a plan says, what it refuses, and what comes back from JSON."""

import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from ktransfer import InputError, textbook_rule
from ktransfer.advisor import MOBILENETV2_BLOCK_PARAMETERS, choose_plan, plan_for
from ktransfer.backbones import load_backbone
from ktransfer.plan import (
    PLAN_NAMES,
    Plan,
    Stage,
    augmentation_notes,
    choose_augmentation,
    classic,
    from_scratch,
    full_fine_tune,
    gradual_unfreeze,
    last_blocks,
    linear_probe,
    lp_ft,
    named_plan,
)

PLANS = [named_plan(name, **({"k": 3} if name == "last_blocks" else {})) for name in PLAN_NAMES]


def make_stage(**fields):
    return Stage(**{"name": "one", "unfreeze": 0, "epochs": 4, "learning_rate": 0.1, **fields})


def make_plan(*stages, **fields):
    return Plan("mine", stages or (make_stage(),), **fields)


# The named plans.


def test_the_head_is_trained_alike_wherever_it_is_trained_alone():
    (probe,) = linear_probe().stages
    assert lp_ft().stages[0] == last_blocks(2).stages[0] == probe
    assert probe.unfreeze == 0
    # One rate for the heads of all backbones holds only for features that are scaled.
    assert all(stage.scale_features for plan in (linear_probe(), lp_ft()) for stage in plan.stages)


def test_what_the_tuner_or_the_data_decide_is_left_open():
    for stage in (stage for plan in PLANS for stage in plan.stages):
        assert (stage.dropout, stage.views) == (None, None)
        assert stage.batch_size == (4 if stage == classic().stages[0] else None)


def test_lp_ft_trains_the_head_before_the_rest():
    plan = lp_ft()
    assert [stage.unfreeze for stage in plan.stages] == [0, "all"]
    assert [stage.unfreeze for stage in plan.resolve(7).stages] == [0, 7]
    # Everything at one rate, a quarter of the new head's, to the end of the schedule.
    head, rest = plan.resolve(7).stages
    assert set(rest.multipliers(7).values()) == {1.0}
    assert rest.learning_rate == head.learning_rate / 4
    assert (rest.warmup_epochs, rest.patience) == (1, None)
    assert lp_ft(1).stages[1].warmup_epochs == last_blocks(2, 1).stages[1].warmup_epochs == 0


def test_last_blocks_leaves_the_first_ones_frozen():
    rates = last_blocks(2).resolve(7).learning_rates(1)
    assert list(rates.rates) == ["head", "block -1", "block -2"]


def test_full_fine_tuning_moves_blocks_10_to_100_times_slower():
    stage = full_fine_tune().resolve(21).stages[0]
    _, *blocks = stage.multipliers().values()
    assert len(blocks) == 21
    assert all(1 / 100 <= each <= 1 / 10 for each in blocks)
    assert blocks == sorted(blocks, reverse=True)


def test_gradual_unfreezing_adds_blocks_from_the_top():
    def depths(**options):
        return [stage.unfreeze for stage in gradual_unfreeze(**options).stages]

    assert depths() == [0, 1, 2, 3, 4]
    assert depths(k=5, blocks_per_stage=2) == [0, 2, 4, 5]
    assert depths(k=1) == [0, 1]
    _, last, before = gradual_unfreeze().stages[2].multipliers().values()
    assert last / before == pytest.approx(2.6)


def test_the_textbook_has_its_exact_settings():
    stage = classic().stages[0]
    assert (stage.optimizer, stage.momentum, stage.batch_size) == ("sgd", 0.9, 4)
    assert (stage.augmentation, stage.batch_norm) == ("standard", "train")
    rates = classic().resolve(2).learning_rates(61)  # 244 images in batches of 4
    expected = [0.001] * 7 + [0.0001] * 7 + [0.00001] * 7 + [0.000001] * 4
    assert rates["head"] == rates["block -2"]
    assert rates["head"][::61] == pytest.approx(expected)
    assert rates["head"][60::61] == pytest.approx(expected)


def test_from_scratch_starts_from_random_weights():
    assert not from_scratch().pretrained
    assert all(plan.pretrained for plan in PLANS if plan.name != "from_scratch")


@pytest.mark.parametrize("num_images", [100, 300, 1_500, 9_000, 30_000])
@pytest.mark.parametrize("similarity", ["similar", "different"])
def test_every_cell_of_the_rule_has_a_plan_that_trains_as_many_weights(num_images, similarity):
    advice = textbook_rule(num_images, 2, similarity)
    plan = plan_for(advice)
    assert plan.name == advice.strategy
    kept = MOBILENETV2_BLOCK_PARAMETERS[: plan.num_blocks]
    deepest = max(stage.unfreeze for stage in plan.stages)
    trained = sum(kept[len(kept) - deepest :]) + (1_280 + 1) * 2
    assert trained == advice.trainable_parameters


def test_the_cells_lead_to_different_plans():
    cases = [(300, 1.0), (300, 0.0), (800, 1.0), (9_000, 1.0), (30_000, 0.0)]
    plans = [plan_for(textbook_rule(num_images, 2, similarity)) for num_images, similarity in cases]
    assert [plan.name for plan in plans] == [
        "linear_probe",
        "earlier_linear_probe",
        "last_blocks",
        "full_fine_tune",
        "from_scratch",
    ]
    assert plans[1].num_blocks < plans[0].num_blocks == len(MOBILENETV2_BLOCK_PARAMETERS)
    assert [plan.pretrained for plan in plans] == [True] * 4 + [False]


def test_unknown_strategy_names_near_ones():
    advice = dataclasses.replace(textbook_rule(300, 5), strategy="last_block")
    with pytest.raises(InputError, match="unknown strategy 'last_block': did you mean last_blocks"):
        plan_for(advice)


def test_named_plan_passes_options_on_and_settings_to_every_stage():
    plan = named_plan("lp_ft", epochs=2, batch_size=16, augmentation="light")
    assert plan == lp_ft(2).with_settings(batch_size=16, augmentation="light")
    assert [stage.batch_size for stage in plan.stages] == [16, 16]
    assert [stage.epochs for stage in plan.stages] == [30, 2]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lpft", {}, "unknown plan 'lpft': did you mean lp_ft"),
        (7, {}, "unknown plan '7'"),
        ("lp_ft", {"epoch": 2}, "plan 'lp_ft': unknown option 'epoch': did you mean epochs"),
        ("lp_ft", {"unfreeze": 2}, "unknown option 'unfreeze'"),
        ("last_blocks", {}, "plan 'last_blocks' needs k, got no option"),
        ("last_blocks", {"epochs": 2}, r"needs k, got \['epochs'\]"),
        ("last_blocks", {"k": 0}, "head alone is linear_probe.: k must be at least 1, got 0"),
        ("last_blocks", {"k": -1}, "k must be at least 1, got -1"),
        ("last_blocks", {"k": "all"}, "k must be a whole number, got 'all'"),
        ("gradual_unfreeze", {"k": 0}, "k must be at least 1, got 0"),
        ("gradual_unfreeze", {"blocks_per_stage": 0}, "blocks_per_stage .* at least 1, got 0"),
        ("gradual_unfreeze", {"epochs": "3"}, "epochs must be a whole number, got '3'"),
        ("from_scratch", {"epochs": 0}, "epochs must be at least 1, got 0"),
        ("classic", {"optimizer": "adam"}, r"momentum=0\.9 .* 'adam' has none"),
    ],
)
def test_named_plan_refuses(name, options, message):
    with pytest.raises(InputError, match=message):
        named_plan(name, **options)


# The plan that is meant.


def few():
    return textbook_rule(300, 5)


def test_auto_is_what_was_advised():
    told = (
        few(),
        textbook_rule(300, 5, "different"),
        textbook_rule(3_000, 5),
        textbook_rule(30_000, 5),
    )
    for advice in told:
        assert choose_plan("auto", advice, 19) == plan_for(advice).resolve(19)


def test_a_name_or_a_plan_is_taken_as_it_is_whatever_was_advised():
    assert choose_plan("lp_ft", few(), 7) == lp_ft().resolve(7)
    mine = make_plan(make_stage(unfreeze="all"), num_blocks=6)
    assert choose_plan(mine, few(), 9) == mine.resolve(9)
    assert choose_plan(mine, few(), 9).stages[0].unfreeze == 6


@pytest.mark.parametrize(
    ("name", "unfreeze", "expected"),
    [
        ("auto", 0, linear_probe()),
        ("linear_probe", 0, linear_probe()),
        ("last_blocks", 0, linear_probe()),
        ("auto", 3, last_blocks(3)),
        ("last_blocks", 3, last_blocks(3)),
        ("gradual_unfreeze", 3, gradual_unfreeze(3)),
        ("classic", 3, classic(3)),
        ("classic", 0, classic(0)),
    ],
)
def test_unfreeze_says_how_many_last_blocks_train_in_the_end(name, unfreeze, expected):
    assert choose_plan(name, few(), 7, unfreeze=unfreeze) == expected.resolve(7)


@pytest.mark.parametrize("plan", ["linear_probe", "lp_ft", "full_fine_tune", "from_scratch", "own"])
def test_unfreeze_is_refused_where_the_plan_says_it_itself(plan):
    given = make_plan() if plan == "own" else plan
    name = "mine" if plan == "own" else plan
    message = f"plan '{name}' says itself what it unfreezes, got unfreeze=2: leave one of them out"
    with pytest.raises(InputError, match=message):
        choose_plan(given, few(), 7, unfreeze=2)


@pytest.mark.parametrize(
    ("plan", "options", "message"),
    [
        ("lpft", {}, "unknown plan 'lpft': did you mean lp_ft"),
        ("lpft", {"unfreeze": 2}, "unknown plan 'lpft': did you mean lp_ft"),
        ("last_blocks", {}, "plan 'last_blocks' needs k, got no option"),
        ("auto", {"unfreeze": 8}, "unfreezes 8 blocks, but the backbone has 7: unfreeze fewer"),
        ("classic", {"unfreeze": 8}, "unfreezes 8 blocks, but the backbone has 7"),
        ("atuo", {}, "unknown plan 'atuo': did you mean auto"),
        (7, {"unfreeze": 2}, "unknown plan '7'"),
        ("auto", {"unfreeze": -1}, "unfreeze must be at least 0, got -1"),
        ("classic", {"unfreeze": "all"}, "unfreeze must be a whole number, got 'all'"),
        ("auto", {"unfreeze": True}, "unfreeze must be a whole number, got True"),
        ("auto", {"unfreeze": False}, "unfreeze must be a whole number, got False"),
        ("gradual_unfreeze", {"unfreeze": 0}, "k must be at least 1, got 0"),
        ("lp_ft", {"epochs": 0}, "stage 'head': epochs must be at least 1, got 0"),
        ("lp_ft", {"epochs": 1.5}, r"stage 'head': epochs must be a whole number, got 1\.5"),
        ("lp_ft", {"patience": 0}, "patience must be at least 1, got 0"),
        ("lp_ft", {"droput": 0.1}, "unknown setting 'droput': did you mean dropout"),
    ],
)
def test_choosing_refuses(plan, options, message):
    with pytest.raises(InputError, match=message):
        choose_plan(plan, few(), 7, **options)


def test_epochs_are_those_of_every_stage_and_the_warm_up_keeps_its_share():
    plan = choose_plan("gradual_unfreeze", few(), 7, epochs=20)
    assert [stage.epochs for stage in plan.stages] == [20] * 5
    assert [stage.warmup_epochs for stage in plan.stages] == [pytest.approx(2.0)] * 5
    # One epoch of warm-up in 20: half as long a training has half of it, and is no error.
    (stage,) = choose_plan("full_fine_tune", few(), 7, epochs=10).stages
    assert (stage.epochs, stage.warmup_epochs) == (10, 0.5)
    (stage,) = choose_plan("full_fine_tune", few(), 7, epochs=1).stages
    assert stage.warmup_epochs == pytest.approx(0.05)


def test_settings_that_are_given_hold_in_every_stage_and_none_leaves_them():
    plan = choose_plan("lp_ft", few(), 7, patience=None, batch_size=8, dropout=0.0)
    assert plan == lp_ft().with_settings(batch_size=8, dropout=0.0).resolve(7)
    assert [stage.patience for stage in plan.stages] == [10, None]
    assert choose_plan("lp_ft", few(), 7, epochs=None) == lp_ft().resolve(7)


def test_views_are_a_setting_of_a_stage_with_an_augmentation():
    plan = choose_plan("lp_ft", few(), 7, augmentation="light", views=4)
    assert [stage.views for stage in plan.stages] == [4, 4]
    assert Plan.from_json(plan.to_json()) == plan
    with pytest.raises(InputError, match="stage 'head': views=4 needs an augmentation"):
        choose_plan("lp_ft", few(), 7, views=4)


# Another learning rate.


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_a_learning_rate_is_that_of_the_stages_that_train_blocks_or_of_the_head_alone(plan):
    changed = plan.with_learning_rate(7e-5)
    trains_blocks = any(stage.unfreeze for stage in plan.stages)
    for before, after in zip(plan.stages, changed.stages, strict=True):
        meant = before.unfreeze if trains_blocks else before is plan.stages[-1]
        rate = 7e-5 if meant else before.learning_rate
        assert after == dataclasses.replace(before, learning_rate=rate)
    assert Plan.from_json(changed.to_json()) == changed


def test_a_learning_rate_reaches_the_plan_that_is_chosen_and_none_leaves_it():
    chosen = choose_plan("lp_ft", few(), 7, learning_rate=1e-4)
    assert [stage.learning_rate for stage in chosen.stages] == [2e-3, 1e-4]
    assert choose_plan("lp_ft", few(), 7, learning_rate=None) == lp_ft().resolve(7)
    two = make_plan(make_stage(name="first"), make_stage(name="second"))
    assert [each.learning_rate for each in two.with_learning_rate(0.5).stages] == [0.1, 0.5]


@pytest.mark.parametrize("rate", [0, -1e-3, math.nan, math.inf, True, "0.1", 10**400])
def test_a_learning_rate_that_is_none_is_refused(rate):
    with pytest.raises(InputError, match="learning_rate must be a finite number above 0, got"):
        lp_ft().with_learning_rate(rate)


# Blocks by name.


def test_a_name_is_kept_in_json_printed_and_no_number_without_a_backbone():
    plan = make_plan(make_stage(unfreeze="block_13"))
    assert Plan.from_json(plan.to_json()) == plan
    assert "head, from block_13 on" in str(plan)
    assert classic("block_13").stages[0].name == "from block_13 on"
    for ask in (plan.resolve, plan.stages[0].multipliers):
        with pytest.raises(InputError, match=r"unfreeze='block_13' .* call numbered\(backbone\)"):
            ask(19)


def test_a_plan_is_numbered_for_its_backbone():
    backbone = load_backbone("MobileNetV2", "mini")
    plan = make_plan(
        make_stage(name="a", unfreeze=0),
        make_stage(name="b", unfreeze="block_13"),
        make_stage(name="c", unfreeze="all"),
    )
    assert [each.unfreeze for each in plan.numbered(backbone).stages] == [0, 5, "all"]
    assert lp_ft().numbered(backbone) == lp_ft()
    # Counted from the last block that the model keeps.
    kept = dataclasses.replace(plan, num_blocks=16)
    assert [each.unfreeze for each in kept.numbered(backbone).stages] == [0, 2, "all"]
    with pytest.raises(InputError, match=r"from 'block_13' on, but .* keeps only .* 12 bl"):
        dataclasses.replace(plan, num_blocks=12).numbered(backbone)
    with pytest.raises(InputError, match="unknown block or layer 'blok_13': did you mean block_"):
        make_plan(make_stage(unfreeze="blok_13")).numbered(backbone)


# Stages and plans that make no sense.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "name must be a printable, non-empty string, got ''"),
        ({"name": "a\nb"}, r"name must be .* got 'a\\nb'"),
        ({"unfreeze": -1}, "stage 'one': unfreeze must be at least 0, got -1"),
        ({"unfreeze": ""}, "unfreeze must be a printable, non-empty string, got ''"),
        ({"unfreeze": "3"}, "unfreeze must be a whole number or a name, got '3'"),
        ({"unfreeze": "-1"}, "unfreeze must be a whole number or a name, got '-1'"),
        ({"unfreeze": 1.5}, r"unfreeze must be a whole number, got 1\.5"),
        ({"unfreeze": True}, "unfreeze must be a whole number, got True"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": None}, "epochs must be a whole number, got None"),
        ({"learning_rate": 0}, "learning_rate must be a finite number above 0, got 0"),
        ({"learning_rate": -0.1}, r"learning_rate .* above 0, got -0\.1"),
        ({"learning_rate": math.nan}, "learning_rate .* got nan"),
        ({"learning_rate": math.inf}, "learning_rate .* got inf"),
        ({"learning_rate": 10**400}, "learning_rate .* got 1000"),
        ({"learning_rate": "0.1"}, r"learning_rate .* got '0\.1'"),
        ({"learning_rate": None}, "learning_rate .* got None"),
        ({"block_multiplier": 0}, "block_multiplier .* above 0, got 0"),
        ({"layer_decay": 1.1}, r"layer_decay .* above 0 and at most 1, got 1\.1"),
        ({"optimizer": "adm"}, "stage 'one': unknown optimizer 'adm': did you mean adam"),
        ({"optimizer": 3}, "optimizer must be one of adam, .* got 3"),
        ({"momentum": 0.9}, r"momentum=0\.9 is an option of rmsprop and sgd; 'adam' has none"),
        ({"momentum": 1.0, "optimizer": "sgd"}, r"momentum .* under 1, got 1\.0"),
        ({"weight_decay": -1}, "weight_decay .* at least 0, got -1"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin': did you mean cosine"),
        ({"schedule": "step"}, "'step' needs decay_every_epochs, got None"),
        ({"schedule": "step", "decay_every_epochs": 2}, "'step' needs decay_factor, got None"),
        ({"decay_factor": 0.1}, r"'constant' has no decay_factor, got 0\.1"),
        ({"warmup_epochs": 4}, r"warmup_epochs must be fewer than the 4 epochs, got 4\.0"),
        ({"warmup_epochs": -1}, "warmup_epochs .* at least 0, got -1"),
        ({"batch_norm": "frosen"}, "unknown batch_norm 'frosen': did you mean frozen"),
        ({"augmentation": "lite"}, "unknown augmentation 'lite': did you mean light"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"dropout": 1}, "dropout .* at least 0 and under 1, got 1"),
        ({"dropout": "0.5"}, r"dropout must be a finite number .* got '0\.5'"),
        ({"views": 4}, "views=4 needs an augmentation, got augmentation='none'"),
        ({"views": 0, "augmentation": "light"}, "views must be at least 1, got 0"),
        ({"views": 2.0, "augmentation": "light"}, r"views must be a whole number, got 2\.0"),
        ({"scale_features": 1}, "stage 'one': scale_features must be true or false, got 1"),
        ({"scale_features": None}, "scale_features must be true or false, got None"),
        ({"scale_features": "no"}, "scale_features must be true or false, got 'no'"),
    ],
)
def test_stage_refuses(fields, message):
    with pytest.raises(InputError, match=message):
        make_stage(**fields)


def test_plan_refuses_stages_that_are_none():
    with pytest.raises(InputError, match=r"plan 'mine' is empty: .* at least one stage, got \(\)"):
        Plan("mine", ())
    with pytest.raises(InputError, match=r"stages must be a tuple of Stage, got \('head',\)"):
        Plan("mine", ("head",))
    with pytest.raises(InputError, match="two stages have the name 'one'"):
        make_plan(make_stage(), make_stage(epochs=1))


def test_plan_refuses_more_blocks_than_there_are():
    plan = make_plan(make_stage(unfreeze=5))
    with pytest.raises(InputError, match="stage 'one' unfreezes 5 blocks, but the backbone has 4"):
        plan.check(4)
    with pytest.raises(InputError, match="unfreezes 5 blocks, but plan 'mine' keeps 3"):
        dataclasses.replace(plan, num_blocks=3)
    with pytest.raises(InputError, match="keeps 9 blocks, got a backbone of 8"):
        make_plan(num_blocks=9).resolve(8)
    with pytest.raises(InputError, match="num_blocks must be at least 1, got 0"):
        plan.resolve(0)
    plan.check(5)


def test_resolving_counts_the_blocks_that_are_kept_and_is_done_once():
    plan = make_plan(make_stage(unfreeze="all"), num_blocks=6).resolve(9)
    assert (plan.stages[0].unfreeze, plan.num_blocks) == (6, 6)
    assert plan.resolve(9) == plan
    with pytest.raises(InputError, match=r"unfreeze='all' .* call resolve\(num_blocks\)"):
        make_plan(make_stage(unfreeze="all")).learning_rates(1)


def test_from_random_weights_everything_must_train():
    with pytest.raises(InputError, match=r"must train them all: .* got unfreeze=0 in 'one'"):
        make_plan(pretrained=False)
    with pytest.raises(InputError, match=r"must learn its statistics: .* got 'frozen' in 'one'"):
        make_plan(make_stage(unfreeze="all"), pretrained=False)
    with pytest.raises(InputError, match="pretrained must be true or false, got 1"):
        make_plan(pretrained=1)
    assert not from_scratch().resolve(8).pretrained


def test_with_settings_refuses_unknown_ones():
    with pytest.raises(InputError, match="unknown setting 'droput': did you mean dropout"):
        lp_ft().with_settings(droput=0.1)
    with pytest.raises(InputError, match=r"dropout .* got 2"):
        lp_ft().with_settings(dropout=2)


# Plain data.


@pytest.mark.parametrize("plan", PLANS, ids=PLAN_NAMES)
def test_json_gives_back_an_equal_plan(plan):
    for each in (plan, plan.resolve(19), plan.with_settings(learning_rate=0.1 + 0.2)):
        assert Plan.from_json(each.to_json()) == each
        assert Plan.from_json(each.to_json()).to_json() == each.to_json()
        assert hash(Plan.from_json(each.to_json())) == hash(each)


def test_numbers_of_numpy_and_whole_rates_are_stored_as_plain_ones():
    stage = make_stage(
        epochs=np.int64(4), unfreeze=np.int32(2), learning_rate=1, dropout=np.float32(0.5)
    )
    types = [type(getattr(stage, name)) for name in ("epochs", "unfreeze", "learning_rate")]
    assert types == [int, int, float]
    plan = make_plan(stage)
    assert Plan.from_json(plan.to_json()) == plan


def test_json_written_by_hand_may_leave_defaults_out():
    source = (
        '{"name": "mine", "stages": '
        '[{"name": "one", "unfreeze": 0, "epochs": 4, "learning_rate": 0.1}]}'
    )
    assert Plan.from_json(source) == make_plan()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stage": []}, "a plan: unknown field 'stage': did you mean stages"),
        ({"stages": {}}, r"stages must be a tuple of Stage, got \{\}"),
        ({"stages": []}, "plan 'mine' is empty"),
        ({"stages": [3]}, "stage 1 must be an object with fields, got 3"),
        ({"stages": [{"epoch": 3}]}, "stage 1: unknown field 'epoch': did you mean epochs"),
        ({"stages": [{"name": "a"}]}, r"stage 'a': the field 'unfreeze' is missing, got \['name'"),
        ({"name": 3}, "name must be a printable, non-empty string, got 3"),
        ({"pretrained": "yes"}, "pretrained must be true or false, got 'yes'"),
        ({"num_blocks": 2.0}, r"num_blocks must be a whole number, got 2\.0"),
    ],
)
def test_json_with_wrong_fields_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        Plan.from_json(json.dumps({**make_plan().to_dict(), **change}))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{oops", "a plan must be JSON text, got '{oops'"),
        ("[]", r"a plan must be an object with fields, got \[\]"),
        ('{"name": "a"}', r"the field 'stages' is missing, got \['name'\]"),
        ('{"name": "a", "name": "b"}', "the field 'name' is given twice, got 'b' the second time"),
        ("[" * 100_000, "a plan must be JSON text"),
        (3, "a plan must be JSON text, got '3'"),
    ],
)
def test_what_is_no_plan_is_refused(source, message):
    with pytest.raises(InputError, match=message):
        Plan.from_json(source)


def test_a_rate_that_is_not_finite_is_refused_from_json():
    source = make_plan().to_json().replace('"learning_rate": 0.1', '"learning_rate": NaN')
    with pytest.raises(InputError, match=r"stage 'one': learning_rate must be .* got nan"):
        Plan.from_json(source)


def test_a_plan_prints_as_a_table_of_what_is_said():
    rest = make_stage(name="rest", unfreeze=2, epochs=10, block_multiplier=0.5, dropout=0.2)
    assert str(make_plan(make_stage(), rest).resolve(5)).splitlines() == [
        "mine: from pretrained weights, 5 blocks, at most 14 epochs",
        "",
        "stage  trains        epochs  learning_rate  blocks' rates  schedule  optimizer  batch_norm"
        "  dropout",
        "-" * 99,
        "one    head          4       0.1            -              constant  adam       -         "
        "  -",
        "rest   head, last 2  10      0.1            x0.5           constant  adam       frozen    "
        "  0.2",
    ]
    assert "head, all 7" in str(lp_ft().resolve(7))
    assert "head, all blocks" in str(lp_ft())
    assert "step x0.1 every 7" in str(classic())
    assert "sgd, momentum 0.9" in str(classic())
    assert "from random weights" in str(from_scratch())


def test_importing_plans_imports_neither_keras_nor_tensorflow():
    code = (
        "import sys; import ktransfer.plan; "
        "print([name for name in ('keras', 'tensorflow', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Augmentation by the size of the data.


def choice(images_per_class, unfreeze, epochs=10):
    found = choose_augmentation(images_per_class, unfreeze=unfreeze, num_blocks=19, epochs=epochs)
    return found.augmentation, found.views


def test_augmentation_is_chosen_by_what_is_frozen_and_then_by_the_number_of_images():
    # A head alone reads what frozen blocks said once, however few images there are.
    assert {choice(each, 0) for each in (3, 300, 30_000)} == {("none", None)}
    assert choice(100, 4) == ("standard", 4)
    assert choice(101, 4) == ("none", None)
    assert choice(4_999, 19) == ("standard", None)
    assert choice(4_999, 19, epochs=50) == ("strong", None)
    assert choice(5_000, 19, epochs=50) == ("light", None)


def test_auto_stays_until_the_images_are_known_and_then_has_a_reason():
    plan = last_blocks(2).with_settings(augmentation="auto").resolve(7)
    assert {stage.augmentation for stage in plan.stages} == {"auto"}
    assert Plan.from_json(plan.to_json()) == plan
    head, last = plan.resolve(7, 60).stages
    assert (head.augmentation, head.views) == ("none", None)
    assert (last.augmentation, last.views) == ("standard", 4)
    assert plan.resolve(7, 60).resolve(7, 9_000) == plan.resolve(7, 60)
    frozen, few, mirrored = augmentation_notes(plan, 7, 60)
    assert frozen.startswith("stage 'head': augmentation none: every block is frozen")
    assert "'last 2': augmentation standard, 4 views of each image: 60 images a class" in few
    assert "mirrored: whether that keeps the label, only the images say" in mirrored
    assert augmentation_notes(last_blocks(2), 7, 60) == ()
    assert augmentation_notes(lp_ft(), 7, 60) == augmentation_notes(classic(), 7, 60) == (mirrored,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"images_per_class": 0}, "images_per_class must be above 0, got 0"),
        ({"images_per_class": float("nan")}, "images_per_class must be above 0, got nan"),
        ({"unfreeze": -1}, "unfreeze must be at least 0, got -1"),
        ({"unfreeze": 8}, "unfreeze must be at most the 7 blocks, got 8"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
    ],
)
def test_an_augmentation_of_impossible_numbers_is_refused(values, message):
    good = {"images_per_class": 50, "unfreeze": 2, "num_blocks": 7, "epochs": 5}
    with pytest.raises(InputError, match=message):
        choose_augmentation(**{**good, **values})


def test_views_of_what_is_mixed_or_chosen_later_are_refused():
    with pytest.raises(InputError, match=r"views=4 keeps .*='strong' mixes the images of a batch"):
        lp_ft().with_settings(augmentation="strong", views=4)
    with pytest.raises(InputError, match=r"'auto' says itself how many views, got views=4"):
        lp_ft().with_settings(augmentation="auto", views=4)
