"""Is a multiplier a learning rate of its own? Measured against PyTorch and plain Keras."""

import inspect
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from ktransfer.errors import InputError
from ktransfer.optimizers import LearningRateMultiplier

# Keras 3.15 reads its own variables through a protocol that NumPy 2 deprecates; nothing of ours
# does.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TORCH = dict(np.load(Path(__file__).with_name("torch_parameter_groups.npz")))
MULTIPLIERS = tuple(TORCH["multipliers"])
GROUPS = {f"layer{index}/*": factor for index, factor in enumerate(MULTIPLIERS)}
TENTH = {pattern: factor / 10 for pattern, factor in GROUPS.items()}
SIZES = (6, 12, 12, 12, 3)
EPSILON = 1e-14  # that of make_torch_parameter_groups.py
STEPS = 20

optimizers = keras.optimizers
LIKE_TORCH = {
    "sgd_momentum": lambda: optimizers.SGD(0.02, momentum=0.9),
    "sgd_nesterov": lambda: optimizers.SGD(0.02, momentum=0.9, nesterov=True),
    "sgd_clipped": lambda: optimizers.SGD(0.02, momentum=0.9, global_clipnorm=0.3),
    "adam": lambda: optimizers.Adam(0.001, epsilon=EPSILON),
    "adamw": lambda: optimizers.AdamW(0.001, epsilon=EPSILON, weight_decay=0.5),
    "rmsprop": lambda: optimizers.RMSprop(0.001, rho=0.9, momentum=0.5, epsilon=EPSILON),
    "lion": lambda: optimizers.Lion(0.001, weight_decay=0.5),
}
# Every optimizer of Keras, with settings under which each layer's step is worth comparing.
EXACT = {
    "Adadelta": {"learning_rate": 1.0},
    "Adafactor": {"learning_rate": 0.01},
    "Adagrad": {"learning_rate": 0.01, "weight_decay": 0.1},
    "Adam": {"learning_rate": 0.002, "weight_decay": 0.1, "amsgrad": True},
    "AdamW": {"learning_rate": 0.002, "weight_decay": 0.1, "clipnorm": 0.1},
    "Adamax": {"learning_rate": 0.002, "weight_decay": 0.1},
    "Lamb": {"learning_rate": 0.002},
    "Lion": {"learning_rate": 0.001, "weight_decay": 0.1},
    "Muon": {"learning_rate": 0.002, "weight_decay": 0.1},
    "Nadam": {"learning_rate": 0.002, "weight_decay": 0.1},
    "RMSprop": {"learning_rate": 0.001, "weight_decay": 0.1, "centered": True},
    "SGD": {"learning_rate": 0.02, "momentum": 0.9, "weight_decay": 0.1, "clipvalue": 0.01},
}
REFUSED = ("Ftrl", "LossScaleOptimizer", "MultiOptimizer", "ScheduleFreeAdamW")


def build_net():
    """The network of make_torch_parameter_groups.py with its start weights."""
    inputs = hidden = keras.Input((SIZES[0],))
    for index, (_, units) in enumerate(pairwise(SIZES)):
        activation = "tanh" if index < len(SIZES) - 2 else None
        hidden = keras.layers.Dense(units, activation=activation, name=f"layer{index}")(hidden)
    net = keras.Model(inputs, hidden)
    net.set_weights(
        [TORCH[f"start/{index}/{kind}"] for index in range(4) for kind in ("kernel", "bias")]
    )
    return net


def gradients(net):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((net(TORCH["x"]) - TORCH["y"]) ** 2)
    return tape.gradient(loss, net.trainable_variables)


def train(net, step, steps=STEPS, jit_compile=False):
    compiled = tf.function(lambda: step(gradients(net)), jit_compile=jit_compile)
    for _ in range(steps):
        compiled()
    return net.get_weights()


def train_scaled(optimizer, groups=GROUPS, **options):
    net = build_net()
    wrapped = LearningRateMultiplier(optimizer, groups)
    wrapped.build(net.trainable_variables)
    return train(net, lambda grads: wrapped.apply(grads, net.trainable_variables), **options)


