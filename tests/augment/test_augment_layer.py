"""`Augmentation`: the pipeline's pixels from a Keras layer, in a model and in `Dataset.map`."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from ktransfer import InputError
from ktransfer.augment import AUGMENTATIONS, Augmentation, augment, mix, view_seed

SIZE = (12, 16)
JAX_PYTHON = os.environ.get("KTRANSFER_JAX_PYTHON")
ROOT = Path(__file__).parents[2]


def pictures(number=3, height=18, width=24):
    random = np.random.default_rng(0)
    return random.integers(0, 256, (number, height, width, 3), dtype=np.uint8)


def expected_views(images, augmentation, seed, call):
    return [
        augment(image, view_seed(seed, row, call), augmentation, SIZE).numpy()
        for row, image in enumerate(images)
    ]


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_a_model_sees_the_views_of_the_pipeline_new_ones_in_every_call(augmentation):
    layer = Augmentation(augmentation, seed=4, input_size=SIZE)
    model = keras.Sequential([keras.Input((18, 24, 3)), layer])
    images = pictures()
    for call in range(2):
        made = model(images.astype(np.float32), training=True)
        assert made.dtype == "float32"
        np.testing.assert_array_equal(made, expected_views(images, augmentation, 4, call))


def test_without_training_images_are_only_resized():
    images = pictures()
    made = Augmentation("strong", input_size=SIZE)(images)
    np.testing.assert_array_equal(made, expected_views(images, "none", 0, 0))
    same = Augmentation("strong")(images)
    np.testing.assert_array_equal(same, images)


@pytest.mark.parametrize("augmentation", ["light", "strong", "noise"])
def test_dataset_map_gives_the_views_of_the_seeds_in_parallel(augmentation):
    layer = Augmentation(augmentation, input_size=SIZE, dtype="uint8")
    images = pictures(8)
    each = tf.data.Dataset.from_tensor_slices(images).enumerate()
    made = each.map(
        lambda row, image: layer(image, seeds=view_seed(2, row, 5), training=True),
        num_parallel_calls=4,
    )
    assert made.element_spec == tf.TensorSpec((*SIZE, 3), tf.uint8)
    np.testing.assert_array_equal(
        list(made.as_numpy_iterator()), expected_views(images, augmentation, 2, 5)
    )


def test_a_batch_with_labels_is_mixed_by_strong_only():
    images, labels = pictures(4), np.eye(4, dtype=np.float32)
    seeds = view_seed(1, np.arange(4), 0)
    light = Augmentation("light", input_size=SIZE)
    made = light({"images": images, "labels": labels}, seeds=seeds, training=True)
    np.testing.assert_array_equal(made["labels"], labels)
    strong = Augmentation("strong", input_size=SIZE)
    for kept in (False, None):
        made = strong({"images": images, "labels": labels}, seeds=seeds, training=kept)
        np.testing.assert_array_equal(made["labels"], labels)
    made = strong({"images": images, "labels": labels}, seeds=seeds, training=True)
    views = np.stack(expected_views(images, "strong", 1, 0))
    mixed, shares = mix(views, labels, view_seed(1, 2**31 - 1, 0))
    np.testing.assert_array_equal(made["images"], mixed)
    np.testing.assert_array_equal(made["labels"], shares)
    assert np.any(shares != labels)


def test_saved_and_loaded_in_safe_mode_it_gives_the_same_views(tmp_path):
    model = keras.Sequential(
        [keras.Input((18, 24, 3)), Augmentation("standard", seed=9, input_size=SIZE)]
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    images = pictures().astype(np.float32)
    np.testing.assert_array_equal(loaded(images, training=True), model(images, training=True))
    config = Augmentation("grey", seed=3, input_size=[5, 6]).get_config()
    assert (config["augmentation"], config["seed"], config["input_size"]) == ("grey", 3, (5, 6))


def test_it_trains_in_a_model_with_fit_and_predicts_as_if_it_were_not_there():
    layers = [keras.layers.Flatten(), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((18, 24, 3)), Augmentation("strong"), *layers])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images = pictures(8)
    history = model.fit(images, np.arange(8) % 2, batch_size=4, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    plain = keras.Sequential([keras.Input((18, 24, 3)), *layers])
    np.testing.assert_allclose(model.predict(images, verbose=0), plain.predict(images, verbose=0))


def test_shapes_are_known_before_the_pixels():
    spec = keras.KerasTensor((None, None, None, 3))
    assert Augmentation("standard", input_size=SIZE)(spec).shape == (None, *SIZE, 3)
    assert Augmentation("standard")(spec).shape == (None, None, None, 3)
    assert Augmentation("light").compute_output_shape({"images": (2, 5, 6, 3)}) == {
        "images": (2, 5, 6, 3)
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augmentation": "heavy"}, "unknown augmentation 'heavy': did you mean"),
        ({"seed": -1}, r"seed must be an integer from 0, below 2\^31, got -1"),
        ({"input_size": (0, 4)}, r"input_size must be .* got \(0, 4\)"),
    ],
)
def test_what_makes_no_layer_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        Augmentation(**options)


JAX_SCRIPT = """
import jax
import keras
import numpy as np
import tensorflow as tf
from ktransfer.augment import Augmentation, augment, view_seed

assert keras.backend.backend() == "jax"
images = np.random.default_rng(0).integers(0, 256, (4, 18, 24, 3), dtype=np.uint8)
layer = Augmentation("strong", input_size=(12, 16), dtype="uint8")
each = tf.data.Dataset.from_tensor_slices(images).enumerate()
made = each.map(lambda row, image: layer(image, seeds=view_seed(2, row, 5), training=True))
for row, view in enumerate(made):
    expected = augment(images[row], view_seed(2, row, 5), "strong", (12, 16))
    np.testing.assert_array_equal(view, expected)
model = keras.Sequential([keras.Input((18, 24, 3)), layer, keras.layers.Flatten()])
try:
    jax.jit(lambda x: model(x, training=True))(images.astype("float32"))
except ValueError as error:
    print(error)
"""


@pytest.mark.jax
def test_on_jax_it_gives_the_same_views_in_dataset_map_and_cannot_be_compiled():
    if not JAX_PYTHON and importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed; KTRANSFER_JAX_PYTHON may name a Python that has it")
    done = subprocess.run(
        [JAX_PYTHON or sys.executable, "-c", JAX_SCRIPT],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "use it in Dataset.map, or compile the model with jit_compile=False" in done.stdout
