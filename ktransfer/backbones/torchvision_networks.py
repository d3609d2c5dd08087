"""ResNet-18, ResNet-34 and AlexNet as torchvision has them, which keras.applications lacks.

Functional models of plain Keras layers, each with torchvision's name, "." read as "_": what
`layer1.0.conv1` is there is `layer1_0_conv1` here.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

#: Blocks of the four stacks of a ResNet, with 64, 128, 256 and 512 filters.
RESNETS = {"ResNet18": (2, 2, 2, 2), "ResNet34": (3, 4, 6, 3)}
#: What the two hidden layers of AlexNet's classifier say.
ALEXNET_UNITS = 4096
#: Height and width of the map that AlexNet's classifier reads, whatever the size of the images.
_ALEXNET_MAP_PX = 6


def torchvision_network(name: str, images: Any) -> Any:
    """Build one of the networks, with random weights.

    Args:
        name: "ResNet18", "ResNet34" or "AlexNet".
        images: a KerasTensor `(batch, height, width, 3)`, scaled by ImageNet's mean and deviation.

    Returns:
        The features: `(batch, height / 32, width / 32, 512)` of a ResNet, and what AlexNet's last
        layer but one says, `(batch, 1, 1, 4096)`.

    Source: He et al. 2015 (arXiv 1512.03385); Krizhevsky 2014 (arXiv 1404.5997), whose AlexNet
    torchvision's is.
    """
    return _alexnet(images) if name == "AlexNet" else _resnet(images, RESNETS[name])


def _resnet(images: Any, stacks: tuple[int, ...]) -> Any:
    tensor = _normed(images, 64, 7, strides=2, names=("conv1", "bn1"))
    tensor = keras.layers.ReLU(name="relu")(tensor)
    # What is pooled is never negative: padding with zeros is padding with nothing.
    tensor = keras.layers.ZeroPadding2D(1, name="maxpool_pad")(tensor)
    tensor = keras.layers.MaxPooling2D(3, strides=2, name="maxpool")(tensor)
    for stack, count in enumerate(stacks):
        for number in range(count):
            strides = 2 if stack and not number else 1
            tensor = _basic_block(tensor, 64 * 2**stack, strides, f"layer{stack + 1}_{number}")
    return tensor


def _basic_block(before: Any, filters: int, strides: int, name: str) -> Any:
    names = (f"{name}_conv1", f"{name}_bn1"), (f"{name}_conv2", f"{name}_bn2")
    tensor = _normed(before, filters, 3, strides=strides, names=names[0])
    tensor = keras.layers.ReLU(name=f"{name}_relu")(tensor)
    tensor = _normed(tensor, filters, 3, strides=1, names=names[1])
    shortcut = before
    if strides > 1:
        shorter = f"{name}_downsample_0", f"{name}_downsample_1"
        shortcut = _normed(before, filters, 1, strides=strides, names=shorter)
    added = keras.layers.Add(name=f"{name}_add")([tensor, shortcut])
    return keras.layers.ReLU(name=name)(added)


def _normed(before: Any, filters: int, size: int, *, strides: int, names: tuple[str, str]) -> Any:
    """Convolve as PyTorch does, with the same padding on both sides, and normalise."""
    conv, norm = names
    padding = "same"
    if strides > 1 and size > 1:
        # There "same" of Keras pads one side more than the other.
        before = keras.layers.ZeroPadding2D(size // 2, name=f"{conv}_pad")(before)
        padding = "valid"
    convolution = keras.layers.Conv2D(
        filters, size, strides, padding, use_bias=False, kernel_initializer="he_normal", name=conv
    )
    # PyTorch's defaults: it writes a momentum of 0.9 as 0.1.
    return keras.layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=norm)(
        convolution(before)
    )


def _alexnet(images: Any) -> Any:
    tensor = keras.layers.ZeroPadding2D(2, name="features_0_pad")(images)
    tensor = _convolved(tensor, 64, 11, "features_0", strides=4)
    tensor = _block_end("conv1", _pooled(tensor, "features_2"))
    tensor = _convolved(tensor, 192, 5, "features_3", padding="same")
    tensor = _block_end("conv2", _pooled(tensor, "features_5"))
    tensor = _block_end("conv3", _convolved(tensor, 384, 3, "features_6", padding="same"))
    tensor = _block_end("conv4", _convolved(tensor, 256, 3, "features_8", padding="same"))
    tensor = _convolved(tensor, 256, 3, "features_10", padding="same")
    tensor = _pooled(tensor, "features_12")
    tensor = _averaged_to(_ALEXNET_MAP_PX, tensor)
    tensor = _block_end("conv5", tensor)
    # Layers on all of a map, as convolutions: the same sums, and the head reads a map as elsewhere.
    tensor = keras.layers.Dropout(0.5, name="classifier_0")(tensor)
    tensor = _convolved(tensor, ALEXNET_UNITS, _ALEXNET_MAP_PX, "classifier_1")
    tensor = keras.layers.Dropout(0.5, name="classifier_3")(_block_end("fc6", tensor))
    return _block_end("fc7", _convolved(tensor, ALEXNET_UNITS, 1, "classifier_4"))


def _convolved(before: Any, filters: int, size: int, name: str, **options: Any) -> Any:
    return keras.layers.Conv2D(
        filters, size, activation="relu", kernel_initializer="he_normal", name=name, **options
    )(before)


def _pooled(before: Any, name: str) -> Any:
    return keras.layers.MaxPooling2D(3, strides=2, name=name)(before)


def _averaged_to(size: int, tensor: Any) -> Any:
    """Pool a map to a size, as PyTorch's AdaptiveAvgPool2d does.

    As two products with matrices: Keras' own layer cannot be called on batches of open size (3.15).
    """
    for axis, equation in ((1, "bhwc,ih->biwc"), (2, "bhwc,iw->bhic")):
        if tensor.shape[axis] != size:
            tensor = keras.ops.einsum(equation, tensor, _averages(tensor.shape[axis], size))
    return tensor


def _averages(before: int, after: int) -> np.ndarray:
    """Return the matrix that averages windows of a row, which overlap where they do not fit."""
    matrix = np.zeros((after, before), "float32")
    for row in range(after):
        begin, end = row * before // after, -(-(row + 1) * before // after)
        matrix[row, begin:end] = 1 / (end - begin)
    return matrix


def _block_end(name: str, tensor: Any) -> Any:
    """Say that a block ends here: `blocks.find_blocks` takes an Identity for that."""
    return keras.layers.Identity(name=name)(tensor)
