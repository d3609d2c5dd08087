"""A network as the stages see it: its parts add up to the whole, its digest tells rows apart."""

import os
import random
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from freezing_networks import randomize_statistics, row_of_blocks, tiny_vit

from ktransfer import load_backbone
from ktransfer.features import Network, pool, randomize
from ktransfer.freezing import freeze

layers = keras.layers


def residual():
    """Two residual blocks, whose merges are the only cuts."""
    keras.utils.set_random_seed(7)
    images = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same")(layers.Rescaling(1 / 255)(images))
    for _ in range(2):
        y = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x))
        x = layers.ReLU()(layers.Add()([x, y]))
    model = keras.Model(images, x)
    randomize_statistics(model)
    return load_backbone(model, preprocessing="none")


def two_tensors():
    """Every cell reads the two cells before it, as in NASNet, so that cuts have two tensors."""
    keras.utils.set_random_seed(7)
    images = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2)(layers.Rescaling(1 / 255)(images))
    y = layers.Conv2D(5, 3, padding="same")(x)
    for _ in range(3):
        x, y = y, layers.Concatenate()([layers.Conv2D(4, 3, padding="same")(y), x])
    model = keras.Model(images, layers.Concatenate()([x, y]))
    return load_backbone(model, preprocessing="none")


BACKBONES = {
    "conv": row_of_blocks,
    "residual": residual,
    "two tensors": two_tensors,
    "vision transformer": tiny_vit,
}


def network_of(backbone, num_blocks=None, *, pooling="avg", num_classes=3, seed=0):
    """A network with a random head, since a new one says 0 of everything."""
    made = Network(backbone, num_blocks or len(backbone.blocks), num_classes, pooling, seed)
    drawn = np.random.default_rng(1)
    made.head.set_weights([drawn.normal(size=each.shape) for each in made.head.get_weights()])
    return made


def pictures(backbone, count=4):
    shape = (count, *backbone.input_size, 3)
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


def logits_of(network, images):
    """The slow, straightforward way: features of the body, pooled and multiplied by the head."""
    body = network.body
    features = np.array(keras.Model(body.inputs[0], pool(body.output, network.pooling))(images))
    kernel, bias = network.head.get_weights()
    return network.feature_scale * features @ kernel + bias


def softmax(logits):
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


# The parts add up to the whole.


@pytest.mark.parametrize("name", BACKBONES)
def test_suffix_behind_prefix_equals_the_whole_at_every_cut(name):
    backbone = BACKBONES[name]()
    network, images = network_of(backbone), pictures(backbone)
    network.scale_features(0.5)
    expected = logits_of(network, images)
    for cut in range(network.num_blocks + 1):
        rows = network.prefix(cut)(images) if cut else images
        assert tuple(rows.shape[1:]) == network.row_shape(cut)
        cached = network.trainee(cut, dropout=0.0, cached=True)
        through = network.trainee(cut, dropout=0.0, cached=False)
        np.testing.assert_allclose(cached(rows), expected, atol=1e-5, err_msg=f"cut {cut}")
        np.testing.assert_allclose(through(images), expected, atol=1e-5, err_msg=f"cut {cut}")


@pytest.mark.parametrize("name", BACKBONES)
def test_from_one_cut_to_a_later_one_is_what_the_prefix_says(name):
    backbone = BACKBONES[name]()
    network, images = network_of(backbone), pictures(backbone)
    last = network.num_blocks
    for cut in range(1, last):
        for later in {cut + 1, last}:
            rows = network.between(cut, later)(network.prefix(cut)(images))
            np.testing.assert_allclose(rows, network.prefix(later)(images), atol=1e-5)


def test_the_two_tensor_network_really_has_cuts_of_two_tensors():
    backbone = two_tensors()
    assert [len(block.outputs) for block in backbone.blocks].count(2) >= 2
    network = network_of(backbone)
    cut = next(at for at, block in enumerate(backbone.blocks, 1) if len(block.outputs) == 2)
    sizes = [np.prod(each.shape[1:]) for each in backbone.blocks[cut - 1].outputs]
    assert network.row_shape(cut) == (sum(sizes),)


