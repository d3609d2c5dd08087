import importlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras.src.applications import imagenet_utils

from ktransfer.backbones import check_rgb_range, load_backbone
from ktransfer.backbones.families import FAMILY_OF
from ktransfer.backbones.preprocessing import apply_preprocessing
from ktransfer.errors import InputError

# The smallest network of every family of keras.applications.
FAST = [
    ("MobileNet", {"alpha": 0.25}),
    ("MobileNetV2", {"alpha": 0.35}),
    ("MobileNetV3Small", {}),
    ("VGG16", {}),
]
SLOW = [
    ("ConvNeXtTiny", {}),
    ("DenseNet121", {}),
    ("EfficientNetB0", {}),
    ("EfficientNetV2B0", {}),
    ("InceptionV3", {}),
    ("ResNet50", {}),
    ("ResNet50V2", {}),
    ("VGG19", {}),
    ("Xception", {}),
    ("NASNetMobile", {}),
    ("InceptionResNetV2", {}),
]
FAMILIES = [*FAST, *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW)]


def photos(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (2, size, size, 3)).astype("uint8")


@pytest.mark.parametrize(("name", "options"), FAMILIES)
def test_every_family_equals_the_raw_model_behind_its_own_preprocess_input(name, options, tmp_path):
    family = FAMILY_OF[name]
    size = family.minimum_px
    raw = getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=(size, size, 3), **options
    )
    raw.save_weights(tmp_path / "raw.weights.h5")
    backbone = load_backbone(name, tmp_path / "raw.weights.h5", size, **options)
    module = importlib.import_module(f"keras.applications.{family.module}")
    images = photos(size)
    expected = raw(module.preprocess_input(images.astype("float32"))).numpy()
    features = backbone.model(images).numpy()
    np.testing.assert_allclose(features, expected, atol=2e-5 * np.abs(expected).max())
    assert np.abs(expected).max() > 0


def test_the_table_of_families_names_every_constructor_of_keras_and_its_module():
    constructors = {name for name in dir(keras.applications) if name[0].isupper()}
    assert set(FAMILY_OF) == constructors
    for name, family in FAMILY_OF.items():
        assert getattr(keras.applications, name).__module__.endswith(f".{family.module}")


@pytest.mark.parametrize("name", ["MobileNetV2", "InceptionV3", "Xception"])
def test_the_minimum_size_is_the_one_that_keras_enforces(name):
    minimum = FAMILY_OF[name].minimum_px
    build = getattr(keras.applications, name)
    with pytest.raises(ValueError, match=f"at least {minimum}x{minimum}"):
        build(include_top=False, weights=None, input_shape=(minimum - 1, minimum - 1, 3))
    assert load_backbone(name, None, minimum).input_size == (minimum, minimum)


class SizeKnown(Exception):  # noqa: N818  # no error: the rest of the network is not needed
    pass


@pytest.mark.parametrize("name", sorted(FAMILY_OF))
def test_the_default_size_is_the_one_that_keras_takes_with_its_classifier(name, monkeypatch):
    chosen = imagenet_utils.obtain_input_shape

    def choose(*args, **options):
        raise SizeKnown(*chosen(*args, **options)[:2])

    monkeypatch.setattr(imagenet_utils, "obtain_input_shape", choose)
    # MobileNetV3 leaves the size open; its weights files carry 224 in their names.
    sizes = (224, 224)
    if not name.startswith("MobileNetV3"):
        with pytest.raises(SizeKnown) as found:
            getattr(keras.applications, name)(weights=None)
        sizes = found.value.args
    assert sizes == (FAMILY_OF[name].sizes_px[name],) * 2


def test_uint8_and_float_images_give_the_same_features():
    backbone = load_backbone("MobileNetV2", None, 32, alpha=0.35)
    images = photos(32)
    np.testing.assert_array_equal(
        backbone.model(images).numpy(), backbone.model(images.astype("float32")).numpy()
    )


@pytest.mark.slow
def test_a_saved_model_of_each_mode_loads_in_safe_mode_without_ktransfer(tmp_path):
    images = photos(32)
    np.save(tmp_path / "images.npy", images)
    for mode in ("tf", "caffe", "torch"):
        network = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3)])
        model = load_backbone(network, preprocessing=mode).model
        model.save(tmp_path / f"{mode}.keras")
        np.save(tmp_path / f"{mode}.npy", model(images).numpy())
    check_loads_without_ktransfer(tmp_path, ("tf", "caffe", "torch"))


@pytest.mark.slow
def test_a_saved_network_of_each_mode_loads_in_safe_mode_without_ktransfer(tmp_path):
    images = photos(32)
    np.save(tmp_path / "images.npy", images)
    names = ("MobileNetV2", "ResNet50", "DenseNet121", "ConvNeXtTiny", "EfficientNetB0")
    for name in names:
        model = load_backbone(name, None, 32).model
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}.npy", model(images).numpy())
    check_loads_without_ktransfer(tmp_path, names)


def check_loads_without_ktransfer(folder, names):
    script = """
import sys, pathlib, numpy, keras
sys.modules["ktransfer"] = None
folder = pathlib.Path(sys.argv[1])
images = numpy.load(folder / "images.npy")
for name in sys.argv[2:]:
    model = keras.models.load_model(folder / f"{name}.keras", safe_mode=True)
    expected = numpy.load(folder / f"{name}.npy")
    numpy.testing.assert_allclose(model(images).numpy(), expected, atol=1e-5 * abs(expected).max())
"""
    command = [sys.executable, "-c", script, str(folder), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_an_unknown_mode_is_an_error_with_near_names():
    with pytest.raises(InputError, match="unknown preprocessing 'cafe': did you mean caffe"):
        apply_preprocessing("cafe", keras.Input((8, 8, 3)))


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 4, 4, 3), "float32"),
        np.ones((1, 4, 4, 3), "uint8"),
        np.full((1, 4, 4, 3), 255.0),
        np.array([0.0, 1.0, 2.0] * 16).reshape(1, 4, 4, 3),
        np.zeros((0, 4, 4, 3)),
    ],
)
def test_images_in_the_range_of_a_photo_pass(images):
    check_rgb_range(images)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.full((1, 4, 4, 3), 0.5), r"from 0.5 to 0.5: .* \[0, 1\]; multiply by 255"),
        (np.linspace(-1, 1, 48).reshape(1, 4, 4, 3), r"from -1 to 1: .* \[-1, 1\]; use 127.5"),
        (np.full((1, 4, 4, 3), -0.2), "from -0.2 to -0.2"),
        (np.full((1, 4, 4, 3), 300.0), "from 300 to 300: give the pixels as they were read"),
        (np.full((1, 4, 4, 3), -120.0), "from -120 to -120: give the pixels"),
        (np.full((1, 4, 4, 3), -7, "int16"), "from -7 to -7"),
        (np.full((1, 4, 4, 3), np.nan), "must be finite, got nan"),
        (np.full((1, 4, 4, 3), np.inf), "must be finite, got inf"),
        (np.zeros((4, 4, 3)), r"got \(4, 4, 3\)"),
        (np.zeros((1, 4, 4, 1)), r"got \(1, 4, 4, 1\)"),
        (np.zeros((1, 4, 4, 3), bool), "got the dtype bool"),
    ],
)
def test_images_in_another_range_or_shape_are_refused(images, message):
    with pytest.raises(InputError, match=message):
        check_rgb_range(images)
