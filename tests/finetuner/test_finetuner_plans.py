"""`FineTuner.fit` carries out plans: the named ones, those of the rule, and those of the user."""

import dataclasses
import inspect
import json

import numpy as np
import pytest
from conftest import write_pictures
from training_networks import make_plan, make_stage, three_blocks, without_seconds

import ktransfer
from ktransfer import FineTuner, InputError
from ktransfer.classifier.results import FitResult
from ktransfer.finetuner.options import FitArguments, FitOptions, SearchArguments
from ktransfer.freezing import freeze
from ktransfer.plan import PLAN_NAMES, Plan, gradual_unfreeze, named_plan
from ktransfer.training.refit import REFIT

#: For each named plan: how many last blocks of three train in each stage.
DEPTHS = {
    "linear_probe": [0],
    "lp_ft": [0, 3],
    "lp_ft_refit": [0, 3, 3],
    "last_blocks": [0, 2],
    "full_fine_tune": [3],
    "gradual_unfreeze": [0, 1, 2],
    "from_scratch": [3],
    "classic": [1],
    "affine": [0, 3],
    "low_rank": [0, 3],
}
#: Its kernels are thinner than its factors; `test_low_rank` has a wider network.
TOO_THIN = "low_rank"
OPEN = {"last_blocks": 2, "gradual_unfreeze": 2, "classic": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("plans") / "pictures", 8)


def tuner_of(model=None, **options):
    return FineTuner(model or three_blocks(), verbose=False, **options)


def values_of_blocks(backbone):
    return [
        [np.array(weight) for layer in block.layers for weight in layer.weights]
        for block in backbone.blocks
    ]


def same_values(one, two):
    return all(first.tobytes() == second.tobytes() for first, second in zip(one, two, strict=True))


def without_save(result):
    """A result as JSON; the time of the saving is known only after it."""
    data = json.loads(json.dumps(result.to_dict()))
    return {**data, "seconds": {key: data["seconds"][key] for key in ("scan", "train", "score")}}


def test_all_named_plans_are_tried():
    assert set(DEPTHS) == set(PLAN_NAMES)


@pytest.mark.slow
def test_augmentation_is_set_in_all_stages_and_auto_says_why(folder):
    tuner = tuner_of()
    named = tuner.fit(folder, plan="lp_ft", epochs=1, augmentation="noise")
    assert [stage.augmentation for stage in named.plan.stages] == ["noise", "noise"]
    assert not any("augmentation" in note or "mirrored" in note for note in named.notes)
    auto = tuner.fit(folder, unfreeze=1, epochs=1, augmentation="auto")
    chosen = [(stage.augmentation, stage.views) for stage in auto.plan.stages]
    assert chosen == [("none", None), ("standard", 4)]
    said = [note for note in auto.notes if "augmentation" in note or "mirrored" in note]
    assert len(said) == 3
    assert "augmentation standard, 4 views of each image: 6 images a class" in said[1]
    with pytest.raises(InputError, match="unknown augmentation 'stronk': did you mean strong"):
        tuner.fit(folder, augmentation="stronk")


