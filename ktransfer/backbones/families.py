"""What networks are known by name, and what only documentation says: preprocessing and sizes.

Free of keras, so that a command line can list the names in a fraction of a second.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """The facts that networks of one kind share.

    Attributes:
        module: the module of keras.applications, which also holds the family's `preprocess_input`;
            "torchvision" for those that are built here.
        preprocessing: how the weights want RGB in [0, 255] to be scaled: "tf" to [-1, 1], "caffe"
            BGR minus the mean colour, "torch" mean and standard deviation, "in_model" if the
            network does it itself.
        sizes_px: the input height and width of each constructor that the weights were trained at.
        minimum_px: the smallest input height and width.
    """

    module: str
    preprocessing: str
    sizes_px: dict[str, int]
    minimum_px: int = 32


def _all(size: int, *names: str) -> dict[str, int]:
    return dict.fromkeys(names, size)


_EFFICIENTNET = {
    f"EfficientNetB{k}": px for k, px in enumerate((224, 240, 260, 300, 380, 456, 528, 600))
}
_EFFICIENTNET_V2 = {f"EfficientNetV2B{k}": px for k, px in enumerate((224, 240, 260, 300))} | {
    "EfficientNetV2S": 384,
    "EfficientNetV2M": 480,
    "EfficientNetV2L": 480,
}
_CONVNEXT = _all(224, *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")))

_FAMILIES = (
    Family("convnext", "in_model", _CONVNEXT),
    Family("densenet", "torch", _all(224, "DenseNet121", "DenseNet169", "DenseNet201")),
    Family("efficientnet", "in_model", _EFFICIENTNET),
    Family("efficientnet_v2", "in_model", _EFFICIENTNET_V2),
    Family("inception_resnet_v2", "tf", _all(299, "InceptionResNetV2"), minimum_px=75),
    Family("inception_v3", "tf", _all(299, "InceptionV3"), minimum_px=75),
    Family("mobilenet", "tf", _all(224, "MobileNet")),
    Family("mobilenet_v2", "tf", _all(224, "MobileNetV2")),
    Family("mobilenet_v3", "in_model", _all(224, "MobileNetV3Small", "MobileNetV3Large")),
    Family("nasnet", "tf", {"NASNetMobile": 224, "NASNetLarge": 331}),
    Family("resnet", "caffe", _all(224, "ResNet50", "ResNet101", "ResNet152")),
    Family("resnet_v2", "tf", _all(224, "ResNet50V2", "ResNet101V2", "ResNet152V2")),
    Family("vgg16", "caffe", _all(224, "VGG16")),
    Family("vgg19", "caffe", _all(224, "VGG19")),
    Family("xception", "tf", _all(299, "Xception"), minimum_px=71),
)

FAMILY_OF: dict[str, Family] = {name: family for family in _FAMILIES for name in family.sizes_px}

#: Networks of torchvision that keras.applications lacks.
TORCHVISION_OF: dict[str, Family] = {
    **dict.fromkeys(
        ("ResNet18", "ResNet34"), Family("torchvision", "torch", _all(224, "ResNet18", "ResNet34"))
    ),
    "AlexNet": Family("torchvision", "torch", _all(224, "AlexNet"), minimum_px=63),
}

#: All that can be named, but for presets of KerasHub.
FAMILY_OF_NAME: dict[str, Family] = {**FAMILY_OF, **TORCHVISION_OF}
