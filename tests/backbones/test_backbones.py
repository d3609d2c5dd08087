import os
import pathlib
import socket
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest

from ktransfer.backbones import BackboneInfo, list_backbones, load_backbone
from ktransfer.backbones.applications import MINI_FILE
from ktransfer.errors import InputError

SHARED = pathlib.Path(
    os.environ.get("KTRANSFER_SHARED", pathlib.Path(__file__).parents[3] / "shared")
)
TINY_VIT = {"patch_size": 8, "num_layers": 3, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}


def photos(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (2, size, size, 3)).astype("uint8")


def raw_mobilenet(size=32, alpha=0.35, **options):
    return keras.applications.MobileNetV2(
        alpha=alpha, include_top=False, weights=None, input_shape=(size, size, 3), **options
    )


def small_network(*front, size=16):
    """A plain network of two convolutions."""
    images = keras.Input((size, size, 3))
    features = images
    for layer in front:
        features = layer(features)
    features = keras.layers.Conv2D(4, 3, activation="relu", name="one")(features)
    features = keras.layers.MaxPooling2D()(features)
    return keras.Model(images, keras.layers.Conv2D(6, 3, name="two")(features), name="mine")


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["MobileNetV2", "mobilenetv2", "MOBILENETV2"])
def test_a_name_is_found_in_upper_and_lower_case(name):
    backbone = load_backbone(name, weights=None, input_size=32, alpha=0.35)
    assert backbone.name == "MobileNetV2"
    assert (backbone.weights, backbone.options) == (None, {"alpha": 0.35})


def test_parameters_are_the_published_ones():
    assert load_backbone("VGG16", None, 32).parameters == 14_714_688
    assert load_backbone("MobileNetV2", None, 32).parameters == 2_257_984


def test_height_and_width_may_differ():
    backbone = load_backbone("MobileNetV2", None, (64, 32), alpha=0.35)
    assert backbone.input_size == (64, 32)
    assert backbone.model.output_shape == (None, 2, 1, 1280)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet5",), "unknown backbone 'resnet5': did you mean ResNet50, "),
        ((7,), "a name or a keras.Model, got 7"),
        (("VGG16", None, 31), r"VGG16 needs images of at least 32 px, got input_size=\(31, 31\)"),
        (("Xception", None, (90, 70)), r"at least 71 px, got input_size=\(90, 70\)"),
        (("VGG16", None, "64"), "input_size must be .* got '64'"),
        (("VGG16", None, 64.0), "input_size must be .* got 64.0"),
        (("VGG16", None, True), "input_size must be .* got True"),
        (("VGG16", None, (64, 64, 3)), r"input_size must be .* got \(64, 64, 3\)"),
        (("VGG16", None, 0), "input_size must be .* got 0"),
        (("VGG16", "nowhere.weights.h5"), "no weights file 'nowhere.weights.h5'"),
        (("VGG16", 3), "weights must be .* got 3"),
        (("VGG16", "mini"), "'mini' exist for MobileNetV2 only, got VGG16"),
        (("hub:resnet_18_imagenet", "mini"), "'mini' exist for MobileNetV2 only"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        load_backbone(*arguments)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("MobileNetV2", {"alpa": 0.35}, "no option alpa=0.35: did you mean alpha"),
        ("VGG16", {"alpha": 0.35}, "VGG16 has no option alpha=0.35: it has none"),
        ("VGG16", {"include_top": True}, "include_top=True is not an option .* no classifier"),
        ("VGG16", {"pooling": "avg"}, "pooling='avg' is not an option .* the head does"),
        ("VGG16", {"input_shape": (9, 9, 3)}, r"input_shape=\(9, 9, 3\) .* give input_size"),
        ("EfficientNetV2B0", {"include_preprocessing": False}, "include_preprocessing=False .*RGB"),
        ("MobileNetV2", {"alpha": "x"}, "keras.applications.MobileNetV2 refuses these options"),
        ("MobileNetV2", {"preprocessing": "tf"}, "preprocessing='tf' is for a model of your own"),
    ],
)
def test_options_that_do_not_fit_are_refused(name, options, message):
    with pytest.raises(InputError, match=message):
        load_backbone(name, weights=None, **options)


# --- weights ---------------------------------------------------------------------------------


