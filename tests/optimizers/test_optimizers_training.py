"""The multiplier in `fit`: callbacks, averages, saving, changing it, and what it reports."""

import json
import re

import keras
import numpy as np
import pytest

from ktransfer.errors import InputError
from ktransfer.optimizers import LearningRateMultiplier, MultiplierGroup, MultiplierReport

# Keras 3.15 reads its own variables through a protocol that NumPy 2 deprecates; nothing of ours
# does.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

GENERATOR = np.random.default_rng(5)
X = GENERATOR.normal(size=(32, 4)).astype("float32")
Y = GENERATOR.normal(size=(32, 2)).astype("float32")
GROUPS = {"*low/*": 0.0, "*middle/*": 0.1}


def build_net(sequential=False):
    keras.utils.set_random_seed(3)
    layers = [
        keras.layers.Dense(5, activation="tanh", name="low"),
        keras.layers.Dense(5, activation="tanh", name="middle"),
        keras.layers.Dense(2, name="top"),
    ]
    if sequential:
        return keras.Sequential([keras.Input((4,)), *layers])
    inputs = outputs = keras.Input((4,))
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


def compiled(inner=None, groups=GROUPS, sequential=False, loss="mse", **options):
    inner = inner or keras.optimizers.AdamW(0.01, weight_decay=0.1)
    net = build_net(sequential)
    net.compile(LearningRateMultiplier(inner, groups, **options), loss)
    return net


def fit(net, epochs=3, **options):
    return net.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, **options)


