import keras
import numpy as np
import pytest

from ktransfer.backbones import load_backbone, trace
from ktransfer.backbones.catalog import list_backbones
from ktransfer.backbones.families import TORCHVISION_OF
from ktransfer.backbones.graph import find_spans
from ktransfer.errors import InputError

# The smallest network of each family; "size" is for the families with a larger minimum.
SMALL = [
    ("ConvNeXtTiny", {}),
    ("DenseNet121", {}),
    ("EfficientNetB0", {}),
    ("EfficientNetV2B0", {}),
    ("InceptionV3", {"size": 75}),
    ("MobileNet", {"alpha": 0.25}),
    ("MobileNetV2", {"alpha": 0.35}),
    ("MobileNetV3Large", {}),
    ("ResNet50", {}),
    ("ResNet50V2", {}),
    ("VGG16", {}),
    ("Xception", {"size": 71}),
]


def load_small(name, options):
    options = {"size": 32, **options}
    return load_backbone(name, None, options.pop("size"), **options)


def spans_of(name, size=96, **options):
    model = getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=(size, size, 3), **options
    )
    calls, outputs = trace(model, model.inputs)
    return find_spans(calls, outputs[0]), calls, outputs[0]


def cuts_by_removal(calls, source, output):
    """Brute force: the calls without which no path leads from the input to the output."""
    cuts = []
    for removed in calls:
        reached = {id(source)}
        for call in calls:
            if call is not removed and any(id(tensor) in reached for tensor in call.inputs):
                reached |= {id(tensor) for tensor in call.outputs}
        if id(output) not in reached:
            cuts.append(removed.operation.name)
    return cuts


# Counted once by hand in Keras 3.15.1 (include_top=False). ConvNeXtTiny has 24 with its nested stem
# and downsampling models closed and 4 more inside them.
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("VGG16", 18),
        ("MobileNetV2", 73),
        ("ResNet50", 38),
        ("EfficientNetB0", 82),
        ("DenseNet121", 78),
        ("ConvNeXtTiny", 28),
        ("InceptionV3", 28),
        ("Xception", 24),
    ],
)
def test_the_number_of_one_tensor_cuts_is_the_measured_one(name, count):
    assert len(spans_of(name)[0]) == count


@pytest.mark.parametrize("name", ["MobileNetV2", "ConvNeXtTiny", "MobileNetV3Small"])
def test_cuts_are_the_operations_whose_removal_separates_input_and_output(name):
    spans, calls, output = spans_of(name)
    assert [span.last.name for span in spans] == cuts_by_removal(calls, calls[0].inputs[0], output)


def test_mobilenetv2_is_a_stem_17_inverted_residuals_and_the_last_convolution():
    names = [block.name for block in load_backbone("MobileNetV2", None, 96).blocks]
    with_addition = {2, 4, 5, 7, 8, 9, 11, 12, 14, 15}
    inner = [f"block_{k}_{'add' if k in with_addition else 'project_BN'}" for k in range(1, 17)]
    assert names == ["Conv1_relu", "expanded_conv_project_BN", *inner, "out_relu"]


def test_vgg16_is_its_five_pooled_groups():
    names = [block.name for block in load_backbone("VGG16", None, 32).blocks]
    assert names == [f"block{k}_pool" for k in range(1, 6)]


def test_resnet50_is_a_stem_and_16_residual_blocks():
    names = [block.name for block in load_backbone("ResNet50", None, 32).blocks]
    sizes = {2: 3, 3: 4, 4: 6, 5: 3}
    residual = [f"conv{s}_block{k}_out" for s, count in sizes.items() for k in range(1, count + 1)]
    assert names == ["pool1_pool", *residual]


def test_efficientnet_b0_is_a_stem_16_mbconv_blocks_and_the_last_convolution():
    names = [block.name.split("_")[0] for block in load_backbone("EfficientNetB0", None, 32).blocks]
    groups = zip("1234567", (1, 2, 2, 3, 3, 4, 1), strict=True)
    inner = [f"block{g}{letter}" for g, count in groups for letter in "abcd"[:count]]
    assert names == ["stem", *inner, "top"]


