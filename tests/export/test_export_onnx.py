import json
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

from ktransfer import InputError, RunError
from ktransfer.backbones import load_backbone
from ktransfer.data.images.resizing import resize_array
from ktransfer.export.formats import OPSETS
from ktransfer.export.onnx import check_installed, converting, write_onnx, writing
from ktransfer.features import attach, build_classifier, pool

SIZE = (24, 24)
layers = keras.layers


def random_images(number=6, size=(24, 24), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, *size, 3), dtype=np.uint8)


def classifier(images, features, seen=None, num_classes=3):
    """A model whose probabilities differ from image to image, of those that it was fitted to."""
    x = layers.GlobalAveragePooling2D()(features) if len(features.shape) == 4 else features
    seen = keras.Model(images, x).predict(random_images() if seen is None else seen, verbose=0)
    kernel = np.random.default_rng(0).normal(size=(x.shape[-1], num_classes))
    kernel /= np.std((seen - seen.mean(axis=0)) @ kernel, axis=0)
    head = layers.Dense(num_classes)
    x = head(x)
    head.set_weights([kernel, -seen.mean(axis=0) @ kernel])
    return keras.Model(images, layers.Softmax(name="probabilities")(x), name="ktransfer_model")


def run(file, images):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"images": images})
    return probabilities


def check_same(model, file, images, size=SIZE):
    expected = model.predict(resize_array(images, size), verbose=0)
    assert expected.std(axis=0).max() > 0.05, "the images look all the same to the network"
    found = run(file, images)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))


def operators(file):
    return {each.op_type for each in onnx.load(file).graph.node}


@pytest.fixture
def here(monkeypatch):
    """The conversion in this process, which has TensorFlow imported already."""

    def convert(module, folder, job, what):
        (folder / "job.json").write_text(json.dumps(job))
        converting.main(folder)
        return json.loads((folder / "outcome.json").read_text())

    monkeypatch.setattr(writing, "run_aside", convert)


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


# --- the file --------------------------------------------------------------------------------


def test_mini_network_predicts_the_same_from_pixels_of_any_size(tmp_path):
    body = load_backbone("MobileNetV2", "mini").model
    file = tmp_path / "model.onnx"
    model = classifier(body.inputs[0], body.output, random_images(24, (96, 96)))
    write_onnx(model, (96, 96), file, metadata={"ktransfer": '{"classes": ["ä"]}'})
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (images,), (probabilities,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type) == ("images", "tensor(uint8)")
    assert images.shape == ["batch", "height", "width", 3]
    assert (probabilities.name, probabilities.type) == ("probabilities", "tensor(float)")
    assert probabilities.shape == ["batch", 3]
    assert session.get_modelmeta().custom_metadata_map == {"ktransfer": '{"classes": ["ä"]}'}
    assert onnx.load(file).opset_import[0].version == 17
    for size in [(96, 96), (37, 50), (250, 130), (311, 403)]:
        check_same(model, file, random_images(8, size), (96, 96))


# --- what the converter or the runtime would get wrong ----------------------------------------


def test_statistics_that_a_layer_holds_are_no_inputs_of_the_file(here, tmp_path):
    images = keras.Input((*SIZE, 3))
    spread = layers.Conv2D(200, 3)(images)
    # More numbers than TensorFlow puts into a graph by itself.
    mean, variance = np.linspace(-90, 90, 200), np.linspace(10**2, 200**2, 200)
    model = classifier(images, layers.Normalization(mean=mean, variance=variance)(spread))
    write_onnx(model, SIZE, tmp_path / "model.onnx")
    check_same(model, tmp_path / "model.onnx", random_images())


def test_grouped_convolution_is_an_operator(here, tmp_path):
    images = keras.Input((*SIZE, 3))
    x = layers.Conv2D(8, 3)(layers.Rescaling(1 / 255)(images))
    model = classifier(images, layers.Conv2D(8, 3, groups=4)(x))
    write_onnx(model, SIZE, tmp_path / "model.onnx")
    check_same(model, tmp_path / "model.onnx", random_images())


def test_exact_gelu_is_written_with_erf(here, tmp_path):
    images = keras.Input((*SIZE, 3))
    x = layers.Conv2D(8, 3)(layers.Rescaling(1 / 127.5, -1.0)(images))
    model = classifier(images, layers.Activation("gelu")(x))
    write_onnx(model, SIZE, tmp_path / "model.onnx")
    check_same(model, tmp_path / "model.onnx", random_images())
    assert "Erf" in operators(tmp_path / "model.onnx")


