"""Schedules, the simulated learning rates and their picture, against Keras and by numbers."""

import inspect
import math
import re
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from drawn import lines, marks, words

from ktransfer import InputError
from ktransfer.optimizers import LearningRateMultiplier, layer_decay
from ktransfer.plan import PLAN_NAMES, Plan, Stage, classic, named_plan
from ktransfer.plan.stage import OPTIMIZERS, WITH_MOMENTUM
from ktransfer.show.charts import HEIGHT_PX, WIDTH_PX

schedules = keras.optimizers.schedules


def make_stage(**fields):
    return Stage(**{"name": "one", "unfreeze": 0, "epochs": 4, "learning_rate": 0.1, **fields})


def make_plan(*stages, **fields):
    return Plan("mine", stages or (make_stage(),), **fields)


def head_rates(stage, steps_per_epoch):
    return make_plan(stage).learning_rates(steps_per_epoch)["head"]


def of_keras(schedule, steps):
    return [float(schedule(np.int32(step))) for step in range(steps)]


# The mathematics of the schedules.


def test_cosine_with_warm_up_is_that_of_keras():
    stage = make_stage(schedule="cosine", warmup_epochs=1.5)
    keras_schedule = schedules.CosineDecay(0.0, 50, warmup_target=0.1, warmup_steps=30)
    np.testing.assert_allclose(head_rates(stage, 20), of_keras(keras_schedule, 80), atol=1e-8)


def test_cosine_without_warm_up_is_that_of_keras():
    expected = of_keras(schedules.CosineDecay(0.1, 80), 80)
    np.testing.assert_allclose(head_rates(make_stage(schedule="cosine"), 20), expected, atol=1e-8)


def test_linear_is_the_polynomial_decay_of_keras():
    expected = of_keras(schedules.PolynomialDecay(0.1, 80, end_learning_rate=0.0), 80)
    np.testing.assert_allclose(head_rates(make_stage(schedule="linear"), 20), expected, atol=1e-8)


def test_step_is_the_piecewise_constant_decay_of_keras():
    stage = make_stage(schedule="step", decay_every_epochs=1.5, decay_factor=0.5)
    # Keras' boundary is the last step of the higher rate: 30 steps are those from 0 to 29.
    expected = of_keras(schedules.PiecewiseConstantDecay([29, 59], [0.1, 0.05, 0.025]), 80)
    np.testing.assert_allclose(head_rates(stage, 20), expected, rtol=1e-6)


def test_exponential_is_that_of_keras():
    stage = make_stage(schedule="exponential", decay_every_epochs=2, decay_factor=0.3)
    expected = of_keras(schedules.ExponentialDecay(0.1, 40, 0.3), 80)
    np.testing.assert_allclose(head_rates(stage, 20), expected, rtol=1e-6)


def test_warm_up_rises_in_a_line_and_then_stays():
    rates = head_rates(make_stage(epochs=2, warmup_epochs=1), 4)
    assert rates == pytest.approx([0, 0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.1])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_a_warm_up_rounded_to_the_whole_stage_leaves_a_step(schedule):
    stage = make_stage(epochs=1, warmup_epochs=0.99, schedule=schedule)
    assert head_rates(stage, 2) == (0.0, 0.1)
    assert head_rates(stage, 1) == (0.1,)


def test_schedules_that_end_at_0_stay_there():
    for schedule in ("cosine", "linear"):
        assert make_stage(schedule=schedule).learning_rate_at(12, 2) == 0.0


def test_steps_of_a_stage_are_checked():
    with pytest.raises(InputError, match="step must be at least 0, got -1"):
        make_stage().learning_rate_at(-1, 2)
    with pytest.raises(InputError, match=r"steps_per_epoch must be a whole number, got 2\.5"):
        make_plan().learning_rates(2.5)


# The picture of a whole plan.


def test_simulated_rates_of_two_stages_by_numbers():
    rest = make_stage(
        name="rest", unfreeze=2, epochs=1, learning_rate=0.01, block_multiplier=0.5, layer_decay=0.1
    )
    rates = make_plan(make_stage(epochs=2), rest).learning_rates(2)
    assert rates["head"] == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.01, 0.01])
    assert rates["block -1"] == pytest.approx([0, 0, 0, 0, 5e-4, 5e-4])
    assert rates["block -2"] == pytest.approx([0, 0, 0, 0, 5e-5, 5e-5])
    assert list(rates.rates) == ["head", "block -1", "block -2"]
    assert rates.epochs == (0, 0.5, 1, 1.5, 2, 2.5)
    assert [(each.name, each.start, each.stop) for each in rates.stages] == [
        ("one", 0, 4),
        ("rest", 4, 6),
    ]


def test_stages_may_have_different_numbers_of_steps():
    plan = make_plan(make_stage(epochs=1), make_stage(name="two", epochs=1))
    rates = plan.learning_rates([2, 4])
    assert rates.epochs == (0, 0.5, 1, 1.25, 1.5, 1.75)
    with pytest.raises(InputError, match=r"each of the 2 stages, got \[1, 2, 3\]"):
        plan.learning_rates([1, 2, 3])


def test_the_picture_is_what_the_multiplier_of_the_optimizer_does():
    inputs = outputs = keras.Input((2,))
    for index in range(3):
        outputs = keras.layers.Dense(2, name=f"block{index}")(outputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="top")(outputs))
    blocks = [
        SimpleNamespace(name=str(index), layers=[model.get_layer(f"block{index}")])
        for index in range(3)
    ]
    # The optimizer runs at the rate of the blocks, so the head is scaled up.
    groups = layer_decay(SimpleNamespace(blocks=blocks), 0.5, head=1 / 0.2)
    optimizer = LearningRateMultiplier(keras.optimizers.SGD(0.1 * 0.2), groups)
    optimizer.build(model.trainable_variables)
    report = optimizer.describe()
    stage = make_stage(unfreeze="all", epochs=1, block_multiplier=0.2, layer_decay=0.5)
    rates = make_plan(stage).resolve(3).learning_rates(1)
    assert rates["head"][0] == pytest.approx(report["head"].learning_rate)
    for index in range(3):
        simulated = rates[f"block {index - 3}"][0]
        assert simulated == pytest.approx(report[str(index)].learning_rate)