def test_resnetv2_gives_the_preactivation_to_the_block_that_it_opens():
    blocks = load_backbone("ResNet50V2", None, 32).blocks
    first = [block.layers[0].name for block in blocks[1:]]
    assert all(name.endswith("preact_bn") for name in first)
    assert "post_bn" in [layer.name for layer in blocks[-1].layers]


def test_convnext_downsampling_is_a_block_of_its_own_between_the_stages():
    blocks = load_backbone("ConvNeXtTiny", None, 32).blocks
    down = [block.index for block in blocks if "downsampling" in block.name]
    assert (len(blocks), down) == (22, [4, 8, 18])


def test_mobilenet_has_one_block_for_each_depthwise_separable_pair():
    blocks = load_backbone("MobileNet", None, 32, alpha=0.25).blocks
    assert [block.name for block in blocks[1:]] == [f"conv_pw_{k}_relu" for k in range(1, 14)]


@pytest.mark.slow
def test_nasnet_is_divided_between_its_cells_by_two_tensor_cuts():
    blocks = load_backbone("NASNetMobile", None, 32).blocks
    names = [block.name for block in blocks]
    assert [f"normal_concat_{k}" for k in (*range(4), *range(5, 9), *range(9, 12))] == [
        name for name in names if name.startswith("normal")
    ]
    assert [len(block.outputs) for block in blocks] == [1, *[2] * 15, 1]


