"""Preprocessing inside the network: callers always give RGB in [0, 255].

Everything is made of standard Keras layers and operations, so that a saved model loads in safe mode
on a machine without ktransfer.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from ktransfer.errors import InputError, check_pixel_range, unknown_name

# The mean colours and deviations of ImageNet in the two conventions of
# keras.applications.imagenet_utils.
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
_TORCH_MEAN_RGB = (0.485, 0.456, 0.406)
TORCH_STD_RGB = (0.229, 0.224, 0.225)

MODES = ("none", "tf", "caffe", "torch")


def apply_preprocessing(mode: str, images: Any) -> Any:
    """Scale RGB images in [0, 255] the way the weights of a family expect it.

    Args:
        mode: "tf" (to [-1, 1]), "caffe" (BGR, minus ImageNet's mean colour), "torch" (minus the
            mean, divided by the standard deviation) or "none".
        images: A KerasTensor `(batch, height, width, 3)`.

    Returns:
        A KerasTensor of the same shape.

    Raises:
        InputError: The mode is unknown.
    """
    if mode not in MODES:
        raise unknown_name("preprocessing", mode, MODES)
    if mode == "tf":
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocessing")(images)
    if mode == "torch":
        scale = [1 / (255 * std) for std in TORCH_STD_RGB]
        offset = [-mean / std for mean, std in zip(_TORCH_MEAN_RGB, TORCH_STD_RGB, strict=True)]
        return keras.layers.Rescaling(scale, offset=offset, name="preprocessing")(images)
    if mode == "caffe":
        offset = [-mean for mean in _CAFFE_MEAN_BGR]
        return keras.layers.Rescaling(1.0, offset=offset, name="preprocessing")(
            keras.ops.flip(images, axis=-1)
        )
    return images


def check_rgb_range(images: np.ndarray) -> None:
    """Check that a batch is RGB in [0, 255], as every backbone of this package expects it.

    Args:
        images: an array `(batch, height, width, 3)`, uint8 or float. An all-black batch passes, for
            it looks the same in every scale.

    Raises:
        InputError: The rank or the number of channels is wrong; the values are no numbers, not
        finite, outside
            [0, 255], or evidently scaled to [0, 1] or [-1, 1] already.

    Example:
        >>> import numpy as np
        >>> check_rgb_range(np.full((1, 8, 8, 3), 128, "uint8"))
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3:
        raise InputError(
            f"images must have the shape (batch, height, width, 3), got {images.shape}"
        )
    if images.dtype == np.uint8 or images.size == 0:
        return
    if images.dtype.kind not in "fiu":
        raise InputError(f"images must be uint8 or float, got the dtype {images.dtype}")
    if not np.isfinite(images).all():
        bad = images[~np.isfinite(images)].flat[0]
        raise InputError(
            f"images must be finite, got {bad} (check how they were read or augmented)"
        )
    check_pixel_range(float(images.min()), float(images.max()), integers=images.dtype.kind in "iu")