def test_a_weights_file_gives_the_features_of_the_model_that_wrote_it(tmp_path):
    raw = raw_mobilenet()
    raw.save_weights(tmp_path / "mine.weights.h5")
    backbone = load_backbone("MobileNetV2", tmp_path / "mine.weights.h5", 32, alpha=0.35)
    images = photos(32)
    np.testing.assert_allclose(backbone.model(images), raw(images / 127.5 - 1), atol=1e-4)
    assert backbone.weights == "mine.weights.h5"


def test_a_file_of_keras_2_loads_under_either_name(tmp_path):
    raw = raw_mobilenet()
    raw.save(tmp_path / "whole.h5")
    (tmp_path / "renamed.weights.h5").write_bytes((tmp_path / "whole.h5").read_bytes())
    images = photos(32)
    for name in ("whole.h5", "renamed.weights.h5"):
        backbone = load_backbone("MobileNetV2", tmp_path / name, 32, alpha=0.35)
        np.testing.assert_allclose(backbone.model(images), raw(images / 127.5 - 1), atol=1e-4)


def test_weights_saved_from_a_backbone_load_into_it_again(tmp_path):
    # ConvNeXt's nested models are taken apart in the backbone, so the file differs from Keras' own.
    first = load_backbone("ConvNeXtTiny", None, 32)
    first.model.save_weights(tmp_path / "flat.weights.h5")
    second = load_backbone("ConvNeXtTiny", tmp_path / "flat.weights.h5", 32)
    images = photos(32)
    np.testing.assert_allclose(second.model(images), first.model(images), atol=1e-5)


@pytest.mark.slow
def test_weights_of_an_unknown_width_name_layer_and_both_shapes(tmp_path):
    raw_mobilenet(alpha=0.45).save_weights(tmp_path / "wide.weights.h5")
    message = r"'wide.weights.h5' do not fit MobileNetV2: layer '.*\(3, 3, 3, 48\).*\(3, 3, 3, 16\)"
    with pytest.raises(InputError, match=message) as caught:
        load_backbone("MobileNetV2", tmp_path / "wide.weights.h5", 32, alpha=1.4)
    assert caught.value.__cause__ is not None


def test_weights_of_another_family_are_refused(tmp_path):
    raw_mobilenet().save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(
        InputError, match=r"'other.weights.h5' do not fit VGG16: layer 'block1_conv1'"
    ):
        load_backbone("VGG16", tmp_path / "other.weights.h5", 32)


def keras_2_weights(model, path):
    """Save weights as Keras 2 did: the layers at the root of the file, and no configuration."""
    model.save(path.with_name("whole.h5"))
    with h5py.File(path.with_name("whole.h5")) as whole, h5py.File(path, "w") as weights:
        for name, group in whole["model_weights"].items():
            whole.copy(group, weights, name)
        weights.attrs.update(whole["model_weights"].attrs)


@pytest.mark.slow
def test_keras_2_weights_of_another_family_are_refused(tmp_path):
    keras_2_weights(raw_mobilenet(), tmp_path / "other.h5")
    with pytest.raises(InputError, match=r"do not fit VGG16: layer 'block1_conv1' has the shapes"):
        load_backbone("VGG16", tmp_path / "other.h5", 32)
    keras_2_weights(raw_mobilenet(alpha=0.45), tmp_path / "wide.h5")
    with pytest.raises(InputError, match=r"layer 'Conv1' .*\(3, 3, 3, 24\).* \(3, 3, 3, 16\) in"):
        load_backbone("MobileNetV2", tmp_path / "wide.h5", 32, alpha=0.75)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "'file.weights.h5' is empty"),
        (b"<!DOCTYPE html><html>", "is no weights file .* begins with b'<!DOCTYPE ht'"),
        (b"PK\x03\x04 and so on", "is a whole model: give keras.models.load_model"),
    ],
)
def test_a_file_that_holds_no_weights_is_refused(tmp_path, content, message):
    (tmp_path / "file.weights.h5").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_backbone("MobileNetV2", tmp_path / "file.weights.h5", 32, alpha=0.35)


