"""Factors beside kernels: what they compute, what they are merged into, and what stays."""

import dataclasses

import keras
import numpy as np
import pytest
from conftest import write_pictures
from freezing_networks import tiny_vit
from keras import ops
from resumed_training import KillAt, Killed, check_same, fit, make_alike
from training_networks import make_plan, make_stage, network_of, three_blocks, training_of

from ktransfer import FineTuner, InputError, load_backbone
from ktransfer.freezing import freeze
from ktransfer.plan import low_rank
from ktransfer.training.low_rank import kernels_of, low_rank_of, with_factors

LOW_RANK = {"trains": "low_rank", "rank": 1}


def rank_of(matrix):
    """How many singular values are more than rounding."""
    values = np.linalg.svd(matrix, compute_uv=False)
    return int((values > 1e-5 * values[0]).sum()) if values[0] else 0


def adapted(backbone, rank, seed=0):
    """A backbone with factors beside all kernels, and the layer that holds them."""
    freeze(backbone, "none", trains="low_rank")
    model = with_factors(backbone.model, backbone.blocks, rank, seed=seed)
    return model, low_rank_of(model)


def draw(layer, seed=0):
    """Random second factors, as if something had been trained."""
    random = np.random.default_rng(seed)
    for each in layer.factors:
        each.outwards.assign(random.normal(0, 0.1, each.outwards.shape))


def images_for(model, seed=0):
    shape = (4, *model.input_shape[1:])
    return np.random.default_rng(seed).uniform(0, 255, shape).astype(np.float32)


BACKBONES = {
    "three blocks": lambda: load_backbone(three_blocks(), preprocessing="none"),
    "MobileNetV2": lambda: load_backbone("MobileNetV2", "mini"),
    "a transformer": tiny_vit,
}


@pytest.fixture(params=BACKBONES)
def backbone(request):
    return BACKBONES[request.param]()


# What they compute.


def test_before_training_it_says_exactly_what_the_pretrained_network_says(backbone):
    images = images_for(backbone.model)
    model, layer = adapted(backbone, 2)
    assert layer.factors
    np.testing.assert_array_equal(model(images), backbone.model(images))


def test_merged_it_says_what_it_said_before_and_factors_that_are_zero_merge_to_the_same_bits(
    backbone,
):
    images = images_for(backbone.model)
    before = backbone.model.get_weights()
    model, layer = adapted(backbone, 2)
    layer.merge()
    for one, two in zip(backbone.model.get_weights(), before, strict=True):
        assert one.tobytes() == two.tobytes()
    plain = np.array(backbone.model(images))
    draw(layer)
    unmerged = np.array(model(images))
    assert np.abs(unmerged - plain).max() > 1e-2
    layer.merge()
    np.testing.assert_allclose(backbone.model(images), unmerged, rtol=1e-6, atol=1e-6)


def test_a_convolution_gets_one_to_rank_channels_and_a_1x1_one_behind_it():
    images = keras.Input((9, 9, 3))
    settings = {"strides": 2, "padding": "same", "use_bias": False}
    model = keras.Model(images, keras.layers.Conv2D(5, 3, **settings, name="conv")(images))
    adapter, layer = adapted(load_backbone(model, preprocessing="none"), 2)
    draw(layer)
    (factors,) = layer.factors
    pixels = images_for(model)
    narrow = ops.reshape(factors.inwards, (3, 3, 3, 2))
    wide = ops.reshape(factors.outwards, (1, 1, 2, 5))
    kernel = model.get_layer("conv").kernel
    beside = ops.conv(ops.conv(pixels, narrow, strides=2, padding="same"), wide)
    expected = ops.conv(pixels, kernel, strides=2, padding="same") + beside
    np.testing.assert_allclose(adapter(pixels), expected, rtol=1e-4, atol=1e-3)