def train_apart(make_optimizer, **options):
    """Plain Keras: one optimizer for each layer, with its own learning rate."""
    net = build_net()
    apart = []
    for index, multiplier in enumerate(MULTIPLIERS):
        optimizer = make_optimizer(float(multiplier))
        optimizer.build(net.trainable_variables[2 * index : 2 * index + 2])
        apart.append(optimizer)

    def step(grads):
        for index, optimizer in enumerate(apart):
            part = slice(2 * index, 2 * index + 2)
            optimizer.apply(grads[part], net.trainable_variables[part])

    return train(net, step, **options)


def largest_difference(weights, others):
    return max(np.abs(one - other).max() for one, other in zip(weights, others, strict=True))


def torch_weights(name):
    return [TORCH[f"{name}/{index}/{kind}"] for index in range(4) for kind in ("kernel", "bias")]


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("name", LIKE_TORCH)
def test_multipliers_equal_the_parameter_groups_of_pytorch(name, jit_compile):
    # The same rates as those of PyTorch, with that of the fastest group as the learning rate.
    inner = LIKE_TORCH[name]()
    inner.learning_rate = float(inner.learning_rate.numpy()) * 10
    weights = train_scaled(inner, TENTH, jit_compile=jit_compile)
    difference = largest_difference(weights, torch_weights(name))
    print(f"{name}: {difference:.1e}")
    assert difference < 2e-6


@pytest.mark.parametrize("name", LIKE_TORCH)
def test_multiplier_10_magnifies_only_rounding(name):
    # The inner step is rounded to float32 and then scaled: half a unit in the last place of a
    # weight near 1 becomes 3e-7 per step. Lion, whose steps all have one size, has 2.8e-6.
    difference = largest_difference(train_scaled(LIKE_TORCH[name]()), torch_weights(name))
    print(f"{name}: {difference:.1e}")
    assert difference < 4e-6


@pytest.mark.parametrize("name", EXACT)
def test_multipliers_equal_separate_keras_optimizers(name):
    constructor = getattr(optimizers, name)
    rate = EXACT[name]["learning_rate"]

    def make(factor):
        return constructor(**{**EXACT[name], "learning_rate": rate * factor})

    weights, expected = train_scaled(make(10.0), TENTH), train_apart(make)
    print(f"{name}: {largest_difference(weights, expected):.1e}")
    assert largest_difference(weights, expected) < 2e-6


def test_every_optimizer_of_keras_is_either_exact_or_refused():
    known = {
        name
        for name, each in vars(keras.optimizers).items()
        if inspect.isclass(each) and issubclass(each, keras.optimizers.Optimizer)
    }
    assert known - {"Optimizer"} == set(EXACT) | set(REFUSED)


@pytest.mark.parametrize("name", ["Adafactor", "Lamb"])
def test_optimizers_that_measure_decayed_weights_are_close_to_separate_ones(name):
    constructor, settings = getattr(optimizers, name), {"weight_decay": 0.1}
    rate = 0.002
    weights = train_scaled(constructor(rate, **settings))
    expected = train_apart(lambda factor: constructor(rate * factor, **settings))
    movement = largest_difference(expected, build_net().get_weights())
    # A step of the fastest layer differs by learning_rate * weight_decay of itself: 0.2 %. With the
    # effect of one step on the next, twice that.
    assert largest_difference(weights, expected) < 2 * (10 * rate * 0.1) * movement


def test_multiplier_scales_the_bounded_step_of_adafactor():
    # Above 1 / sqrt(step) Adafactor ignores the learning rate; the multiplier still scales.
    start = build_net().get_weights()
    full = train_scaled(optimizers.Adafactor(10.0), {"*": 1.0}, steps=1)
    tenth = train_scaled(optimizers.Adafactor(10.0), {"*": 0.1}, steps=1)
    for before, whole, part in zip(start, full, tenth, strict=True):
        np.testing.assert_allclose(part - before, 0.1 * (whole - before), atol=1e-6)


