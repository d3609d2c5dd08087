"""Parts as `tf.data` pipelines of decoded, resized images."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from ktransfer._checks import InputError
from ktransfer.data.decoding import decode_image
from ktransfer.data.files import CHUNK, ImageFiles
from ktransfer.data.held import HeldImages
from ktransfer.data.images import ImageFile, Skipped
from ktransfer.data.parallel import PARALLEL_CALLS, PREFETCHED, untuned
from ktransfer.data.parts import Part
from ktransfer.data.resizing import crop_and_resize, jpeg_halvings
from ktransfer.data.value_range import ValueRange

_NO_PIXELS = np.zeros((0, 0, 3), np.uint8)


def image_dataset(
    part: Part, input_size: tuple[int, int], *, batch_size: int = 32
) -> tf.data.Dataset:
    """Decodes a part's images in order, at the size wanted (`crop_and_resize`).

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

    read = image_reader(height, width, getattr(part.images, "value_range", None))

    @tf.autograph.experimental.do_not_convert
    def load(path: tf.Tensor, plain: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return read(path, plain), index

    if isinstance(part.images, ImageFiles):
        decoded = _sources(part.images).map(
            load, num_parallel_calls=PARALLEL_CALLS, deterministic=True
        )
    else:
        decoded = _held_images(part.images, height, width)
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


def _sources(files: ImageFiles) -> tf.data.Dataset:
    """The path of each file, whether TensorFlow decodes it, and its index."""

    # Some thousand at a time: a million paths in a constant would be a million strings of a tensor.
    def some(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = np.arange(start, min(start + CHUNK, len(files)))
        # Paths as bytes, because a file name need not be UTF-8.
        paths = [files.raw_path(row) for row in rows]
        return np.array(paths, object), plain[rows], rows.astype(np.int32)

    @tf.autograph.experimental.do_not_convert
    def chunk(start: tf.Tensor) -> tf.data.Dataset:
        found = tf.numpy_function(some, [start], (tf.string, tf.bool, tf.int32))
        shaped = tuple(tf.ensure_shape(each, (None,)) for each in found)
        return tf.data.Dataset.from_tensor_slices(shaped)

    plain = files.plain
    return tf.data.Dataset.range(0, len(files), CHUNK).flat_map(chunk)


@functools.lru_cache(maxsize=16)
def image_reader(
    height: int, width: int, value_range: ValueRange | None = None
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """From a path and whether TensorFlow decodes it to its pixels, uint8 `(height, width, 3)`.

    Traced once: the tracing would take as long as decoding a hundred photos.
    """

    # Nothing here is Python control flow; to look for it would take longer than the tracing.
    def read(path: tf.Tensor, plain: tf.Tensor) -> tf.Tensor:
        image = _decode(path, plain, height, width, value_range)
        return crop_and_resize(image, height, width)

    signature = (tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.bool))
    traced = tf.function(read, autograph=False, input_signature=signature)
    return traced.get_concrete_function()


def _decode(
    path: tf.Tensor, plain: tf.Tensor, height: int, width: int, value_range: ValueRange | None
) -> tf.Tensor:
    return _checked(
        tf.cond(
            plain,
            lambda: _decode_plain(tf.io.read_file(path), height, width),
            lambda: _decode_other(path, value_range),
        )
    )


def row_reader(
    images: ImageFiles | HeldImages, height: int, width: int
) -> Callable[[tf.Tensor], tf.Tensor]:
    """From the position of an image, an integer scalar, to its pixels, for `Dataset.map`."""
    if not isinstance(images, ImageFiles):
        return lambda row: crop_and_resize(_decode_held(images, row, height, width), height, width)
    read, plain = image_reader(height, width, images.value_range), images.plain

    def where(row: int) -> tuple[bytes, bool]:
        return images.raw_path(row), plain[row]

    def read_row(row: tf.Tensor) -> tf.Tensor:
        path, is_plain = tf.numpy_function(where, [row], (tf.string, tf.bool))
        return read(tf.ensure_shape(path, ()), tf.ensure_shape(is_plain, ()))

    return read_row


def _held_images(images: HeldImages, height: int, width: int) -> tf.data.Dataset:
    read = row_reader(images, height, width)

    @tf.autograph.experimental.do_not_convert
    def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return read(index), index

    indices = tf.data.Dataset.range(len(images), output_type=tf.int32)
    return indices.map(load, num_parallel_calls=PARALLEL_CALLS, deterministic=True)


def _decode_held(images: HeldImages, index: tf.Tensor, height: int, width: int) -> tf.Tensor:
    def read(at: int) -> tuple[np.int32, np.ndarray, bytes]:
        if images.kind(at) == "tensorflow":
            return np.int32(1), _NO_PIXELS, images.content(at).tobytes()
        return np.int32(0), _pixels_or_none(lambda: images.full_size(at)), b""

    encoded, pixels, content = tf.numpy_function(read, [index], (tf.int32, tf.uint8, tf.string))
    pixels = tf.ensure_shape(pixels, (None, None, 3))
    content = tf.ensure_shape(content, ())
    return _checked(
        tf.cond(
            tf.cast(tf.ensure_shape(encoded, ()), tf.bool),
            lambda: _decode_plain(content, height, width),
            lambda: pixels,
        )
    )


def _checked(image: tf.Tensor) -> tf.Tensor:
    # An empty image is the Pillow route's mark of a failure: an exception raised inside
    # numpy_function would print a traceback to stderr for each bad file.
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


def _decode_other(path: tf.Tensor, value_range: ValueRange | None) -> tf.Tensor:
    def read(path: bytes) -> np.ndarray:
        file = ImageFile(os.fsdecode(path), "pillow", value_range)
        return _pixels_or_none(lambda: decode_image(file))

    image = tf.numpy_function(read, [path], tf.uint8)
    return tf.ensure_shape(image, (None, None, 3))


def _pixels_or_none(decode: Callable[[], np.ndarray]) -> np.ndarray:
    try:
        return decode()
    # Damaged files make Pillow raise nearly anything; `explain_failures` names it later.
    except Exception:
        return _NO_PIXELS
