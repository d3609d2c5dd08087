"""Small networks for the tests of freezing, and one real step of training on them."""

import keras
import numpy as np
import pytest

from ktransfer.backbones import load_backbone
from ktransfer.backbones.backbone import build_backbone

TINY_VIT = {"patch_size": 8, "num_layers": 3, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
STATISTICS = ("moving_mean", "moving_variance")

# Each policy with the layers that it must freeze in the row of four blocks below.
POLICIES = [
    ("all", ["conv_1", "bn_1", "conv_2", "bn_2", "conv_3", "bn_3", "conv_4", "bn_4"]),
    ("none", []),
    ("first:1", ["conv_1", "bn_1"]),
    ("all_but_last:1", ["conv_1", "bn_1", "conv_2", "bn_2", "conv_3", "bn_3"]),
    ("up_to:relu_2", ["conv_1", "bn_1", "conv_2", "bn_2"]),
    ("matching:conv_*,bn_4", ["conv_1", "conv_2", "conv_3", "conv_4", "bn_4"]),
    ("matching:*_2/*", ["conv_2", "bn_2"]),
]


def row_of_blocks(*, normalize=False, named=True, **batch_norm):
    """Four blocks of a convolution, batch norm and an activation, with random statistics."""
    keras.utils.set_random_seed(7)
    name = (lambda kind, at: f"{kind}_{at}") if named else (lambda kind, at: None)
    images = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    if normalize:
        normalization = keras.layers.Normalization()
        normalization.adapt(np.random.default_rng(1).normal(size=(8, 16, 16, 3)))
        x = normalization(x)
    for at in range(1, 5):
        conv = keras.layers.Conv2D(4, 3, 2, padding="same", use_bias=False, name=name("conv", at))
        x = keras.layers.BatchNormalization(name=name("bn", at), **batch_norm)(conv(x))
        x = keras.layers.LeakyReLU(name=name("relu", at))(x)
    model = keras.Model(images, x, name="row")
    randomize_statistics(model)
    return load_backbone(model, preprocessing="none")


def sharing(model):
    """A backbone with the model's own layers; load_backbone copies them."""
    return build_backbone(model, name=model.name, weights=None)


def randomize_statistics(model):
    random = np.random.default_rng(3)
    for weight in model.weights:
        if weight.path.endswith(STATISTICS):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))


def tiny_vit():
    keras_hub = pytest.importorskip("keras_hub")
    keras.utils.set_random_seed(7)
    model = keras_hub.models.ViTBackbone(image_shape=(32, 32, 3), **TINY_VIT)
    return load_backbone(model, preprocessing="tf")


def with_head(backbone):
    features = backbone.model.output
    pooling = keras.layers.GlobalAveragePooling2D
    if len(features.shape) == 3:
        pooling = keras.layers.GlobalAveragePooling1D
    logits = keras.layers.Dense(3, name="head")(pooling()(features))
    return keras.Model(backbone.model.input, logits)


def compiled(model, learning_rate=0.5, **options):
    model.compile(
        keras.optimizers.SGD(learning_rate, momentum=0.9, weight_decay=0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **options,
    )
    return model


def batch(model, seed=0):
    random = np.random.default_rng(seed)
    images = random.uniform(0, 255, (6, *model.input_shape[1:])).astype("float32")
    return images, np.arange(6) % 3


def values_of(model):
    # Of two variables with one path the later one would hide the first.
    assert len({weight.path for weight in model.weights}) == len(model.weights)
    return {weight.path: np.array(weight.numpy()) for weight in model.weights}


def train(model, steps=1):
    """The paths of all variables that differ, in any bit, after some steps of a real `fit`."""
    before = values_of(model)
    images, labels = batch(model)
    model.fit(images, labels, batch_size=6, epochs=steps, verbose=0)
    after = values_of(model)
    return {path for path in before if before[path].tobytes() != after[path].tobytes()}


def expected_to_move(frozen_layers, batch_norm):
    moving = {"head/kernel", "head/bias"}
    for at in range(1, 5):
        if f"conv_{at}" not in frozen_layers:
            moving.add(f"conv_{at}/kernel")
        if f"bn_{at}" not in frozen_layers and batch_norm != "frozen":
            moving |= {f"bn_{at}/gamma", f"bn_{at}/beta"}
        if f"bn_{at}" not in frozen_layers and batch_norm == "train":
            moving |= {f"bn_{at}/{name}" for name in STATISTICS}
    return moving