@pytest.mark.parametrize("name", ["Ftrl", "ScheduleFreeAdamW"])
def test_optimizer_whose_step_is_not_proportional_is_refused(name):
    with pytest.raises(InputError, match=f"steps of {name} are not proportional"):
        LearningRateMultiplier(getattr(optimizers, name)(0.1), GROUPS)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_multiplier_0_leaves_weights_bit_identical_under_weight_decay(jit_compile):
    optimizer = optimizers.AdamW(0.1, weight_decay=0.5)
    weights = train_scaled(optimizer, {"layer0/*": 0.0, "*": 1.0}, jit_compile=jit_compile)
    for after, before in zip(weights[:2], build_net().get_weights()[:2], strict=True):
        assert after.tobytes() == before.tobytes()
    assert largest_difference(weights[2:], build_net().get_weights()[2:]) > 0.01


def test_multiplier_0_keeps_minus_zero_and_survives_infinite_gradients():
    variable = keras.Variable([-0.0, 1.0], name="weight")
    optimizer = LearningRateMultiplier(optimizers.SGD(1.0), {"weight": 0.0})
    optimizer.apply([tf.constant([1.0, np.inf])], [variable])
    assert variable.numpy().tobytes() == np.array([-0.0, 1.0], "float32").tobytes()


def test_multiplier_1_is_bit_identical_to_the_inner_optimizer():
    plain = optimizers.AdamW(0.1, weight_decay=0.5)
    net = build_net()
    plain.build(net.trainable_variables)
    expected = train(net, lambda grads: plain.apply(grads, net.trainable_variables))
    weights = train_scaled(optimizers.AdamW(0.1, weight_decay=0.5), {"*": 1.0})
    assert largest_difference(weights, expected) == 0


def test_gradient_accumulation_equals_separate_keras_optimizers():
    weights = train_scaled(optimizers.AdamW(0.002, gradient_accumulation_steps=4))
    expected = train_apart(
        lambda factor: optimizers.AdamW(0.002 * factor, gradient_accumulation_steps=4)
    )
    assert largest_difference(weights, expected) < 2e-6


def test_schedule_equals_separate_schedules():
    def schedule(factor):
        return keras.optimizers.schedules.CosineDecay(0.01 * factor, STEPS)

    weights = train_scaled(optimizers.Adam(schedule(1.0)))
    expected = train_apart(lambda factor: optimizers.Adam(schedule(factor)))
    assert largest_difference(weights, expected) < 2e-6


def test_eager_steps_equal_the_parameter_groups_of_pytorch():
    net = build_net()
    inner = optimizers.AdamW(0.01, epsilon=EPSILON, weight_decay=0.5)
    wrapped = LearningRateMultiplier(inner, TENTH)
    for _ in range(STEPS):
        wrapped.apply(gradients(net), net.trainable_variables)
    assert largest_difference(net.get_weights(), torch_weights("adamw")) < 2e-6


def test_sparse_gradients_of_an_embedding_are_scaled():
    def one_step(wrap):
        layer = keras.layers.Embedding(5, 2, embeddings_initializer="ones", name="table")
        layer.build()
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.constant([1, 1, 3])) * 2.0)
        grads = tape.gradient(loss, layer.trainable_variables)
        assert isinstance(grads[0], tf.IndexedSlices)
        wrap(optimizers.SGD(1.0)).apply(grads, layer.trainable_variables)
        return layer.get_weights()[0]

    full = one_step(lambda inner: inner)
    scaled = one_step(lambda inner: LearningRateMultiplier(inner, {"table/*": 0.25}))
    np.testing.assert_allclose(scaled - 1, 0.25 * (full - 1))
    assert full[1, 0] == -3.0


def test_fit_under_loss_scaling_equals_fit_without():
    def fit(wrap):
        net = build_net()
        inner = LearningRateMultiplier(optimizers.AdamW(0.01, weight_decay=0.5), GROUPS)
        net.compile(wrap(inner), "mse")
        net.fit(TORCH["x"], TORCH["y"], batch_size=8, epochs=3, shuffle=False, verbose=0)
        return net.get_weights()

    scaled = fit(lambda inner: keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**10))
    assert largest_difference(scaled, fit(lambda inner: inner)) < 2e-6
    assert np.array_equal(scaled[0], build_net().get_weights()[0])  # that of multiplier 0


