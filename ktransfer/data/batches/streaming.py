"""Images that fit nowhere: decoded whenever they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from ktransfer.data.batches.parallel import PARALLEL_CALLS, untuned
from ktransfer.data.images.files import ChangedError
from ktransfer.data.parts import Part
from ktransfer.errors import RunError

if TYPE_CHECKING:
    import tensorflow as tf


class ImageRows:
    """The images of a part as rows that nothing holds: each is decoded when it is read.

    Beside arrays of decoded images, for parts of more images than memory and disk have room for.
    `data.batches.rows` reads them with several threads, so that no more than a few batches exist at
    a time.

    Args:
        part: images that can be decoded.
        input_size: `(height, width)` in pixels.

    Attributes:
        shape: `(images, height, width, 3)`.
        fault: the first image that could not be read again, and why; None as long as all can be.
            TensorFlow's error, which ends the pass, does not know which one it was.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, part: Part, input_size: tuple[int, int]) -> None:
        from ktransfer.data.batches.pipeline import row_reader

        self.shape = (len(part), *input_size, 3)
        self.fault: str | None = None
        self._images = part.images
        self._read = row_reader(part.images, *input_size, on_fault=self._note)

    def _note(self, row: int, error: Exception) -> None:
        reason = error if isinstance(error, ChangedError) else self._images.fault(row) or error
        self.fault = self.fault or f"{self._images.name(row)!r}: {reason}"

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, row: tf.Tensor) -> tf.Tensor:
        """Return the image of a row, an integer scalar: uint8 `(height, width, 3)`."""
        return self._read(row)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Return the images of some rows, uint8 `(rows, height, width, 3)`.

        Raises:
            RunError: one of them cannot be read again.
        """
        import tensorflow as tf

        chosen = np.arange(len(self))[rows]
        read = tf.data.Dataset.from_tensor_slices(chosen).map(self.read, PARALLEL_CALLS)
        with faults_named([self]):
            images = list(untuned(read).as_numpy_iterator())
        return np.array(images, np.uint8).reshape(len(chosen), *self.shape[1:])


@contextmanager
def faults_named(several: Iterable[ImageRows]) -> Iterator[None]:
    """Names the image that could not be read again where a pass over some rows ends in an error.

    Args:
        several: the rows; not iterated over before there is an error.

    Raises:
        RunError: in place of TensorFlow's error, which says neither which image it was nor why.
    """
    try:
        yield
    except Exception as error:
        fault = next((each.fault for each in several if each.fault), None)
        if fault is None:
            raise
        raise RunError(
            f"an image could be read before and cannot be read now: {fault}. Was the folder "
            "changed? Put it back as it was; a training that has an output folder goes on with "
            "resume=True (--resume)"
        ) from error