@pytest.mark.parametrize("name", [each for each in PLAN_NAMES if each != TOO_THIN])
def test_a_named_plan_is_carried_out(folder, name):
    tuner = tuner_of()
    before = values_of_blocks(tuner.backbone)
    result = tuner.fit(folder, plan=name, unfreeze=OPEN.get(name), epochs=1, batch_size=8)
    after = values_of_blocks(tuner.backbone)
    plan = named_plan(name, **({"k": 2} if name == "last_blocks" else {}))
    # A head that is solved anew at the end is no stage of the plan.
    stages = [stage for stage in result.stages if stage.name != REFIT]
    assert plan.refit or len(stages) == len(result.stages)
    assert (result.carried_out, result.plan.pretrained) == (name, plan.pretrained)
    assert [stage.unfreeze for stage in stages] == DEPTHS[name]
    assert [stage.name for stage in stages] == [stage.name for stage in result.plan.stages]
    assert [row["stage"] for row in result.history] == [stage.name for stage in stages]
    for stage in stages:
        (row,) = stage.history
        assert {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"} < set(row)
        assert stage.batch_size == 8
        assert stage.best_epoch in (0, 1)
    # Frozen to the last bit, by another look than that of the library's proof.
    deepest = max(DEPTHS[name])
    moved = max((stage.unfreeze for stage in stages if stage.best_epoch), default=0)
    for block, (old, new) in enumerate(zip(before, after, strict=True)):
        random_start = not plan.pretrained
        assert same_values(old, new) == (block < 3 - moved and not random_start)
    for stage in stages:
        trains_all = stage.unfreeze == 3 and name in ("from_scratch", "classic")
        assert (stage.proof is None) == trains_all
        assert stage.proof is None or stage.proof.moved == ()
    # Movement as NumPy has it; random weights are where a plan from scratch began.
    trained = moved or deepest
    assert list(result.movement) == [block.name for block in tuner.backbone.blocks[3 - trained :]]
    for block, (old, new) in enumerate(zip(before, after, strict=True)):
        if block >= 3 - trained and plan.pretrained:
            one, two = (
                np.concatenate(list(map(np.ravel, each)), dtype="f8") for each in (old, new)
            )
            found = result.movement[tuner.backbone.blocks[block].name]
            expected = np.linalg.norm(two - one) / np.linalg.norm(one)
            assert found == pytest.approx(expected, rel=1e-6)
            assert (found > 0) == (block >= 3 - moved)
    head = tuner.model.layers[-2].count_params()
    assert head == 7 * 3 or plan.refit
    trainable = sum(sum(each.size for each in block) for block in before[3 - deepest :]) + head
    assert 0 < result.trainable_parameters <= trainable
    assert tuner.summary().trainable_parameters == result.trainable_parameters
    assert result.total_parameters == tuner.model.count_params()
    again = FitResult.from_dict(json.loads(json.dumps(result.to_dict())))
    assert again.to_dict() == result.to_dict()
    assert again.plan == result.plan
    assert tuner.evaluate(folder).accuracy == result.val_accuracy


def test_a_second_fit_begins_with_the_pretrained_weights(folder):
    tuner = tuner_of(three_blocks(dropout=0.3))
    plan = make_plan(make_stage(unfreeze=3, batch_norm="train"))
    first = tuner.fit(folder, plan=plan)
    weights = tuner.model.get_weights()
    second = tuner.fit(folder, plan=plan)
    for one, two in zip(weights, tuner.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert without_seconds(second.history) == without_seconds(first.history)


@pytest.mark.slow
def test_from_scratch_does_not_depend_on_the_pretrained_weights(folder):
    found = []
    for factor in (1.0, 3.0):
        model = three_blocks()
        for weight in model.weights:
            weight.assign(weight * factor)
        tuner = tuner_of(model, seed=5)
        tuner.fit(folder, plan="from_scratch", epochs=1)
        found.append(tuner.model.get_weights())
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


CELLS = {
    "linear_probe": ("similar", {}),
    "earlier_linear_probe": ("different", {}),
    "last_blocks": ("similar", {"SMALL_NUM_IMAGES": 10, "SMALL_IMAGES_PER_CLASS": 3}),
    "full_fine_tune": (
        "similar",
        {"SMALL_NUM_IMAGES": 10, "SMALL_IMAGES_PER_CLASS": 3, "LARGE_IMAGES_PER_CLASS": 4},
    ),
    "from_scratch": (
        "different",
        {
            "SMALL_NUM_IMAGES": 10,
            "SMALL_IMAGES_PER_CLASS": 3,
            "LARGE_IMAGES_PER_CLASS": 4,
            "FROM_SCRATCH_IMAGES_PER_CLASS": 5,
        },
    ),
}


@pytest.mark.parametrize("strategy", CELLS)
def test_every_cell_of_the_rule_is_carried_out(folder, monkeypatch, strategy):
    similarity, thresholds = CELLS[strategy]
    for name, value in thresholds.items():
        monkeypatch.setattr(f"ktransfer.advisor.rule.{name}", value)
    tuner = tuner_of()
    result = tuner.fit(folder, plan="textbook", similarity=similarity, epochs=1)
    assert (result.advice.strategy, result.carried_out) == (strategy, strategy)
    assert len(tuner.summary().rows) - 1 == result.advice.num_blocks
    assert max(each.unfreeze for each in result.stages) == result.advice.num_trainable_blocks
    assert len(result.movement) == result.advice.num_trainable_blocks
    assert len(result.stages) == {"last_blocks": 2}.get(strategy, 1)


def test_unfreeze_chooses_the_depth_of_auto(folder):
    result = tuner_of().fit(folder, unfreeze=1, epochs=1)
    assert (result.carried_out, [each.unfreeze for each in result.stages]) == (
        "last_blocks",
        [0, 1],
    )
    assert tuner_of().fit(folder, unfreeze=0, epochs=1).carried_out == "linear_probe"


def test_fewer_blocks_are_kept_and_their_last_ones_train(folder, tmp_path):
    tuner = tuner_of()
    before = values_of_blocks(tuner.backbone)
    plan = make_plan(make_stage(), make_stage(name="last", unfreeze=1), num_blocks=2)
    result = tuner.fit(folder, plan=plan, out=tmp_path / "run")
    after = values_of_blocks(tuner.backbone)
    moved = [not same_values(*each) for each in zip(before, after, strict=True)]
    assert moved == [False, True, False]
    assert list(result.movement) == [tuner.backbone.blocks[1].name]
    assert [row.name for row in tuner.summary().rows[:-1]] == [
        block.name for block in tuner.backbone.blocks[:2]
    ]
    assert tuner.model.weights[-2].shape == (5, 3)
    loaded = FineTuner.load(tmp_path / "run", verbose=False)
    assert without_save(loaded.result) == without_save(result)
    assert loaded.result.plan == result.plan
    assert loaded.evaluate(folder).accuracy == result.val_accuracy


def test_settings_of_the_call_go_to_every_stage(folder):
    result = tuner_of().fit(folder, plan=gradual_unfreeze(1), epochs=2, patience=1, batch_size=5)
    assert [each.batch_size for each in result.stages] == [5, 5]
    assert [(each.epochs, each.patience) for each in result.plan.stages] == [(2, 1), (2, 1)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plan": "lp_tf"}, "unknown plan 'lp_tf': did you mean lp_ft"),
        ({"plan": "last_blocks"}, "plan 'last_blocks' needs k, got no option"),
        ({"unfreeze": 4}, "'last 4' unfreezes 4 blocks, but the backbone has 3: unfreeze fewer"),
        ({"plan": "gradual_unfreeze"}, "'last 4' unfreezes 4 blocks, but the backbone has 3"),
        ({"plan": "lp_ft", "unfreeze": 2}, "'lp_ft' says itself what it unfreezes, got unfreeze=2"),
        ({"unfreeze": -1}, "unfreeze must be at least 0, got -1|k must be at least 1, got -1"),
        ({"unfreeze": "relu_9"}, "unknown block or layer 'relu_9': did you mean relu_"),
        ({"plan": make_plan(make_stage(unfreeze="conv_9"))}, "unknown block or layer 'conv_9'"),
        ({"learning_rate": 0}, "learning_rate must be a finite number above 0, got 0"),
        ({"learning_rate": -1e-3}, "learning_rate must be .* above 0, got -0.001"),
        ({"learning_rate": float("nan")}, "learning_rate must be .* above 0, got nan"),
        ({"epochs": "3"}, "epochs must be a whole number, got '3'"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"cache": "yes"}, "unknown cache 'yes': did you mean"),
        ({"plan": make_plan(num_blocks=4)}, "keeps 4 blocks, got a backbone of 3"),
    ],
)
def test_plans_that_do_not_fit_are_refused_before_any_image_is_decoded(
    folder, monkeypatch, options, message
):
    monkeypatch.setattr("ktransfer.features.forward.image_dataset", None)
    with pytest.raises(InputError, match=message):
        tuner_of().fit(folder, **options)


