"""The photos of a report: which ones, and as small pictures that travel in the page."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ktransfer.data import Part, image_dataset
from ktransfer.data.images.files import ImageFiles
from ktransfer.pages.parts import Photo
from ktransfer.pages.report.heat import Heat, spotlight
from ktransfer.pages.report.judging import Said

MOST_WRONG, MOST_UNSURE = 12, 6
#: The longer side of a small picture: twice what a page shows of it, for dense screens.
SIDE_PX = 256
_QUALITY = 80


def least_sure(said: Said, shown: Sequence[int]) -> np.ndarray:
    """Return the other images, those first whose two most probable classes are closest."""
    two = np.partition(said.probabilities, -2, axis=1)[:, -2:]
    order = np.argsort(two[:, 1] - two[:, 0], kind="stable")
    return order[~np.isin(order, shown)]


def names_of(part: Part) -> list[str]:
    """Return the files' paths from the folder that all of them lie in.

    Of images in memory their names.
    """
    names = [part.images.name(row) for row in range(len(part))]
    if not isinstance(part.images, ImageFiles) or not names:
        return names
    folder = os.path.commonpath([os.path.dirname(each) for each in names])
    return [os.path.relpath(each, folder) for each in names]


def photos_of(
    said: Said,
    rows: Sequence[int],
    class_names: Sequence[str],
    input_size: tuple[int, int],
    heat: Heat | None,
) -> dict[int, Photo]:
    """Small pictures of images, with what spoke for the class that the model says.

    Args:
        said: of the images.
        rows: which ones, a few dozen at most.
        class_names: of the model.
        input_size: `(height, width)` of what it sees, which is what is shown.
        heat: computes what spoke for a class; None: that is not shown.

    Returns:
        The picture of each row; one that can no longer be read has none.
    """
    found, pixels = _seen(said.part, rows, input_size)
    if not found:
        return {}
    names, labels = names_of(said.part), said.part.labels
    maps = heat(pixels, said.classes[found]) if heat else [None] * len(found)
    photos = {}
    for row, image, hot in zip(found, map(_small, pixels), maps, strict=True):
        photos[row] = Photo(
            name=names[row],
            photo=_data_uri(image),
            heat="" if hot is None else _data_uri(spotlight(image, hot)),
            truth=class_names[labels[row]],
            said=class_names[said.classes[row]],
            probability=float(said.certainty[row]),
            where=_where(hot) if heat else "",
        )
    return photos


def _where(heat: np.ndarray | None) -> str:
    """Say where most speaks for a class, in words."""
    return "evidence in no place" if heat is None else f"evidence mostly {place(heat)}"


_FIELDS = (
    ("at the upper left", "at the top", "at the upper right"),
    ("on the left", "in the middle", "on the right"),
    ("at the lower left", "at the bottom", "at the lower right"),
)


def place(heat: np.ndarray) -> str:
    """Say where a map of heat is strongest, in words: one of nine fields.

    Example:
        >>> place(np.eye(6)), place(np.eye(9)[4:5])
        ('at the upper left', 'in the middle')
    """
    peak = np.unravel_index(int(heat.argmax()), heat.shape)
    down, across = (int(3 * (at + 0.5) / size) for at, size in zip(peak, heat.shape, strict=True))
    return _FIELDS[down][across]


def _seen(
    part: Part, rows: Sequence[int], input_size: tuple[int, int]
) -> tuple[list[int], np.ndarray]:
    """Return those of some images that can be read, and what the network sees of them."""
    pixels, found = [], []
    for images, indices in image_dataset(part.select(list(rows)), input_size):
        pixels.append(images.numpy())
        found += [rows[at] for at in indices.numpy()]
    return found, np.concatenate(pixels) if pixels else np.empty(0, np.uint8)


def _small(pixels: np.ndarray) -> Image.Image:
    """Return an image at the size of small pictures; what is smaller keeps its pixels, enlarged."""
    height, width = pixels.shape[:2]
    scale = SIDE_PX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    way = Image.Resampling.NEAREST if scale >= 4 else Image.Resampling.LANCZOS
    return Image.fromarray(pixels).resize(size, way)


def _data_uri(picture: Image.Image) -> str:
    contents = io.BytesIO()
    picture.save(contents, "WEBP", quality=_QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(contents.getvalue()).decode()}"
