"""ResNet18, ResNet34 and AlexNet: the same networks as torchvision's, with weights from files.

`torch_zoo.npz` holds what PyTorch makes of weights and images by formula (`make_torch_zoo.py`).
"""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import torch_zoo

from ktransfer import FineTuner, InputError
from ktransfer.backbones import load_backbone
from ktransfer.backbones.loading import check_named

REFERENCE = np.load(Path(__file__).with_name("torch_zoo.npz"))


def state_of(name):
    return torch_zoo.weights(json.loads(str(REFERENCE[f"{name} shapes"])))


def as_safetensors(path, state):
    """Write the format with NumPy alone: a header of JSON, and the numbers behind it."""
    header, end = {}, 0
    for name, value in state.items():
        kind = {"float32": "F32", "int64": "I64"}[str(value.dtype)]
        begin, end = end, end + value.nbytes
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    numbers = b"".join(value.tobytes() for value in state.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)
    return path


def written(folder, name, ending=".npz", **others):
    path, state = folder / f"{name}{ending}", {**state_of(name), **others}
    if ending == ".safetensors":
        return as_safetensors(path, state)
    np.savez(path, **state)
    return path


def check_features(backbone, key, size):
    expected = REFERENCE[f"{key} {size}"]
    assert np.abs(expected).max() > 1
    found = backbone.model(torch_zoo.images(size), training=False).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory):
    return written(tmp_path_factory.mktemp("weights"), "ResNet18")


@pytest.mark.parametrize("size", [224, 75])
def test_resnet18_says_what_pytorch_says(resnet18, size):
    check_features(load_backbone("ResNet18", resnet18, size), "ResNet18", size)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ending", "sizes"),
    [("ResNet34", ".safetensors", (224, 75)), ("AlexNet", ".npz", (224, 150))],
)
def test_the_larger_ones_say_what_pytorch_says(tmp_path, name, ending, sizes):
    path = written(tmp_path, name, ending)
    for size in sizes:
        check_features(load_backbone(name, path, size), name, size)


def test_weights_lie_in_safetensors_or_a_folder_of_timm_as_well(tmp_path):
    as_safetensors(tmp_path / "model.safetensors", state_of("ResNet18"))
    for weights in (tmp_path / "model.safetensors", tmp_path):
        backbone = load_backbone("resnet18", weights, 75)
        check_features(backbone, "ResNet18", 75)
        assert (backbone.name, backbone.weights) == ("ResNet18", weights.name)


def test_names_as_of_a_parallel_training_are_the_same_weights(tmp_path):
    state = {f"module.{name}": each for name, each in state_of("ResNet18").items()}
    np.savez(tmp_path / "parallel.npz", **state)
    check_features(load_backbone("ResNet18", tmp_path / "parallel.npz", 75), "ResNet18", 75)


def test_weights_of_keras_are_read_as_of_any_backbone(resnet18, tmp_path):
    first = load_backbone("ResNet18", resnet18, 75)
    first.model.save_weights(tmp_path / "own.weights.h5")
    check_features(load_backbone("ResNet18", tmp_path / "own.weights.h5", 75), "ResNet18", 75)


def test_the_imagenet_weights_are_those_of_kerashub_whose_network_is_the_same(
    resnet18, tmp_path, monkeypatch
):
    hub = pytest.importorskip("keras_hub")
    blocks = (2, 2, 2, 2)
    theirs = hub.models.ResNetBackbone(
        [64], [7], [64, 128, 256, 512], blocks, [1, 2, 2, 2], "basic_block"
    )
    random = np.random.default_rng(1)
    theirs.set_weights([each + random.uniform(0, 0.1, each.shape) for each in theirs.get_weights()])
    images = torch_zoo.images(75)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = theirs((images / 255 - mean) / std, training=False).numpy()
    asked = []

    def from_preset(preset):
        asked.append(preset)
        return theirs

    monkeypatch.setattr(hub.models.Backbone, "from_preset", from_preset)
    for weights in ("imagenet", tmp_path):
        backbone = load_backbone("ResNet18", weights, 75)
        found = backbone.model(images, training=False).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert asked == ["resnet_18_imagenet", str(tmp_path)]
    with pytest.raises(InputError, match=r"of another network than ResNet34: of ResNetBackbone"):
        load_backbone("ResNet34", "imagenet", 75)
    assert asked[2:] == ["hf://timm/resnet34.a1_in1k"]


def test_resnet18_of_5_classes_has_the_published_parameters():
    finetuner = FineTuner("ResNet18", None, input_size=32, verbose=False)
    # 11,689,512 with the 1,000 classes of ImageNet, the statistics of batch norm not counted.
    trainable = sum(int(np.prod(each.shape)) for each in finetuner.backbone.model.trainable_weights)
    assert trainable == 11_689_512 - 513 * 1000
    assert finetuner.backbone.model.output_shape[-1] == 512
    assert finetuner.summary(5).trainable_parameters == 2_565


def test_a_resnet_is_a_stem_and_a_block_for_each_block():
    names = [block.name for block in load_backbone("ResNet18", None, 32).blocks]
    assert names == ["maxpool", *(f"layer{at}_{each}" for at in (1, 2, 3, 4) for each in (0, 1))]


