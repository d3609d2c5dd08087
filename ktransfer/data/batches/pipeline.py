"""Parts as `tf.data` pipelines of decoded, resized images."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from ktransfer.data.batches.parallel import PARALLEL_CALLS, PREFETCHED, untuned
from ktransfer.data.images.files import ImageFiles
from ktransfer.data.images.header import Skipped
from ktransfer.data.images.held import HeldImages
from ktransfer.data.images.resizing import crop_and_resize, jpeg_halvings
from ktransfer.data.parts import Part
from ktransfer.errors import InputError

OnFault = Callable[[int, Exception], None]

_NO_PIXELS = np.zeros((0, 0, 3), np.uint8)


def image_dataset(
    part: Part, input_size: tuple[int, int], *, batch_size: int = 32
) -> tf.data.Dataset:
    """Decode a part's images in order, at the size wanted (`crop_and_resize`).

    JPEG is decoded with the accurate integer DCT: TensorFlow's default differs from Pillow, hence
    from what other programs see, by up to 25 levels. An image that cannot be decoded is dropped,
    never replaced: the indices that never appear are the failures, and `explain_failures` names
    their reasons. A JPEG cut short and then closed with an end marker cannot be told from a whole
    one by any of these decoders: its lower part is grey.

    Args:
        part: the images; labels are not used.
        input_size: `(height, width)` in pixels.
        batch_size: images in a batch; the last batch may be smaller.

    Returns:
        A dataset of `(images, indices)`: uint8 `(batch, height, width, 3)` and int32 `(batch,)`,
        where an index is the image's position in the part. Its order is that of the part on
        every pass.

    Raises:
        InputError: if `input_size` is not two positive integers or `batch_size` is below 1.

    Example:
        >>> import os, tempfile
        >>> from PIL import Image
        >>> from ktransfer.data import read_paths
        >>> file = os.path.join(tempfile.mkdtemp(), "red.png")
        >>> Image.new("RGB", (640, 480), "red").save(file)
        >>> part, skipped = read_paths(file)
        >>> for images, indices in image_dataset(part, (2, 2)):
        ...     print(images.shape, images[0, 0, 0].numpy(), indices.numpy())
        (1, 2, 2, 3) [255   0   0] [0]
    """
    height, width = _checked_size(input_size)
    if not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batch_size must be an integer of at least 1, got {batch_size!r}")

    read = row_reader(part.images, height, width)

    @tf.autograph.experimental.do_not_convert
    def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return read(index), index

    indices = tf.data.Dataset.range(len(part), output_type=tf.int32)
    decoded = indices.map(load, num_parallel_calls=PARALLEL_CALLS, deterministic=True)
    # Before batching: one bad image must not take its batch with it.
    return untuned(decoded.ignore_errors().batch(batch_size).prefetch(PREFETCHED))


def explain_failures(part: Part, indices: Iterable[int]) -> tuple[Skipped, ...]:
    """Names why images were dropped by `image_dataset`, by decoding them again with Pillow.

    Args:
        part: the part given to `image_dataset`.
        indices: positions in the part that never appeared.

    Returns:
        One `Skipped` for each index, in order, with a reason such as "truncated JPEG: the file ends
        before its pixels do".
    """
    return tuple(_explain(part, index) for index in indices)


def decodable(part: Part, indices: np.ndarray, input_size: tuple[int, int]) -> np.ndarray:
    """Return those of some positions in a part whose images `image_dataset` can decode now."""
    found = [each.numpy() for _, each in image_dataset(part.select(indices), input_size)]
    return indices[np.concatenate(found)] if found else indices[:0]


def _explain(part: Part, index: int) -> Skipped:
    fault = part.images.fault(index)
    name = part.images.name(index)
    return Skipped(name, fault or "TensorFlow cannot decode it, Pillow can: save it anew")


def _checked_size(input_size: tuple[int, int]) -> tuple[int, int]:
    try:
        height, width = (int(each) for each in input_size)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        raise InputError(f"input_size must be (height, width) in pixels, got {input_size!r}")
    return height, width


def row_reader(
    images: ImageFiles | HeldImages,
    height: int,
    width: int,
    *,
    on_fault: OnFault | None = None,
) -> Callable[[tf.Tensor], tf.Tensor]:
    """From the position of an image, an integer scalar, to its pixels, for `Dataset.map`.

    Where the images have been digested, bytes other than those of then are a failure.

    Args:
        images: of a part.
        height: of the pixels that are wanted.
        width: likewise.
        on_fault: called with the position of an image that fails and what was raised, before
            TensorFlow knows of it; an image that only TensorFlow cannot decode is not told.
    """
    decode = _image_decoder(height, width)

    def load(at: int) -> tuple[bool, bytes, np.ndarray]:
        try:
            return _loaded(images, int(at))
        # Damaged files make Pillow raise nearly anything; `explain_failures` names it later. An
        # exception raised inside numpy_function would print a traceback to stderr for each.
        except Exception as error:
            if on_fault:
                on_fault(int(at), error)
            return False, b"", _NO_PIXELS

    def read(row: tf.Tensor) -> tf.Tensor:
        encoded, content, pixels = tf.numpy_function(load, [row], (tf.bool, tf.string, tf.uint8))
        pixels = tf.ensure_shape(pixels, (None, None, 3))
        return decode(tf.ensure_shape(encoded, ()), tf.ensure_shape(content, ()), pixels)

    return read


def _loaded(images: ImageFiles | HeldImages, at: int) -> tuple[bool, bytes, np.ndarray]:
    """Tell whether TensorFlow is to decode an image, its bytes if so, and its pixels if not."""
    if images.kind(at) == "tensorflow":
        return True, images.encoded(at), _NO_PIXELS
    return False, b"", images.full_size(at)


@functools.lru_cache(maxsize=16)
def _image_decoder(height: int, width: int) -> Callable[..., tf.Tensor]:
    """From what `_loaded` gives to pixels, uint8 `(height, width, 3)`.

    Traced once: the tracing would take as long as decoding a hundred photos.
    """

    # Nothing here is Python control flow; to look for it would take longer than the tracing.
    def decode(encoded: tf.Tensor, content: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
        image = tf.cond(encoded, lambda: _decode_plain(content, height, width), lambda: pixels)
        return crop_and_resize(_checked(image), height, width)

    signature = (
        tf.TensorSpec((), tf.bool),
        tf.TensorSpec((), tf.string),
        tf.TensorSpec((None, None, 3), tf.uint8),
    )
    traced = tf.function(decode, autograph=False, input_signature=signature)
    return traced.get_concrete_function()


def _checked(image: tf.Tensor) -> tf.Tensor:
    # An empty image is the mark of a failure.
    with tf.control_dependencies([tf.debugging.assert_positive(tf.size(image))]):
        return tf.identity(image)


def _decode_plain(contents: tf.Tensor, height: int, width: int) -> tf.Tensor:
    # A JPEG can be decoded at a half, a quarter or an eighth of its size, in less time.
    halvings = tf.cond(
        tf.equal(tf.strings.substr(contents, 0, 2), b"\xff\xd8"),
        lambda: jpeg_halvings(tf.io.extract_jpeg_shape(contents)[:2], height, width),
        lambda: 0,
    )
    decoders = {each: _jpeg_decoder(contents, 2**each) for each in range(4)}
    return tf.ensure_shape(tf.switch_case(halvings, decoders), (None, None, 3))


def _jpeg_decoder(contents: tf.Tensor, ratio: int) -> Callable[[], tf.Tensor]:
    # This operation reads PNG by content as well, and unlike decode_image offers the accurate DCT.
    return lambda: tf.io.decode_jpeg(
        contents, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE"
    )
