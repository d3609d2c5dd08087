"""Images and their labels, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from ktransfer.data.images.header import Skipped
from ktransfer.data.parts import Part
from ktransfer.data.reading.arrays import CHANNELS, held_array
from ktransfer.data.reading.items import is_array, is_one_array, read_items
from ktransfer.data.reading.labels import positions
from ktransfer.data.sources.source import (
    Contents,
    HeldSource,
    Names,
    Options,
    Unlabelled,
    unlabelled,
)
from ktransfer.errors import InputError


class Arrays(HeldSource):
    """`(images, labels)`: an array of images, or a list of them one by one, and their labels."""

    @classmethod
    def accepts(cls, data: Any, *, labelled: bool) -> bool:
        """Tell whether it is a tuple of the two.

        Where labels may be missing, and not two images.
        """
        if not isinstance(data, tuple) or len(data) != 2:
            return False
        if isinstance(data[0], list):
            return True
        return is_array(data[0]) and (labelled or _are_labelled(*data))

    def contents(self, class_names: Names | None, options: Options) -> Contents:
        """As of every source that is held."""
        source, value_range = options.source, options.value_range
        images, given = self.data
        skipped: tuple[Skipped, ...] = ()
        if is_one_array(images):
            held, numbers = held_array(images, source, value_range), None
            count, shape = len(held), f" of shape {np.shape(images)[1:]}"
        else:
            found = read_items(images, source, value_range)
            held, numbers, skipped = found.images, found.numbers, found.skipped
            count, shape = len(held) + len(skipped), ""
        labels, names = positions(given, class_names, source)
        if len(labels) != count:
            raise InputError(
                f"{source} has {count} images{shape} and {len(labels)} labels: expected a label "
                "for each image"
            )
        kept = labels if numbers is None else labels[numbers]
        return Contents({"train": Part("train", held, kept)}, names, skipped)

    def read_images(self, options: Options) -> Unlabelled:
        """Return the images alone."""
        images, labels = self.data
        if not is_one_array(images):
            found = read_items(images, "the images", options.value_range)
            return unlabelled(found.images, found.skipped)
        held = held_array(images, "the array", options.value_range)
        if np.ndim(labels) not in (1, 2) or len(labels) != len(held):
            raise InputError(
                f"two arrays are images and labels, got the shapes {np.shape(images)} and "
                f"{np.shape(labels)}: give images as one array or as a list"
            )
        return unlabelled(held)

    def is_empty(self) -> bool:
        """Tell whether there are neither images nor labels."""
        return all(not e if isinstance(e, list) else np.shape(e)[:1] == (0,) for e in self.data)

    def files(self) -> Iterator[str]:
        """Return those of images that are given as paths."""
        return self.files_of(self.data[0] if isinstance(self.data[0], list) else ())


def _are_labelled(images: Any, labels: Any) -> bool:
    """Tell whether an array and something else are images and labels, and not two images."""
    shape, axes = np.shape(images), np.ndim(labels) if is_array(labels) else 1
    # Of one-hot rows and a grey image only what stands before them tells which they are.
    several = len(shape) == 4 or (len(shape) == 3 and shape[-1] not in CHANNELS)
    return not isinstance(labels, Image.Image) and (axes == 1 or (axes == 2 and several))
