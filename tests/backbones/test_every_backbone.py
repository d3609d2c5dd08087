"""Every backbone there is: fitted, saved, loaded in a new process, exported."""

import json

import keras
import pytest

from ktransfer.backbones.families import FAMILY_OF

small_backbones = pytest.importorskip("small_backbones")
import every_backbone  # noqa: E402  # it needs KerasHub, too

#: What other software makes of them, and we can only say.
NO_ONNX = {"keras_hub.MiTBackbone", "keras_hub.SegFormerBackbone"}
REFUSED = {"keras_hub.BASNetBackbone", "keras_hub.DFineBackbone"} | {
    small_backbones.HUB + each for each in small_backbones.OTHERS
}
#: The smallest of every module of keras.applications, and the largest where there are several: what
#: lies between is put together by the same function, of other numbers.
SMALLEST = {
    "ConvNeXtTiny": "ConvNeXtXLarge",
    "DenseNet121": "DenseNet201",
    "EfficientNetB0": "EfficientNetB7",
    "EfficientNetV2B0": "EfficientNetV2B3",
    "EfficientNetV2S": "EfficientNetV2L",
    "InceptionResNetV2": "",
    "InceptionV3": "",
    "MobileNet": "",
    "MobileNetV2": "",
    "MobileNetV3Small": "MobileNetV3Large",
    "NASNetMobile": "NASNetLarge",
    "ResNet50": "ResNet152",
    "ResNet50V2": "ResNet152V2",
    "VGG16": "",
    "VGG19": "",
    "Xception": "",
}
TRIED = [each for each in small_backbones.names() if each not in FAMILY_OF or each in SMALLEST]


def kinds_of(name):
    """The kinds of operations in a constructor's network, built small."""
    _, options = small_backbones.arguments(name)
    size, build = options.pop("input_size"), getattr(keras.applications, name)
    with small_backbones.shallow():
        model = build(include_top=False, input_shape=(size, size, 3), **options)
    keras.utils.clear_session()
    return {type(each).__name__ for each in model.operations}


def test_a_network_of_every_module_of_keras_is_tried():
    assert {FAMILY_OF[each].module for each in SMALLEST} == {
        each.module for each in FAMILY_OF.values()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", [each for each in SMALLEST if SMALLEST[each]])
def test_the_largest_of_a_module_is_of_the_same_kinds_of_layers_as_the_smallest(name):
    assert kinds_of(name) == kinds_of(SMALLEST[name])


@pytest.mark.slow
@pytest.mark.parametrize("names", every_backbone.pieces(TRIED), ids="-".join)
def test_backbone_is_fitted_saved_loaded_elsewhere_and_exported(names):
    for name, found in every_backbone.tried(names).items():
        assert ("refused" in found) == (name in REFUSED), (name, found)
        if name in REFUSED:
            continue
        for each in ("probe", "last_blocks", "probe_loaded", "last_blocks_loaded"):
            assert found[each] == "yes", (name, found)
        assert (found["onnx"] == "yes") == (name not in NO_ONNX), (name, found)


def test_every_image_backbone_of_keras_hub_is_written_down():
    known = set(small_backbones.SMALL) | set(small_backbones.OTHERS)
    assert set(small_backbones.hub_classes()) == known
    assert not set(small_backbones.SMALL) & set(small_backbones.OTHERS)


def test_the_page_has_a_row_for_every_backbone_and_is_made_of_the_results():
    results = json.loads(every_backbone.RESULTS.read_text())
    assert list(results["backbones"]) == small_backbones.names()
    assert every_backbone.PAGE.read_text() == every_backbone.page(results)
