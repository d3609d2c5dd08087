"""What moves in a real `fit` after freezing: blocks, batch norm, saved models, prefixes."""

import keras
import numpy as np
import pytest
from freezing_networks import (
    POLICIES,
    STATISTICS,
    batch,
    compiled,
    expected_to_move,
    randomize_statistics,
    row_of_blocks,
    sharing,
    tiny_vit,
    train,
    values_of,
    with_head,
)

from ktransfer.backbones import load_backbone
from ktransfer.features import attach, build_classifier
from ktransfer.freezing import Freeze, freeze, frozen_prefix, frozen_variables, watch_frozen

# --- training -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "frozen_layers", "batch_norm"),
    [
        *[(policy, layers, "train") for policy, layers in POLICIES],
        *[(*POLICIES[at], mode) for at in (1, 2, 5) for mode in ("frozen", "affine_only")],
    ],
)
def test_exactly_what_the_policy_leaves_moves(policy, frozen_layers, batch_norm):
    backbone = row_of_blocks()
    freeze(backbone, policy, batch_norm=batch_norm)
    moved = train(compiled(with_head(backbone)))
    assert moved == expected_to_move(frozen_layers, batch_norm)


def test_a_predicate_freezes_what_it_selects():
    backbone = row_of_blocks()
    freeze(backbone, Freeze.where(lambda layer: layer.name.startswith("bn_")), batch_norm="train")
    moved = train(compiled(with_head(backbone)))
    assert moved == expected_to_move([f"bn_{at}" for at in range(1, 5)], "train")


def test_batch_norm_stays_frozen_by_default():
    backbone = row_of_blocks()
    freeze(backbone, "none")
    assert train(compiled(with_head(backbone))) == expected_to_move([], "frozen")


def test_batch_norm_without_gamma_and_beta_moves_only_its_statistics():
    backbone = row_of_blocks(scale=False, center=False)
    freeze(backbone, "first:3", batch_norm="train")
    moved = train(compiled(with_head(backbone)))
    assert moved == {
        "conv_4/kernel",
        "head/kernel",
        "head/bias",
        *(f"bn_4/{s}" for s in STATISTICS),
    }
    freeze(backbone, "first:3", batch_norm="affine_only")
    assert train(compiled(with_head(backbone))) == {"conv_4/kernel", "head/kernel", "head/bias"}


def test_a_new_policy_forgets_the_one_before():
    backbone = row_of_blocks()
    freeze(backbone, "none", batch_norm="affine_only")
    freeze(backbone, "first:2", batch_norm="frozen")
    layers = ["conv_1", "bn_1", "conv_2", "bn_2"]
    assert train(compiled(with_head(backbone))) == expected_to_move(layers, "frozen")


def test_a_variable_that_disagrees_with_its_layer_follows_the_policy():
    # On TensorFlow, setting a layer's flag to what it is reaches none of its variables.
    backbone = row_of_blocks()
    backbone.model.get_layer("conv_4").kernel.trainable = False
    freeze(backbone, "first:3")
    layers = ["conv_1", "bn_1", "conv_2", "bn_2", "conv_3", "bn_3"]
    moved = train(compiled(with_head(backbone), run_eagerly=True))
    assert moved == expected_to_move(layers, "frozen")


def test_a_model_that_attach_made_trains_what_is_unfrozen_behind_it():
    backbone = row_of_blocks()
    model = attach(backbone.model, build_classifier(4, 3), pooling="avg")
    freeze(backbone, "first:3", batch_norm="train")
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    # Two steps: the head starts at zero, and no gradient passes it before it has moved.
    layers = ["conv_1", "bn_1", "conv_2", "bn_2", "conv_3", "bn_3"]
    assert train(model, steps=2) == expected_to_move(layers, "train")