def test_a_plan_without_stages_is_refused():
    with pytest.raises(InputError, match=r"plan 'mine' is empty: it needs at least one stage"):
        Plan("mine", ())


def test_a_block_that_is_not_there_is_named_with_near_ones():
    backbone = tuner_of().backbone
    name = backbone.blocks[1].name
    with pytest.raises(InputError, match=rf"unknown .* '{name}x': did you mean .*{name}"):
        freeze(backbone, f"up_to:{name}x")


def test_a_plan_from_json_is_carried_out_like_the_plan(folder):
    plan = make_plan(make_stage(unfreeze=1, layer_decay=0.5))
    found = []
    for each in (plan, Plan.from_json(plan.to_json())):
        tuner = tuner_of()
        tuner.fit(folder, plan=each)
        found.append(tuner.model.get_weights())
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_memory_budget_of_nothing_changes_nothing(folder):
    plan, found = make_plan(make_stage(unfreeze=1)), []
    for budget in (0, 1_024):
        tuner = tuner_of()
        tuner.fit(folder, plan=plan, memory_budget_mb=budget, cache="on")
        found.append(tuner.model.get_weights())
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_multiplier_holds_a_block_back(folder):
    moved = []
    for multiplier in (1.0, 0.01):
        stage = make_stage(unfreeze=1, block_multiplier=multiplier, epochs=1)
        result = tuner_of().fit(folder, plan=make_plan(dataclasses.replace(stage)))
        moved.append(next(iter(result.movement.values())))
    assert moved[1] < moved[0] / 50


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"epoch": 3}, r"unknown option 'epoch': did you mean epochs"),
        (
            {"validation_data": None},
            r"Validation images are given with the data: .*train/ and",
        ),
    ],
)
def test_an_unknown_option_of_fit_names_near_ones(folder, option, message):
    with pytest.raises(InputError, match=message):
        tuner_of().fit(folder, **option)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((300, 5), r"advise looks at images, got 300 and 5; .*textbook_rule\(300, 5\)"),
        (("photos", "different"), r"takes its options by name .*got 'different' after the data"),
    ],
)
def test_what_is_given_by_position_says_how_it_is_given(given, message):
    with pytest.raises(InputError, match=message):
        tuner_of().advise(*given)


