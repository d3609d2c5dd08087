"""Number formats: what computes in what, for how long, and what is left afterwards."""

import keras
import numpy as np
import pytest
from conftest import small_network
from freezing_networks import tiny_vit

from ktransfer import FineTuner, InputError, load_backbone
from ktransfer.data.batches.rows import ordered_batches, shuffled_batches
from ktransfer.features import Network
from ktransfer.freezing import freeze
from ktransfer.plan import Stage
from ktransfer.training import choose_jit_compile, choose_precision
from ktransfer.training.caching import CacheDecision
from ktransfer.training.devices import computing_in, on_accelerator
from ktransfer.training.settings import Settings
from ktransfer.training.stage import run_stage
from ktransfer.training.stage_input import Prepared, StageData

MIXED = ("mixed_bfloat16", "mixed_float16")


def pretend(monkeypatch, *devices):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: list(devices))


def test_auto_is_the_plain_format_without_xla_on_a_cpu(monkeypatch):
    pretend(monkeypatch, "cpu:0", "cpu:1")
    assert not on_accelerator()
    assert choose_precision("auto") == "float32"
    assert choose_jit_compile("auto") is False


@pytest.mark.parametrize("device", ["gpu:0", "tpu:3", "cuda:0"])
def test_auto_is_bfloat16_with_xla_on_an_accelerator(monkeypatch, device):
    pretend(monkeypatch, "cpu:0", device)
    assert choose_precision("auto") == "mixed_bfloat16"
    assert choose_jit_compile("auto") is True


@pytest.mark.parametrize("device", ["cpu:0", "gpu:0"])
def test_what_is_asked_for_is_taken_on_every_device(monkeypatch, device):
    pretend(monkeypatch, device)
    for precision in ("float32", *MIXED):
        assert choose_precision(precision) == precision
    assert choose_jit_compile(True) is True
    assert choose_jit_compile(False) is False


def test_the_names_of_the_devices_are_those_that_keras_gives():
    names = keras.distribution.list_devices()
    assert names
    assert all(each.split(":")[0] in ("cpu", "gpu", "tpu") for each in names)


def test_unknown_names_are_refused_with_near_ones():
    with pytest.raises(InputError, match="unknown precision 'bfloat16': did you mean mixed_bfloat"):
        choose_precision("bfloat16")
    with pytest.raises(InputError, match="unknown precision 'None'"):
        choose_precision(None)
    with pytest.raises(InputError, match="unknown jit_compile 'atuo': did you mean auto"):
        choose_jit_compile("atuo")
    with pytest.raises(InputError, match="unknown jit_compile '1'"):
        choose_jit_compile(1)


# Computing in another format for a while.


def dtypes_of(model, images):
    """What the layers of a network without branches say, and what their weights are, by dtype."""
    said, weights = [], {str(weight.dtype) for weight in model.weights}
    values = keras.ops.convert_to_tensor(images)
    for layer in model.layers[1:]:
        values = layer(values)
        said.append(keras.backend.standardize_dtype(values.dtype))
    return set(said), weights


@pytest.mark.parametrize("precision", MIXED)
def test_layers_compute_in_the_format_inside_and_in_float32_outside(precision):
    network = small_network()
    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype(np.float32)
    policies = [layer.dtype_policy for layer in network.layers]
    expected = np.array(network(images))
    with computing_in(network, precision):
        assert dtypes_of(network, images) == ({precision.removeprefix("mixed_")}, {"float32"})
        inside = np.array(keras.ops.cast(network(images), "float32"))
    assert dtypes_of(network, images) == ({"float32"}, {"float32"})
    assert [layer.dtype_policy for layer in network.layers] == policies
    np.testing.assert_array_equal(network(images), expected)
    # Of bfloat16 three digits are right: near, and not the same.
    np.testing.assert_allclose(inside, expected, atol=0.05)
    assert np.abs(inside - expected).max() > 1e-5


def test_float32_is_put_back_after_an_exception():
    network = small_network()
    images = np.zeros((2, 16, 16, 3), np.float32)
    with pytest.raises(KeyboardInterrupt), computing_in(network, "mixed_bfloat16"):
        raise KeyboardInterrupt
    assert dtypes_of(network, images) == ({"float32"}, {"float32"})