def test_a_backbone_inside_another_model_trains_as_its_policy_says():
    backbone = row_of_blocks()
    images = keras.Input((16, 16, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(backbone.model(images))
    model = keras.Model(images, keras.layers.Dense(3, name="head")(pooled))
    backbone.model.trainable = False
    freeze(backbone, "up_to:relu_3", batch_norm="affine_only")
    layers = ["conv_1", "bn_1", "conv_2", "bn_2", "conv_3", "bn_3"]
    assert train(compiled(model)) == expected_to_move(layers, "affine_only")


def assert_a_step_obeys(backbone, num_frozen, batch_norm, **options):
    freeze(backbone, Freeze.first(num_frozen), batch_norm=batch_norm)
    model = compiled(with_head(backbone), **options)
    watch = watch_frozen(model)
    moved = train(model)
    paths = [[w.path for layer in b.layers for w in layer.weights] for b in backbone.blocks]
    assert not moved & {path for block in paths[:num_frozen] for path in block}
    free = {path for block in paths[num_frozen:] for path in block}
    statistics = {path for path in free if path.endswith(STATISTICS)}
    assert moved & statistics == (statistics if batch_norm == "train" else set())
    kernels = {path for path in free if path.endswith("kernel")}
    assert kernels
    assert moved >= kernels
    assert not watch.prove().moved


@pytest.mark.parametrize("batch_norm", ["affine_only", "train"])
def test_mobilenetv2_obeys(batch_norm):
    keras.utils.set_random_seed(7)
    backbone = load_backbone("MobileNetV2", None, 32, alpha=0.35)
    # Eagerly: tracing takes ten times as long as the step; the slow test below traces.
    assert_a_step_obeys(backbone, 16, batch_norm, run_eagerly=True)


def test_a_vision_transformer_obeys():
    assert_a_step_obeys(tiny_vit(), 2, "frozen", run_eagerly=True)


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", ["frozen", "affine_only", "train"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("MobileNetV2", {"alpha": 0.35}),
        ("EfficientNetB0", {}),
        ("ConvNeXtTiny", {}),
        ("NASNetMobile", {}),
        ("DenseNet121", {}),
        ("MobileNetV3Small", {}),
    ],
)
def test_every_family_obeys(name, options, batch_norm):
    keras.utils.set_random_seed(7)
    backbone = load_backbone(name, None, 32, **options)
    num_frozen = len(backbone.blocks) - 3
    # Weight decay moves a kernel even where the images of 32 px leave it no gradient.
    assert_a_step_obeys(backbone, num_frozen, batch_norm)
    keras.utils.clear_session()


# --- batch norm -----------------------------------------------------------------------------


@pytest.mark.parametrize("batch_norm", ["frozen", "affine_only"])
def test_in_training_the_output_is_that_of_inference(batch_norm):
    backbone = row_of_blocks()
    freeze(backbone, "none", batch_norm=batch_norm)
    images, _ = batch(backbone.model)
    model = backbone.model
    np.testing.assert_array_equal(model(images, training=True), model(images, training=False))
    freeze(backbone, "none", batch_norm="train")
    assert (
        np.abs(np.subtract(model(images, training=True), model(images, training=False))).max() > 0.1
    )


def test_affine_only_takes_the_step_of_the_formula():
    """Against gamma * (x - mean) / sqrt(variance + epsilon) + beta, differentiated by hand."""
    images = keras.Input((2, 2, 3))
    norm = keras.layers.BatchNormalization(name="bn")
    model = keras.Model(images, norm(keras.layers.Conv2D(3, 1, name="conv")(images)))
    randomize_statistics(model)
    freeze(sharing(model), "matching:conv", batch_norm="affine_only")
    model.compile(keras.optimizers.SGD(0.5), "mean_squared_error")
    x = np.random.default_rng(0).normal(size=(4, 2, 2, 3)).astype("float32")
    hidden = np.asarray(model.get_layer("conv")(x))
    normalized = (hidden - norm.moving_mean.numpy()) / np.sqrt(norm.moving_variance.numpy() + 1e-3)
    gradient = (2 * normalized * normalized).mean(axis=(0, 1, 2)) / 3  # of the mean of y ** 2
    model.fit(x, np.zeros_like(x), batch_size=4, verbose=0)
    np.testing.assert_allclose(norm.gamma.numpy(), 1 - 0.5 * gradient, rtol=1e-5)


# --- saving ---------------------------------------------------------------------------------


