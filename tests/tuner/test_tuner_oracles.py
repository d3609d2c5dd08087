import math

import keras_tuner
import pytest
from training_networks import three_blocks

from ktransfer import InputError
from ktransfer.backbones import load_backbone
from ktransfer.tuner import search_space
from ktransfer.tuner.budget import hyperband_points, hyperband_size, least_grid
from ktransfer.tuner.oracles import OBJECTIVE, Search, first_depths
from ktransfer.tuner.space import grid_points, grid_size, is_finite

NOTHING = {}


@pytest.fixture(scope="module")
def space():
    backbone = load_backbone(three_blocks(), preprocessing="none")
    return search_space(backbone, max_unfreeze=3)


def loss(values):
    """A loss that a search can descend: two blocks at a rate of 1e-3."""
    return 0.5 + abs(values["unfreeze"] - 2) / 10 + abs(math.log10(values["head_rate"]) + 3) / 10


def walk(oracle, folder, *, at_most=10**6, replayed=()):
    """The values that an oracle asks for, by trial, told how bad each is."""
    oracle._set_project_dir(str(folder), "walk")
    oracle.verbose = 0
    found = {}
    while len(found) < at_most:
        trial = oracle.create_trial("one")
        if trial.status != "RUNNING":
            break
        if trial.trial_id in replayed:
            trial.hyperparameters.values = dict(replayed[trial.trial_id])
        values = dict(trial.hyperparameters.values)
        oracle.update_trial(trial.trial_id, {OBJECTIVE: loss(values)})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
        found[trial.trial_id] = values
    return found


def small(space):
    """The space with few points, for a grid."""
    given = keras_tuner.HyperParameters()
    for name in ("dropout", "weight_decay", "layer_decay"):
        given.Fixed(name, 0.0 if name != "layer_decay" else 1.0)
    given.Fixed("augmentation", "none")
    given.Fixed("batch_norm", "frozen")
    given.Choice("head_rate", [1e-3, 1e-2])
    given.Choice("learning_rate", [1e-4, 1e-3])
    backbone = load_backbone(three_blocks(), preprocessing="none")
    return search_space(backbone, max_unfreeze=3, hyperparameters=given)


@pytest.mark.parametrize("epochs", [1, 2, 3, 9, 10, 30])
def test_hyperband_takes_so_many_trials(space, tmp_path, epochs):
    search = Search("hyperband", 500, epochs, 0)
    search.check(space)
    assert len(walk(search.make(space, NOTHING.get), tmp_path)) == hyperband_size(epochs)


@pytest.mark.parametrize("name", ["random", "grid", "hyperband"])
def test_an_oracle_asked_anew_asks_for_the_same(space, tmp_path, name):
    space = small(space) if name == "grid" else space
    search = Search(name, 14, 3, 3)
    search.check(space)
    first = walk(search.make(space, NOTHING.get), tmp_path / "first")
    known = dict(list(first.items())[:8])
    again = walk(search.make(space, known.get), tmp_path / "again", replayed=known)
    assert again == first
    tried = [tuple(sorted(each.items())) for each in again.values() if "tuner/round" not in each]
    assert len(set(tried)) == len(tried), "no point is tried twice"


def test_a_grid_has_trials_for_many_workers_at_once(space, tmp_path):
    search = Search("grid", 14, 3, 3)
    expected = list(walk(search.make(small(space), NOTHING.get), tmp_path / "walk").values())
    oracle = search.make(small(space), NOTHING.get)
    oracle._set_project_dir(str(tmp_path / "at once"), "walk")
    oracle.verbose = 0
    trials = [oracle.create_trial(f"worker {at}") for at in range(14)]
    assert [dict(each.hyperparameters.values) for each in trials] == expected


def test_a_bayesian_search_takes_what_was_decided_from_the_records(space, tmp_path):
    # KerasTuner takes seconds for a point, and of a Gaussian process the last digits may differ.
    search = Search("bayesian", 6, 3, 0)
    first = walk(search.make(space, NOTHING.get), tmp_path / "first", at_most=4)
    decided = {**first["0"], "dropout": 0.5, "head_rate": 0.0123}
    known = {**first, "4": decided}
    again = walk(search.make(space, known.get), tmp_path / "again", at_most=5)
    assert again == known


def test_a_bayesian_search_goes_on_with_points_of_its_own(space, tmp_path):
    few = small(space)
    found = walk(Search("bayesian", 5, 3, 0).make(few, NOTHING.get), tmp_path)
    assert len(found) == 5
    assert found["4"]["head_rate"] in (1e-3, 1e-2)


def test_the_best_trial_is_that_with_the_lowest_loss(space, tmp_path):
    oracle = Search("random", 8, 3, 0).make(space, NOTHING.get)
    found = walk(oracle, tmp_path)
    assert oracle.get_best_trials(1)[0].trial_id == min(found, key=lambda name: loss(found[name]))


@pytest.mark.parametrize("name", ["random", "bayesian"])
def test_every_depth_comes_first_at_the_rates_to_begin_with(space, tmp_path, name):
    search = Search(name, 15, 3, 0)
    found = list(walk(search.make(space, NOTHING.get), tmp_path, at_most=5).values())
    assert [each["unfreeze"] for each in found[:4]] == [0, 1, 2, 3]
    assert {each["head_rate"] for each in found[:4]} == {2e-3}
    assert {each["learning_rate"] for each in found[1:4]} == {3e-4}
    assert found[4]["head_rate"] != 2e-3


