"""A dataset of TensorFlow or Keras."""

from __future__ import annotations

import sys
from typing import Any

from ktransfer.data.parts import Part
from ktransfer.data.reading.datasets import class_names_of, read_dataset
from ktransfer.data.reading.labels import labels_by_name, positions
from ktransfer.data.sources.source import (
    Contents,
    HeldSource,
    Names,
    Options,
    Unlabelled,
    unlabelled,
)


class Dataset(HeldSource):
    """A `tf.data.Dataset` or a Keras `PyDataset` of (image, label)."""

    @classmethod
    def accepts(cls, data: Any, *, labelled: bool) -> bool:
        """Whether it is one; nothing is imported for it."""
        # Whoever has one has imported what it is made of.
        tensorflow, keras = sys.modules.get("tensorflow"), sys.modules.get("keras")
        if tensorflow is not None and isinstance(data, tensorflow.data.Dataset):
            return True
        return keras is not None and isinstance(data, keras.utils.PyDataset)

    def contents(self, class_names: Names | None, options: Options) -> Contents:
        """As of every source that is held."""
        source, value_range = options.source, options.value_range
        images, given, skipped = read_dataset(self.data, source, value_range=value_range)
        own = class_names_of(self.data)
        if own and not _only_numbers(class_names):
            given = labels_by_name(given, own, source)
        labels, names = positions(given, class_names or own, source)
        return Contents({"train": Part("train", images, labels)}, names, skipped)

    def read_images(self, options: Options) -> Unlabelled:
        """All of them; there may be labels or none."""
        images, _, skipped = read_dataset(
            self.data, "the dataset", labelled=False, value_range=options.value_range
        )
        return unlabelled(images, skipped)


def _only_numbers(class_names: Names | None) -> bool:
    """Whether classes are called "0", "1", ...: then a model was trained without names."""
    return class_names is not None and class_names == tuple(map(str, range(len(class_names))))
