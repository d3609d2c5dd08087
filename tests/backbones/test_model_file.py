"""A Keras model in a file as a backbone: what is taken, and what is refused and why."""

import json
import os
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import small_network

from ktransfer import FineTuner, InputError
from ktransfer.backbones import load_backbone
from ktransfer.backbones.model_file import input_size_of, is_model_file
from ktransfer.freezing import prefix_digest
from ktransfer.profile import measure_gap


def photos(size=16):
    return np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype("uint8")


def their_loss(truth, said):
    return truth - said


@pytest.fixture
def saved(tmp_path):
    small_network().save(tmp_path / "mine.keras")
    return tmp_path / "mine.keras"


def with_config(source, target, change):
    """Copy a model file, its configuration changed as an attacker or an accident might."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            contents = old.read(name)
            if name == "config.json":
                config = json.loads(contents)
                change(config)
                contents = json.dumps(config)
            new.writestr(name, contents)
    return target


@pytest.mark.parametrize("as_given", [str, Path])
def test_a_model_file_is_the_model_that_was_saved(saved, as_given):
    backbone = load_backbone(as_given(saved))
    np.testing.assert_array_equal(backbone.model(photos()), small_network()(photos()))
    assert (backbone.name, backbone.weights) == ("mine.keras", "own")
    assert len(backbone.blocks) == 2
    assert len(FineTuner(as_given(saved), verbose=False).backbone.blocks) == 2


def test_what_a_model_was_compiled_with_is_not_asked_for(saved, tmp_path):
    model = small_network()
    model.compile("adam", loss=their_loss)
    model.save(tmp_path / "compiled.keras")
    found = load_backbone(tmp_path / "compiled.keras").model
    np.testing.assert_array_equal(found(photos()), model(photos()))


def test_the_preprocessing_is_said_as_of_any_model_of_ones_own(tmp_path):
    images = keras.Input((16, 16, 3))
    plain = keras.Model(images, keras.layers.Conv2D(4, 3)(images), name="plain")
    plain.save(tmp_path / "plain.keras")
    with pytest.raises(InputError, match=r"does not show .* --backbone-option preprocessing=none"):
        load_backbone(tmp_path / "plain.keras")
    for given, scale in (("tf", lambda x: x / 127.5 - 1), (None, lambda x: x.astype("float32"))):
        backbone = load_backbone(tmp_path / "plain.keras", preprocessing=given)
        expected = plain(scale(photos()))
        np.testing.assert_allclose(backbone.model(photos()), expected, atol=1e-3)
        assert backbone.options == {"preprocessing": given or "none"}


def test_the_same_contents_elsewhere_are_the_same_to_the_cache(saved, tmp_path):
    (tmp_path / "moved").mkdir()
    moved = tmp_path / "moved" / "other.keras"
    moved.write_bytes(saved.read_bytes())
    digests = [prefix_digest(load_backbone(each), 2) for each in (saved, moved)]
    changed = small_network()
    changed.layers[2].kernel.assign_add(changed.layers[2].kernel)
    changed.save(saved)
    assert digests[0] == digests[1] != prefix_digest(load_backbone(saved), 2)


@pytest.mark.parametrize(
    ("name", "is_file"),
    [
        ("mine.keras", True),
        ("MINE.KERAS", True),
        (os.path.join("models", "mine"), True),
        ("whole.h5", True),
        ("MobileNetV2", False),
        ("hub:hf://timm/resnet34.a1_in1k", False),
        (3, False),
    ],
)
def test_a_path_is_told_from_a_name_by_what_it_looks_like(name, is_file):
    assert is_model_file(name) == is_file


def test_what_is_no_model_file_says_so(saved, tmp_path):
    (tmp_path / "text.keras").write_text("no model")
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "old.h5").write_bytes(b"\x89HDF\r\n")
    with zipfile.ZipFile(tmp_path / "zip.keras", "w") as archive:
        archive.writestr("photo.jpg", b"")
    with (
        zipfile.ZipFile(saved) as old,
        zipfile.ZipFile(tmp_path / "packed.keras", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    (tmp_path / "cut.keras").write_bytes(saved.read_bytes()[:2000])
    for name, message in {
        "gone.keras": r"no model file '.*gone.keras': --backbone takes a name, or",
        "text.keras": r"no model that Keras 3 saved \(File is not a zip file\): .*model.save",
        "folder.keras": r"is a folder, and a backbone of your own is a file",
        "old.h5": r"no model that Keras 3 saved .*open it with what wrote it, and save it",
        "zip.keras": r"no model that Keras 3 saved \(it holds 'photo.jpg' instead of",
        "packed.keras": r"no model that Keras 3 saved \(its member .* is compressed",
        "cut.keras": r"no model that Keras 3 saved",
    }.items():
        with pytest.raises(InputError, match=message):
            load_backbone(str(tmp_path / name))


def test_a_layer_that_would_run_code_is_refused_with_what_to_do(tmp_path):
    images = keras.Input((16, 16, 3))
    halved = keras.layers.Lambda(lambda x: x / 2)(images)
    keras.Model(images, keras.layers.Conv2D(4, 3)(halved)).save(tmp_path / "lambda.keras")
    message = r"'Lambda' would run code of the file .*build the model again with layers of Keras"
    with pytest.raises(InputError, match=message):
        load_backbone(tmp_path / "lambda.keras", preprocessing="tf")


def test_a_class_that_nobody_knows_is_refused_with_what_to_do(saved, tmp_path):
    def change(config):
        layer = config["config"]["layers"][1]
        layer |= {"module": "their.code", "class_name": "Theirs", "registered_name": "Theirs"}

    changed = with_config(saved, tmp_path / "theirs.keras", change)
    message = r"its class 'Theirs' .* is not registered.* @keras.saving.register_keras_serializable"
    with pytest.raises(InputError, match=message):
        load_backbone(changed)


def test_a_model_that_asks_for_more_memory_than_it_holds_is_refused(saved, tmp_path):
    def change(config):
        convolution = next(
            each for each in config["config"]["layers"] if each["class_name"] == "Conv2D"
        )
        convolution["config"]["filters"] = 10**9
        convolution["build_config"] = {"input_shape": [None, 16, 16, 3]}

    changed = with_config(saved, tmp_path / "large.keras", change)
    with pytest.raises(InputError, match=r"large.keras' cannot be taken: "):
        load_backbone(changed)


def test_a_classifier_is_cut_off_where_that_is_evident_and_said(tmp_path):
    base = small_network()
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(base.output)
    keras.Model(base.input, keras.layers.Dense(3, name="said")(pooled)).save(tmp_path / "top.keras")
    backbone = load_backbone(tmp_path / "top.keras")
    np.testing.assert_array_equal(backbone.model(photos()), base(photos()))
    assert "is left out: pooled, said" in backbone.notes[0]


def test_a_classifier_that_is_not_evident_says_how_to_cut_it(tmp_path):
    base = small_network()
    pooled = keras.layers.GlobalAveragePooling2D()(base.output)
    both = keras.layers.Add()([keras.layers.Dense(3)(pooled), keras.layers.Dense(3)(pooled)])
    keras.Model(base.input, both).save(tmp_path / "two.keras")
    last = base.layers[-1].name
    message = (
        rf"not evident where its classifier begins.*get_layer\('{last}'\).*\.save\(\"cut.keras"
    )
    with pytest.raises(InputError, match=message):
        load_backbone(tmp_path / "two.keras")


def test_a_model_without_weights_has_nothing_to_freeze(tmp_path):
    images = keras.Input((16, 16, 3))
    keras.Model(images, keras.layers.Rescaling(0.5)(images)).save(tmp_path / "none.keras")
    with pytest.raises(
        InputError, match=r"no weights behind its preprocessing: there are no blocks"
    ):
        load_backbone(tmp_path / "none.keras")


@pytest.mark.parametrize("weights", ["mini", None, "other.weights.h5"])
def test_weights_beside_a_model_file_are_refused(saved, weights):
    with pytest.raises(InputError, match=rf"has weights of its own, got weights={weights!r} besid"):
        FineTuner(saved, weights)


def test_the_size_of_its_images_is_read_without_building_it(saved, tmp_path):
    assert input_size_of(str(saved)) == (16, 16)
    images = keras.Input((None, None, 3))
    keras.Model(images, keras.layers.Conv2D(2, 3)(images)).save(tmp_path / "open.keras")
    with pytest.raises(InputError, match="does not say the size of its images: give --input-size"):
        input_size_of(str(tmp_path / "open.keras"))


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(
    ("data", "expected"), [("flowers", 0.025), ("chest_xray", 0.116), ("steel_defects", 0.284)]
)
def test_the_gap_is_measured_with_an_own_model(shared, data, expected):
    from ktransfer.data import read_data

    backbone = load_backbone(shared / "weights" / "efficientnet_lite0_224_notop.keras")
    gap = measure_gap(backbone, read_data(shared / "data" / data).train, most_images=64)
    assert gap.value == pytest.approx(expected, rel=0.15)