@pytest.mark.parametrize(
    ("trials", "depths"), [(1, [0]), (2, [0, 3]), (3, [0, 2, 3]), (4, [0, 1, 2, 3])]
)
def test_with_few_trials_the_depths_are_spread(space, trials, depths):
    assert first_depths(space, trials) == depths


def narrowed(depths, rates=(1e-3,)):
    """A space of few points: these depths, and these rates of the head."""
    given = keras_tuner.HyperParameters()
    for name, value in (
        ("dropout", 0.0),
        ("weight_decay", 0.0),
        ("layer_decay", 1.0),
        ("augmentation", "none"),
        ("batch_norm", "frozen"),
        ("learning_rate", 1e-3),
    ):
        given.Fixed(name, value)
    given.Choice("unfreeze", list(depths))
    given.Choice("head_rate", list(rates))
    backbone = load_backbone(three_blocks(), preprocessing="none")
    return search_space(backbone, hyperparameters=given)


def distinct(found):
    return {tuple(sorted(each.items())) for each in found.values()}


@pytest.mark.parametrize("name", ["random", "bayesian"])
@pytest.mark.parametrize(("rates", "points"), [((1e-3,), 4), ((1e-3, 1e-2), 8)])
def test_no_point_is_tried_twice_and_the_search_ends_with_the_space(tmp_path, name, rates, points):
    few = narrowed((0, 1, 2, 3), rates)
    search = Search(name, 20, 3, 0)
    search.check(few)
    found = walk(search.make(few, NOTHING.get), tmp_path)
    assert len(found) == points
    assert len(distinct(found)) == points
    assert search.notes(len(found)) == (
        f"the space is exhausted: all {points} points of it were tried, and no point twice, so the "
        "search ended before trial 20",
    )
    assert search.notes(20) == ()


def test_points_that_drawing_by_chance_would_miss_are_tried(tmp_path):
    # KerasTuner gives up after 20 draws of what was tried; of 60 points some are left by then.
    few = narrowed((0, 1, 2, 3), [10 ** (-at / 5) for at in range(5, 20)])
    found = walk(Search("random", 100, 3, 1).make(few, NOTHING.get), tmp_path)
    assert len(distinct(found)) == len(found) == 60


@pytest.mark.parametrize("trials", [1, 2, 3, 4, 5])
def test_a_bayesian_search_does_with_few_trials(tmp_path, trials):
    few = narrowed((0, 3), (1e-3, 1e-2, 3e-2))
    search = Search("bayesian", trials, 3, 0)
    search.check(few)
    found = list(walk(search.make(few, NOTHING.get), tmp_path).values())
    assert len(found) == trials
    assert [each["unfreeze"] for each in found[:2]] == [0, 3][:trials]


def test_a_bayesian_search_of_free_rates_does_not_return_to_a_point(space, tmp_path, monkeypatch):
    search = Search("bayesian", 8, 3, 0)
    oracle = search.make(space, NOTHING.get)
    # Its optimum is where it was before, as at the ends of a rate.
    monkeypatch.setattr(
        type(oracle),
        "_vector_to_values",
        lambda self, _: dict(self.trials["0"].hyperparameters.values),
    )
    found = walk(oracle, tmp_path)
    assert len(distinct(found)) == len(found) == 8


def test_points_of_a_grid_are_those_that_its_oracle_tries(space, tmp_path):
    few = small(space)
    assert is_finite(few)
    assert not is_finite(space)
    points = list(grid_points(few))
    assert len(points) == grid_size(few) == 14
    tried = walk(Search("grid", 14, 3, 0).make(few, NOTHING.get), tmp_path)
    assert {tuple(sorted(each.items())) for each in points} == distinct(tried)


def test_hyperband_is_refused_where_its_brackets_cannot_be_filled():
    few = narrowed((0, 1, 2, 3))
    points = hyperband_points(9)
    assert points == 9 + 5 + 3
    with pytest.raises(InputError, match=rf"begins with {points} different points .* a space of 4"):
        Search("hyperband", 500, 9, 0).check(few)


def test_hyperband_begins_with_each_point_once(tmp_path):
    # As many points as its brackets begin with: the last are not found by chance.
    few = narrowed((0, 1, 2, 3), (1e-3, 1e-2, 1e-1, 3e-3))
    search = Search("hyperband", 500, 3, 3)
    found = walk(search.make(few, NOTHING.get), tmp_path)
    assert len(found) == hyperband_size(3)
    begun = [each for each in found.values() if each["tuner/round"] == 0]
    own = {each["unfreeze"] * 1000 + each["head_rate"] for each in begun}
    assert len(own) == len(begun) == hyperband_points(3)


def test_what_a_grid_needs_at_least_is_no_more_than_it_needs(space):
    assert least_grid({}, 3) <= grid_size(space)
    assert least_grid({}, None) <= grid_size(space)
    sizes = {"dropout": 1, "weight_decay": 1, "layer_decay": 1, "augmentation": 1, "batch_norm": 1}
    assert least_grid({**sizes, "head_rate": 2, "learning_rate": 2}, 3) == grid_size(small(space))