def test_affine_only_saves_as_an_ordinary_model_and_resumes_exactly(tmp_path):
    backbone = row_of_blocks()
    freeze(backbone, "first:2", batch_norm="affine_only")
    model = compiled(with_head(backbone))
    train(model, steps=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    images, _ = batch(model)
    np.testing.assert_array_equal(loaded(images), model(images))
    body = keras.Model(loaded.input, loaded.get_layer("relu_4").output)
    freeze(sharing(body), "first:2", batch_norm="affine_only")
    compiled(loaded).optimizer.build(loaded.trainable_variables)
    loaded.load_weights(tmp_path / "model.keras")
    train(model)
    train(loaded)
    expected, found = values_of(model), values_of(loaded)
    assert {path: value.tobytes() for path, value in found.items()} == {
        path: value.tobytes() for path, value in expected.items()
    }


def test_freezing_again_after_loading_freezes_what_lies_inside_layers(tmp_path):
    # Keras 3.15.1 saves the flag of an attention layer, but what lies inside trains after loading.
    images = keras.Input((4, 4, 3))
    tokens = keras.layers.Reshape((16, 8))(keras.layers.Conv2D(8, 1, name="conv")(images))
    tokens = keras.layers.MultiHeadAttention(2, 4, name="mha")(tokens, tokens)
    model = keras.Model(images, keras.layers.Dense(3, name="last")(tokens))
    freeze(sharing(model), "matching:mha")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    freeze(sharing(loaded), "matching:mha")
    loaded.compile(keras.optimizers.SGD(0.5), "mean_squared_error")
    before = values_of(loaded)
    loaded.fit(np.ones((2, 4, 4, 3)), np.ones((2, 16, 3)), verbose=0)
    moved = {path for path, value in values_of(loaded).items() if np.any(value != before[path])}
    assert moved == {"conv/kernel", "conv/bias", "last/kernel", "last/bias"}


# --- compiling ------------------------------------------------------------------------------


def test_without_compiling_again_what_was_unfrozen_does_not_train():
    backbone = row_of_blocks()
    freeze(backbone, "all")
    model = compiled(with_head(backbone))
    assert train(model) == {"head/kernel", "head/bias"}
    freeze(backbone, "none")
    assert train(model) == {"head/kernel", "head/bias"}
    assert train(compiled(model)) == expected_to_move([], "frozen")


# --- prefix ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "batch_norm", "expected"),
    [
        ("all", "train", 4),
        ("none", "frozen", 0),
        ("first:3", "train", 3),
        ("all_but_last:4", "train", 0),
        ("matching:conv_*", "frozen", 4),
        ("matching:conv_*", "affine_only", 0),
        ("matching:*_1,*_2,*_4", "train", 2),
    ],
)
def test_the_frozen_prefix_is_what_training_leaves_the_output_of(policy, batch_norm, expected):
    backbone = row_of_blocks()
    freezing = freeze(backbone, policy, batch_norm=batch_norm)
    assert frozen_prefix(backbone) == freezing.frozen_prefix == expected
    images, _ = batch(backbone.model)

    def outputs():
        return [np.asarray(backbone.prefix(n)(images)) for n in range(5)]

    before = outputs()
    train(compiled(with_head(backbone), run_eagerly=True))
    same = [np.array_equal(*pair) for pair in zip(before, outputs(), strict=True)]
    assert same == [True] * (expected + 1) + [False] * (4 - expected)


def test_batch_norm_without_trainable_variables_is_no_frozen_prefix():
    backbone = row_of_blocks(scale=False, center=False)
    freeze(backbone, "matching:conv_*", batch_norm="train")
    assert frozen_prefix(backbone) == 0
    assert not backbone.model.trainable_weights


def test_the_preprocessing_is_frozen_under_every_policy():
    backbone = load_backbone("EfficientNetB0", None, 32)
    freeze(backbone, "none", batch_norm="train")
    (normalization,) = [
        layer for layer in backbone.model.layers if isinstance(layer, keras.layers.Normalization)
    ]
    paths = {variable.path for variable in frozen_variables(backbone)}
    assert paths == {weight.path for weight in normalization.weights}
