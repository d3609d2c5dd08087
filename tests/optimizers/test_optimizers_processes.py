"""The multiplier on two devices and on the JAX backend, each in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A Python with jax and keras may be named, where that of the tests has no jax.
JAX_PYTHON = os.environ.get("KTRANSFER_JAX_PYTHON")

# What both need: a network, data, and training that gives the weights back.
COMMON = """
import json
import sys
import keras
import numpy as np
from ktransfer.optimizers import LearningRateMultiplier

generator = np.random.default_rng(2)
X = generator.normal(size=(32, 4)).astype("float32")
Y = generator.normal(size=(32, 2)).astype("float32")
GROUPS = {"low/*": 0.0, "middle/*": 0.1, "top/*": 3.0}

def build_net():
    keras.utils.set_random_seed(3)
    inputs = outputs = keras.Input((4,))
    for name, units in {"low": 5, "middle": 5, "free": 4, "top": 2}.items():
        outputs = keras.layers.Dense(units, name=name)(outputs)
    return keras.Model(inputs, outputs)

def train(optimizer, epochs=3, **options):
    net = build_net()
    net.compile(optimizer, "mse", **options)
    net.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return net

def adamw(rate=0.01, **options):
    return keras.optimizers.AdamW(rate, weight_decay=0.5, **options)

def difference(one, other):
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return float(max(np.abs(first - second).max() for first, second in pairs))

def report(**findings):
    print("FINDINGS " + json.dumps(findings))
"""


def run(script, python=sys.executable, **environment):
    """Runs the script and gives back what it reports."""
    done = subprocess.run(
        [python, "-c", COMMON + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", **environment},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("FINDINGS ")]
    return json.loads(lines[-1].removeprefix("FINDINGS "))


MIRRORED = """
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

def wrapped(**options):
    return LearningRateMultiplier(adamw(), GROUPS, **options)

def both(make):
    with strategy.scope():
        mirrored = train(make(), jit_compile=False)
    return mirrored, train(make(), jit_compile=False)

mirrored, alone = both(wrapped)
averaged = difference(*both(lambda: wrapped(use_ema=True, ema_overwrite_frequency=2)))
outside = keras.optimizers.LossScaleOptimizer
loss_scaled = difference(*both(lambda: outside(wrapped(), initial_scale=1024.0)))

weight = mirrored.get_layer("top").kernel.value
replicas = [each.numpy() for each in strategy.experimental_local_results(weight)]

before = [np.copy(each) for each in mirrored.get_weights()]
mirrored.optimizer.set_multipliers({"low/*": 1.0, "top/*": 0.0})
mirrored.fit(X, Y, batch_size=8, verbose=0)

class Summed(keras.layers.Layer):
    # A replica's own assignment to this weight would be added up over the replicas.
    def build(self, shape):
        self.weight = self.add_weight(shape=(2,), initializer="ones", aggregation="sum")

    def call(self, x):
        return x * self.weight

def train_summed():
    keras.utils.set_random_seed(3)
    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), Summed()])
    net.compile(LearningRateMultiplier(keras.optimizers.SGD(0.1), {"*": 0.5}), "mse")
    net.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    return net

with strategy.scope():
    summed = train_summed()

try:
    with strategy.scope():
        train(LearningRateMultiplier(adamw(gradient_accumulation_steps=2), GROUPS))
    refusal = ""
except ValueError as error:
    refusal = f"{type(error).__name__}: {error}"

