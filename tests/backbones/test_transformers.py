"""Transformers of KerasHub: a block for each of their layers, and together the same network."""

import keras
import numpy as np
import pytest

from ktransfer.backbones import load_backbone

keras_hub = pytest.importorskip("keras_hub")
models = keras_hub.models

SMALL = {"patch_size": 8, "num_layers": 3, "num_heads": 2, "hidden_dim": 16}
NARROW = {**SMALL, "intermediate_dim": 32}
BLIP2 = {
    **NARROW,
    "image_size": 32,
    "use_patch_bias": True,
    "use_class_token": True,
    "use_mha_bias": True,
    "use_mlp_bias": True,
    "dropout_rate": 0.0,
    "layer_norm_epsilon": 1e-6,
    "initializer_range": 0.02,
}
IMAGE = (32, 32, 3)
WIDE = (32, 48, 3)

BUILDS = {
    "ViT": lambda: models.ViTBackbone(image_shape=IMAGE, **SMALL, mlp_dim=32),
    "DeiT": lambda: models.DeiTBackbone(image_shape=IMAGE, **NARROW),
    "DINOv2": lambda: models.DINOV2Backbone(
        image_shape=IMAGE, position_embedding_shape=IMAGE, **NARROW
    ),
    "DINOv3": lambda: models.DINOV3Backbone(image_shape=IMAGE, **NARROW),
    # Others of its kinds: images that are no square, no registers, a gate, projections as they are.
    "DINOv3 wide": lambda: models.DINOV3Backbone(
        image_shape=WIDE,
        num_register_tokens=0,
        use_mask_token=False,  # nothing trains it, of which Keras warns
        use_gated_mlp=True,
        use_key_bias=False,
        **NARROW,
    ),
    "BLIP2": lambda: models.BLIP2VisionEncoder(**BLIP2),
}


def with_random_weights(network):
    """Also where all are 0 or 1 at first, so that exchanging two of them is seen."""
    random = np.random.default_rng(2)
    network.set_weights(
        [
            each + random.normal(0, 0.1, each.shape) if each.dtype.kind == "f" else each
            for each in network.get_weights()
        ]
    )
    return network


def photos(size):
    return np.random.default_rng(0).integers(0, 256, (3, *size, 3)).astype("uint8")


def said_by(network, images):
    """What KerasHub's network says; some take a dict of one entry."""
    scaled = images / 127.5 - 1
    names = [each.name for each in network.inputs]
    given = {names[0]: scaled} if isinstance(network._inputs_struct, dict) else scaled
    return np.asarray(network(given, training=False))


@pytest.mark.parametrize("name", BUILDS)
def test_every_layer_is_a_block_and_the_joined_blocks_are_the_network(name):
    network = with_random_weights(BUILDS[name]())
    backbone = load_backbone(network, preprocessing="tf")
    assert len(backbone.blocks) == 1 + SMALL["num_layers"]
    images = photos(backbone.input_size)
    expected = said_by(network, images)
    assert np.ptp(expected) > 1
    for boundary in range(len(backbone.blocks) + 1):
        joined = backbone.suffix(boundary)(backbone.prefix(boundary)(images), training=False)
        np.testing.assert_allclose(joined, expected, atol=2e-5)
    layers = [block.parameters for block in backbone.blocks[1:-1]]
    assert len(set(layers)) == 1  # all but the last, with which the final normalisation goes
    assert sum(block.parameters for block in backbone.blocks) == network.count_params()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["DeiT", "DINOv3 wide", "BLIP2"])
def test_a_network_taken_apart_trains_and_comes_back_from_a_file(name, tmp_path):
    model = load_backbone(BUILDS[name](), preprocessing="tf").model
    model.compile("sgd", "mse")
    images = photos(model.input_shape[1:3])
    wanted = np.zeros((3, *model.output_shape[1:]))
    model.fit(images, wanted, batch_size=2, verbose=0)  # batches of open size
    model.save(tmp_path / "apart.keras")
    again = keras.models.load_model(tmp_path / "apart.keras", compile=False)
    np.testing.assert_array_equal(again(images), model(images))


def test_deit_with_dropout_keeps_its_own_places_for_it():
    network = with_random_weights(
        models.DeiTBackbone(image_shape=IMAGE, dropout_rate=0.1, **NARROW)
    )
    backbone = load_backbone(network, preprocessing="tf")
    assert len(backbone.blocks) == 1 + 2 * SMALL["num_layers"]
    images = photos((32, 32))
    found = backbone.model(images, training=False)
    np.testing.assert_allclose(found, said_by(network, images), atol=2e-5)
