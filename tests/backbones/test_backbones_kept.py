"""What is trained can be kept: networks that come back, and those that are refused before."""

import json
import warnings

import keras
import numpy as np
import pytest
from conftest import small_network
from keras import layers
from small_backbones import SMALL

from ktransfer import FineTuner, InputError
from ktransfer.backbones import load_backbone, restore_backbone
from ktransfer.backbones.serialization import check_keeping, without_hub_warnings, without_values
from ktransfer.classifier.loading import read_run
from ktransfer.files.archives import DamageError, check_config
from ktransfer.runs.saving import write_run

RECORD = {
    key: {} for key in ("class_names", "backbone", "pooling", "dropout", "seed", "data", "blocks")
} | {
    "class_names": ["a", "b"],
    "backbone": {"name": "own", "last_operation": "x", "weights": None, "options": {}},
    "pooling": "avg",
    "dropout": 0.0,
    "seed": 0,
    "blocks": [["x", 1, 0]],
    "request": {},
}


def of_applications(name):
    """The layers that keras.applications defines for itself have no public name."""
    made = keras.applications.ConvNeXtTiny if name == "LayerScale" else None
    module = __import__(
        "keras.src.applications." + ("convnext" if made else "inception_resnet_v2"),
        fromlist=[name],
    )
    return getattr(module, name)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("LayerScale", {"init_values": 0.5, "projection_dim": 4}), ("CustomScaleLayer", {"scale": 2})],
)
def test_layers_of_keras_applications_come_back_from_a_run(tmp_path, name, arguments):
    images = keras.Input((8, 8, 3))
    mapped = layers.Conv2D(4, 3)(images)
    layer = of_applications(name)(**arguments)
    scaled = layer(mapped) if name == "LayerScale" else layer([mapped, mapped])
    model = keras.Model(images, layers.Dense(2)(layers.GlobalMaxPooling2D()(scaled)))
    found, _ = read_run(write_run(tmp_path / "run", model, RECORD))
    pixels = np.random.default_rng(0).random((2, 8, 8, 3))
    np.testing.assert_array_equal(found(pixels), model(pixels))


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("ConvNeXtTiny", "keras.src.applications.convnext"),  # downloads
        ("function", "keras.src.applications.convnext"),
        ("LayerScale", "keras.src.applications.vgg16"),
        ("LayerScale", "keras.src.applications"),
        ("Layer", "keras.src.applications.convnext"),
        ("get_file", "keras.src.applications.imagenet_utils"),
    ],
)
def test_of_keras_applications_only_its_own_layers_are_trusted(name, module):
    with pytest.raises(DamageError, match=f"its class '{name}' of '{module}' is none of Keras"):
        check_config({"class_name": name, "module": module, "config": {}})


class Unregistered(layers.Layer):
    def call(self, inputs):
        return 2 * inputs


@keras.saving.register_keras_serializable("tests")
class Registered(Unregistered):
    pass


@keras.saving.register_keras_serializable("tests")
class Forgetful(layers.Layer):
    """Comes back narrower than it was: its configuration says nothing of its width."""

    def __init__(self, units=3, **options):
        super().__init__(**options)
        self.units = units

    def build(self, shape):
        self.kernel = self.add_weight((shape[-1], self.units), "ones")

    def call(self, inputs):
        return inputs @ self.kernel

    def get_config(self):
        return super().get_config()


@keras.saving.register_keras_serializable("tests")
class Needy(layers.Layer):
    """Its configuration leaves out what its constructor must have."""

    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, inputs):
        return self.factor * inputs

    def get_config(self):
        return super().get_config()


def network_with(layer):
    images = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    x = layer(layers.Conv2D(4, 3, strides=2)(x))
    return keras.Model(images, layers.Conv2D(6, 3, strides=2)(x), name="own_network")


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Unregistered, "own could be saved, but never loaded again: its class 'Unregistered' of"),
        (lambda: Needy(2), "missing 1 required positional argument: 'factor'"),
        (lambda: layers.Lambda(lambda x: 2 * x), "'Lambda' would run code of the file"),
    ],
)
def test_what_cannot_be_loaded_again_is_found_by_its_configuration(layer, message):
    with pytest.raises(InputError, match=message):
        check_keeping(network_with(layer()), "own")


def test_weights_that_come_back_in_another_shape_are_found():
    features = keras.Input((8, 8, 3))
    network = keras.Model(features, Forgetful(5)(features))
    with pytest.raises(InputError, match=r"'forgetful\w*' \(Forgetful\) comes back with weights"):
        check_keeping(network, "own")


@pytest.mark.parametrize("layer", [Registered, layers.ReLU, lambda: Forgetful(3)])
def test_what_can_be_loaded_again_passes(layer):
    check_keeping(network_with(layer()), "own")


