import dataclasses

import keras_tuner
import pytest
from training_networks import three_blocks

from ktransfer import InputError, Plan, textbook_rule
from ktransfer.advisor import Advice
from ktransfer.backbones import load_backbone
from ktransfer.plan import last_blocks, linear_probe, lp_ft
from ktransfer.tuner import plan_of, requirements, search_space
from ktransfer.tuner.space import NAMES, OF_THE_BLOCKS, depths_of, grid_size


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(three_blocks(), preprocessing="none")


def given(**fixed):
    hyperparameters = keras_tuner.HyperParameters()
    for name, value in fixed.items():
        if isinstance(value, list):
            hyperparameters.Choice(name, value)
        else:
            hyperparameters.Fixed(name, value)
    return hyperparameters


def at(space, **values):
    """A point of a space: its defaults but for these values."""
    point = space.copy()
    point.values = {}
    for each in space.space:
        if point.is_active(each):
            point.values[each.name] = values.get(each.name, each.default)
    return point


def advised(plan, **fields):
    return dataclasses.replace(textbook_rule(300, 3, 0.5), plan=plan, **fields)


def test_every_part_of_the_issue_is_in_the_space(backbone):
    space = search_space(backbone, max_unfreeze=2)
    assert {each.name for each in space.space} == set(NAMES)
    assert depths_of(space) == [0, 1, 2]
    rate = next(each for each in space.space if each.name == "learning_rate")
    assert rate.sampling == "log"
    assert rate.min_value == pytest.approx(3e-5)
    assert rate.max_value == pytest.approx(3e-3)


def test_what_matters_only_where_blocks_train_has_no_value_where_none_does(backbone):
    space = search_space(backbone, max_unfreeze=2)
    assert not set(at(space, unfreeze=0).values) & set(OF_THE_BLOCKS)
    assert set(at(space, unfreeze=1).values) == set(NAMES)


def test_unfreeze_0_is_the_linear_probe(backbone):
    plan = plan_of(at(search_space(backbone), unfreeze=0), 3)
    assert plan == linear_probe().with_settings(dropout=0.0).resolve(3)


def test_a_point_is_the_plan_that_says_the_same(backbone):
    space = search_space(backbone, max_unfreeze=2, epochs=7)
    point = at(
        space, unfreeze=2, learning_rate=0.01, head_rate=0.02, layer_decay=0.8, batch_norm="train"
    )
    point.values |= {"dropout": 0.2, "weight_decay": 1e-4, "augmentation": "light"}
    plan = plan_of(point, 3)
    head, last = plan.stages
    assert (head.unfreeze, head.learning_rate, head.dropout, head.weight_decay) == (
        0,
        0.02,
        0.2,
        1e-4,
    )
    usual = last_blocks(2, 7, 0.01).stages[-1]
    assert last == dataclasses.replace(
        usual,
        layer_decay=0.8,
        batch_norm="train",
        augmentation="light",
        views=4,
        dropout=0.2,
        weight_decay=1e-4,
    )
    assert Plan.from_json(plan.to_json()) == plan == plan.resolve(3)


def test_where_every_block_trains_views_are_new_in_every_epoch(backbone):
    space = search_space(backbone, max_unfreeze=3)
    plan = plan_of(at(space, unfreeze=3, augmentation="light"), 3)
    assert plan.stages[-1].views is None


def test_hyperband_says_the_epochs(backbone):
    space = search_space(backbone, max_unfreeze=2, epochs=9)
    for unfreeze in (0, 1):
        point = at(space, unfreeze=unfreeze)
        point.values["tuner/epochs"] = 3
        assert plan_of(point, 3).stages[-1].epochs == 3


