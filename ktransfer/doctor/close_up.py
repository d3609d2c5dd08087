"""A second, closer look at some of the images that were inspected."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import Image

from ktransfer.data.images.files import ImageFiles
from ktransfer.data.images.header import quietly
from ktransfer.data.images.held import HeldImages
from ktransfer.doctor.closer import CLOSE_PX
from ktransfer.doctor.crew import in_threads
from ktransfer.doctor.inspection import opened, upright


def close_ups_of(images: ImageFiles | HeldImages) -> Callable[[np.ndarray], np.ndarray]:
    """Say what decodes some of the images, in threads.

    It did so before, so that none is a surprise.

    Returns:
        A function from positions `(n,)` to what `closer.agreements` compares: uint8
        `(n, CLOSE_PX, CLOSE_PX)`, black where an image can no longer be read.
    """

    def close_ups(positions: np.ndarray) -> np.ndarray:
        found = np.zeros((len(positions), CLOSE_PX, CLOSE_PX), np.uint8)
        decoded = in_threads(lambda index, big: _decoded(images, index, big), positions.tolist())
        for at, each in enumerate(decoded):
            found[at] = each
        return found

    return close_ups


def _decoded(
    images: ImageFiles | HeldImages, index: int, before_big: Callable[[], None]
) -> np.ndarray:
    def small(image: Image.Image) -> np.ndarray:
        found = upright(image, CLOSE_PX, before_big, images.value_range)
        return np.asarray(found.convert("L"))

    def read(stream: BinaryIO) -> np.ndarray:
        with quietly(lambda: opened(stream)) as image:
            return quietly(lambda: small(image))

    try:
        if isinstance(images, HeldImages):
            if images.kind(index) in ("pixels", "deep"):
                return small(Image.fromarray(np.ascontiguousarray(images.pixels(index))))
            return read(io.BytesIO(images.content(index).tobytes()))
        with open(images.name(index), "rb") as stream:
            return read(stream)
    # It was readable; what has become of it meanwhile agrees with nothing.
    except Exception:
        return np.zeros((CLOSE_PX, CLOSE_PX), np.uint8)
