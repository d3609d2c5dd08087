"""The policies by name, and the seeds of their views.

A view depends on the image's pixels and on a seed, on nothing else: not on the order of the images,
on threads, or on what ran before. So a training that was interrupted sees the same views again, and
a fixed number of views of each image can be computed once and kept.
"""

from __future__ import annotations

import operator
from typing import Any

import tensorflow as tf

from ktransfer.augment.corruptions import CORRUPTIONS, STRONGEST
from ktransfer.augment.crops import CROP_DRAWS, random_crop, resize
from ktransfer.augment.erasing import ERASING_DRAWS, random_erase
from ktransfer.augment.policies import policy_of
from ktransfer.augment.trivial import TRIVIAL_DRAWS, trivial_augment
from ktransfer.errors import InputError

_BITS = 31

#: How many uniform numbers a view takes: the flip or the strength, and what its parts take.
_DRAWS = (1, CROP_DRAWS, TRIVIAL_DRAWS, ERASING_DRAWS)


def source_size(augmentation: str, input_size: tuple[int, int]) -> tuple[int, int]:
    """Return the size at which to decode images that are to be augmented.

    For "standard" and "strong" it is 1.5 times the input, in whole pairs of pixels: a crop of 44 %
    (1 / 1.5^2) of the area still has as many pixels as the input, smaller ones are enlarged. It
    takes 2.25 times the memory; the other policies keep the input's size.

    Args:
        augmentation: one of `AUGMENTATIONS`.
        input_size: `(height, width)` of the backbone's input in pixels.

    Returns:
        `(height, width)` in pixels.

    Raises:
        InputError: the policy is unknown, or `input_size` is not two positive integers.

    Example:
        >>> source_size("standard", (224, 224)), source_size("light", (224, 224))
        ((336, 336), (224, 224))
    """
    crops = policy_of(augmentation).crops
    height, width = checked_size(input_size)
    if not crops:
        return height, width
    return 2 * round(0.75 * height), 2 * round(0.75 * width)


# Nothing here is Python control flow over tensors; to look for it would slow down the tracing.
@tf.autograph.experimental.do_not_convert
def augment(
    image: tf.Tensor, seed: tf.Tensor, augmentation: str, input_size: tuple[int, int]
) -> tf.Tensor:
    """Return one random view of one image, in eager code or in a graph (`tf.data.Dataset.map`).

    "none" changes nothing. "light" mirrors half of the views. "standard" resizes a random part of
    the image, 8 to 100 % of its area, and mirrors. "strong" then applies one of 14 operations, from
    a rotation to a change of colour, at a random strength, and paints a rectangle over in a tenth
    of the views; batches of it are for `mix`. "grey", "blur", "noise" and "colour_shift" imitate
    another domain: they are `CORRUPTIONS` at a strength from 0 to 3.

    Args:
        image: uint8 `(height, width, 3)`, of the size that `source_size` says; where it has another
            one, the policies that do not crop resize it first.
        seed: int64 `(2,)`, as `view_seed` gives it.
        augmentation: one of `AUGMENTATIONS`.
        input_size: `(height, width)` of the view in pixels.

    Returns:
        uint8 `(height, width, 3)`, its shape known before it is computed. The same image and seed
        give the same pixels; another version of TensorFlow may round or draw otherwise.

    Raises:
        InputError: the policy is unknown, `input_size` is not two positive integers, the image is
            not uint8 with 3 axes or the seed has not the shape `(2,)`.

    Example:
        >>> image = tf.cast(tf.reshape(tf.range(12), (2, 2, 3)), tf.uint8)
        >>> seed = view_seed(0, rows=5, view=4)
        >>> augment(image, seed, "light", (2, 2)).numpy()[0]
        array([[3, 4, 5],
               [0, 1, 2]], dtype=uint8)

    Source:
        "standard": Szegedy et al. 2014, arXiv 1409.4842, with the numbers of torchvision's
        RandomResizedCrop; the source is a centred crop of the photo, not the whole of it.
        "strong": torchvision's training recipe (Vryniotis 2021, How to Train State-Of-The-Art
        Models Using TorchVision's Latest Primitives): TrivialAugment (Müller and Hutter 2021, arXiv
        2103.10158, its wide ranges), which needs no strength to be chosen as RandAugment does, and
        random erasing in a tenth of the views.
    """
    policy = policy_of(augmentation)
    size = checked_size(input_size)
    image, seed = _checked_tensors(image, seed)
    draws = _draws(seed, sum(_DRAWS))
    once, crop, trivial, erase = tf.split(draws, _DRAWS)
    view = random_crop(image, crop, size) if policy.crops else resize(image, size)
    view = _flip(view, once[0]) if policy.mirrors else view
    if augmentation == "strong":
        return random_erase(trivial_augment(view, trivial), erase)
    if augmentation in CORRUPTIONS:
        return CORRUPTIONS[augmentation](view, once[0] * STRONGEST, seed)
    return view


