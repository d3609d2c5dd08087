"""Heads that read all blocks, of which some train: what is frozen is still computed once."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import write_pictures
from resumed_training import KillAt, Killed, check_same, fit, make_alike
from training_networks import (
    all_values,
    make_plan,
    make_stage,
    source_of,
    three_blocks,
    training_of,
    two_tensor_cells,
)

from ktransfer import FineTuner, load_backbone
from ktransfer.features import Network
from ktransfer.plan import full_fine_tune, last_blocks, lp_ft
from ktransfer.profile.probes import LEAST_DEVIATION
from ktransfer.training import stage_input as input_module

layers = keras.layers
WIDEST = "all_blocks_and_inner"


def branched():
    """Blocks of two branches; the last convolution of each is on the shortcut."""
    keras.utils.set_random_seed(7)
    images = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 255)(images)
    for at in (1, 2, 3):
        deep = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name=f"wide_{at}")
        deep = layers.Conv2D(3 + at, 3, padding="same")(deep(x))
        beside = layers.Conv2D(3 + at, 1, strides=2, padding="same")(x)
        x = layers.ReLU(name=f"end_{at}")(layers.Add()([deep, beside]))
    return keras.Model(images, x)


def flat_in_the_middle():
    """Its cuts in the middle are flat, so that they are what the head reads of them."""
    keras.utils.set_random_seed(7)
    images = keras.Input((12, 12, 3))
    x = layers.ReLU(name="a")(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(images)))
    x = layers.GlobalAveragePooling2D(name="b")(layers.Conv2D(6, 3, strides=2)(x))
    for name in ("c", "d"):
        wide = layers.Dense(8, activation="relu", name=f"{name}_wide")(x)
        x = layers.Add(name=name)([x, layers.Dense(6, name=f"{name}_narrow")(wide)])
    x = layers.Conv2D(5, 1, name="e")(layers.Reshape((1, 1, 6), name="square")(x))
    return keras.Model(images, x)


#: By hand: what the head reads, as (block, operation whose output is averaged), in its order.
READ = {
    "branched": [
        (2, "end_3"),
        (0, "end_1"),
        (1, "end_2"),
        (0, "wide_1"),
        (1, "wide_2"),
        (2, "wide_3"),
    ],
    "flat": [
        (4, "e"),
        (0, "a"),
        (1, "b"),
        (2, "c"),
        (3, "square"),
        (2, "c_wide"),
        (3, "d_wide"),
    ],
}


def network_of(model, features=WIDEST):
    """A network with a random head, since a new one says 0 of everything."""
    backbone = load_backbone(model, preprocessing="none")
    made = Network(backbone, len(backbone.blocks), 3, "avg", 0, features=features)
    drawn = np.random.default_rng(1)
    made.head.set_weights([drawn.normal(size=each.shape) for each in made.head.get_weights()])
    return made


def pictures(network, count=4):
    shape = (count, *network.row_shape(0))
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


def values_in(network, tensors, images):
    found = keras.Model(network.backbone.model.inputs[0], list(tensors))(images)
    return [np.asarray(each) for each in keras.tree.flatten(found)]


def averaged(values):
    return values.mean(axis=tuple(range(1, values.ndim - 1)))


def check_cuts(network, images, read):
    """Compares logits and rows with NumPy's. `read`: (block, tensor) of each place, in order."""
    said = [averaged(each) for each in values_in(network, [tensor for _, tensor in read], images)]
    scale = np.linspace(0.5, 2.0, sum(each.shape[1] for each in said)).astype(np.float32)
    network.scale_features(scale, 0.1)
    kernel, bias = network.head.get_weights()
    expected = (np.concatenate(said, axis=1) * scale + 0.1) @ kernel + bias
    for cut in range(network.num_blocks + 1):
        rows = np.asarray(network.prefix(cut)(images)) if cut else images
        assert rows.shape[1:] == network.row_shape(cut)
        for cached, given in ((True, rows), (False, images)):
            logits = network.trainee(cut, dropout=0.0, cached=cached)(given)
            np.testing.assert_allclose(logits, expected, atol=2e-5, err_msg=f"cut {cut}")
        if 0 < cut < network.num_blocks:
            outputs = network.blocks[cut - 1].outputs
            parts = [each.reshape(len(images), -1) for each in values_in(network, outputs, images)]
            flat = [id(each) for each in outputs if len(each.shape) == 2]
            parts += [
                each
                for each, (block, tensor) in zip(said, read, strict=True)
                if block < cut and id(tensor) not in flat
            ]
            np.testing.assert_allclose(rows, np.concatenate(parts, axis=1), atol=1e-5)
            later = network.between(cut, cut + 1)(rows)
            np.testing.assert_allclose(later, network.prefix(cut + 1)(images), atol=1e-5)


