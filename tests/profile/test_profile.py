"""What a backbone remembers of its own images, and what it says at every depth."""

import keras
import numpy as np
import pytest
from PIL import Image

from ktransfer import InputError, load_backbone
from ktransfer.data import read_data
from ktransfer.features import concatenated, taps_of
from ktransfer.profile import (
    SIMILAR_BELOW,
    Moments,
    compile_moments,
    domain_gap,
    measure_gap,
    measure_moments,
    norm_layers,
)

RESIZED = 224


def remembering_network(seed=3):
    """Three batch-norm layers with statistics as of some training."""
    keras.utils.set_random_seed(seed)
    images = keras.Input((12, 12, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    for filters in (4, 6, 5):
        x = keras.layers.Conv2D(filters, 2, strides=2)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    model = keras.Model(images, x)
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(random.normal(0, 1, layer.moving_mean.shape))
            layer.moving_variance.assign(random.uniform(0.2, 3, layer.moving_variance.shape))
    return load_backbone(model, preprocessing="none")


def noise(number=20, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, 12, 12, 3)).astype(np.uint8)


def measured(backbone, images):
    layers = norm_layers(backbone)
    forward = compile_moments(backbone, layers)
    return layers, measure_moments(forward, [images[:8], images[8:]])


def inputs_of(backbone, images):
    """What reaches each batch-norm layer, by running the network up to there."""
    for layer in norm_layers(backbone):
        upto = keras.Model(backbone.model.inputs[0], layer.tensor)
        yield layer, np.asarray(upto(images.astype(np.float32)), np.float64)


def test_gap_is_the_divergence_of_what_reaches_the_layers_from_what_they_remember():
    backbone, images = remembering_network(), noise()
    expected = {}
    for layer, values in inputs_of(backbone, images):
        kept = backbone.model.get_layer(layer.name)
        flat = values.reshape(-1, values.shape[-1])
        mean, variance = flat.mean(axis=0), flat.var(axis=0) + kept.epsilon
        mean0 = np.asarray(kept.moving_mean, np.float64)
        variance0 = np.asarray(kept.moving_variance, np.float64) + kept.epsilon
        divergence = np.log(variance0 / variance) + (variance + (mean - mean0) ** 2) / variance0
        expected[layer.name] = np.median((divergence - 1) / 2)
    found = domain_gap(*measured(backbone, images))
    assert list(found.layers) == list(expected)
    assert len(expected) == 3
    for name, value in expected.items():
        assert found.layers[name] == pytest.approx(value, rel=1e-3, abs=1e-5)
    assert found.value == pytest.approx(np.mean(list(expected.values())), rel=1e-3)
    assert found.thirds == pytest.approx(tuple(expected.values()), rel=1e-3)


def test_images_that_the_layers_were_fed_with_have_no_gap():
    backbone, images = remembering_network(), noise(200)
    for layer in norm_layers(backbone):  # in order: each changes what reaches the next
        values = next(v for each, v in inputs_of(backbone, images) if each.name == layer.name)
        flat = values.reshape(-1, values.shape[-1])
        kept = backbone.model.get_layer(layer.name)
        kept.moving_mean.assign(flat.mean(axis=0))
        kept.moving_variance.assign(flat.var(axis=0))
    own = domain_gap(*measured(backbone, images))
    other = domain_gap(*measured(backbone, noise(200) // 3))
    assert own.value < 1e-4
    assert other.value > 0.1
    assert (own.similar, other.similar) == (True, False)


def test_interval_holds_the_gap_of_many_images_and_narrows():
    backbone, images = remembering_network(), noise(600)
    layers, moments = measured(backbone, images)
    whole = domain_gap(layers, moments)
    few = domain_gap(layers, Moments(moments.shifts[:60], moments.squares[:60]))
    width = [each.interval[1] - each.interval[0] for each in (whole, few)]
    assert width[0] < 0.6 * width[1]
    assert few.interval[0] <= whole.interval[1]
    assert whole.interval[0] <= few.interval[1]


def test_layers_that_remember_nothing_are_left_out():
    backbone = remembering_network()
    first = norm_layers(backbone)[0]
    layer = backbone.model.get_layer(first.name)
    layer.moving_mean.assign(np.zeros(4))
    layer.moving_variance.assign(np.ones(4))
    assert norm_layers(backbone)[0].name != first.name
    assert len(norm_layers(backbone)) == 2


def test_no_layers_no_images_and_broken_weights_are_refused():
    backbone = remembering_network()
    layers, moments = measured(backbone, noise())
    with pytest.raises(InputError, match="got 0 and 20"):
        domain_gap((), moments)
    with pytest.raises(InputError, match="got 3 and 0"):
        domain_gap(layers, Moments(moments.shifts[:0], moments.squares[:0]))
    broken = Moments(np.full_like(moments.shifts, np.nan), moments.squares)
    with pytest.raises(InputError, match="not finite"):
        domain_gap(layers, broken)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "options", "weights"),
    [
        ("MobileNetV2", {"alpha": 0.35}, "mobilenetv2_0.35_224_notop"),
        ("MobileNet", {"alpha": 0.25}, "mobilenet_0.25_224_notop"),
        pytest.param("MobileNetV2", {}, "mobilenetv2_1.0_224_notop", marks=pytest.mark.slow),
    ],
)
def test_photos_are_similar_to_imagenet_and_steel_and_chests_are_not(
    shared, name, options, weights
):
    backbone = load_backbone(name, shared / "weights" / f"{weights}.weights.h5", **options)
    layers = norm_layers(backbone)
    forward = compile_moments(backbone, layers)
    similar = {}
    for data in ("ants_bees", "flowers", "steel_defects", "chest_xray"):
        paths = sorted(path for path in (shared / "data" / data).rglob("*.jp*g") if path.is_file())
        drawn = np.random.default_rng(0).permutation(len(paths))[:64]
        images = [
            Image.open(paths[each]).convert("RGB").resize((RESIZED, RESIZED), Image.BILINEAR)
            for each in drawn
        ]
        moments = measure_moments(forward, np.array_split(np.stack(images), 2))
        similar[data] = domain_gap(layers, moments).value < SIMILAR_BELOW
    assert similar == {
        "ants_bees": True,
        "flowers": True,
        "steel_defects": False,
        "chest_xray": False,
    }


# Taps.


@pytest.fixture(scope="module")
def mobile():
    return load_backbone("MobileNetV2", None, alpha=0.35, input_size=96)


def test_feature_sets_hold_one_another(mobile):
    sets = [taps_of(mobile, each) for each in ("last", "all_blocks", "all_blocks_and_inner")]
    names = [[tap.name for tap in each] for each in sets]
    assert names[0] == [mobile.blocks[-1].name]
    assert len(names[1]) == len(mobile.blocks)
    assert names[2][: len(names[1])] == names[1]
    assert names[1][:1] == names[0]
    assert all(each.endswith("/inner") for each in names[2][len(names[1]) :])


def test_inner_taps_of_mobilenet_are_the_depthwise_activations(mobile):
    inner = [tap for tap in taps_of(mobile, "all_blocks_and_inner") if tap.name.endswith("/inner")]
    last = inner[-1]
    image = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3)).astype(np.float32)
    by_tap = np.asarray(keras.Model(mobile.model.inputs[0], last.tensor)(image))
    depthwise = mobile.model.get_layer("block_16_depthwise_relu").output
    direct = np.asarray(keras.Model(mobile.model.inputs[0], depthwise)(image)).mean(axis=(1, 2))
    np.testing.assert_allclose(by_tap, direct, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "inner"), [("ResNet50", 16), ("VGG16", 5), ("ConvNeXtTiny", 18)])