def test_a_truncated_file_is_refused(tmp_path):
    raw_mobilenet().save_weights(tmp_path / "cut.weights.h5")
    whole = (tmp_path / "cut.weights.h5").read_bytes()
    (tmp_path / "cut.weights.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"'cut.weights.h5' is damaged or cut off") as caught:
        load_backbone("MobileNetV2", tmp_path / "cut.weights.h5", 32, alpha=0.35)
    assert isinstance(caught.value.__cause__, OSError)


def test_an_hdf5_file_of_something_else_is_refused(tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["photos"] = np.zeros(3)
    with pytest.raises(InputError, match="without Keras weights: it holds photos"):
        load_backbone("MobileNetV2", tmp_path / "data.h5", 32)


@pytest.mark.parametrize("file", ["narrow.weights.h5", "narrow.h5"])
def test_weights_of_another_alpha_say_which(tmp_path, file):
    raw_mobilenet(96).save_weights(tmp_path / "narrow.weights.h5")
    if file == "narrow.h5":
        model = raw_mobilenet(96)
        model.save(tmp_path / "whole.h5")
        with h5py.File(tmp_path / "whole.h5") as whole, h5py.File(tmp_path / file, "w") as weights:
            weights.attrs.update(whole["model_weights"].attrs)
            for name in whole["model_weights"]:
                whole.copy(f"model_weights/{name}", weights)
    with pytest.raises(
        InputError, match=r"of MobileNetV2 with alpha=0.35, not alpha=1.0: give alpha=0.35 \(--back"
    ):
        load_backbone("MobileNetV2", tmp_path / file, 96)


def test_a_whole_model_of_keras_2_is_to_be_given_as_the_backbone(tmp_path):
    images = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(images))
    keras.Model(images, keras.layers.Dense(2)(pooled)).save(tmp_path / "keras_model.h5")
    with pytest.raises(
        InputError, match=r"'keras_model.h5' is a whole model.*give keras.models.load_model\('keras"
    ):
        load_backbone("MobileNetV2", tmp_path / "keras_model.h5", 96)


def test_without_network_the_error_says_what_to_do(monkeypatch):
    limits = []

    def no_network(*args, **kwargs):
        limits.append(socket.getdefaulttimeout())
        raise Exception("URL fetch failure")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", no_network)
    with pytest.raises(
        InputError, match=r"could not be downloaded \(URL fetch failure\)"
    ) as caught:
        load_backbone("MobileNetV2", input_size=96)
    assert 'weights="path.weights.h5"' in str(caught.value)
    assert 'weights="mini"' in str(caught.value)
    assert str(caught.value.__cause__) == "URL fetch failure"
    assert limits == [20.0]
    assert socket.getdefaulttimeout() is None


def test_downloaded_weights_are_loaded(monkeypatch, tmp_path):
    raw = raw_mobilenet(96)
    raw.save_weights(tmp_path / "imagenet.weights.h5")
    monkeypatch.setattr(
        "keras.src.utils.file_utils.get_file", lambda *a, **k: str(tmp_path / "imagenet.weights.h5")
    )
    backbone = load_backbone("MobileNetV2", input_size=96, alpha=0.35)
    images = photos(96)
    np.testing.assert_allclose(backbone.model(images), raw(images / 127.5 - 1), atol=1e-4)
    assert backbone.weights == "imagenet"
    # At a size for which Keras has no weights of their own it warns; a transfer learner means just
    # that.
    assert load_backbone("MobileNetV2", input_size=64, alpha=0.35).input_size == (64, 64)


def test_the_mini_weights_come_with_their_size_and_width():
    if not MINI_FILE.exists():
        pytest.skip(f"no {MINI_FILE.name} yet")
    backbone = load_backbone("MobileNetV2", "mini")
    assert (backbone.input_size, backbone.weights) == ((96, 96), "mini")
    raw = raw_mobilenet(96)
    raw.load_weights(MINI_FILE)
    images = photos(96)
    np.testing.assert_allclose(backbone.model(images), raw(images / 127.5 - 1), atol=1e-4)


def test_the_mini_weights_are_refused_for_another_width():
    with pytest.raises(InputError, match=r"with alpha=0.35, got alpha=1.0"):
        load_backbone("MobileNetV2", "mini", alpha=1.0)


def test_a_missing_mini_file_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr("ktransfer.backbones.applications.MINI_FILE", tmp_path / "gone.weights.h5")
    with pytest.raises(InputError, match=r"'mini' are missing .*gone.weights.h5"):
        load_backbone("MobileNetV2", "mini")


@pytest.mark.slow
def test_efficientnet_weights_by_path_equal_the_same_weights_by_name(monkeypatch, tmp_path):
    # Keras inserts a second scaling only for weights="imagenet"; by path the same file would be
    # fed wrongly scaled images.
    shape = (32, 32, 3)
    raw = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=shape)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    raw.layers[2].set_weights([mean, std**2, np.array(0)])
    raw.save_weights(tmp_path / "b0.weights.h5")
    monkeypatch.setattr(
        "keras.src.utils.file_utils.get_file", lambda *a, **k: str(tmp_path / "b0.weights.h5")
    )
    by_keras = keras.applications.EfficientNetB0(include_top=False, input_shape=shape)
    images = photos(32)
    expected = by_keras(images).numpy()
    assert np.abs(raw(images).numpy() - expected).max() > 0.01 * np.abs(expected).max()
    for weights in ("imagenet", tmp_path / "b0.weights.h5"):
        features = load_backbone("EfficientNetB0", weights, 32).model(images).numpy()
        np.testing.assert_allclose(features, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.shared
def test_real_weights_give_the_features_of_keras():
    path = SHARED / "weights" / "mobilenetv2_0.35_224_notop.weights.h5"
    if not path.exists():
        pytest.skip(f"no {path}; set KTRANSFER_SHARED")
    backbone = load_backbone("MobileNetV2", path, alpha=0.35)
    raw = keras.applications.MobileNetV2(alpha=0.35, include_top=False, weights=path)
    images = photos(224)
    np.testing.assert_allclose(backbone.model(images), raw(images / 127.5 - 1), atol=1e-4)


# --- a model of one's own --------------------------------------------------------------------


def test_a_model_that_rescales_needs_no_preprocessing():
    model = small_network(keras.layers.Rescaling(1 / 255))
    backbone = load_backbone(model)
    images = photos(16)
    np.testing.assert_array_equal(backbone.model(images).numpy(), model(images).numpy())
    assert (backbone.name, backbone.weights, len(backbone.blocks)) == ("mine", "own", 2)
    assert backbone.preprocessed[0] is backbone.prefix(0).output


def test_augmentation_before_the_rescaling_stays_in_front():
    model = small_network(keras.layers.RandomFlip(), keras.layers.Rescaling(1 / 255))
    assert [block.layers[0].name for block in load_backbone(model).blocks] == ["one", "two"]


@pytest.mark.parametrize(
    ("mode", "reference"),
    [
        ("none", lambda x: x),
        ("tf", keras.applications.mobilenet_v2.preprocess_input),
        ("caffe", keras.applications.resnet.preprocess_input),
        ("torch", keras.applications.densenet.preprocess_input),
    ],
)
def test_the_preprocessing_of_an_own_model_is_the_one_asked_for(mode, reference):
    model = small_network()
    images = photos(16)
    features = load_backbone(model, preprocessing=mode).model(images)
    expected = model(reference(images.astype("float32")))
    np.testing.assert_allclose(features, expected, atol=1e-5 * np.abs(expected).max())


def test_a_model_of_keras_applications_is_recognised():
    raw = raw_mobilenet()
    images = photos(32)
    np.testing.assert_allclose(load_backbone(raw).model(images), raw(images / 127.5 - 1), atol=1e-4)


def test_a_name_alone_proves_nothing():
    features = keras.layers.Conv2D(2, 3)(images := keras.Input((16, 16, 3)))
    with pytest.raises(InputError, match="'resnet50' does not show how its images must be scaled"):
        load_backbone(keras.Model(images, features, name="resnet50"))


def test_a_known_network_behind_other_layers_proves_nothing():
    base, images = raw_mobilenet(), keras.Input((32, 32, 3))
    assert len(load_backbone(keras.Model(images, base(images))).blocks) == 19
    model = keras.Model(images, base(keras.layers.Conv2D(3, 1)(images)), name="behind")
    with pytest.raises(InputError, match="'behind' does not show"):
        load_backbone(model)


def test_the_classifier_around_a_nested_base_is_left_out():
    base = raw_mobilenet()
    images = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(
        base(keras.layers.Rescaling(1 / 127.5, -1)(images))
    )
    model = keras.Model(images, keras.layers.Dense(2)(keras.layers.Dropout(0.2)(pooled)))
    backbone = load_backbone(model)
    assert len(backbone.blocks) == 19
    batch = photos(32)
    np.testing.assert_allclose(backbone.model(batch), base(batch / 127.5 - 1), atol=1e-4)


@pytest.mark.parametrize("pooling", [keras.layers.GlobalMaxPooling2D, keras.layers.Flatten])
def test_the_classifier_of_a_sequential_model_is_left_out(pooling):
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3), pooling()]
    top = [
        keras.layers.Dense(8, "relu"),
        keras.layers.Dropout(0.1),
        keras.layers.Dense(2, "softmax"),
    ]
    model = keras.Sequential([keras.Input((16, 16, 3)), *layers, *top])
    assert load_backbone(model).model.output_shape == (None, 14, 14, 4)