@pytest.mark.parametrize("name", READ)
def test_from_every_cut_the_head_reads_all_blocks_in_one_order(name):
    network = network_of({"branched": branched, "flat": flat_in_the_middle}[name]())
    model = network.backbone.model
    read = [(block, model.get_layer(layer).output) for block, layer in READ[name]]
    check_cuts(network, pictures(network), read)


@pytest.mark.parametrize("features", ["all_blocks", WIDEST])
def test_cuts_of_two_tensors_hold_what_the_head_reads_beside_them(features):
    network = network_of(two_tensor_cells(), features)
    blocks = network.blocks
    assert [len(block.outputs) for block in blocks].count(2) >= 2
    ends = [(block.index, each) for block in blocks[:-1] for each in block.outputs]
    read = [(blocks[-1].index, network.backbone.model.output), *ends]
    if features == WIDEST:
        convolutions = {
            block.index: [call for call in block.calls if isinstance(call.operation, layers.Conv2D)]
            for block in blocks
        }
        read += [(at, of[-1].inputs[0]) for at, of in convolutions.items() if len(of) > 1]
        assert len(read) > len(ends) + 1
    check_cuts(network, pictures(network), read)


def test_mobilenet_from_its_cuts_is_mobilenet_as_a_whole():
    backbone = load_backbone("MobileNetV2", "mini", alpha=0.35, input_size=96)
    network = Network(backbone, 19, 3, "avg", 0, features=WIDEST)
    drawn = np.random.default_rng(1)
    network.head.set_weights([drawn.normal(size=each.shape) for each in network.head.get_weights()])
    model, images = backbone.model, pictures(network)
    ends = [block.outputs[0] for block in network.blocks]
    inner = [model.get_layer(f"block_{at}_depthwise_relu").output for at in range(1, 17)]
    first = model.get_layer("expanded_conv_depthwise_relu").output
    said = [averaged(each) for each in values_in(network, [*ends, first, *inner], images)]
    kernel, bias = network.head.get_weights()
    expected = np.concatenate([said[18], *said[:18], *said[19:]], axis=1) @ kernel + bias
    for cut in (1, 13, 18, 19):
        rows = network.prefix(cut)(images)
        logits = np.asarray(network.trainee(cut, dropout=0.0, cached=True)(rows))
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-3)
    odds = np.exp(expected - expected.max(axis=1, keepdims=True))
    shares = network.joined().predict(images, verbose=0)
    np.testing.assert_allclose(shares, odds / odds.sum(axis=1, keepdims=True), atol=1e-4)


def test_rows_of_the_last_features_are_the_plain_cuts():
    plain, wide = network_of(branched(), "last"), network_of(branched())
    images = pictures(plain)
    for cut, block in enumerate(plain.blocks[:-1], 1):
        (expected,) = values_in(plain, block.outputs, images)
        np.testing.assert_array_equal(plain.prefix(cut)(images), expected)
        assert plain.rows_digest(cut) != wide.rows_digest(cut)


# Training.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("trained") / "pictures", 8)


def trained(plan, folder, model, **settings):
    backbone = load_backbone(model, preprocessing="none")
    network = Network(backbone, len(backbone.blocks), 3, "avg", 0, features=plan.features)
    training = training_of(plan, folder, network=network, **settings)
    training.run()
    return training


@pytest.mark.parametrize(
    ("model", "fields", "in_pipeline"),
    [
        (lambda: three_blocks(dropout=0.3), {"batch_norm": "train"}, True),
        (lambda: three_blocks(dropout=0.3), {"augmentation": "light", "views": 2}, False),
        (two_tensor_cells, {"batch_norm": "affine_only", "unfreeze": 2}, True),
    ],
    ids=["batch norm and dropout", "views", "two tensors"],
)
def test_steps_from_the_cut_are_steps_through_the_whole(
    folder, monkeypatch, model, fields, in_pipeline
):
    monkeypatch.setattr(input_module, "prefix_in_pipeline", lambda: in_pipeline)
    plan = make_plan(make_stage(**{"unfreeze": 1, **fields}), features=WIDEST)
    cached, uncached = (
        trained(plan, folder, model(), cache=mode, dropout=0.2) for mode in ("on", "off")
    )
    assert [each.results[0].cached for each in (cached, uncached)] == [True, False]
    pairs = zip(all_values(cached.network), all_values(uncached.network), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, atol=1e-5)
    for training in (cached, uncached):
        assert not training.results[0].proof.moved
        logits = training.logits("validation")
        images = training.source.rows("validation", 0)
        shares = training.network.joined().predict(np.asarray(images, np.float32), verbose=0)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        np.testing.assert_allclose(shares, odds / odds.sum(axis=1, keepdims=True), atol=1e-5)