def test_other_families_have_inner_taps_too(name, inner):
    backbone = load_backbone(name, None, input_size=64)
    taps = taps_of(backbone, "all_blocks_and_inner")
    assert sum(tap.name.endswith("/inner") for tap in taps) >= inner
    assert concatenated(taps).shape[-1] == sum(tap.width for tap in taps)


# Measuring a part.


def test_gap_of_a_part_is_that_of_its_whole_images(tmp_path):
    backbone, images = remembering_network(), noise(40)
    labels = np.arange(40) % 2
    part = read_data((images, labels)).train
    rows = np.arange(len(part))
    pixels = np.stack([part.images.full_size(row) for row in rows])
    assert pixels.shape[1:] == (12, 12, 3)
    expected = domain_gap(*measured(backbone, pixels))
    said = []
    found = measure_gap(backbone, part, on_progress=lambda *done: said.append(done))
    assert found.value == pytest.approx(expected.value, rel=1e-4)
    assert said == [(done, len(part)) for done in range(1, len(part) + 1)]
    with pytest.raises(InputError, match="at least 32 images that can be decoded, got 10"):
        measure_gap(backbone, part.select(range(10)))


def test_backbones_that_remember_no_photos_say_so():
    part = read_data((noise(40), np.arange(40) % 2)).train
    for weights, layers in (("mini", 52), (None, 0)):
        backbone = load_backbone("MobileNetV2", weights, alpha=0.35, input_size=96)
        with pytest.raises(InputError, match=f"remembers no photos: it has {layers} batch-norm"):
            measure_gap(backbone, part)