def test_layers_inside_layers_compute_in_the_format_too():
    vit = tiny_vit().model
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    with computing_in(vit, "mixed_bfloat16"):
        assert keras.backend.standardize_dtype(vit(images).dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(vit(images).dtype) == "float32"


def test_a_format_of_the_users_own_layer_is_what_it_was():
    images = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(2, 1, dtype="mixed_bfloat16")(images)
    network = keras.Model(images, keras.layers.ReLU(dtype="float32")(x))
    with computing_in(network, "mixed_float16"):
        assert {layer.dtype_policy.name for layer in network.layers} == {"mixed_float16"}
    assert [each.dtype_policy.name for each in network.layers[1:]] == ["mixed_bfloat16", "float32"]


def test_float32_changes_nothing():
    network = small_network()
    network.layers[2].dtype_policy = "mixed_bfloat16"
    with computing_in(network, "float32"):
        assert network.layers[2].dtype_policy.name == "mixed_bfloat16"


# Training in it.


@pytest.mark.parametrize("precision", MIXED)
@pytest.mark.parametrize("cached", [True, False])
def test_a_stage_in_half_precision_learns_what_one_in_float32_does(precision, cached):
    def trained(precision):
        backbone = load_backbone(small_network(), preprocessing="none")
        network = Network(backbone, 2, 3, "avg", 0)
        freeze(backbone, "all_but_last:1")
        drawn = np.random.default_rng(1)
        labels = (np.arange(48) % 3).astype(np.int32)
        images = drawn.uniform(0, 80, (48, 16, 16, 3)) + 80 * np.eye(3)[labels][:, None, None, :]
        rows = images.astype(np.float32)
        if cached:
            rows = np.array(network.prefix(1)(rows))
        stage = Stage(name="one", unfreeze=1, epochs=6, learning_rate=0.05)
        data = StageData(
            lambda size, first: shuffled_batches(
                rows, labels, batch_size=size, seed=0, first_epoch=first
            ),
            ordered_batches(rows, labels, batch_size=48),
            48,
        )
        with computing_in(network.backbone.model, precision):
            trainee = network.trainee(1, dropout=0.0, cached=cached)
            decision = CacheDecision(cached, "")
            prepared = Prepared(stage, network, trainee, decision, data, 16, Settings())
            result = run_stage(prepared)
        assert {str(each.dtype) for each in trainee.weights} == {"float32"}
        return [row["loss"] for row in result.history], [
            row["learning_rate"] for row in result.groups
        ]

    losses, rates = trained(precision)
    expected, expected_rates = trained("float32")
    assert losses[-1] < 0.5 * losses[0]
    np.testing.assert_allclose(losses, expected, atol=0.05)
    assert losses != expected
    assert rates == expected_rates == [0.05, 0.05]


@pytest.mark.parametrize("precision", MIXED)
def test_what_was_trained_in_half_precision_is_saved_and_predicts_in_float32(
    precision, pictures, tmp_path
):
    tuner = FineTuner(small_network(), verbose=False, precision=precision)
    result = tuner.fit(pictures, plan="lp_ft", epochs=6)
    first, *_, last = (row["loss"] for row in result.stages[0].history)
    assert last < first
    assert result.val_accuracy > 0.6
    assert {layer.dtype_policy.name for layer in tuner.model.layers} == {"float32"}
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    expected = tuner.predict(images).probabilities
    tuner.save(tmp_path / "run")
    loaded = FineTuner.load(tmp_path / "run", verbose=False)
    np.testing.assert_array_equal(loaded.predict(images).probabilities, expected)
    assert {layer.dtype_policy.name for layer in loaded.model.layers} == {"float32"}
    assert {str(weight.dtype) for weight in loaded.model.weights} == {"float32"}


def test_a_backbone_is_float32_again_when_a_training_was_stopped(pictures):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            raise RuntimeError("enough")

    tuner = FineTuner(small_network(), verbose=False, precision="mixed_bfloat16")
    with pytest.raises(RuntimeError, match="enough"):
        tuner.fit(pictures, plan="full_fine_tune", epochs=1, callbacks=[Stop()])
    assert {each.dtype_policy.name for each in tuner.backbone.model.layers} == {"float32"}