def test_in_attention_all_heads_share_the_factors():
    backbone = tiny_vit()
    _, layer = adapted(backbone, 3)
    draw(layer)
    sizes = {}
    for each in layer.factors:
        kernel = each.kernel.variable
        change = np.array(each.sum()) - np.array(kernel)
        if len(kernel.shape) != 3:
            continue
        inputs = 2 if kernel.path.endswith("output/kernel") else 1
        matrix = change.reshape(int(np.prod(kernel.shape[:inputs])), -1)
        assert matrix.shape == (16, 16)
        assert rank_of(matrix) == 3
        numbers = sum(int(np.prod(weight.shape)) for weight in each.weights)
        sizes[kernel.path.split("/")[-2]] = numbers
    # 16 numbers in and 16 out, whatever the number of heads.
    assert set(sizes.values()) == {3 * (16 + 16)}
    assert len(sizes) == 4


def test_depthwise_and_grouped_kernels_and_those_that_are_thin_already_stay():
    images = keras.Input((8, 8, 3))
    layers = keras.layers
    x = layers.DepthwiseConv2D(3, name="depthwise")(images)
    x = layers.Conv2D(6, 3, groups=3, name="grouped")(x)
    x = layers.Conv2D(8, 1, name="thin")(x)
    x = layers.SeparableConv2D(24, 3, padding="same", name="separable")(x)
    x = layers.Conv2D(8, 1, name="full")(x)
    backbone = load_backbone(keras.Model(images, x), preprocessing="none")
    kernels = [each.variable.path for block in backbone.blocks for each in kernels_of(block, 4)]
    # 4 x (6 + 8) numbers are more than 6 x 8; of the separable one the pointwise kernel is full.
    assert kernels == ["separable/pointwise_kernel", "full/kernel"]


def test_statistics_and_dropout_of_the_network_move_as_without_factors():
    network = three_blocks(dropout=0.3)
    backbone = load_backbone(network, preprocessing="none")
    freeze(backbone, "none", trains="low_rank", batch_norm="train")
    model = with_factors(backbone.model, backbone.blocks, 1, seed=0)
    states = [each for each in model.variables if "seed_generator" in each.path]
    moving = [each for each in backbone.model.weights if "moving" in each.path]
    before = [np.array(each) for each in (*states, *moving)]
    images = images_for(backbone.model)
    one, two = (np.array(model(images, training=True)) for _ in range(2))
    assert len(states) == 3
    assert len(moving) == 6
    for variable, value in zip((*states, *moving), before, strict=True):
        assert np.any(np.array(variable) != value), variable.path
    assert np.any(one != two)


# In a training.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("low_rank") / "pictures", 8)


def test_kernels_are_frozen_until_they_are_merged_and_then_differ_by_the_rank(folder):
    plan = make_plan(make_stage(unfreeze=2, epochs=3, learning_rate=0.05, **LOW_RANK))
    training = training_of(plan, folder)
    backbone = training.network.backbone
    before = {weight.path: np.array(weight) for weight in backbone.model.weights}
    (result,) = training.run()
    assert result.best_epoch
    assert result.proof.variables == len(before)  # every weight of the backbone, proven not to move
    moved = {
        weight.path: np.array(weight) - before[weight.path]
        for weight in backbone.model.weights
        if np.any(np.array(weight) != before[weight.path])
    }
    assert set(moved) == {"conv_2/kernel", "conv_3/kernel"}
    for change in moved.values():
        assert rank_of(change.reshape(-1, change.shape[-1])) == 1


def test_each_block_has_its_own_rate_and_what_trains_is_counted(folder):
    stage = make_stage(unfreeze=2, learning_rate=0.1, layer_decay=0.5, **LOW_RANK)
    tuner = FineTuner(three_blocks(), verbose=False)
    result = tuner.fit(folder, plan=make_plan(stage))
    rows = {row["group"]: row for row in result.stages[0].groups}
    assert [(row["parameters"], row["multiplier"]) for row in rows.values()] == [
        (9 * 5 + 6, 0.5),
        (9 * 4 + 5, 0.25),
        (6 * 3 + 3, 1.0),
    ]
    summary = tuner.summary()
    assert [row.trainable for row in summary.rows] == [0, 9 * 4 + 5, 9 * 5 + 6, 21]
    assert result.trainable_parameters == 41 + 51 + 21
    assert result.total_parameters == summary.total_parameters
    assert list(result.movement) == ["relu_2", "relu_3"]