@pytest.mark.parametrize(("name", "options"), SMALL)
def test_every_weight_belongs_to_exactly_one_block(name, options):
    backbone = load_small(name, options)
    in_blocks = [
        id(w) for block in backbone.blocks for layer in block.layers for w in layer.weights
    ]
    assert len(in_blocks) == len(set(in_blocks))
    # The statistics of EfficientNet's normalisation of images are preprocessing, not a block.
    front = {
        id(w)
        for layer in backbone.model.layers
        if isinstance(layer, keras.layers.Normalization)
        for w in layer.weights
    }
    assert set(in_blocks) | front == {id(w) for w in backbone.model.weights}
    counts = {id(w): int(np.prod(w.shape)) for w in backbone.model.weights}
    for block in backbone.blocks:
        assert block.parameters == sum(counts[id(w)] for each in block.layers for w in each.weights)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("MobileNetV2", {"alpha": 0.35}),
        ("VGG16", {}),
        pytest.param("ResNet50V2", {}, marks=pytest.mark.slow),
        pytest.param("ConvNeXtTiny", {}, marks=pytest.mark.slow),
        pytest.param("EfficientNetB0", {}, marks=pytest.mark.slow),
        pytest.param("NASNetMobile", {}, marks=pytest.mark.slow),
    ],
)
def test_suffix_after_prefix_is_the_model_at_every_boundary(name, options):
    backbone = load_backbone(name, None, 32, **options)
    check_boundaries(backbone, range(len(backbone.blocks) + 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"), [*SMALL, ("NASNetLarge", {}), ("InceptionResNetV2", {"size": 75})]
)
def test_suffix_after_prefix_is_the_model_in_every_family(name, options):
    backbone = load_small(name, options)
    check_boundaries(backbone, [len(backbone.blocks) // 2])


def check_boundaries(backbone, boundaries):
    images = np.random.default_rng(0).integers(0, 256, (2, *backbone.input_size, 3)).astype("uint8")
    expected = backbone.model(images).numpy()
    for boundary in boundaries:
        features = backbone.suffix(boundary)(backbone.prefix(boundary)(images)).numpy()
        np.testing.assert_allclose(features, expected, atol=1e-5 * np.abs(expected).max())


def test_the_suffix_shares_the_weights_of_the_model():
    backbone = load_backbone("MobileNetV2", None, 32, alpha=0.35)
    own = {id(weight) for weight in backbone.model.weights}
    suffix = backbone.suffix(15)
    assert {id(weight) for weight in suffix.weights} <= own
    assert sum(b.parameters for b in backbone.blocks[15:]) == suffix.count_params()


@pytest.mark.parametrize("boundary", [-1, 20])
def test_a_boundary_outside_the_row_is_an_error(boundary):
    backbone = load_backbone("MobileNetV2", None, 32, alpha=0.35)
    for part in (backbone.prefix, backbone.suffix):
        with pytest.raises(InputError, match=f"from 0 to 19 for MobileNetV2, got {boundary}"):
            part(boundary)


def test_an_operation_inside_a_block_can_be_tapped():
    backbone = load_backbone("ConvNeXtTiny", None, 32)
    call = next(c for c in backbone.blocks[5].calls if isinstance(c.operation, keras.layers.Dense))
    tap = keras.Model(backbone.model.input, call.outputs[0])
    assert tap(np.zeros((1, 32, 32, 3))).shape == (1, 4, 4, 4 * 192)


def test_layer_output_is_a_tensor_of_the_backbone_itself():
    backbone = load_backbone("ResNet50", None, 32)
    output = backbone.model.get_layer("conv3_block4_out").output
    assert keras.Model(backbone.model.input, output)(np.zeros((1, 32, 32, 3))).shape == (
        1,
        4,
        4,
        512,
    )


def small_graph(network):
    images = keras.Input((8, 8, 3))
    return keras.Model(images, network(images))


def test_a_layer_that_is_used_twice_keeps_its_blocks_together():
    shared = keras.layers.Conv2D(4, 3, padding="same", name="shared")

    def network(x):
        x = keras.layers.MaxPooling2D(name="p1")(keras.layers.Conv2D(4, 1, name="first")(x))
        x = keras.layers.MaxPooling2D(name="p2")(shared(x))
        x = keras.layers.MaxPooling2D(name="p3")(shared(x))
        return keras.layers.Conv2D(4, 1, name="last")(x)

    blocks = load_backbone(small_graph(network), preprocessing="none").blocks
    assert [[layer.name for layer in block.layers] for block in blocks] == [
        ["first"],
        ["shared"],
        ["last"],
    ]


def test_nested_models_are_taken_apart():
    inner_input = keras.Input((8, 8, 4))
    inner = keras.Model(
        inner_input, keras.layers.Add()([keras.layers.Conv2D(4, 1)(inner_input), inner_input])
    )
    outer = keras.Sequential(
        [keras.layers.Conv2D(4, 1), inner, keras.Sequential([keras.layers.Conv2D(2, 1)])]
    )
    model = small_graph(outer)
    backbone = load_backbone(model, preprocessing="none")
    assert [len(block.layers) for block in backbone.blocks] == [1, 1, 1]
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(backbone.model(images), model(images), rtol=1e-5)


def test_squeeze_and_excite_is_no_block():
    def network(x):
        x = keras.layers.Conv2D(8, 3, padding="same", name="conv")(x)
        gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
        gate = keras.layers.Conv2D(8, 1, activation="sigmoid")(gate)
        x = keras.layers.Multiply()([x, gate])
        return keras.layers.Conv2D(4, 1, name="project")(x)

    assert len(load_backbone(small_graph(network), preprocessing="none").blocks) == 1


@pytest.mark.slow
@pytest.mark.parametrize("info", list_backbones(), ids=lambda info: info.name)
def test_the_catalog_is_what_building_every_model_gives(info):
    backbone = load_backbone(info.name, weights=None)
    assert info.parameters == backbone.parameters
    if info.name not in TORCHVISION_OF:
        # With an open size Keras builds another NASNet: its cells compare sizes that are both None.
        shape = (*info.input_size, 3)
        build = getattr(keras.applications, info.name)
        built = build(include_top=False, weights=None, input_shape=shape)
        assert info.parameters == built.count_params()
    assert (info.blocks, info.input_size) == (len(backbone.blocks), backbone.input_size)
    keras.utils.clear_session()