@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 1), (2, 0))])
@pytest.mark.parametrize("pooling", [layers.MaxPooling2D, layers.AveragePooling2D])
def test_zeros_before_a_pooling_stay_zeros(here, tmp_path, pooling, padding):
    images = keras.Input((*SIZE, 3))
    # All of it lies below zero: zeros win wherever there are some.
    x = layers.Conv2D(4, 3, strides=2)(layers.Rescaling(-1 / 255, -0.1)(images))
    x = layers.ZeroPadding2D(padding)(-keras.ops.abs(x))
    model = classifier(images, layers.Flatten()(pooling(3, 2)(x)))
    write_onnx(model, SIZE, tmp_path / "model.onnx")
    check_same(model, tmp_path / "model.onnx", random_images())
    # ONNX Runtime 1.31 would fuse these two, and be wrong by half the range; 1.32 does not.
    assert not {"MaxPool", "Pad"} <= operators(tmp_path / "model.onnx")


def test_padding_wider_than_the_pooling_is_left_as_it_is(here, tmp_path):
    images = keras.Input((*SIZE, 3))
    x = layers.Conv2D(4, 3, strides=2)(layers.Rescaling(-1 / 255, -0.1)(images))
    x = layers.MaxPooling2D(2)(layers.ZeroPadding2D(3)(-keras.ops.abs(x)))
    model = classifier(images, layers.Flatten()(x))
    write_onnx(model, SIZE, tmp_path / "model.onnx")
    check_same(model, tmp_path / "model.onnx", random_images())


def test_a_number_is_added_to_a_convolution(here, tmp_path):
    images = keras.Input((*SIZE, 3))
    x = layers.Conv2D(8, 3, use_bias=False)(layers.Rescaling(1 / 127.5, -1.0)(images))
    model = classifier(images, keras.ops.relu6(x + 3.0))
    write_onnx(model, SIZE, tmp_path / "model.onnx")
    check_same(model, tmp_path / "model.onnx", random_images())