@pytest.mark.parametrize("name", ["conv", "two tensors"])
def test_a_network_of_the_first_blocks_reads_what_the_last_of_them_says(name):
    backbone = BACKBONES[name]()
    network, images = network_of(backbone, len(backbone.blocks) - 1), pictures(backbone)
    outputs = keras.Model(backbone.model.inputs[0], backbone.blocks[-2].calls[-1].outputs[0])
    features = np.array(outputs(images)).mean(axis=(1, 2))
    kernel, bias = network.head.get_weights()
    found = network.trainee(0, dropout=0.0, cached=False)(images)
    np.testing.assert_allclose(found, features @ kernel + bias, atol=1e-5)
    assert network.blocks == backbone.blocks[:-1]


@pytest.mark.parametrize("name", BACKBONES)
def test_joined_model_says_the_softmax_of_what_was_trained(name):
    backbone = BACKBONES[name]()
    network, images = network_of(backbone), pictures(backbone)
    network.feature_scale = 0.25
    expected = softmax(logits_of(network, images))
    joined = network.joined()
    np.testing.assert_allclose(joined.predict(images, verbose=0), expected, atol=1e-6)
    # The factor is in the weights: the model has no layer that someone could forget.
    assert not any("rescaling" in each.name for each in joined.layers[-3:])


def test_token_pooling_is_that_of_the_joined_model_too():
    backbone = tiny_vit()
    network, images = network_of(backbone, pooling="token"), pictures(backbone)
    tokens = np.array(backbone.model(images))[:, 0]
    kernel, bias = network.head.get_weights()
    joined = network.joined().predict(images, verbose=0)
    np.testing.assert_allclose(joined, softmax(tokens @ kernel + bias), atol=1e-6)


def test_scaling_the_features_changes_no_prediction():
    backbone = residual()
    network, images = network_of(backbone), pictures(backbone)
    kernel = network.head.get_weights()[0]
    expected = network.joined().predict(images, verbose=0)
    for scale in (0.03, 7.0, 1.0):
        network.scale_features(scale)
        np.testing.assert_allclose(network.head.get_weights()[0], kernel / scale, rtol=1e-5)
        logits = network.trainee(1, dropout=0.0, cached=False)(images)
        np.testing.assert_allclose(softmax(np.array(logits)), expected, atol=1e-5)
        np.testing.assert_allclose(network.joined().predict(images, verbose=0), expected, atol=1e-5)


def test_the_weights_from_a_cut_are_those_of_the_later_blocks_and_the_head():
    network = network_of(row_of_blocks())
    names = [each.path for each in network.variables_from(2)]
    statistics = ("gamma", "beta", "moving_mean", "moving_variance")
    assert names == [
        *(
            f"{layer}/{name}"
            for at in (3, 4)
            for layer, name in [
                (f"conv_{at}", "kernel"),
                *((f"bn_{at}", each) for each in statistics),
            ]
        ),
        "ktransfer_head/kernel",
        "ktransfer_head/bias",
    ]
    assert len(network.variables_from(4)) == 2


# Training.


def fitted(network, cut, *, cached, steps=3):
    """A frozen prefix, and the paths of what moves in some steps."""
    backbone = network.backbone
    freeze(backbone, f"first:{cut}", batch_norm="train")
    trainee = network.trainee(cut, dropout=0.0, cached=cached)
    images = pictures(backbone, 8)
    rows = np.array(network.prefix(cut)(images)) if cached else images
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainee.compile(keras.optimizers.SGD(0.1), loss)
    trainee.fit(rows, np.arange(8) % 3, batch_size=4, epochs=steps, shuffle=False, verbose=0)
    return [np.array(each) for each in network.variables_from(0)]