def test_the_search_starts_at_the_advice(backbone):
    plan = lp_ft(12, 1e-3, layer_decay=0.7, features="all_blocks").resolve(3)
    space = search_space(backbone, advised(plan), 2)
    found = plan_of(space, 3)
    assert found.features == "all_blocks"
    assert found.stages[-1].unfreeze == 2, "the advice unfreezes 3, and 2 are the most"
    assert found.stages[-1].learning_rate == 1e-3
    assert found.stages[-1].layer_decay == 0.7
    assert found.stages[-1].augmentation == "light"
    rate = next(each for each in space.space if each.name == "learning_rate")
    assert (rate.min_value, rate.max_value) == (pytest.approx(1e-4), pytest.approx(1e-2))


def test_advice_without_a_plan_starts_at_the_plan_of_its_strategy(backbone):
    advice = Advice("large_similar", "last_blocks", (), 10, 3, 2, "low")
    assert search_space(backbone, advice, 3).get("unfreeze") == 2


def test_the_user_fixes_and_narrows(backbone):
    space = search_space(
        backbone,
        max_unfreeze=3,
        hyperparameters=given(unfreeze=[0, 2], learning_rate=[1e-4, 1e-3], dropout=0.5),
    )
    assert depths_of(space) == [0, 2]
    point = at(space, unfreeze=2)
    assert set(point.values) == set(NAMES), "they have the condition of those that they replace"
    assert point.get("dropout") == 0.5
    assert "learning_rate" not in at(space, unfreeze=0)
    assert search_space(backbone, hyperparameters=space).get_config() == space.get_config()


def test_the_size_of_a_grid_is_what_kerastuner_walks(backbone, tmp_path):
    space = search_space(
        backbone,
        max_unfreeze=2,
        hyperparameters=given(
            unfreeze=[0, 2],
            head_rate=[1e-3, 1e-2],
            learning_rate=[1e-4, 1e-3, 1e-2],
            layer_decay=1.0,
            batch_norm="frozen",
            dropout=0.0,
            weight_decay=0.0,
            augmentation="none",
        ),
    )
    oracle = keras_tuner.oracles.GridSearchOracle(
        keras_tuner.Objective("x", "max"), hyperparameters=space
    )
    oracle._set_project_dir(str(tmp_path), "grid")
    oracle.verbose = 0
    seen = 0
    while (trial := oracle.create_trial("one")).status == "RUNNING":
        oracle.update_trial(trial.trial_id, {"x": 0.5})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
        seen += 1
    assert grid_size(space) == seen == 2 + 2 * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_unfreeze": 4}, "max_unfreeze=4, but three_blocks has 3 blocks: give at most 3"),
        ({"max_unfreeze": -1}, "max_unfreeze must be at least 0, got -1"),
        ({"hyperparameters": given(unfreeze=[0, 5])}, "up to 5, but the backbone has 3 blocks"),
        ({"hyperparameters": given(learning_rat=[0.1, 1.0])}, "'learning_rat': did you mean learn"),
        ({"hyperparameters": given(unfreeze=[0.5, 1.0])}, "whole number, got 0.5"),
    ],
)
def test_bad_spaces_are_refused(backbone, options, message):
    with pytest.raises(InputError, match=message):
        search_space(backbone, **options)


def test_a_space_with_nothing_to_search_is_refused(backbone):
    fixed = given(
        unfreeze=0, head_rate=1e-3, dropout=0.0, weight_decay=0.0, head_epochs=3, features="last"
    )
    with pytest.raises(InputError, match=r"nothing to search: .* unfreeze=0"):
        search_space(backbone, hyperparameters=fixed)


def test_a_value_that_no_stage_takes_is_named(backbone):
    space = search_space(backbone, hyperparameters=given(unfreeze=1, batch_norm=["thaw", "train"]))
    with pytest.raises(InputError, match="thaw"):
        plan_of(at(space), 3)


@pytest.mark.parametrize("missing", ["keras_tuner", "tensorboard"])
def test_what_is_missing_of_the_extra_is_named(monkeypatch, missing):
    find = requirements.importlib.util.find_spec
    monkeypatch.setattr(
        requirements.importlib.util,
        "find_spec",
        lambda name: None if name == missing else find(name),
    )
    with pytest.raises(InputError, match=rf"needs {missing}: pip install \"ktransfer\[tuner\]\""):
        requirements.check_installed()