def test_compile_under_mixed_float16_puts_the_loss_scale_outside():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        net = build_net()
    finally:
        keras.config.set_dtype_policy(policy)
    net.compile(LearningRateMultiplier(optimizers.SGD(0.1), {"layer0/*": 0.0}), "mse")
    start = net.get_weights()
    # Two fit calls: half precision overflows at the first scale, and Keras then skips the step.
    net.fit(TORCH["x"], TORCH["y"], epochs=3, verbose=0)
    assert isinstance(net.optimizer, keras.optimizers.LossScaleOptimizer)
    assert np.array_equal(net.get_weights()[0], start[0])
    assert not np.array_equal(net.get_weights()[2], start[2])


def test_loss_scaling_inside_is_refused():
    inside = keras.optimizers.LossScaleOptimizer(optimizers.Adam())
    with pytest.raises(InputError, match=r"a LossScaleOptimizer inside .* put the LossScaleOpt"):
        LearningRateMultiplier(inside, GROUPS)


def test_multi_optimizer_is_refused():
    several = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(optimizers.Adam(), {"a": optimizers.SGD()})
    )
    with pytest.raises(InputError, match="a MultiOptimizer inside LearningRateMultiplier"):
        LearningRateMultiplier(several, GROUPS)


def test_multiplier_inside_another_is_refused():
    inside = LearningRateMultiplier(optimizers.Adam(), GROUPS)
    with pytest.raises(InputError, match="LearningRateMultiplier inside another: put all groups"):
        LearningRateMultiplier(inside, GROUPS)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"use_ema": True}, r"Adam\(use_ema=True\) cannot .* give use_ema to the multiplier"),
        ({"loss_scale_factor": 8.0}, r"Adam\(loss_scale_factor=8.0\) cannot .*LossScaleOptimizer"),
    ],
)
def test_setting_that_belongs_elsewhere_is_refused(setting, message):
    with pytest.raises(InputError, match=message):
        LearningRateMultiplier(optimizers.Adam(**setting), GROUPS)


def test_built_optimizer_is_refused():
    used = optimizers.Adam(name="used")
    used.build(build_net().trainable_variables)
    with pytest.raises(InputError, match="the Adam named 'used' is already built"):
        LearningRateMultiplier(used, GROUPS)


@pytest.mark.parametrize(
    ("inner", "message"), [(0.1, r"received 0\.1"), ("adamm", "unknown optimizer 'adamm'")]
)
def test_what_is_no_optimizer_is_refused(inner, message):
    with pytest.raises(InputError, match=message):
        LearningRateMultiplier(inner, GROUPS)


def test_optimizer_by_name_is_taken():
    assert isinstance(LearningRateMultiplier("adamw", GROUPS).inner, keras.optimizers.AdamW)


def test_constraint_in_a_group_is_refused_and_outside_it_is_kept():
    def compiled(pattern):
        net = keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.Dense(3, name="free"),
                keras.layers.Dense(3, kernel_constraint="non_neg", name="bound"),
            ]
        )
        net.compile(LearningRateMultiplier(optimizers.SGD(1.0), {pattern: 0.1}), "mse")
        return net

    with pytest.raises(InputError, match=r"bound/kernel' of group '\*bound/\*' has the constraint"):
        compiled("*bound/*").fit(TORCH["x"], TORCH["y"], verbose=0)
    net = compiled("*free/*")
    net.fit(TORCH["x"], TORCH["y"], verbose=0)
    assert net.get_layer("bound").get_weights()[0].min() >= 0


def test_unbuilt_optimizer_without_variables_is_an_error():
    optimizer = LearningRateMultiplier(optimizers.SGD(), GROUPS, name="mine")
    with pytest.raises(InputError, match="'mine' is not built"):
        optimizer.apply([tf.zeros(3)])
