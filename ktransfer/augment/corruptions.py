"""What a camera or a room does to a photo: grey, blurred, noisy, of another colour.

Each is a function of (image, strength, seed) alone. Strengths are numbers from 0, which changes
nothing, to 3: a model is judged at 1, 2 and 3, and augmentation may draw any between.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ktransfer.errors import InputError, unknown_name

#: The strengths at which a model is judged.
STRENGTHS = (1, 2, 3)

STRONGEST = 3.0

#: Standard deviation of the noise for each strength, as a share of the range of a pixel.
NOISE_SHARE = 0.06

#: Standard deviation of the blur for each strength, in pixels of an image of `BLUR_SIDE_PX`.
BLUR_PX = 1.0
BLUR_SIDE_PX = 224

#: Largest logarithm of a channel's gain for each strength.
LOG_GAIN = 0.15

# The kernel ends here, in standard deviations, as SciPy's does.
_TRUNCATE = 4.0

# Added to a seed, so that what is drawn here has nothing to do with what a view draws: `view_seed`
# leaves this bit at 0.
_SEED_BIT = 2**62


def grey(image: tf.Tensor, strength: Any, seed: tf.Tensor) -> tf.Tensor:
    """Mix the image with its luma: a third of it for each strength, all of it at 3.

    Args:
        image: uint8 `(height, width, 3)`.
        strength: a number from 0 to 3, or a scalar tensor.
        seed: not used; nothing here is random.

    Returns:
        uint8 of the same shape.

    Source:
        Luma as in ITU-R BT.601, which Pillow's conversion to "L" uses.
    """
    del seed
    pixels = tf.cast(image, tf.float32)
    luma = tf.reduce_sum(pixels * (0.299, 0.587, 0.114), axis=-1, keepdims=True)
    return _to_pixels(pixels + _float(strength) / STRONGEST * (luma - pixels))


def blur(image: tf.Tensor, strength: Any, seed: tf.Tensor) -> tf.Tensor:
    """Gaussian blur; its standard deviation is `strength / 224` of the shorter side.

    Args:
        image: uint8 `(height, width, 3)`.
        strength: a number from 0 to 3, or a scalar tensor.
        seed: not used; nothing here is random.

    Returns:
        uint8 of the same shape. Beyond its edges the image is taken as mirrored.

    Source:
        Hendrycks and Dietterich 2019, arXiv 1903.12261: the 1, 2 and 3 pixels of the first three
        severities of their Gaussian blur at 224 pixels, here in proportion to the size.
    """
    del seed
    side = tf.cast(tf.reduce_min(tf.shape(image)[:2]), tf.float32)
    kernel = _gaussian(_float(strength) * BLUR_PX * side / BLUR_SIDE_PX)
    radius = tf.size(kernel) // 2
    edges = tf.stack([[0, 0], [radius, radius], [radius, radius], [0, 0]])
    pixels = tf.pad(tf.cast(image, tf.float32)[None], edges, "SYMMETRIC")
    columns = tf.tile(kernel[:, None, None, None], (1, 1, 3, 1))
    for each in (columns, tf.transpose(columns, (1, 0, 2, 3))):
        pixels = tf.nn.depthwise_conv2d(pixels, each, (1, 1, 1, 1), "VALID")
    return tf.ensure_shape(_to_pixels(pixels[0]), image.shape)


def noise(image: tf.Tensor, strength: Any, seed: tf.Tensor) -> tf.Tensor:
    """Gaussian noise, of its own for each pixel and channel.

    Args:
        image: uint8 `(height, width, 3)`.
        strength: a number from 0 to 3, or a scalar tensor: the standard deviation is 6 % of the
            range of a pixel for each.
        seed: int64 `(2,)`, as `view_seed` gives it.

    Returns:
        uint8 of the same shape, clipped to 0 and 255.

    Source:
        Hendrycks and Dietterich 2019, arXiv 1903.12261: their first three severities are 8, 12 and
        18 %; here the weakest is 6 %, so that one line through 0 gives every strength.
    """
    drawn = tf.random.stateless_normal(tf.shape(image), _own(seed), alg="philox")
    deviation = _float(strength) * NOISE_SHARE * 255.0
    return _to_pixels(tf.cast(image, tf.float32) + deviation * drawn)


def colour_shift(image: tf.Tensor, strength: Any, seed: tf.Tensor) -> tf.Tensor:
    """Another light, or a wrong white balance: a gain for each channel, towards a random hue.

    The gains are `exp(0.15 strength cos(hue - k 2 pi / 3))` for the channels k = 0, 1, 2: their
    product is 1. At strength 3 they are up to 2.2 times apart, as between daylight and a bulb.

    Args:
        image: uint8 `(height, width, 3)`.
        strength: a number from 0 to 3, or a scalar tensor.
        seed: int64 `(2,)`, as `view_seed` gives it; the hue comes from it.

    Returns:
        uint8 of the same shape, clipped to 255.

    Source:
        Ours: Hendrycks and Dietterich 2019 (arXiv 1903.12261) have none that changes the hue.
    """
    draw = tf.random.stateless_uniform((), _own(seed), 0.0, 2 * math.pi, alg="philox")
    towards = tf.cos(draw - tf.range(3, dtype=tf.float32) * (2 * math.pi / 3))
    gains = tf.exp(LOG_GAIN * _float(strength) * towards)
    return _to_pixels(tf.cast(image, tf.float32) * gains)


#: All four, by name.
CORRUPTIONS: dict[str, Callable[[tf.Tensor, Any, tf.Tensor], tf.Tensor]] = {
    "grey": grey,
    "blur": blur,
    "noise": noise,
    "colour_shift": colour_shift,
}


@tf.autograph.experimental.do_not_convert
def corrupt(image: tf.Tensor, name: str, strength: Any, seed: tf.Tensor) -> tf.Tensor:
    """Return one of `CORRUPTIONS`, by name, in eager code or in a graph (`tf.data.Dataset.map`).

    Args:
        image: uint8 `(height, width, 3)`.
        name: `"grey"`, `"blur"`, `"noise"` or `"colour_shift"`.
        strength: a number from 0 (nothing changes) to 3, or a scalar tensor of one, which is not
            checked.
        seed: int64 `(2,)`, as `view_seed` gives it. The same image and seed give the same pixels;
            another version of TensorFlow may round or draw otherwise.

    Returns:
        uint8 of the same shape.

    Raises:
        InputError: the name is unknown, the strength is out of range, or the image is not uint8
            with 3 axes.

    Example:
        >>> image = tf.constant([[[200, 100, 10]]], tf.uint8)
        >>> corrupt(image, "grey", 3, tf.constant([0, 0], tf.int64)).numpy()
        array([[[120, 120, 120]]], dtype=uint8)
    """
    if name not in CORRUPTIONS:
        raise unknown_name("corruption", name, tuple(CORRUPTIONS))
    if isinstance(strength, int | float) and not 0 <= strength <= STRONGEST:
        raise InputError(f"the strength of a corruption must be from 0 to 3, got {strength!r}")
    image = tf.convert_to_tensor(image)
    if image.dtype != tf.uint8 or not image.shape.is_compatible_with((None, None, 3)):
        raise InputError(
            f"an image must be uint8 (height, width, 3), got {image.dtype.name} {image.shape}; "
            "map over the images before they are batched"
        )
    return CORRUPTIONS[name](image, strength, tf.convert_to_tensor(seed))


def _gaussian(deviation: tf.Tensor) -> tf.Tensor:
    """Weight of a Gaussian at whole pixels, float32 `(2 radius + 1,)`; their sum is 1."""
    radius = tf.cast(_TRUNCATE * deviation + 0.5, tf.int32)
    places = tf.cast(tf.range(-radius, radius + 1), tf.float32)
    # With no blur at all there is one place, 0, and its weight is 1 whatever it is divided by.
    weights = tf.exp(-0.5 * tf.square(places / tf.maximum(deviation, 1e-6)))
    return weights / tf.reduce_sum(weights)


def _own(seed: tf.Tensor) -> tf.Tensor:
    return tf.cast(seed, tf.int64) + tf.constant([_SEED_BIT, 0], tf.int64)


def _float(strength: Any) -> tf.Tensor:
    return tf.cast(strength, tf.float32)


def _to_pixels(pixels: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.round(tf.clip_by_value(pixels, 0.0, 255.0)), tf.uint8)
