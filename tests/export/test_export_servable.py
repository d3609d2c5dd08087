import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import small_network

from ktransfer.data.images.resizing import crop_and_resize, resize_array
from ktransfer.export.servable import resized, servable

TARGETS = [(16, 16), (30, 40), (40, 30), (7, 13), (96, 96)]
#: Exact size, one pixel, odd aspects, a tie of the side, small, large.
SIZES = [(1, 1), (3, 200), (312, 38), (38, 45), (59, 58), (130, 225), (380, 366), (401, 299)]


def probabilities_of(features=6):
    body = small_network(features)
    x = keras.layers.GlobalAveragePooling2D()(body.output)
    random = keras.initializers.RandomNormal(stddev=5.0, seed=1)
    x = keras.layers.Dense(3, kernel_initializer=random)(x)
    return keras.Model(body.inputs, keras.layers.Softmax(dtype="float32")(x))


@pytest.mark.parametrize("target", TARGETS)
def test_resizing_in_the_graph_equals_crop_and_resize_to_the_bit(target):
    random = np.random.default_rng(0)
    signature = [tf.TensorSpec((None, None, None, 3), tf.uint8)]
    in_graph = tf.function(lambda images: resized(images, *target), input_signature=signature)
    pipeline = tf.function(
        lambda images: crop_and_resize(images, *target), input_signature=signature
    )
    sizes = [*SIZES, target, *random.integers(1, 420, (12, 2)), *random.integers(1, 60, (12, 2))]
    for size in sizes:
        images = random.integers(0, 256, (2, *size, 3), dtype=np.uint8)
        expected = resize_array(images, target)
        for found in (in_graph(images), resized(tf.constant(images), *target), pipeline(images)):
            np.testing.assert_array_equal(found, expected, err_msg=f"{size} to {target}")


def test_resizing_has_no_branches_and_no_resize_operator():
    function = servable(probabilities_of(), (16, 16)).get_concrete_function()
    kinds = {each.type for each in function.graph.get_operations()}
    wanted = {"Conv2D", "GatherV2", "Softmax"}
    assert (
        kinds & {"If", "StatelessIf", "While", "PyFunc", "EagerPyFunc", "ResizeBilinear"} == set()
    )
    assert wanted <= kinds


def test_servable_predicts_as_the_model_and_leaves_it_alone():
    model = probabilities_of()
    before = [np.array(each) for each in model.weights]
    images = np.random.default_rng(1).integers(0, 256, (5, 37, 50, 3), dtype=np.uint8)
    found = servable(model, (16, 16))(tf.constant(images))
    assert list(found) == ["probabilities"]
    expected = model.predict(resize_array(images, (16, 16)), verbose=0)
    assert expected.std(axis=0).max() > 0.01
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_mixed_precision_model_is_served_in_float32(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = probabilities_of()
    finally:
        keras.config.set_dtype_policy(before)
    reference = probabilities_of()
    reference.set_weights(model.get_weights())
    images = np.random.default_rng(1).integers(0, 256, (5, 37, 50, 3), dtype=np.uint8)
    expected = reference.predict(resize_array(images, (16, 16)), verbose=0)
    function = servable(model, (16, 16))
    np.testing.assert_allclose(function(tf.constant(images))["probabilities"], expected, atol=1e-6)
    assert {each.dtype_policy.name for each in model.layers} >= {policy}, "the model is as it was"
    dtypes = {
        each.dtype
        for node in function.get_concrete_function().graph.get_operations()
        for each in node.outputs
    }
    assert not dtypes & {tf.bfloat16, tf.float16}