def test_every_optimizer_name_is_one_that_keras_has_and_multipliers_scale():
    for name in OPTIMIZERS:
        LearningRateMultiplier(keras.optimizers.get(name), {"*": 0.5})
        parameters = inspect.signature(type(keras.optimizers.get(name))).parameters
        assert ("momentum" in parameters) == (name in WITH_MOMENTUM)
        assert "weight_decay" in parameters


def test_plot_draws_the_drops_of_the_textbook_where_they_belong(tmp_path):
    classic(0).plot(tmp_path / "plan.svg")
    ((said, (line,)),) = lines(tmp_path / "plan.svg")
    levels = np.linspace(0, HEIGHT_PX, 4)  # 1e-3, 1e-4, 1e-5, 1e-6
    for epoch, level in [(0, 0), (6.9, 0), (7.1, 1), (13.9, 1), (14.1, 2), (21.1, 3), (25, 3)]:
        y = np.interp(epoch / 25 * WIDTH_PX, *np.array(line).T)
        assert y == pytest.approx(levels[level], abs=0.1)
    texts = set(words(tmp_path / "plan.svg"))
    assert {"0.001", "0.0001", "1e-5", "1e-6", "epochs", "learning rate", "head"} <= texts
    assert said == "head"


def test_plot_joins_equal_blocks_and_leaves_out_frozen_ones():
    stages = [make_stage(), make_stage(name="<last> & co", unfreeze=3, block_multiplier=0.1)]
    chart = make_plan(*stages).chart()
    # The head twice, the blocks together and in the second stage alone.
    assert sorted(said for said, _ in lines(chart)) == ["blocks -1 to -3", "head", "head"]
    assert {"blocks -1 to -3", "<last> & co"} <= set(words(chart))
    (blocks,) = [line for said, line in lines(chart) if said != "head"]
    assert min(x for piece in blocks for x, _ in piece) == pytest.approx(WIDTH_PX / 2)


def test_the_picture_says_what_trains_in_each_stage_and_what_is_frozen_again():
    stages = [make_stage(name="all", unfreeze=3), make_stage(), make_stage(name="2", unfreeze=1)]
    chart = make_plan(*stages).chart()
    assert {"head, last 3 blocks", "head alone", "head, block -1"} <= set(words(chart))
    head, *rows = chart.figures()["stages"]
    column = head.index("frozen, and trained in another stage")
    assert [row[column] for row in rows] == ["nothing", "blocks -1 to -3", "blocks -2 to -3"]
    bands = [float(each.get("opacity")) for _, each in marks(chart, "rect")]
    assert bands[0] == bands[2] > bands[1] == 0, "every other one is shaded"


def test_a_stage_name_too_long_for_its_band_is_cut_in_the_picture_and_whole_in_the_figures():
    long = "a name that is much too long for a band so narrow"
    stages = [make_stage(epochs=20), make_stage(name=long, epochs=1)]
    chart = make_plan(*stages).chart()
    assert long not in words(chart)
    assert long in chart.text()
    assert long in [said for said, _ in marks(chart, "rect")]


def test_a_rate_that_falls_to_0_ends_at_the_bottom_of_the_picture():
    stage = make_stage(schedule="cosine", epochs=10)
    ((_, (line,)),) = lines(make_plan(stage).chart())
    assert max(y for _, y in line) == pytest.approx(HEIGHT_PX)
    assert max(x for x, _ in line) < WIDTH_PX
    ((*_, last),) = make_plan(stage).chart().figures()["learning rates"][1:]
    assert float(last) < 1e-3


def test_curves_keep_their_shape_with_fewer_points():
    stage = make_stage(schedule="cosine", epochs=3)
    ((_, (line,)),) = lines(make_plan(stage).chart(steps_per_epoch=5000))
    assert len(line) < 2000
    rates = make_plan(stage).learning_rates(5000)["head"]
    low = min(
        float(each) for each in words(make_plan(stage).chart()) if re.match(r"0\.0|1e-", each)
    )
    for step in range(0, 12000, 500):
        y = np.interp(step / 15000 * WIDTH_PX, *np.array(line).T)
        share = math.log10(rates[step] / 0.1) / math.log10(low / 0.1)
        assert y == pytest.approx(share * HEIGHT_PX, abs=1)


@pytest.mark.parametrize("name", PLAN_NAMES)
def test_every_named_plan_can_be_drawn(name):
    plan = named_plan(name, **({"k": 3} if name == "last_blocks" else {}))
    chart = plan.resolve(60).chart()
    assert len(lines(chart)) >= len(plan.stages)
    texts = words(chart)
    for stage in plan.stages:
        # Cut off where a stage is too short for its name.
        assert any(each and stage.name.startswith(each.rstrip("…")) for each in texts), stage.name
    assert len(texts) < 60, "the legend of sixty blocks is short"


def test_plot_refuses_what_is_no_picture_or_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match=r"the picture '.*plan\.pdf' must end in \.svg or \.png"):
        make_plan().plot(tmp_path / "plan.pdf")
    with pytest.raises(InputError, match=r"nowhere/plan\.svg': there is no folder '.*nowhere'"):
        make_plan().plot(tmp_path / "nowhere" / "plan.svg")