def test_the_model_itself_is_not_changed():
    model = raw_mobilenet(classifier_activation=None)
    images = photos(32) / 127.5 - 1
    before, structure = model(images).numpy(), model.to_json()
    backbone = load_backbone(model)
    backbone.prefix(5), backbone.suffix(5)
    assert model.to_json() == structure
    np.testing.assert_array_equal(model(images).numpy(), before)
    assert not {id(w) for w in backbone.model.weights} & {id(w) for w in model.weights}
    features = keras.Model(model.inputs[0], model.layers[-3].output)  # before the pooling
    np.testing.assert_allclose(backbone.model(photos(32)), features(images), atol=1e-5)


def test_a_convolutional_model_takes_another_size():
    model = small_network(keras.layers.Rescaling(1 / 255), size=None)
    assert load_backbone(model, input_size=(20, 24)).input_size == (20, 24)
    with pytest.raises(InputError, match="'mine' leaves the size of its images open"):
        load_backbone(model)


class Subclassed(keras.Model):
    def call(self, images):
        return images


def two_inputs():
    inputs = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    return keras.Model(inputs, keras.layers.Add()(inputs), name="pair")


def grey():
    images = keras.Input((8, 8, 1))
    return keras.Model(images, keras.layers.Conv2D(2, 1)(images), name="grey")