def test_blocks_of_a_vision_transformer_convert(here, tmp_path):
    keras_hub = pytest.importorskip("keras_hub")
    tiny = {"patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    network = keras_hub.models.ViTBackbone(image_shape=(*SIZE, 3), **tiny)
    body = load_backbone(network, preprocessing="tf").model
    model = classifier(body.inputs[0], pool(body.output, "token"))
    write_onnx(model, SIZE, tmp_path / "model.onnx")
    check_same(model, tmp_path / "model.onnx", random_images())


# --- opsets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [OPSETS[0], OPSETS[-1]])
def test_lowest_and_highest_opset_give_the_same_model(here, tmp_path, opset):
    images = keras.Input((*SIZE, 3))
    x = layers.BatchNormalization()(layers.Conv2D(8, 3)(layers.Rescaling(1 / 255)(images)))
    model = classifier(images, layers.ReLU()(x))
    write_onnx(model, SIZE, tmp_path / "model.onnx", opset=opset)
    check_same(model, tmp_path / "model.onnx", random_images())
    assert onnx.load(tmp_path / "model.onnx").opset_import[0].version == opset


def test_opset_too_low_names_the_operator_and_what_it_needs(here, tmp_path):
    images = keras.Input((*SIZE, 3))
    model = classifier(images, keras.ops.cumsum(layers.Conv2D(4, 3)(images) / 1e4, axis=1))
    with pytest.raises(
        InputError, match=r"opset 10 is too low for Cumsum \(needs 11\): say opset=11"
    ):
        write_onnx(model, SIZE, tmp_path / "model.onnx", opset=10)
    assert not (tmp_path / "model.onnx").exists()
    write_onnx(model, SIZE, tmp_path / "model.onnx", opset=11)
    check_same(model, tmp_path / "model.onnx", random_images())


@pytest.mark.parametrize("opset", [9, 19, 17.0, True, "17"])
def test_unknown_opset_names_the_range(tmp_path, opset):
    with pytest.raises(InputError, match=rf"whole number from 10 to 18, got {opset!r}"):
        write_onnx(keras.Model(), SIZE, tmp_path / "model.onnx", opset=opset)


# --- what cannot be written -------------------------------------------------------------------


class Strange(layers.Layer):
    """Has an operation that ONNX does not."""

    def call(self, inputs):
        return tf.math.lgamma(tf.abs(inputs) + 1.0)


class Around(layers.Layer):
    """Has it inside of another layer."""

    def __init__(self, **options):
        super().__init__(**options)
        self.inner = Strange(name="the_inner_one")

    def call(self, inputs):
        return 2 * self.inner(inputs)


@pytest.mark.parametrize(
    ("layer", "place"),
    [
        (Strange(name="curious"), r"the layer 'curious' \(Strange\)"),
        (Around(name="outer"), r"the layer 'the_inner_one' \(Strange\)"),
    ],
)
def test_layer_that_onnx_has_no_operator_for_is_named(here, tmp_path, layer, place):
    images = keras.Input((*SIZE, 3))
    model = classifier(images, layer(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(images))))
    with pytest.raises(InputError, match=rf"no operator for Lgamma in {place}; write"):
        write_onnx(model, SIZE, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


class Table(layers.Layer):
    """Keeps a state that Keras does not know."""

    def build(self, shape):
        self.table = tf.Variable(tf.ones(shape[-1]))

    def call(self, inputs):
        return inputs * self.table


def test_state_that_is_no_variable_of_keras_is_refused(tmp_path):
    images = keras.Input((*SIZE, 3))
    model = classifier(images, Table()(images))
    with pytest.raises(InputError, match="keeps a state that is no variable of Keras"):
        write_onnx(model, SIZE, tmp_path / "model.onnx")


def test_other_keras_backends_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(InputError, match=r"Keras runs on 'jax': .*KERAS_BACKEND=tensorflow"):
        write_onnx(keras.Model(), SIZE, tmp_path / "model.onnx")


def test_missing_converter_names_the_extra(monkeypatch):
    monkeypatch.setattr(writing.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'onnx and tf2onnx: pip install "ktransfer\[onnx\]"'):
        check_installed()


# --- the process that converts ------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    images = keras.Input((*SIZE, 3))
    return classifier(images, layers.Conv2D(4, 3)(images))


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        ("os.kill(os.getpid(), 9)", "SIGKILL: by hand, or since memory ran out"),
        ("print('first line'); sys.exit('no room')", r"exit code 1\): no room"),
    ],
)
def test_process_that_dies_is_told_with_its_reason(small, tmp_path, monkeypatch, ends, reason):
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "one_that_dies.py").write_text(f"import os, sys\n{ends}")
    monkeypatch.syspath_prepend(modules)
    monkeypatch.setattr(writing, "_CONVERTING", "one_that_dies")
    with pytest.raises(RunError, match=f"the process that converts to ONNX died .*{reason}"):
        write_onnx(small, SIZE, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == [modules]


def test_full_disk_in_the_process_is_no_fault_of_the_model(small, tmp_path, monkeypatch):
    (tmp_path / "one_without_room.py").write_text(
        "import errno, os, pathlib, sys\n"
        "from ktransfer.export.aside import note_outcome\n"
        "reason = repr(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))\n"
        "note_outcome(pathlib.Path(sys.argv[1]), {'reason': reason})"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(writing, "_CONVERTING", "one_without_room")
    with pytest.raises(RunError, match=r"cannot write .*model\.onnx: .*No space left on device"):
        write_onnx(small, SIZE, tmp_path / "model.onnx")
    assert not [each for each in tmp_path.iterdir() if each.suffix != ".py"]


def test_target_that_is_not_writable_is_named(here, small, tmp_path):
    with pytest.raises(RunError, match=r"cannot write .*missing/model\.onnx"):
        write_onnx(small, SIZE, tmp_path / "missing" / "model.onnx")


@pytest.mark.slow
def test_exporting_a_hundred_megabytes_stays_far_below_eight_gigabytes(tmp_path):
    from onnx_families import peak_of_children

    backbone = load_backbone("ResNet50", None)
    model = attach(backbone.model, build_classifier(2048, 3), pooling="avg")
    with peak_of_children() as peak:
        write_onnx(model, backbone.input_size, tmp_path / "model.onnx")
    assert Path(tmp_path / "model.onnx").stat().st_size > 90e6
    assert 500 < peak[0] < 4_000