def assert_equal(some, others, atol=0.0):
    for one, other in zip(some, others, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


class Recorder(keras.callbacks.Callback):
    """The weights after every step."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(self.model.get_weights())


def test_learning_rate_scheduler_acts_on_the_inner_rate_and_keeps_the_ratios():
    net = compiled()
    fit(net, 2, callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)])
    report = net.optimizer.describe()
    assert report["(no group)"].learning_rate == pytest.approx(0.0025)
    assert report["*middle/*"].learning_rate == pytest.approx(0.00025)
    assert float(net.optimizer.inner.learning_rate.numpy()) == pytest.approx(0.0025)


def test_reduce_on_plateau_acts_on_the_inner_rate():
    net = compiled()
    plateau = keras.callbacks.ReduceLROnPlateau("loss", 0.1, patience=1, min_delta=100.0)
    fit(net, 2, callbacks=[plateau])
    assert float(net.optimizer.inner.learning_rate.numpy()) == pytest.approx(0.001)


def test_schedule_is_read_at_the_steps_taken():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([3], [0.1, 0.001])
    net = compiled(keras.optimizers.SGD(schedule))
    fit(net, 1)  # 4 steps
    assert int(net.optimizer.iterations.numpy()) == 4
    assert net.optimizer.describe()["*middle/*"].learning_rate == pytest.approx(0.0001)


def test_multiplier_0_in_fit_leaves_weights_bit_identical():
    net = compiled(use_ema=True, ema_overwrite_frequency=3)
    start = net.get_layer("low").get_weights()
    fit(net)
    assert_equal(net.get_layer("low").get_weights(), start)


@pytest.mark.parametrize("frequency", [None, 3])
def test_average_with_multiplier_1_is_that_of_keras(frequency):
    options = {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": frequency}
    net = compiled(keras.optimizers.SGD(0.1), {"*": 1.0}, **options)
    plain = build_net()
    plain.compile(keras.optimizers.SGD(0.1, **options), "mse")
    fit(net)
    fit(plain)
    assert_equal(net.get_weights(), plain.get_weights(), atol=1e-6)


def test_average_is_of_the_weights_really_in_the_model():
    net = compiled(use_ema=True, ema_momentum=0.8)
    recorder = Recorder()
    fit(net, callbacks=[recorder])
    expected = recorder.steps[0]
    for weights in recorder.steps[1:]:
        expected = [0.8 * old + 0.2 * new for old, new in zip(expected, weights, strict=True)]
    assert_equal(net.get_weights(), expected, atol=1e-6)


@pytest.mark.parametrize("outside", [False, True], ids=["alone", "loss_scaled"])
def test_swap_ema_weights_finds_the_average(outside):
    net = build_net()
    optimizer = LearningRateMultiplier(keras.optimizers.SGD(0.1), GROUPS, use_ema=True)
    net.compile(keras.optimizers.LossScaleOptimizer(optimizer) if outside else optimizer, "mse")
    recorder = Recorder()
    fit(net, 1, callbacks=[recorder, keras.callbacks.SwapEMAWeights(swap_on_epoch=True)])
    expected = recorder.steps[0]
    for weights in recorder.steps[1:]:
        expected = [0.99 * old + 0.01 * new for old, new in zip(expected, weights, strict=True)]
    assert_equal(net.get_weights(), expected, atol=1e-6)


@pytest.mark.parametrize("sequential", [False, True], ids=["functional", "sequential"])
@pytest.mark.parametrize("use_ema", [False, True], ids=["plain", "ema"])
def test_save_load_and_one_more_step_is_identical(tmp_path, sequential, use_ema):
    net = build_net(sequential)
    paths = {name: path_of(net, name) for name in ("low", "middle")}
    groups = [MultiplierGroup("low", paths["low"], 0), MultiplierGroup("mid", paths["middle"], 0.1)]
    inner = keras.optimizers.AdamW(0.01, weight_decay=0.1)
    net.compile(LearningRateMultiplier(inner, groups, use_ema=use_ema), "mse")
    fit(net)
    net.optimizer.set_multipliers({"mid": 0.3})
    net.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras", safe_mode=True)
    # The paths of a Sequential model are not those that it was saved with.
    assert (path_of(loaded, "low") != paths["low"]) == sequential
    assert_equal(state(loaded), state(net))
    loaded.save(tmp_path / "again.keras")
    loaded = keras.models.load_model(tmp_path / "again.keras", safe_mode=True)
    start = loaded.get_weights()
    net.train_on_batch(X, Y)
    loaded.train_on_batch(X, Y)
    assert_equal(state(loaded), state(net))
    assert loaded.optimizer.groups == net.optimizer.groups
    assert np.array_equal(loaded.get_weights()[0], start[0])
    assert not np.array_equal(loaded.get_weights()[2], start[2])


def path_of(net, name):
    return tuple(each.path for each in net.get_layer(name).trainable_variables)


def state(net):
    return net.get_weights() + [np.copy(each.numpy()) for each in net.optimizer.variables]


def test_saved_state_of_other_groups_is_refused():
    net = compiled(use_ema=True)
    fit(net, 1)
    store = {}
    net.optimizer.save_own_variables(store)
    other = compiled(name="other")
    other.optimizer.build(other.trainable_variables)
    with pytest.raises(InputError, match="saved state of 'other' has 9 variables where 3"):
        other.optimizer.load_own_variables(store)


def test_configuration_is_plain_data_and_gives_the_same_optimizer():
    optimizer = LearningRateMultiplier("sgd", GROUPS, use_ema=True, ema_momentum=0.5, name="mine")
    config = json.loads(json.dumps(optimizer.get_config()))
    again = LearningRateMultiplier.from_config(config)
    assert again.get_config() == optimizer.get_config()
    assert (again.name, again.ema_momentum, again.groups) == ("mine", 0.5, optimizer.groups)


def test_configuration_of_a_built_optimizer_binds_by_path_to_another_model():
    net = compiled()
    net.optimizer.build(net.trainable_variables)
    again = LearningRateMultiplier.from_config(net.optimizer.get_config())
    again.build(net.trainable_variables[2:][::-1] + net.trainable_variables[:2])
    assert again.describe()["*low/*"].parameters == 25
    assert again.describe()["*middle/*"].parameters == 30


def test_multipliers_change_between_epochs_without_a_new_trace():
    traces = []

    def loss(target, output):
        traces.append(1)
        return keras.ops.mean((target - output) ** 2)

    net = compiled(loss=loss)
    fit(net, 1)
    count = len(traces)
    low, middle = net.get_weights()[0], net.get_weights()[2]
    net.optimizer.set_multipliers({"*low/*": 1.0, "*middle/*": 0.0})
    fit(net, 1)
    assert len(traces) == count > 0
    assert not np.array_equal(net.get_weights()[0], low)
    assert np.array_equal(net.get_weights()[2], middle)


def test_multipliers_can_be_set_before_building_and_from_groups():
    optimizer = LearningRateMultiplier("sgd", GROUPS)
    optimizer.set_multipliers([MultiplierGroup("*low/*", ("elsewhere",), 3)])
    assert optimizer.groups[0] == MultiplierGroup("*low/*", ("*low/*",), 3.0)
    optimizer.build(build_net().trainable_variables)
    assert optimizer.describe()["*low/*"].multiplier == 3.0


def test_unknown_group_is_named_with_the_near_ones():
    optimizer = LearningRateMultiplier("sgd", GROUPS)
    with pytest.raises(InputError, match=r"unknown group 'lowe': did you mean \*low/\*"):
        optimizer.set_multipliers({"lowe": 1.0})


def test_unmatched_pattern_is_refused_in_fit():
    net = compiled(groups={"lo/*": 0.1})
    with pytest.raises(InputError, match=r"'lo/\*' of group 'lo/\*' matches none of the 6"):
        fit(net)


def test_weight_decay_exclusion_reaches_the_inner_optimizer():
    net = compiled(keras.optimizers.AdamW(0.1, weight_decay=0.5), {"*": 0.5})
    net.optimizer.exclude_from_weight_decay(var_names=["bias", "kernel"])
    plain = compiled(keras.optimizers.AdamW(0.1, weight_decay=0.0), {"*": 0.5})
    for each in (net, plain):
        fit(each, 1)
    assert_equal(net.get_weights(), plain.get_weights())


def test_report_counts_and_measures_movement():
    net = compiled(keras.optimizers.SGD(0.5))
    optimizer = net.optimizer
    optimizer.build(net.trainable_variables)
    start, before = net.get_weights(), optimizer.snapshot()
    fit(net)
    report = optimizer.describe(since=before)
    assert [each.group for each in report.groups] == ["*low/*", "*middle/*", "(no group)"]
    assert [each.tensors for each in report.groups] == [2, 2, 2]
    assert [each.parameters for each in report.groups] == [25, 30, 12]
    assert [each.multiplier for each in report.groups] == [0.0, 0.1, 1.0]
    assert [each.learning_rate for each in report.groups] == pytest.approx([0.0, 0.05, 0.5])
    old, new = (
        np.concatenate([each.ravel() for each in w[4:]]) for w in (start, net.get_weights())
    )
    expected = np.linalg.norm(new - old) / np.linalg.norm(old)
    assert report["(no group)"].movement == pytest.approx(expected, rel=1e-5)
    assert report["*low/*"].movement == 0
    assert 0 < report["*middle/*"].movement < expected


def test_report_prints_as_a_table_and_is_plain_data():
    net = compiled(keras.optimizers.SGD(0.5))
    net.optimizer.build(net.trainable_variables)
    report = net.optimizer.describe()
    lines = str(report).splitlines()
    assert re.fullmatch(
        r"group +tensors +parameters +multiplier +learning_rate +movement", lines[0]
    )
    assert re.fullmatch(r"\*middle/\* +2 +30 +0\.1 +0\.05", lines[2])
    assert json.loads(json.dumps(report.to_dict()))["groups"][1]["movement"] is None
    assert isinstance(report, MultiplierReport)


def test_report_of_zeros_that_moved_is_infinite():
    net = compiled(keras.optimizers.SGD(0.5), {"*bias": 1.0})
    net.optimizer.build(net.trainable_variables)
    before = net.optimizer.snapshot()
    assert net.optimizer.describe(since=before)["*bias"].movement == 0
    fit(net, 1)
    assert net.optimizer.describe(since=before)["*bias"].movement == np.inf


@pytest.mark.parametrize("method", ["snapshot", "describe"])
def test_unbuilt_optimizer_reports_nothing(method):
    optimizer = LearningRateMultiplier("sgd", GROUPS, name="mine")
    with pytest.raises(InputError, match="'mine' is not built and knows no variables"):
        getattr(optimizer, method)()


def test_snapshot_of_another_model_is_refused():
    net = compiled()
    net.optimizer.build(net.trainable_variables)
    other = LearningRateMultiplier("sgd", GROUPS)
    other.build(net.trainable_variables[:4])
    with pytest.raises(InputError, match="snapshot has 4 tensors that are not the 6"):
        net.optimizer.describe(since=other.snapshot())
