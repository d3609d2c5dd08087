"""Images that fit nowhere: decoded whenever they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ktransfer._checks import InputError
from ktransfer.data.parallel import PARALLEL_CALLS, untuned
from ktransfer.data.parts import Part

if TYPE_CHECKING:
    import tensorflow as tf


class ImageRows:
    """The images of a part as rows that nothing holds: each is decoded when it is read.

    Beside arrays of decoded images, for parts of more images than memory and disk have room for.
    `data.batches` reads them with several threads, so that no more than a few batches exist at a
    time.

    Args:
        part: images that can be decoded.
        input_size: `(height, width)` in pixels.

    Attributes:
        shape: `(images, height, width, 3)`.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, part: Part, input_size: tuple[int, int]) -> None:
        from ktransfer.data.pipeline import row_reader

        self.shape = (len(part), *input_size, 3)
        self._read = row_reader(part.images, *input_size)

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, row: tf.Tensor) -> tf.Tensor:
        """The image of a row, an integer scalar: uint8 `(height, width, 3)`."""
        return self._read(row)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """The images of some rows, uint8 `(rows, height, width, 3)`.

        Raises:
            InputError: one of them cannot be decoded any more.
        """
        import tensorflow as tf

        chosen = np.arange(len(self))[rows]
        read = tf.data.Dataset.from_tensor_slices(chosen).map(self.read, PARALLEL_CALLS)
        try:
            images = list(untuned(read).as_numpy_iterator())
        except tf.errors.OpError as error:
            raise InputError(
                "an image could be read before and cannot be read now: was the folder changed? "
                f"({error.message.splitlines()[0]})"
            ) from error
        return np.array(images, np.uint8).reshape(len(chosen), *self.shape[1:])