def test_training_past_a_frozen_prefix_is_training_on_its_rows():
    cached = fitted(network_of(row_of_blocks()), 2, cached=True)
    through = fitted(network_of(row_of_blocks()), 2, cached=False)
    before = [np.array(each) for each in network_of(row_of_blocks()).variables_from(0)]
    moved = [np.abs(one - old).max() > 1e-4 for one, old in zip(cached, before, strict=True)]
    assert moved == [False] * 10 + [True] * 12
    for one, other in zip(cached, through, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_dropout_in_the_frozen_prefix_is_in_inference_mode_while_the_rest_trains():
    images = keras.Input((8, 8, 3))
    x = images
    for filters in (4, 5):
        x = layers.Conv2D(filters, 3, strides=2, padding="same")(x)
        x = layers.ReLU()(layers.Dropout(0.5)(layers.BatchNormalization()(x)))
    network = network_of(load_backbone(keras.Model(images, x), preprocessing="none"))
    assert network.num_blocks == 2
    seen = []

    class Spy(layers.Layer):
        def call(self, rows):
            tf.numpy_function(lambda each: seen.append(each) or np.int64(0), [rows], tf.int64)
            return rows

    prefix = network.prefix
    network.prefix = lambda cut: keras.Model(prefix(cut).inputs[0], Spy()(prefix(cut).output))
    freeze(network.backbone, "first:1", batch_norm="train")
    trainee = network.trainee(1, dropout=0.0, cached=False)
    trainee.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    given = pictures(network.backbone, 4)
    trainee.fit(given, np.arange(4) % 3, batch_size=4, epochs=2, verbose=0)
    expected = np.array(prefix(1)(given, training=False))
    assert len(seen) == 2
    for rows in seen:
        np.testing.assert_allclose(np.sort(rows, axis=0), np.sort(expected, axis=0), atol=1e-5)


def test_dropout_before_the_head_acts_in_training_only_by_the_seed():
    def trained(seed):
        network = network_of(row_of_blocks(), seed=seed)
        rows = np.ones((64, *network.row_shape(4)), np.float32)
        trainee = network.trainee(4, dropout=0.5, cached=True)
        np.testing.assert_allclose(
            trainee(rows), network.trainee(4, dropout=0.0, cached=True)(rows), atol=1e-6
        )
        return np.array(trainee(rows, training=True))

    assert trained(1).std(axis=0).min() > 0.1
    np.testing.assert_array_equal(trained(1), trained(1))
    assert np.abs(trained(1) - trained(2)).max() > 0.1


def test_one_cut_has_one_model_so_that_nothing_is_traced_twice():
    network = network_of(row_of_blocks())
    first = network.trainee(2, dropout=0.1, cached=True)
    assert network.trainee(2, dropout=0.1, cached=True) is first
    others = [
        network.trainee(1, dropout=0.1, cached=True),
        network.trainee(2, dropout=0.2, cached=True),
        network.trainee(2, dropout=0.1, cached=False),
    ]
    network.scale_features(2.0)
    others.append(network.trainee(2, dropout=0.1, cached=True))
    assert len({id(each) for each in (first, *others)}) == 5


# Digests.

OTHER_PROCESS = """
import sys
import keras
for _ in range(int(sys.argv[1])):
    keras.layers.Conv2D(1, 1), keras.layers.Dense(2), keras.layers.BatchNormalization()
    keras.layers.Rescaling(2.0), keras.layers.LeakyReLU()
    keras.Model(image := keras.Input((4,)), keras.layers.Add()([image, image]))
from test_features_network import digests
print(*digests())
"""


def unnamed():
    return network_of(row_of_blocks(named=False))


def digests():
    """Of networks whose layers Keras names, two cuts each."""
    networks = [unnamed(), network_of(residual()), network_of(two_tensors())]
    return [network.rows_digest(cut) for network in networks for cut in (1, network.num_blocks)]


def test_digest_is_the_same_in_a_process_that_has_built_other_layers_before():
    arguments = [sys.executable, "-c", OTHER_PROCESS, "3"]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(arguments, env=paths, capture_output=True, text=True, check=True)
    assert done.stdout.split() == digests()
    assert len(set(digests())) == 6


def test_digest_follows_the_weights_of_the_prefix_and_no_others():
    network = unnamed()
    before = [network.rows_digest(cut) for cut in range(5)]
    assert len(set(before)) == 5
    network.head.bias.assign_add(np.ones(3))
    assert [network.rows_digest(cut) for cut in range(5)] == before
    kernel = network.blocks[2].layers[0].kernel
    values = np.array(kernel)
    kernel.assign(np.where(np.arange(values.size).reshape(values.shape) == 5, 0.5, values))
    now = [network.rows_digest(cut) for cut in range(5)]
    assert [one == other for one, other in zip(before, now, strict=True)] == [True] * 3 + [
        False
    ] * 2
    kernel.assign(values)
    assert [network.rows_digest(cut) for cut in range(5)] == before


def one_block(activation="relu", pooling="avg", **conv):
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, kernel_initializer="ones", **conv)(layers.Rescaling(1 / 255)(images))
    x = layers.MaxPooling2D()(layers.Activation(activation)(x))
    x = layers.Activation("relu")(layers.Conv2D(4, 1, kernel_initializer="ones")(x))
    return network_of(load_backbone(keras.Model(images, x), preprocessing="none"), pooling=pooling)