def images_and_labels(size=16, number=24):
    labels = np.arange(number) % 2
    colours = np.array([(200, 60, 40), (40, 60, 200)])[labels][:, None, None]
    noise = np.random.default_rng(0).normal(0, 30, (number, size, size, 3))
    return np.clip(colours + noise, 0, 255).astype("uint8"), labels


def test_a_run_that_could_never_be_loaded_is_refused_before_it_is_trained(tmp_path, monkeypatch):
    tuner = FineTuner(network_with(Unregistered()), verbose=False)
    monkeypatch.setattr(
        "ktransfer.finetuner.fit.Fit.decide", lambda *_: pytest.fail("it was begun")
    )
    with pytest.raises(InputError, match=r"'Unregistered'.*register_keras_serializable"):
        tuner.fit(images_and_labels(), unfreeze=0, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_a_folder_it_is_trained_with_a_note_and_not_saved(tmp_path):
    tuner = FineTuner(network_with(Unregistered()), verbose=False)
    result = tuner.fit(images_and_labels(), unfreeze=0, epochs=1, similarity="similar")
    assert any("never loaded again: its class 'Unregistered'" in note for note in result.notes)
    with pytest.raises(InputError, match="never loaded again: its class 'Unregistered'"):
        tuner.save(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_proof_of_a_network_of_keras_layers_makes_no_second_one(monkeypatch):
    network = small_network()
    monkeypatch.setattr(keras.saving, "deserialize_keras_object", None)
    check_keeping(network, "small")


@keras.saving.register_keras_serializable("tests")
class Table(layers.Layer):
    """Makes a variable of an array, which Keras does only together with its values."""

    def build(self, shape):
        self.table = keras.Variable(np.arange(4.0, dtype="float32"), trainable=False)

    def call(self, inputs):
        return inputs + self.table


def test_a_layer_that_makes_a_variable_of_an_array_can_be_kept(tmp_path):
    network = network_with(Table())
    check_keeping(network, "own")
    model = keras.Model(network.input, layers.GlobalMaxPooling2D()(network.output))
    found, _ = read_run(write_run(tmp_path / "run", model, RECORD))
    pixels = np.random.default_rng(0).random((2, 16, 16, 3))
    np.testing.assert_array_equal(found(pixels), model(pixels))


def test_shapes_take_no_memory_and_leave_nothing_to_draw():
    features = keras.Input((8,))
    wide = keras.Model(features, layers.Dense(4)(features))
    config = json.dumps(keras.saving.serialize_keras_object(wide))
    wide = without_values(config.replace('"units": 4', '"units": 20000000000'))
    assert [tuple(each.shape) for each in wide.weights] == [(8, 2 * 10**10), (2 * 10**10,)]
    with keras.StatelessScope():  # Keras draws here what was left without values before
        pass


def test_what_a_layer_would_look_at_is_weighed_before_it_is_drawn():
    features = keras.Input((7,))
    network = keras.Model(features, layers.Normalization()(features))
    config = json.dumps(keras.saving.serialize_keras_object(network)).replace("7]", "20000000000]")
    with pytest.raises(DamageError, match="asks for far more weights than it holds"):
        without_values(config, 2**20)


# --- networks of KerasHub ---------------------------------------------------------------------

hub = pytest.importorskip("keras_hub").models
TOKENS = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "patch_size": 8}
SHAPE = (32, 32, 3)


def vit(**options):
    return hub.ViTBackbone(image_shape=SHAPE, mlp_dim=16, **TOKENS, **options)


def deit():
    return hub.DeiTBackbone(image_shape=SHAPE, intermediate_dim=16, **TOKENS)


def swin():
    with warnings.catch_warnings():  # Keras says of KerasHub's stages that they have no build()
        warnings.simplefilter("ignore")
        # 4 patches of a side and windows of 2: the second block of each stage shifts them.
        return hub.SwinTransformerBackbone(
            image_shape=SHAPE,
            embed_dim=8,
            depths=(2, 1),
            num_heads=(1, 2),
            window_size=2,
            patch_size=8,
        )


def mit():
    return SMALL["MiTBackbone"]()


def hgnet():
    return hub.HGNetV2Backbone(
        depths=[1, 1],
        embedding_size=8,
        hidden_sizes=[8, 16],
        stem_channels=[3, 8, 8],
        hidden_act="relu",
        use_learnable_affine_block=True,
        stackwise_stage_filters=[(8, 8, 8, 1, 2, 3), (8, 8, 16, 1, 2, 3)],
        apply_downsample=[False, True],
        use_lightweight_conv_block=[False, True],
        image_shape=SHAPE,
    )


def siglip():
    return hub.SigLIPVisionEncoder(image_shape=SHAPE, intermediate_dim=16, **TOKENS)


def dinov2():
    # Positions for 64 px, on images of 32.
    return hub.DINOV2Backbone(
        image_shape=SHAPE, position_embedding_shape=(64, 64, 3), intermediate_dim=16, **TOKENS
    )


def random_weights(model):
    """Also where a layer begins with zeros, so that no weight goes missing unseen."""
    random = np.random.default_rng(1)
    for weight in model.weights:
        if weight.dtype.startswith("float"):
            weight.assign(random.normal(0.1, 0.3, weight.shape) ** 2)
    return model


def says(model, images):
    named = isinstance(model.input, dict)
    outputs = model({"images": images} if named else images, training=False)
    return np.asarray(outputs["stage2"] if isinstance(outputs, dict) else outputs)


PIXELS = np.random.default_rng(2).integers(0, 256, (2, *SHAPE)).astype("float32")


# KerasHub hands Swin's windows a mask in a way that Keras warns of in each call.
@pytest.mark.filterwarnings("ignore:Layer 'attn' .* was passed an input with a mask:UserWarning")
@pytest.mark.parametrize("build", [vit, deit, swin, mit, hgnet, siglip, dinov2])
def test_network_of_keras_hub_is_taken_apart_stays_the_same_and_comes_back(build):
    original = random_weights(build())
    backbone = load_backbone(original, preprocessing="none")
    assert len(backbone.blocks) >= 3
    expected = says(original, PIXELS)
    np.testing.assert_allclose(backbone.model(PIXELS), expected, atol=1e-5, rtol=1e-5)
    backbone.check_keeping()
    with without_hub_warnings():
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(backbone.model)))
        check_config(config)
        again = keras.saving.deserialize_keras_object(config)
    again.set_weights(backbone.model.get_weights())
    np.testing.assert_allclose(again(PIXELS), expected, atol=1e-5, rtol=1e-5)
    # What was read back can be trained on, and saved once more.
    restored = restore_backbone(again, {"name": "again", "weights": None, "options": {}})
    restored.check_keeping()
    assert len(restored.blocks) == len(backbone.blocks)


