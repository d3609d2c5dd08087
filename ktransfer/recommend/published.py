"""What ImageNet says of the backbones: published accuracies, and a list to begin with.

Free of Keras, so that a command line can show the list in a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ktransfer.backbones import list_backbones

# Top-1 accuracy in per cent on ImageNet's validation images, one crop. Source: the table of
# https://keras.io/api/applications/ ("Available models").
_TOP1 = {
    "ConvNeXtBase": 85.3, "ConvNeXtLarge": 86.3, "ConvNeXtSmall": 82.3, "ConvNeXtTiny": 81.3,
    "ConvNeXtXLarge": 86.7, "DenseNet121": 75.0, "DenseNet169": 76.2, "DenseNet201": 77.3,
    "EfficientNetB0": 77.1, "EfficientNetB1": 79.1, "EfficientNetB2": 80.1, "EfficientNetB3": 81.6,
    "EfficientNetB4": 82.9, "EfficientNetB5": 83.6, "EfficientNetB6": 84.0, "EfficientNetB7": 84.3,
    "EfficientNetV2B0": 78.7, "EfficientNetV2B1": 79.8, "EfficientNetV2B2": 80.5,
    "EfficientNetV2B3": 82.0, "EfficientNetV2L": 85.7, "EfficientNetV2M": 85.3,
    "EfficientNetV2S": 83.9, "InceptionResNetV2": 80.3, "InceptionV3": 77.9, "MobileNet": 70.4,
    "MobileNetV2": 71.3, "NASNetLarge": 82.5, "NASNetMobile": 74.4, "ResNet101": 76.4,
    "ResNet101V2": 77.2, "ResNet152": 76.6, "ResNet152V2": 78.0, "ResNet50": 74.9,
    "ResNet50V2": 76.0, "VGG16": 71.3, "VGG19": 71.3, "Xception": 79.0,
    # Not in that table; from the docstring of keras.applications.MobileNetV3Large.
    "MobileNetV3Large": 75.6, "MobileNetV3Small": 68.1,
    # As trained by Wightman et al. 2021 (arXiv 2110.00476), recipe A1: whose weights KerasHub has.
    "ResNet18": 71.5, "ResNet34": 76.4,
    # torchvision's IMAGENET1K_V1, in its table of weights.
    "AlexNet": 56.5,
}  # fmt: skip

# Other widths at 224 px. Sources: the docstrings of keras_applications/mobilenet_v2.py, of
# tf.keras.applications.mobilenet and of keras.applications.MobileNetV3Large.
_TOP1_VARIANTS = {
    ("MobileNet", "alpha", 0.25): 50.6, ("MobileNet", "alpha", 0.5): 63.7,
    ("MobileNet", "alpha", 0.75): 68.4, ("MobileNetV2", "alpha", 0.35): 60.3,
    ("MobileNetV2", "alpha", 0.5): 65.4, ("MobileNetV2", "alpha", 0.75): 69.8,
    ("MobileNetV2", "alpha", 1.3): 74.4, ("MobileNetV2", "alpha", 1.4): 75.0,
    ("MobileNetV3Large", "alpha", 0.75): 73.3, ("MobileNetV3Large", "minimalistic", True): 72.3,
    ("MobileNetV3Small", "alpha", 0.75): 65.4, ("MobileNetV3Small", "minimalistic", True): 61.9,
}  # fmt: skip

_PLAIN = {"alpha": 1.0, "minimalistic": False}


@dataclass(frozen=True)
class Default:
    """An entry of the list to begin with.

    Attributes:
        role: what it is meant for: `"smallest"`, `"phone"`, `"default"` or `"most accurate"`.
        name: the constructor of keras.applications.
        reason: why it and no other.
        options: of the constructor.
    """

    role: str
    name: str
    reason: str
    options: Mapping[str, Any] = field(default_factory=dict)


#: The candidates where none are named, from small to large.
DEFAULTS = (
    Default(
        "smallest",
        "MobileNet",
        "0.8 MB, the fewest weights of all that come with ImageNet weights",
        {"alpha": 0.25},
    ),
    Default(
        "smallest",
        "MobileNetV2",
        "1.6 MB, twice that for 10 points more on ImageNet",
        {"alpha": 0.35},
    ),
    Default(
        "phone",
        "MobileNetV2",
        "8.6 MB of plain convolutions, which every phone's runtime takes, in 8 bits too",
    ),
    Default(
        "phone",
        "MobileNetV3Large",
        "11.4 MB, searched for on phones: 4 points more on ImageNet with fewer operations",
    ),
    Default(
        "default",
        "EfficientNetV2B0",
        "22.6 MB: the most accurate on ImageNet of all under 25 MB, at 224 px",
    ),
    Default(
        "default",
        "ResNet50",
        "90 MB, trained without the regularisers that cost frozen features their use elsewhere "
        "(Kornblith et al. 2019, arXiv 1805.08974)",
    ),
    Default(
        "most accurate",
        "ConvNeXtBase",
        "334 MB: saw ImageNet-21k first; under 2 points behind the best, at a quarter of its size",
    ),
)


def imagenet_top1(
    name: str,
    options: Mapping[str, Any] | None = None,
    input_size: tuple[int, int] | None = None,
) -> float | None:
    """Return the published top-1 accuracy on ImageNet of a backbone with its ImageNet weights.

    Args:
        name: as of `list_backbones`.
        options: that it is given.
        input_size: `(height, width)` in pixels; None is the size of the published figure.

    Returns:
        A share in [0, 1], or None where no figure is known of these options at this size.

    Example:
        >>> imagenet_top1("MobileNetV2"), imagenet_top1("MobileNetV2", {"alpha": 0.35})
        (0.713, 0.603)
    """
    sizes = {each.name: each.input_size for each in list_backbones()}
    if name not in _TOP1 or input_size not in (None, sizes[name]):
        return None
    changed = {
        option: value
        for option, value in (options or {}).items()
        if option not in _PLAIN or value != _PLAIN[option]
    }
    if not changed:
        return _per_cent(_TOP1[name])
    if len(changed) > 1:
        return None
    ((option, value),) = changed.items()
    found = _TOP1_VARIANTS.get((name, option, value))
    return None if found is None else _per_cent(found)


def _per_cent(value: float) -> float:
    return round(value / 100, 4)
