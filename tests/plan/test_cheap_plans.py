"""Plans that train few numbers, and the fields of a stage that say so."""

import re

import pytest
from training_networks import make_plan, make_stage

from ktransfer import InputError, RunError, textbook_rule
from ktransfer.advisor import choose_plan
from ktransfer.plan import Plan, Stage, affine, linear_probe, low_rank, named_plan
from ktransfer.training.resume import check_same


@pytest.mark.parametrize("k", ["all", 4])
def test_both_train_the_head_before_and_the_rest_at_the_same_depth(k):
    for plan in (affine(k), low_rank(k)):
        head, last = plan.stages
        assert head == linear_probe().stages[0]
        assert (last.unfreeze, last.epochs, last.warmup_epochs) == (k, 12, 1)
        # Views would run the frozen blocks in every epoch.
        assert last.augmentation == ("light" if k == "all" else "none")


def test_affine_leaves_the_kernels_and_the_statistics():
    stage = affine().stages[-1]
    assert (stage.trains, stage.batch_norm, stage.rank) == ("affine", "affine_only", None)


def test_low_rank_leaves_all_but_its_factors():
    stage = low_rank(rank=3).stages[-1]
    assert (stage.trains, stage.batch_norm, stage.rank) == ("low_rank", "frozen", 3)


def test_the_table_says_what_trains_of_the_blocks_and_only_where_it_is_not_all():
    (head, row) = str(low_rank(k=4, rank=3).resolve(19)).splitlines()[-2:]
    assert re.search(r"low_rank  head, last 4  low_rank, rank 3", row)
    assert "low_rank" not in head
    assert re.search(r"affine  head, all 19  affine  ", str(affine().resolve(19)))
    assert "of them" not in str(linear_probe())
    # A head alone is all that trains, whatever is said of blocks.
    assert "of them" not in str(make_plan(make_stage(trains="affine")))


def test_json_keeps_both_fields_and_one_of_before_means_all_of_the_blocks():
    plan = low_rank(rank=3)
    assert Plan.from_json(plan.to_json()) == plan
    old = {"name": "one", "unfreeze": 2, "epochs": 4, "learning_rate": 0.1}
    assert (Stage.from_dict(old).trains, Stage.from_dict(old).rank) == ("all", None)


def test_a_training_of_before_there_were_the_fields_can_be_resumed():
    now = {"plan": make_plan(make_stage(unfreeze=2)).to_dict()}
    (stage,) = now["plan"]["stages"]
    then = {name: value for name, value in stage.items() if name not in ("trains", "rank")}
    then = {"plan": {**now["plan"], "stages": [then]}}
    check_same(then, now, "run")
    other = {"plan": make_plan(make_stage(unfreeze=2, trains="affine")).to_dict()}
    with pytest.raises(RunError, match="plan stages 'one' trains: 'all' then, 'affine' now"):
        check_same(then, other, "run")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trains": "lora"}, "stage 'one': unknown trains 'lora': did you mean"),
        ({"trains": None}, "trains must be one of all, affine, low_rank, got None"),
        ({"trains": "low_rank"}, "trains='low_rank' needs rank, got rank=None"),
        ({"rank": 4}, "trains='all' has no rank, got rank=4"),
        ({"trains": "affine", "rank": 4}, "trains='affine' has no rank, got rank=4"),
        ({"trains": "low_rank", "rank": 0}, "rank must be at least 1, got 0"),
        ({"trains": "low_rank", "rank": 2.5}, "rank must be a whole number, got 2.5"),
    ],
)
def test_a_stage_refuses(fields, message):
    with pytest.raises(InputError, match=message):
        make_stage(unfreeze=1, **fields)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "affine",
            {"k": 0},
            "affine .the head alone is linear_probe.: k must be at least 1, got 0",
        ),
        ("affine", {"k": 1.5}, "unfreeze must be a whole number"),
        ("affine", {"rank": 2}, "trains='all' has no rank, got rank=2"),
        ("low_rank", {"rank": 0}, "low_rank: rank must be at least 1, got 0"),
        ("low_rank", {"epochs": 0}, "low_rank: epochs must be at least 1, got 0"),
    ],
)
def test_the_plans_refuse(name, options, message):
    with pytest.raises(InputError, match=message):
        named_plan(name, **options)


@pytest.mark.parametrize("name", ["affine", "low_rank"])
def test_unfreeze_says_in_how_many_blocks(name):
    rule = textbook_rule(300, 3, "similar")
    expected = named_plan(name, k=3).resolve(7)
    assert choose_plan(name, rule, 7, unfreeze=3) == expected