def test_what_comes_out_is_an_ordinary_network_of_the_same_architecture(folder, tmp_path):
    plan = make_plan(make_stage(unfreeze="all", epochs=2, learning_rate=0.05, **LOW_RANK))
    tuner, other = (FineTuner(three_blocks(), verbose=False) for _ in range(2))
    tuner.fit(folder, plan=plan, out=tmp_path / "run")
    other.fit(folder, plan="linear_probe", epochs=1)
    shapes = [(weight.path, weight.shape) for weight in tuner.model.weights]
    assert shapes == [(weight.path, weight.shape) for weight in other.model.weights]
    kinds = {type(layer).__module__.split(".")[0] for layer in tuner.model.layers}
    assert kinds == {"keras"}
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    expected = tuner.predict(images).probabilities
    loaded = FineTuner.load(tmp_path / "run", verbose=False)
    np.testing.assert_array_equal(loaded.predict(images).probabilities, expected)


def test_the_stage_behind_it_goes_on_from_the_merged_kernels(folder):
    first = make_stage(name="thin", unfreeze=2, epochs=2, learning_rate=0.05, **LOW_RANK)
    last = make_stage(name="still", unfreeze=0, epochs=1, learning_rate=1e-9)
    training = training_of(make_plan(first, last), folder)
    thin, still = training.run()
    assert thin.best_epoch
    # A head that hardly moves, on features of the merged kernels, does as well.
    assert still.history[0]["val_loss"] == pytest.approx(thin.val_loss, abs=1e-5)


def test_views_that_no_cache_holds_go_through_the_frozen_blocks_as_well(folder):
    stage = make_stage(unfreeze=1, epochs=2, augmentation="standard", **LOW_RANK)
    (result,) = training_of(make_plan(stage), folder).run()
    assert not result.cached
    assert result.history[-1]["loss"] < result.history[0]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_training_that_was_killed_goes_on_bit_for_bit(folder, tmp_path, monkeypatch, epoch):
    make_alike(monkeypatch.setattr)
    plan = make_plan(
        make_stage(name="head", epochs=1),
        make_stage(name="thin", unfreeze=2, epochs=3, learning_rate=0.05, dropout=0.3, **LOW_RANK),
        make_stage(name="again", unfreeze=1, epochs=2, batch_norm="train", **LOW_RANK),
    )
    expected = fit(folder, plan=plan)
    with pytest.raises(Killed):
        fit(folder, plan=plan, out=tmp_path / "run", more=[KillAt(epoch=epoch)])
    check_same(fit(folder, plan=plan, out=tmp_path / "run", resume=True), expected)


def test_memory_that_runs_out_begins_the_factors_again(folder, monkeypatch):
    plan = make_plan(make_stage(unfreeze=2, epochs=2, learning_rate=0.05, **LOW_RANK))
    halved = make_plan(dataclasses.replace(plan.stages[0], batch_size=2))
    expected = training_of(halved, folder)
    expected.run()

    class Full(keras.callbacks.Callback):
        raised = False

        def on_epoch_end(self, epoch, logs=None):
            if not self.raised:
                self.raised = True
                raise MemoryError

    training = training_of(plan, folder, callbacks=(Full(),))
    (result,) = training.run()
    assert result.batch_size == 2
    for one, two in zip(
        training.network.backbone.model.weights,
        expected.network.backbone.model.weights,
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)


def test_blocks_without_a_kernel_to_adapt_are_refused(folder):
    plan = make_plan(make_stage(unfreeze=1, trains="low_rank", rank=8))
    with pytest.raises(InputError, match="and trains='low_rank' there is nothing to train"):
        training_of(plan, folder)
    plan = make_plan(make_stage(unfreeze=1, trains="affine"))
    with pytest.raises(InputError, match="batch_norm='frozen' and trains='affine' there is noth"):
        training_of(plan, folder)


def test_a_head_alone_has_no_factors(folder):
    network = network_of(three_blocks())
    training = training_of(low_rank(rank=1, head_epochs=1, epochs=1), folder, network=network)
    head, thin = training.run()
    assert [len(head.groups), len(thin.groups)] == [0, 4]