def test_old_names_of_the_decision_warn_and_do_the_same(folder):
    finetuner = tuner_of()
    with pytest.warns(FutureWarning, match="FineTuner.plan is FineTuner.advise now") as said:
        advice = finetuner.plan(folder, similarity="different")
    assert said[0].filename == __file__
    assert advice.cell == finetuner.advise(folder, similarity="different").cell
    with pytest.warns(FutureWarning, match="ktransfer.advise is ktransfer.textbook_rule now"):
        from ktransfer import advise
    assert advise is ktransfer.textbook_rule


def test_a_similarity_that_is_none_is_refused_before_the_images_are_looked_at(folder, monkeypatch):
    monkeypatch.setattr("ktransfer.finetuner.fit.read_data", None)
    for ask in (tuner_of().fit, tuner_of().advise):
        with pytest.raises(InputError, match="similarity"):
            ask(folder, similarity="similiar")


def test_searches_show_no_option_that_they_refuse():
    only = set(FitArguments.__annotations__) - set(SearchArguments.__annotations__)
    added = {"refit", "seeds", "time_budget"}
    assert only == {"out", "resume", "overwrite", "check"} | added
    for method in (FineTuner.find_learning_rate, FineTuner.sweep_learning_rates):
        assert not only & set(inspect.signature(method).parameters)


def test_options_are_shown_where_they_are_taken():
    shown = inspect.signature(FineTuner.fit).parameters
    assert [shown[each.name].default for each in dataclasses.fields(FitOptions)] == [
        each.default for each in dataclasses.fields(FitOptions)
    ]
    for name in FitArguments.__annotations__:
        assert f"\n    {name}: " in FineTuner.fit.__doc__
    assert set(FitArguments.__annotations__) == {
        each.name for each in dataclasses.fields(FitOptions)
    }


@pytest.mark.parametrize("unfreeze", ["relu_2", "conv_2"])
def test_a_block_or_layer_by_its_name_trains_with_all_behind_it(folder, unfreeze):
    finetuner = tuner_of()
    result = finetuner.fit(folder, unfreeze=unfreeze, epochs=1, learning_rate=1e-2, check="off")
    assert [each.unfreeze for each in result.stages] == [0, 2]
    assert [each.learning_rate for each in result.plan.stages] == [2e-3, 1e-2]
    trained = [name for name, _, numbers in finetuner.classifier.blocks if numbers]
    assert trained == ["relu_2", "relu_3"]