def unclear_top():
    images = keras.Input((8, 8, 3))
    return keras.Model(
        images, keras.ops.max(keras.layers.Conv2D(2, 1)(images), axis=(1, 2)), name="odd"
    )


@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        (small_network, {}, "'mine' does not show how its images must be scaled"),
        (small_network, {"preprocessing": "tff"}, "unknown preprocessing 'tff': did you mean tf"),
        (small_network, {"weights": "x.h5"}, "keeps the weights that it has: load 'x.h5'"),
        (small_network, {"alpha": 1}, "not for a finished model: got alpha"),
        (lambda: Subclassed(name="sub"), {}, r"'sub' is a Subclassed with a call\(\) of its own"),
        (lambda: keras.Sequential([keras.layers.Dense(2)], name="raw"), {}, "'raw' is not built"),
        (two_inputs, {}, "'pair' has 2 and 1"),
        (grey, {}, r"'grey' takes \(None, 8, 8, 1\)"),
        (
            unclear_top,
            {"preprocessing": "none"},
            r"'odd' ends in \(None, 2\) and it is not evident",
        ),
    ],
)
def test_models_that_cannot_be_a_backbone_are_refused(build, arguments, message):
    with pytest.raises(InputError, match=message):
        load_backbone(build(), **arguments)


def test_a_size_that_the_layers_cannot_take_is_refused():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Rescaling(1.0), keras.layers.Reshape((4, 16, 3))],
        name="fixed",
    )
    with pytest.raises(InputError, match=r"'fixed' is built for images of \(8, 8\) px .*\(9, 9\)"):
        load_backbone(model, input_size=9)


# --- KerasHub --------------------------------------------------------------------------------


def test_hub_resnet_18_has_the_published_parameters():
    pytest.importorskip("keras_hub")
    backbone = load_backbone("hub:resnet_18_imagenet", None, 32)
    trainable = sum(int(np.prod(v.shape)) for v in backbone.model.trainable_weights)
    assert (
        trainable == 11_176_512
    )  # 11,689,512 with a head of 512 x 1000 + 1000, as torchvision has
    assert [block.name for block in backbone.blocks[1:]] == [
        f"stack{s}_block{b}_out" for s in range(4) for b in range(2)
    ]


def test_hub_vision_transformer_is_taken_apart_and_stays_the_same():
    keras_hub = pytest.importorskip("keras_hub")
    original = keras_hub.models.ViTBackbone(image_shape=(32, 32, 3), **TINY_VIT)
    backbone = load_backbone(original, preprocessing="tf")
    images = photos(32)
    expected = original(images / 127.5 - 1).numpy()
    np.testing.assert_allclose(backbone.model(images), expected, atol=1e-5)
    assert expected.shape == (2, 17, 16)
    assert len(backbone.blocks) == 1 + TINY_VIT["num_layers"]
    for boundary in range(5):
        part = backbone.suffix(boundary)(backbone.prefix(boundary)(images))
        np.testing.assert_allclose(part, expected, atol=1e-5)