def test_what_positions_have_learned_is_saved_however_little(tmp_path):
    backbone = load_backbone(dinov2(), preprocessing="none")
    positions = next(
        each for each in backbone.model.weights if "interpolated_position" in each.path
    )
    positions.assign(positions + 1e-6)
    found, _ = read_run(write_run(tmp_path / "run", backbone.model, RECORD))
    for one, other in zip(found.weights, backbone.model.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_of_several_feature_maps_the_deepest_is_read_and_said():
    backbone = load_backbone(hgnet(), preprocessing="tf")
    assert backbone.model.output_shape == (None, 4, 4, 16)
    assert "3 feature maps (stem, stage1, stage2)" in backbone.notes[0]
    assert "'stage2', the deepest, (4, 4, 16)" in backbone.notes[0]
    tuner = FineTuner(backbone, verbose=False)
    result = tuner.fit(images_and_labels(32), unfreeze=0, epochs=1, similarity="similar")
    assert backbone.notes[0] in result.notes


def test_several_outputs_that_are_no_feature_maps_are_refused():
    resnet = hub.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 8, 8, 8],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )
    model = hub.BASNetBackbone(resnet, num_classes=1, image_shape=(64, 64, 3))
    with pytest.raises(InputError, match=r"returns 8 outputs that are no feature maps.*refine_out"):
        load_backbone(model, preprocessing="tf")


def test_room_for_rows_is_made_by_what_a_layer_returns():
    backbone = load_backbone(siglip(), preprocessing="none")
    for block in backbone.blocks:
        found = keras.Model(backbone.model.input, block.outputs[0])(PIXELS)
        assert tuple(found.shape)[1:] == tuple(block.outputs[0].shape)[1:]
    assert backbone.blocks[0].outputs[0].shape == (None, 16, 8)  # 4 x 4 patches; it declares 17


@pytest.mark.parametrize(("build", "tokens"), [(lambda: vit(use_class_token=False), 16), (swin, 4)])
def test_token_pooling_without_a_class_token_is_refused(build, tokens):
    with pytest.raises(InputError, match=f"has none: its {tokens} tokens are patches of the image"):
        FineTuner(build(), preprocessing="tf", pooling="token", verbose=False)


@pytest.mark.parametrize("build", [vit, deit])
def test_token_pooling_takes_a_class_token(build):
    tuner = FineTuner(build(), preprocessing="tf", pooling="token", verbose=False)
    assert tuner.summary(2).rows[-1].trainable == (8 + 1) * 2
