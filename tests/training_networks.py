"""Small backbones and their rows, for the tests of training."""

import dataclasses

import keras
import numpy as np

from ktransfer.backbones import load_backbone
from ktransfer.data import read_folder
from ktransfer.features import Network, RowSource
from ktransfer.plan import Plan, Stage
from ktransfer.training import Settings, Training

SIZE = (16, 16)


def three_blocks(*, dropout=0.0, batch_norm=True, size=16):
    """Three blocks with the statistics of batch norm that a training would have left."""
    keras.utils.set_random_seed(7)
    images = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    layers = keras.layers
    for at, filters in enumerate((4, 5, 6), 1):
        conv = layers.Conv2D(filters, 3, 2, "same", use_bias=not batch_norm, name=f"conv_{at}")
        x = conv(x)
        if batch_norm:
            x = layers.BatchNormalization(name=f"bn_{at}")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout_{at}")(x)
        x = layers.ReLU(name=f"relu_{at}")(x)
    model = keras.Model(images, x, name="three_blocks")
    random = np.random.default_rng(3)
    for weight in model.weights:
        if weight.path.endswith("moving_mean"):
            weight.assign(random.uniform(-0.2, 0.2, weight.shape))
        if weight.path.endswith("moving_variance"):
            weight.assign(random.uniform(0.1, 0.4, weight.shape))
    return model


def two_tensor_cells():
    """Every cell reads the two cells before it, as in NASNet: cuts have two tensors."""
    keras.utils.set_random_seed(7)
    images = keras.Input((16, 16, 3))
    layers = keras.layers
    x = layers.Conv2D(4, 3, strides=2)(layers.Rescaling(1 / 255)(images))
    y = layers.Conv2D(5, 3, strides=2, padding="same")(x)
    x = layers.AveragePooling2D(2, padding="same")(x)
    for _ in range(3):
        x, y = y, layers.Concatenate()([layers.Conv2D(4, 3, padding="same")(y), x])
    return keras.Model(images, layers.Concatenate()([x, y]))


def make_stage(**fields):
    return Stage(**{"name": "one", "unfreeze": 0, "epochs": 2, "learning_rate": 0.01, **fields})


def make_plan(*stages, **fields):
    return Plan("mine", stages or (make_stage(),), **fields)


def network_of(model, num_blocks=None, *, pooling="avg", num_classes=3):
    backbone = load_backbone(model, preprocessing="none")
    return Network(backbone, num_blocks or len(backbone.blocks), num_classes, pooling, 0)


def source_of(folder, network=None, *, store=None, seed=0, **options):
    splits = read_folder(folder, seed=seed)
    network = network or network_of(three_blocks())
    return RowSource(network, splits, store=store, verbose=False, **options)


def training_of(plan, folder, model=None, *, network=None, store=None, budget_mb=1_024, **settings):
    """A training of a plan from fresh pretrained weights."""
    network = network or network_of(model or three_blocks())
    source = source_of(folder, network, store=store, budget_mb=budget_mb)
    plan = plan.resolve(len(network.backbone.blocks))
    return Training(plan, network, source, Settings(**settings))


def all_values(network):
    """Every weight of a backbone and of its head, as copies."""
    return [np.array(each) for each in (*network.backbone.model.weights, *network.head.weights)]


def without_seconds(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def changed(plan, **fields):
    """The same plan with other fields in its last stage."""
    *first, last = plan.stages
    return dataclasses.replace(plan, stages=(*first, dataclasses.replace(last, **fields)))