def test_alexnet_is_5_convolutions_and_2_layers_of_4096():
    backbone = load_backbone("AlexNet", None)
    names = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]
    assert [block.name for block in backbone.blocks] == names
    # 61,100,840 with the layer of 1,000 classes.
    assert backbone.parameters == 61_100_840 - 4097 * 1000
    assert backbone.model.output_shape == (None, 1, 1, 4096)
    kinds = {type(layer).__name__ for layer in backbone.model.layers}
    assert "BatchNormalization" not in kinds


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("ResNet18", None, 31), {}, "ResNet18 needs images of at least 32 px"),
        (("AlexNet", None, 62), {}, "AlexNet needs images of at least 63 px"),
        (("ResNet18", None), {"alpha": 0.5}, "ResNet18 has no option alpha=0.5: it has none"),
        (("ResNet20", None), {}, "unknown backbone 'ResNet20': did you mean ResNet"),
        (("ResNet18", "nowhere.npz"), {}, "no weights file 'nowhere.npz'"),
        (("ResNet18", "mini"), {}, "'mini' exist for MobileNetV2 only"),
        (("VGG16", "."), {}, r"no weights file '\.'"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(arguments, options, message):
    with pytest.raises(InputError, match=message):
        load_backbone(*arguments, **options)


def test_imagenet_weights_that_nobody_hands_out_say_how_to_make_a_file(monkeypatch):
    line = r"python -c \"import torchvision, numpy; numpy.savez\('alexnet.npz'"
    with pytest.raises(InputError, match=f"ImageNet weights of AlexNet .*{line}"):
        FineTuner("AlexNet")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'ResNet34: pip install "ktransfer\[hub\]"; or give'):
        check_named("resnet34")


def test_without_network_the_error_says_what_to_do(monkeypatch):
    hub = pytest.importorskip("keras_hub")

    def no_network(preset):
        raise ConnectionError("no route")

    monkeypatch.setattr(hub.models.Backbone, "from_preset", no_network)
    with pytest.raises(
        InputError, match=r"of ResNet18 could not be downloaded \(no route\).*savez"
    ):
        load_backbone("ResNet18")


def test_a_pickled_file_is_not_read_but_the_line_that_converts_it_is_said(tmp_path):
    (tmp_path / "resnet18.pth").write_bytes(b"PK\x03\x04")
    message = r"'resnet18.pth' is pickled.*torch.load\('.*resnet18.pth', weights_only=True"
    with pytest.raises(InputError, match=message):
        load_backbone("ResNet18", tmp_path / "resnet18.pth")


def test_weights_of_another_of_them_say_which(resnet18, tmp_path):
    with pytest.raises(
        InputError, match=r"do not fit ResNet34: it holds no 'layer1.2.conv1.weight"
    ):
        load_backbone("ResNet34", resnet18)
    as_safetensors(tmp_path / "deep.safetensors", state_of("ResNet34"))
    message = r"fit ResNet18: it holds 'layer1.2.*They are of ResNet34: give that \(--backbone Res"
    with pytest.raises(InputError, match=message):
        load_backbone("ResNet18", tmp_path / "deep.safetensors")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "bn1.weight",
            np.zeros(32, "float32"),
            r"'bn1.weight' has the shape \(32,\) instead of \(",
        ),
        ("bn1.weight", np.array(["x"] * 64), r"'bn1.weight' holds no numbers but <U1"),
        ("layer5.weight", np.zeros(3, "float32"), "it holds 'layer5.weight', too, which the netw"),
    ],
)
def test_one_tensor_that_does_not_fit_is_named(tmp_path, name, value, message):
    path = written(tmp_path, "ResNet18", **{name: value})
    with pytest.raises(InputError, match=message):
        load_backbone("ResNet18", path, 32)


def test_a_packed_or_damaged_file_says_how_to_write_it(tmp_path):
    np.savez_compressed(tmp_path / "packed.npz", a=np.zeros(9))
    with pytest.raises(InputError, match=r"'packed.npz' cannot be read: .*compressed.*numpy.savez"):
        load_backbone("ResNet18", tmp_path / "packed.npz", 32)
    (tmp_path / "cut.safetensors").write_bytes(b"\x09")
    with pytest.raises(InputError, match=r"'cut.safetensors' cannot be read: it is no safetensors"):
        load_backbone("ResNet18", tmp_path / "cut.safetensors", 32)
    pytest.importorskip("keras_hub")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder' is no folder that KerasHub reads, and holds no"):
        load_backbone("ResNet18", tmp_path / "folder", 32)


def test_an_identity_of_an_own_model_ends_a_block():
    images = keras.Input((16, 16, 3))
    tensor = keras.layers.Rescaling(1 / 255)(images)
    for name in ("one", "two", "three"):
        tensor = keras.layers.Conv2D(4, 3, name=name)(tensor)
        if name == "one":
            tensor = keras.layers.Identity(name="here")(tensor)
    blocks = load_backbone(keras.Model(images, tensor)).blocks
    assert [[layer.name for layer in block.layers] for block in blocks] == [
        ["one"],
        ["two", "three"],
    ]
    assert blocks[0].name == "here"