report(
    replicas=strategy.num_replicas_in_sync,
    refusal=refusal,
    replicas_agree=len(replicas) == 2 and bool(np.array_equal(*replicas)),
    low_moves=not np.array_equal(mirrored.get_weights()[0], before[0]),
    top_rests=bool(np.array_equal(mirrored.get_weights()[6], before[6])),
    averaged=averaged,
    summed=difference(summed, train_summed()),
    loss_scaled=loss_scaled,
    exact=float(max(np.abs(a - b).max() for a, b in zip(before, alone.get_weights()))),
    frozen=bool(np.array_equal(before[0], build_net().get_weights()[0])),
)
"""


@pytest.fixture(scope="module")
def mirrored():
    return run(MIRRORED)


@pytest.mark.slow
def test_two_replicas_equal_one_device(mirrored):
    assert mirrored["replicas"] == 2
    assert mirrored["exact"] < 2e-6
    assert mirrored["frozen"]


@pytest.mark.slow
def test_weights_are_assigned_through_the_strategy(mirrored):
    assert mirrored["summed"] < 2e-6


@pytest.mark.slow
def test_replicas_hold_the_same_weights(mirrored):
    assert mirrored["replicas_agree"]


@pytest.mark.slow
def test_average_and_loss_scaling_work_on_two_replicas(mirrored):
    assert mirrored["averaged"] < 2e-6
    assert mirrored["loss_scaled"] < 2e-6


@pytest.mark.slow
def test_multipliers_can_change_on_two_replicas(mirrored):
    assert mirrored["low_moves"]
    assert mirrored["top_rests"]


@pytest.mark.slow
def test_gradient_accumulation_on_two_replicas_is_refused(mirrored):
    expected = "InputError: gradient_accumulation_steps=2 does not work on 2 replicas"
    assert mirrored["refusal"].startswith(expected)


JAX = """
def separate(net, rates):
    # Plain Keras: one optimizer for each layer, stepped by hand.
    import jax
    apart = {name: adamw(rate) for name, rate in rates.items()}
    layers = {name: net.get_layer(name) for name in apart}
    for name, optimizer in apart.items():
        optimizer.build(layers[name].trainable_variables)
    def loss(weights, x, y):
        return keras.ops.mean((net.stateless_call(weights, [], x)[0] - y) ** 2)
    for _ in range(3):
        for at in range(0, 32, 8):
            weights = [each.value for each in net.trainable_variables]
            grads = jax.grad(loss)(weights, X[at : at + 8], Y[at : at + 8])
            for index, name in enumerate(["low", "middle", "free", "top"]):
                part = slice(2 * index, 2 * index + 2)
                apart[name].apply(grads[part], net.trainable_variables[part])
    return net

wrapped = train(LearningRateMultiplier(adamw(), GROUPS))
apart = separate(build_net(), {"low": 0.0, "middle": 0.001, "free": 0.01, "top": 0.03})

ones = {"*": 1.0}
options = {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3}
averaged = train(LearningRateMultiplier(adamw(), ones, **options))
plain = train(adamw(**options))

accumulated = train(LearningRateMultiplier(adamw(gradient_accumulation_steps=2), ones))
plain_accumulated = train(adamw(gradient_accumulation_steps=2))

outside = keras.optimizers.LossScaleOptimizer
scaled = train(outside(LearningRateMultiplier(adamw(), GROUPS), initial_scale=1024.0))

wrapped.optimizer.set_multipliers({"low/*": 1.0})
wrapped.save(sys.argv[1])
loaded = keras.models.load_model(sys.argv[1])
exact, frozen = difference(wrapped, apart), np.array_equal(
    wrapped.get_weights()[0], build_net().get_weights()[0]
)
loss_scaled = difference(wrapped, scaled)
low = wrapped.get_weights()[0]
for net in (wrapped, loaded):
    net.fit(X, Y, batch_size=8, shuffle=False, verbose=0)

from types import SimpleNamespace
from ktransfer.optimizers import auto_rgn
blocks = [SimpleNamespace(name=each.name, layers=(each,)) for each in wrapped.layers[1:]]
groups = auto_rgn(SimpleNamespace(blocks=blocks), wrapped, [(X, Y)], "mse", head=None)

report(
    backend=keras.backend.backend(),
    tensorflow="tensorflow" in sys.modules,
    exact=exact,
    frozen=bool(frozen),
    averaged=difference(averaged, plain),
    accumulated=difference(accumulated, plain_accumulated),
    loss_scaled=loss_scaled,
    reloaded=difference(wrapped, loaded),
    low_moves=not np.array_equal(wrapped.get_weights()[0], low),
    largest=max(group.multiplier for group in groups),
)
"""


@pytest.fixture(scope="module")
def on_jax(tmp_path_factory):
    if not JAX_PYTHON and importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed; KTRANSFER_JAX_PYTHON may name a Python that has it")
    path = tmp_path_factory.mktemp("jax") / "net.keras"
    script = f"sys.argv.append({str(path)!r})\n" + JAX
    return run(script, JAX_PYTHON or sys.executable, KERAS_BACKEND="jax")


@pytest.mark.jax
def test_multipliers_equal_separate_keras_optimizers_on_jax(on_jax):
    assert on_jax["backend"] == "jax"
    assert not on_jax["tensorflow"]
    assert on_jax["exact"] < 2e-6
    assert on_jax["frozen"]


@pytest.mark.jax
def test_average_accumulation_and_loss_scaling_work_on_jax(on_jax):
    assert on_jax["averaged"] < 2e-6
    assert on_jax["accumulated"] < 2e-6
    assert on_jax["loss_scaled"] < 2e-6


@pytest.mark.jax
def test_multipliers_change_and_are_saved_on_jax(on_jax):
    assert on_jax["low_moves"]
    assert on_jax["reloaded"] == 0


@pytest.mark.jax
def test_auto_rgn_works_on_jax(on_jax):
    assert on_jax["largest"] == 1
