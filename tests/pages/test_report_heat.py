"""What is shown to have spoken for a class is what did: Grad-CAM, computed and planted."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import small_network
from PIL import Image

from ktransfer import FineTuner
from ktransfer.pages.report.heat import Heat, heat_of, spotlight
from ktransfer.pages.report.photos import place

RED, BLUE = (230, 40, 40), (40, 60, 230)


def patches(number, seed):
    """Grey noise with a patch of 12 pixels that is red in one class and blue in the other.

    Returns:
        Images, labels, and the row and column where each patch begins.
    """
    random = np.random.default_rng(seed)
    images = random.integers(90, 140, (number, 48, 48, 3)).astype(np.uint8)
    labels = np.arange(number) % 2
    corners = 12 * random.integers(0, 4, (number, 2))
    for image, label, (row, column) in zip(images, labels, corners, strict=True):
        image[row : row + 12, column : column + 12] = (RED, BLUE)[label]
    return images, labels, corners


def trained(pooling="avg", network=None, **options):
    images, labels, _ = patches(40, seed=0)
    finetuner = FineTuner(
        network or small_network(channels=12, size=48), pooling=pooling, verbose=False
    )
    data = {"train": (images, labels), "validation": patches(12, seed=1)[:2]}
    finetuner.fit(data, **{"plan": "linear_probe", "epochs": 30, "check": "off", **options})
    return finetuner.classifier


@pytest.fixture(scope="module", params=["avg", "max", "avgmax"])
def classifier(request):
    return trained(request.param)


def tape_heat(classifier, pixels, class_index):
    """Grad-CAM as it is written down: the gradient of a logit, averaged over the map."""
    model = classifier.model
    last = next(
        each.output for each in model.operations if each.name == classifier.backbone.last_operation
    )
    logits = model.get_layer("probabilities").input
    both = keras.Model(model.inputs[0], [last, logits])
    with tf.GradientTape() as tape:
        images = tf.Variable(pixels[None].astype(np.float32))
        found, says = both(images, training=False)
        wanted = says[0, class_index]
    slope = tape.gradient(wanted, found)[0].numpy()
    found = found[0].numpy()
    channels = [slope[..., each].mean() for each in range(slope.shape[-1])]
    heat = np.zeros(found.shape[:2])
    for row in range(heat.shape[0]):
        for column in range(heat.shape[1]):
            heat[row, column] = max(0.0, float(np.dot(channels, found[row, column])))
    return heat / heat.max()


def test_the_heat_is_that_of_a_gradient_tape(classifier):
    heat = heat_of(classifier)
    images, labels, _ = patches(4, seed=2)
    for pixels, label, found in zip(images, labels, heat(images, labels), strict=True):
        np.testing.assert_allclose(found, tape_heat(classifier, pixels, label), atol=2e-5)


def test_the_heat_lies_on_the_patch_that_decides_the_class():
    classifier = trained()
    images, labels, corners = patches(12, seed=3)
    says = classifier.predict(images).probabilities.argmax(axis=1)
    np.testing.assert_array_equal(says, labels)  # or the heat would tell nothing
    for found, (row, column) in zip(heat_of(classifier)(images, labels), corners, strict=True):
        enlarged = np.kron(found, np.ones((48 // found.shape[0], 48 // found.shape[1])))
        inside = enlarged[row : row + 12, column : column + 12].mean()
        assert inside > 2 * enlarged.mean(), "the patch is a sixteenth of the image"
        peak = np.argwhere(enlarged == enlarged.max()).mean(axis=0)
        # A place of the map sees 7 pixels, so some of it lies beside the patch.
        assert np.all(np.abs(peak - (row + 5.5, column + 5.5)) < 6 + 4)


def test_a_head_on_all_blocks_is_explained_by_what_it_reads_of_the_last(tmp_path):
    from ktransfer.plan import Plan, Stage

    stage = Stage(name="head", unfreeze=0, epochs=20, learning_rate=0.02)
    classifier = trained(plan=Plan("wide", (stage,), features="all_blocks"), epochs=20)
    heat = heat_of(classifier)
    kernel = classifier.model.get_layer("head").get_weights()[0]
    assert isinstance(heat, Heat)
    assert len(kernel) > len(heat.weights) == 12
    images, labels, _ = patches(2, seed=4)
    for pixels, label, found in zip(images, labels, heat(images, labels), strict=True):
        np.testing.assert_allclose(found, tape_heat(classifier, pixels, label), atol=2e-5)


def test_where_nothing_speaks_for_a_class_there_is_no_heat(classifier):
    features = heat_of(classifier).features
    against = Heat(features, np.full((12, 2), -1.0))  # behind a ReLU all is positive
    assert against(patches(2, seed=5)[0], np.array([0, 1])) == [None, None]


def token_network():
    images = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 4, strides=4)(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.Reshape((16, 8))(x)
    return keras.Model(images, keras.layers.LayerNormalization()(x), name="tokens")


def single_network():
    images = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 16)(keras.layers.Rescaling(1 / 255)(images))
    return keras.Model(images, keras.layers.ReLU()(x), name="single")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (token_network, "tokens is a transformer"),
        (single_network, "a single place"),
    ],
)
def test_where_there_is_no_map_a_sentence_says_why(network, words):
    assert words in heat_of(trained(network=network(), epochs=1))


def test_a_head_on_numbers_without_a_place_is_not_explained():
    images = keras.Input((8, 8, 3))
    vector = keras.layers.Flatten(name="vector")(images)
    model = keras.Model(images, keras.layers.Dense(2, name="head")(vector))
    backbone = SimpleNamespace(name="siglip", last_operation="vector")
    flat = SimpleNamespace(model=model, pooling="avg", backbone=backbone)
    assert "no feature map before a pooling" in heat_of(flat)


def test_the_spotlight_leaves_the_pixels_of_the_heat_and_dims_the_others():
    picture = Image.new("RGB", (80, 80), (200, 100, 50))
    heat = np.zeros((8, 8), np.float32)
    heat[2:6, 2:6] = 1.0
    lit = np.asarray(spotlight(picture, heat))
    np.testing.assert_array_equal(lit[40, 40], (200, 100, 50))
    assert len(set(lit[2, 2])) == 1, "grey"
    assert lit[2, 2, 0] < 60
    framed = (lit == (255, 140, 0)).all(axis=-1)
    assert framed.any()
    assert not framed[34:46, 34:46].any()


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ((0, 0), "at the upper left"),
        ((3, 3), "in the middle"),
        ((6, 3), "at the bottom"),
        ((3, 0), "on the left"),
    ],
)
def test_the_place_of_the_heat_is_said(at, words):
    heat = np.zeros((7, 7))
    heat[at] = 1
    assert place(heat) == words