def test_what_a_trained_block_says_reaches_the_head_and_what_a_frozen_one_says_stays(folder):
    stage = make_stage(unfreeze=1, learning_rate=0.05, epochs=3)
    fresh = source_of(folder, network_of(three_blocks(), "all_blocks"))
    training = trained(make_plan(stage, features="all_blocks"), folder, three_blocks())
    before, after = (each.rows("train", 3) for each in (fresh, training.source))
    moved = np.abs(np.asarray(before) - np.asarray(after)).max(axis=0)
    # The last block's 6 come first, then the 4 and 5 of the others.
    assert moved[:6].max() > 1e-3
    np.testing.assert_allclose(moved[6:], 0, atol=1e-6)
    images = tf.cast(training.source.rows("train", 0), "float32")
    prefix = training.network.prefix(3)(images)
    np.testing.assert_allclose(after, prefix, atol=1e-5)


def test_later_stages_go_on_with_the_scale_that_was_measured_before_the_first(folder):
    last = make_stage(unfreeze=1, epochs=1, learning_rate=0.05)
    more = make_stage(name="more", unfreeze=2, epochs=1)
    features = source_of(folder, network_of(three_blocks())).rows("train", 3)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.maximum(deviation, LEAST_DEVIATION * np.median(deviation))
    for stages, cache in (((last, more), "on"), ((last,), "off")):
        plan = make_plan(*stages, features=WIDEST)
        network = trained(plan, folder, three_blocks(), cache=cache).network
        np.testing.assert_allclose(network.feature_scale, 1 / deviation, rtol=1e-3)
        np.testing.assert_allclose(network.feature_offset, -mean / deviation, rtol=1e-3)


def test_everything_can_train_from_random_weights_as_well(folder):
    stage = make_stage(unfreeze="all", batch_norm="train", scale_features=False)
    tuner = FineTuner(three_blocks(), verbose=False)
    result = tuner.fit(folder, plan=make_plan(stage, features="all_blocks", pretrained=False))
    assert tuner.summary().rows[-1].trainable == (4 + 5 + 6 + 1) * 3
    assert result.stages[0].proof is None
    assert all(amount > 0 for amount in result.movement.values())


@pytest.mark.slow
def test_killed_and_resumed_it_is_the_same_to_the_bit(folder, tmp_path, monkeypatch):
    make_alike(lambda *given: monkeypatch.setattr(*given))
    plan = make_plan(
        make_stage(name="head", epochs=1, dropout=0.3),
        make_stage(name="last", unfreeze=1, epochs=3, batch_norm="train", learning_rate=0.05),
        features=WIDEST,
    )
    expected = fit(folder, plan=plan)
    with pytest.raises(Killed):
        fit(folder, plan=plan, out=tmp_path / "run", more=[KillAt(batch=13)])
    check_same(fit(folder, plan=plan, out=tmp_path / "run", resume=True), expected)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_saved_and_loaded_it_predicts_the_same(folder, tmp_path, precision):
    tuner = FineTuner(three_blocks(), verbose=False, precision=precision)
    plan = make_plan(make_stage(unfreeze=2), features=WIDEST)
    result = tuner.fit(folder, plan=plan, out=tmp_path / "run")
    images = sorted(folder.glob("*/*.png"))[::3]
    loaded = FineTuner.load(tmp_path / "run", verbose=False)
    np.testing.assert_array_equal(
        loaded.predict(images).probabilities, tuner.predict(images).probabilities
    )
    assert loaded.summary().rows == tuner.summary().rows
    assert [row.trainable > 0 for row in tuner.summary().rows] == [False, True, True, True]
    assert set(result.movement) == {block.name for block in tuner.backbone.blocks[1:]}
    assert result.stages[0].proof.moved == ()


@pytest.mark.parametrize(
    "plan",
    [last_blocks(2, features=WIDEST), lp_ft(features=WIDEST), full_fine_tune(features=WIDEST)],
    ids=lambda plan: plan.name,
)
def test_named_plans_pass_the_features_on(plan):
    assert plan.features == plan.resolve(3).features == WIDEST
    assert type(plan).from_json(plan.to_json()) == plan
