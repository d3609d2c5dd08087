"""One pass of a frozen network over the images; its output is kept, so that it never runs again."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ktransfer.data import Part, Skipped, decodable, explain_failures, image_dataset
from ktransfer.errors import InputError
from ktransfer.processes.keras_settings import own_settings

if TYPE_CHECKING:
    import tensorflow as tf

#: Features larger than this are kept in a memory-mapped file instead of in memory.
DEFAULT_BUDGET_MB = 1_024

#: Images in one forward pass. Larger ones gained nothing on a CPU, where 32 keep every core busy.
FORWARD_BATCH_SIZE = 32

#: A pass in which images failed that can be read afterwards is made again, up to so many in all.
_MOST_PASSES = 3

Forward = Callable[[Any], np.ndarray]
OnProgress = Callable[[int, int], None]

#: Images in the trial of `seconds_per_row`: few, for it must cost little beside what it may save.
_TRIED = 8


class NoSpaceError(InputError):
    """What is to be kept fits neither into the memory budget nor on the disk."""


@dataclass(frozen=True)
class Features:
    """What a frozen network says of a set of images.

    Attributes:
        values: `(images, ...)`, in memory, or a `numpy.memmap` when larger than the budget.
        indices: int32 `(images,)`: for each row, the index of its image. Images that could not be
            decoded have no row.
    """

    values: np.ndarray
    indices: np.ndarray

    @property
    def in_memory(self) -> bool:
        """Whether the values are in memory, and not in a memory-mapped file."""
        return not isinstance(self.values, np.memmap)


@own_settings()
def compile_forward(model: keras.Model) -> Forward:
    """Return a fast inference function of a network whose weights will not change.

    The weights are copied into the traced program as constants: a constant can be folded (batch
    norm into the convolutions before it), which made MobileNetV2 about a fifth faster on a CPU than
    the same program reading variables, and quicker to trace. Later changes of the model's weights
    do not reach it.

    Args:
        model: one input `(batch, height, width, 3)`, one output.

    Returns:
        A function from a batch of images, RGB in [0, 255], to the float32 output as a NumPy array.
    """
    if keras.backend.backend() != "tensorflow":
        return lambda images: np.asarray(model.predict_on_batch(np.asarray(images)), np.float32)
    import tensorflow as tf

    # NumPy copies, made constants inside the trace: a tensor from outside would become an argument
    # of the program, and arguments are not folded.
    trainable = [np.asarray(each) for each in model.trainable_variables]
    non_trainable = [np.asarray(each) for each in model.non_trainable_variables]

    def forward(images: tf.Tensor) -> tf.Tensor:
        return model.stateless_call(
            [tf.constant(each) for each in trainable],
            [tf.constant(each) for each in non_trainable],
            images,
            training=False,
        )[0]

    # The batch is left open, or the last, smaller batch would be traced again.
    signature = [tf.TensorSpec((None, *model.input_shape[1:]))]
    traced = tf.function(forward, autograph=False).get_concrete_function(*signature)
    return lambda images: traced(tf.cast(images, "float32")).numpy().astype(np.float32, copy=False)


@own_settings()
def extract(
    forward: Forward,
    dataset: tf.data.Dataset,
    num_images: int,
    *,
    into: np.ndarray | None = None,
    budget_mb: float = DEFAULT_BUDGET_MB,
    directory: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> Features:
    """Run a frozen network once over a dataset and keep what it says.

    Args:
        forward: from `compile_forward`.
        dataset: batches of `(images, indices)`; images `(batch, height, width, 3)`, indices int32
            `(batch,)`.
        num_images: how many images the dataset yields at most.
        into: where to write the features, `(num_images, ...)`; None allocates it.
        budget_mb: features of more megabytes go to a memory-mapped file.
        directory: where that file lies; the system's temporary folder by default. The file has no
            name there: it is gone with the last reader, however the process ends.
        on_progress: called with (images done, images in all) after each batch.

    Returns:
        `Features` of the images that could be decoded, in the dataset's order.

    Raises:
        NoSpaceError: the features do not fit on the disk.
    """
    store = into
    indices = np.empty(num_images, np.int32)
    done = 0
    for images, batch_indices in dataset:
        values = forward(images)
        if store is None:
            shape = (num_images, *values.shape[1:])
            store = allocate(shape, values.dtype, budget_mb=budget_mb, directory=directory)
        end = done + len(values)
        store[done:end] = values
        indices[done:end] = batch_indices
        done = end
        if on_progress:
            on_progress(int(indices[done - 1]) + 1, num_images)
    if store is None:
        return Features(np.empty((0, 0), np.float32), indices[:0])
    return Features(store[:done], indices[:done])


def extract_images(
    forward: Forward,
    part: Part,
    input_size: tuple[int, int],
    *,
    into: np.ndarray | None = None,
    budget_mb: float = DEFAULT_BUDGET_MB,
    on_progress: OnProgress | None = None,
) -> Features:
    """`extract` of the images of a part, of which only those fail that can never be decoded.

    The bytes that are decoded are those that were digested, if any were (`Images.encoded`): so what
    is kept under the digests is theirs, whatever befalls the files meanwhile.

    Args:
        forward: from `compile_forward`.
        part: the images.
        input_size: `(height, width)` in pixels that they are resized to.
        into: as in `extract`.
        budget_mb: as in `extract`.
        on_progress: as in `extract`.

    Raises:
        InputError: a file is no longer what it was; or time and again one cannot be read that
            can be a moment later.
    """
    dataset = image_dataset(part, input_size, batch_size=FORWARD_BATCH_SIZE)
    for _ in range(_MOST_PASSES):
        found = extract(
            forward, dataset, len(part), into=into, budget_mb=budget_mb, on_progress=on_progress
        )
        lost = np.setdiff1d(np.arange(len(part)), found.indices)
        _check_unchanged(part, lost)
        again = decodable(part, lost, input_size)
        if not len(again):
            return found
    raise InputError(
        f"{part.images.name(int(again[0]))!r} cannot be read at one moment and can be at the "
        "next: is something at work in the folder, or its disk at fault?"
    )


def _check_unchanged(part: Part, lost: np.ndarray) -> None:
    changed = [(int(row), how) for row in lost if (how := part.images.changed(int(row)))]
    if changed:
        row, how = changed[0]
        more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise InputError(
            f"the images of the {part.name} part changed while they were read: "
            f"{part.images.name(row)!r} ({how}){more}. Nothing of it is kept: run it again when "
            "nothing is at work in the folder"
        )


@own_settings()
def extract_part(
    forward: Forward,
    part: Part,
    input_size: tuple[int, int],
    *,
    budget_mb: float = DEFAULT_BUDGET_MB,
    on_progress: OnProgress | None = None,
) -> tuple[Features, Part, tuple[Skipped, ...]]:
    """Decode the images of a part and run a frozen network once over them.

    Args:
        forward: from `compile_forward`.
        part: the images.
        input_size: `(height, width)` in pixels that they are resized to.
        budget_mb: as in `extract`.
        on_progress: as in `extract`.

    Returns:
        The features, the part of the images that have a row in them (in the same order), and the
        images that could not be decoded, each with its reason.
    """
    features = extract_images(
        forward, part, input_size, budget_mb=budget_mb, on_progress=on_progress
    )
    failed = np.setdiff1d(np.arange(len(part)), features.indices)
    return features, part.select(features.indices), explain_failures(part, failed)


def forward_on_the_way(
    batches: tf.data.Dataset, forward: Forward, shape: tuple[int, ...]
) -> tf.data.Dataset:
    """Batches of `(what a network says, ...)` from `(images, ...)`, computed in the pipeline."""
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def run(images: tf.Tensor, *targets: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # As a call from outside: within the pipeline's own graph nothing would be folded.
        rows = tf.numpy_function(lambda each: forward(each), [images], tf.float32)
        return tf.ensure_shape(rows, (None, *shape)), *targets

    return batches.map(run).prefetch(1)


def allocate(
    shape: tuple[int, ...],
    dtype: np.dtype | str = "float32",
    *,
    budget_mb: float = DEFAULT_BUDGET_MB,
    directory: str | os.PathLike[str] | None = None,
) -> np.ndarray:
    """Return an array in memory, or mapped from an unnamed file when it is over the budget.

    Raises:
        NoSpaceError: it does not fit on the disk.
    """
    num_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if num_bytes <= budget_mb * 2**20:
        return np.empty(shape, dtype)
    folder = Path(directory or tempfile.gettempdir())
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            # A look first: to find out by trying would fill the disk up, if only for a moment.
            if num_bytes > shutil.disk_usage(folder).free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            # Reserved before the first write: writing into a hole of a mapped file on a full disk
            # kills the process with SIGBUS, which nobody can catch.
            _reserve(file.fileno(), num_bytes)
        except OSError as error:
            raise NoSpaceError(
                f"the features need {num_bytes / 2**20:,.0f} MB of disk in {folder}: "
                f"{error.strerror}. Free some space, or set TMPDIR to a folder on a larger disk"
            ) from error
        return np.memmap(file, dtype, "r+", shape=shape)


def _reserve(descriptor: int, num_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, num_bytes)
    else:  # macOS has no such call; there a file can only be made long, not sure of its space
        os.truncate(descriptor, num_bytes)


def seconds_per_row(forward: Forward, shape: tuple[int, ...]) -> float:
    """Say how long a forward pass takes for an image; black ones do.

    Args:
        forward: compiled.
        shape: of an image, uint8.
    """
    images = np.zeros((_TRIED, *shape), np.uint8)
    forward(images)
    started = time.perf_counter()
    forward(images)
    return (time.perf_counter() - started) / _TRIED