def test_digest_tells_structures_apart_that_have_the_same_weights():
    same = one_block()
    assert same.rows_digest(1) == one_block().rows_digest(1)
    assert same.rows_digest(1) != one_block(activation="tanh").rows_digest(1)
    assert same.rows_digest(1) != one_block(dilation_rate=2).rows_digest(1)
    assert same.rows_digest(1) == one_block(pooling="max").rows_digest(1)
    assert same.rows_digest(2) != one_block(pooling="max").rows_digest(2)


def test_digest_tells_wirings_apart_that_have_the_same_layers():
    def wired(first, second):
        images = keras.Input((8, 8, 3))
        branches = [
            layers.Activation(each)(layers.Conv2D(4, 3, kernel_initializer=value)(images))
            for each, value in [("relu", "ones"), ("tanh", "zeros")]
        ]
        x = layers.Subtract()([branches[first], branches[second]])
        x = layers.Conv2D(4, 1, kernel_initializer="ones")(x)
        return network_of(load_backbone(keras.Model(images, x), preprocessing="none"))

    assert wired(0, 1).rows_digest(1) == wired(0, 1).rows_digest(1)
    assert wired(0, 1).rows_digest(1) != wired(1, 0).rows_digest(1)


def test_digest_does_not_ask_whether_a_layer_is_frozen():
    network = unnamed()
    before = network.rows_digest(2)
    freeze(network.backbone, "all")
    assert network.rows_digest(2) == before


# Random weights.


def test_random_weights_are_those_of_the_seed_and_every_block_has_them():
    backbone = row_of_blocks()
    before = [np.array(each) for each in backbone.model.weights]
    randomize(backbone, 5)
    first = [np.array(each) for each in backbone.model.weights]
    for block in backbone.blocks:
        kernel = block.layers[0].kernel
        at = next(i for i, each in enumerate(backbone.model.weights) if each is kernel)
        assert np.abs(first[at] - before[at]).min() > 0
    randomize(backbone, 5)
    for one, other in zip(first, backbone.model.weights, strict=True):
        np.testing.assert_array_equal(one, np.array(other))
    randomize(backbone, 6)
    assert np.abs(first[0] - np.array(backbone.model.weights[0])).min() > 0


def test_random_weights_are_drawn_as_the_layers_draw_them():
    backbone = row_of_blocks()  # its statistics are random ones
    randomize(backbone, 5)
    for layer in (layer for block in backbone.blocks for layer in block.layers):
        if isinstance(layer, layers.BatchNormalization):
            for weight, value in zip(layer.get_weights(), (1, 0, 0, 1), strict=True):
                np.testing.assert_array_equal(weight, np.full(4, value))
    # Glorot's uniform draws up to the root of 6 / (numbers in + numbers out).
    kernel = np.array(backbone.blocks[1].layers[0].kernel)
    limit = np.sqrt(6 / (9 * 4 + 9 * 4))
    assert 0.8 * limit < np.abs(kernel).max() <= limit


def test_statistics_of_the_pixels_in_front_of_the_blocks_stay():
    backbone = row_of_blocks(normalize=True)
    normalization = next(
        each for each in backbone.model.layers if isinstance(each, layers.Normalization)
    )
    before = [np.array(each) for each in normalization.weights]
    assert np.abs(before[0]).max() > 0
    randomize(backbone, 5)
    for old, new in zip(before, normalization.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(new))


def test_random_weights_leave_pythons_generator_as_it_was():
    backbone = row_of_blocks()
    random.seed(11)
    expected = [random.random() for _ in range(3)]
    random.seed(11)
    randomize(backbone, 5)
    assert [random.random() for _ in range(3)] == expected
