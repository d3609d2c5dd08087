"""The images of a part in batches of bounded memory, decoded by several threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ktransfer.data.batches.parallel import num_cores
from ktransfer.data.images.files import ImageFiles
from ktransfer.data.images.header import Skipped
from ktransfer.data.images.held import HeldImages
from ktransfer.data.images.host import read_on_host

Images = ImageFiles | HeldImages


@dataclass(frozen=True, eq=False)
class Batch:
    """Some images, and what failed between them.

    Attributes:
        pixels: uint8 `(batch, height, width, 3)`; the batch may be empty.
        rows: position of each in the part.
        skipped: what could not be decoded.
        done: how many images of the part lie behind the batch.
    """

    pixels: np.ndarray
    rows: list[int]
    skipped: tuple[Skipped, ...]
    done: int


def decoded_batches(
    images: Images, input_size: tuple[int, int] | None, batch_size: int
) -> Iterator[Batch]:
    """Decode images while the batch before them is worked on.

    Args:
        images: of a part.
        input_size: `(height, width)` that they are brought to; None: they stay as they are, each
            in a batch of its own.
        batch_size: images in a batch.
    """
    batch_size = batch_size if input_size else 1
    num_threads = num_cores()
    pool = ThreadPoolExecutor(num_threads)
    try:
        found = _in_order(pool, images, input_size, batch_size + num_threads)
        for start in range(0, len(images), batch_size):
            rows = range(start, min(start + batch_size, len(images)))
            several = [(row, next(found)) for row in rows]
            good = [(row, each) for row, each in several if isinstance(each, np.ndarray)]
            bad = tuple(each for _, each in several if isinstance(each, Skipped))
            pixels = np.stack([each for _, each in good]) if good else _no_pixels(input_size)
            yield Batch(pixels, [row for row, _ in good], bad, rows.stop)
    finally:
        pool.shutdown(cancel_futures=True)


def _no_pixels(input_size: tuple[int, int] | None) -> np.ndarray:
    return np.empty((0, *(input_size or (1, 1)), 3), np.uint8)


def _in_order(
    pool: ThreadPoolExecutor, images: Images, input_size: tuple[int, int] | None, ahead: int
) -> Iterator[np.ndarray | Skipped]:
    """Say what became of each image; `ahead` of them are worked on or wait to be taken."""
    waiting: deque[Future[np.ndarray | Skipped]] = deque()
    for row in range(len(images)):
        waiting.append(pool.submit(_read, images, row, input_size))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _read(images: Images, row: int, input_size: tuple[int, int] | None) -> np.ndarray | Skipped:
    try:
        if input_size is None:
            return images.full_size(row)
        return read_on_host(images, row, input_size)
    except Exception:  # damaged files make Pillow raise nearly anything
        reason = images.fault(row) or "it could not be decoded just now, and can be: try again"
        return Skipped(images.name(row), reason)