def view_seed(seed: int, rows: Any, view: Any) -> tf.Tensor:
    """Return the seeds of the views of some images: no two of (seed, row, view) share one.

    The three numbers are written side by side into the two of the result, so it depends on nothing
    else; seeds may be neighbours, because TensorFlow scrambles them before it draws.

    Args:
        seed: the training's seed, from 0, below 2^31.
        rows: which images, integers from 0, below 2^31: a number or a tensor of any shape.
        view: which view of them (the epoch, say), likewise; its shape must broadcast with `rows`.

    Returns:
        int64 `(..., 2)`, the first axes being those of `rows` and `view` broadcast.

    Raises:
        InputError: `seed` is no integer in its range.
        tf.errors.InvalidArgumentError: a row or a view is outside its range.

    Example:
        >>> view_seed(0, rows=[4, 7], view=1).numpy()
        array([[4, 1],
               [7, 1]])
    """
    packed = tf.constant(checked_seed(seed) << _BITS, tf.int64)
    rows, view = tf.cast(rows, tf.int64), tf.cast(view, tf.int64)
    # The shift keeps the sign, so that a negative number is refused as well.
    excess = tf.bitwise.right_shift(tf.bitwise.bitwise_or(*_broadcast(rows, view)), _BITS)
    in_range = tf.debugging.assert_equal(
        excess, tf.zeros_like(excess), "rows and view must be at least 0 and below 2^31"
    )
    # In eager code the check has been made by now and is None.
    with tf.control_dependencies([in_range] if in_range is not None else []):
        return tf.stack(_broadcast(packed + rows, view), axis=-1)


def checked_size(input_size: Any) -> tuple[int, int]:
    """Height and width as two integers of at least 1; `InputError` if they are not."""
    try:
        height, width = (operator.index(each) for each in input_size)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        raise InputError(f"input_size must be (height, width) in pixels, got {input_size!r}")
    return height, width


def _checked_tensors(image: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    image, seed = tf.convert_to_tensor(image), tf.convert_to_tensor(seed)
    if image.dtype != tf.uint8 or not image.shape.is_compatible_with((None, None, 3)):
        raise InputError(
            f"an image must be uint8 (height, width, 3), got {image.dtype.name} {image.shape}; "
            "map over the images before they are batched"
        )
    if not seed.shape.is_compatible_with((2,)):
        raise InputError(f"a seed must have the shape (2,), as view_seed gives, got {seed.shape}")
    return image, seed


def checked_seed(seed: int) -> int:
    """Return the seed as an integer from 0, below 2^31; `InputError` if it is none."""
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number < 2**_BITS:
        raise InputError(f"seed must be an integer from 0, below 2^31, got {seed!r}")
    return number


def _broadcast(rows: tf.Tensor, view: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    zeros = tf.zeros_like(rows) + tf.zeros_like(view)
    return rows + zeros, view + zeros


def _draws(seed: tf.Tensor, number: int) -> tf.Tensor:
    """Uniform numbers from 0, below 1: all that is random in a view.

    The generator is named, because the default one differs between devices.
    """
    return tf.random.stateless_uniform((number,), seed, dtype=tf.float64, alg="philox")


def _flip(image: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
    return tf.cond(draw < 0.5, lambda: tf.reverse(image, axis=(1,)), lambda: image)