def test_hub_preset_can_be_built_in_miniature_and_read_a_weights_file(tmp_path):
    pytest.importorskip("keras_hub")
    name = "hub:vit_base_patch16_224_imagenet"
    first = load_backbone(name, None, 32, **TINY_VIT)
    first.model.save_weights(tmp_path / "vit.weights.h5")
    second = load_backbone(name, tmp_path / "vit.weights.h5", 32, **TINY_VIT)
    images = photos(32)
    np.testing.assert_allclose(second.model(images), first.model(images), atol=1e-6)
    assert second.weights == "vit.weights.h5"


def test_hub_preset_folder_brings_its_weights_and_its_preprocessing(tmp_path):
    keras_hub = pytest.importorskip("keras_hub")
    original = keras_hub.models.ViTBackbone(image_shape=(32, 32, 3), **TINY_VIT)
    converter = keras_hub.layers.ViTImageConverter(
        scale=[0.01, 0.02, 0.03], offset=[-1.0, 0.0, 1.0]
    )
    original.save_to_preset(tmp_path)
    converter.save_to_preset(tmp_path)
    backbone = load_backbone(f"hub:{tmp_path}")
    images = photos(32)
    expected = original(converter(images.astype("float32")))
    np.testing.assert_allclose(backbone.model(images), expected, atol=1e-5)
    assert backbone.weights == str(tmp_path)


def test_hub_without_network_says_what_to_do(monkeypatch):
    keras_hub = pytest.importorskip("keras_hub")

    def no_network(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", no_network)
    with pytest.raises(InputError, match=r"could not be downloaded \(no route\)") as caught:
        load_backbone("hub:resnet_18_imagenet")
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_hub_that_is_not_installed_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(
        InputError, match=r'hub:resnet_18_imagenet .* pip install "ktransfer\[hub\]"'
    ):
        load_backbone("hub:resnet_18_imagenet")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("hub:resnet18",), {}, "unknown KerasHub preset 'resnet18': did you mean resnet_18_imag"),
        (("hub:vit_giant", None), {}, "can be built, got 'vit_giant'"),
        (("hub:resnet_18_imagenet",), {"image_shape": 3}, "only its own options, got image_shape"),
        (("hub:resnet_18_imagenet", None), {"blocktype": "x"}, "no option blocktype='x': did you"),
        (("hub:resnet_18_imagenet", None), {"block_type": "x"}, "ResNetBackbone refuses these"),
        (("hub:vit_base_patch16_224_imagenet", None, 33), {}, "ViTBackbone refuses these options"),
    ],
)
def test_hub_arguments_that_cannot_be_used_are_refused(arguments, options, message):
    pytest.importorskip("keras_hub")
    with pytest.raises(InputError, match=message):
        load_backbone(*arguments, **options)


def test_a_hub_instance_must_say_how_its_images_are_scaled():
    keras_hub = pytest.importorskip("keras_hub")
    vit = keras_hub.models.ViTBackbone(image_shape=(32, 32, 3), **TINY_VIT)
    with pytest.raises(InputError, match=r"ViTBackbone does not say .* preprocessing='tf'"):
        load_backbone(vit)
    with pytest.raises(InputError, match=r"cannot take images of \(40, 40\) px"):
        load_backbone(vit, input_size=40, preprocessing="tf")


def test_a_hub_instance_that_is_not_for_images_is_refused():
    keras_hub = pytest.importorskip("keras_hub")
    text = keras_hub.models.BertBackbone(
        vocabulary_size=9, num_layers=1, num_heads=1, hidden_dim=4, intermediate_dim=4
    )
    with pytest.raises(InputError, match="BertBackbone is no backbone for images"):
        load_backbone(text, preprocessing="none")


# --- the list --------------------------------------------------------------------------------


def test_the_list_names_every_constructor_with_its_facts():
    infos = {info.name: info for info in list_backbones()}
    constructors = {name for name in dir(keras.applications) if name[0].isupper()}
    assert set(infos) == constructors | {"ResNet18", "ResNet34", "AlexNet"}
    assert infos["ResNet18"] == BackboneInfo("ResNet18", 11_186_112, 9, (224, 224))
    assert infos["MobileNetV2"] == BackboneInfo("MobileNetV2", 2_257_984, 19, (224, 224))


def test_listing_imports_neither_keras_nor_tensorflow():
    script = (
        "import sys; from ktransfer.backbones import list_backbones; assert list_backbones(); "
        "print([m for m in ('keras', 'tensorflow', 'numpy') if m in sys.modules])"
    )
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    import ktransfer.backbones

    with pytest.raises(AttributeError, match="no attribute 'load_backbones'"):
        _ = ktransfer.backbones.load_backbones
