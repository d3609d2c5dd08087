"""The parts of a data set without the images that turn out to be unreadable."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ktransfer.data import Part, Skipped, Splits, decodable, explain_failures
from ktransfer.errors import InputError


class ReadableParts:
    """The parts of a data set; the first pass over each tells which of its images can be decoded.

    Args:
        splits: the images.
        sampled: they are some of those of a training: a class of which none can be decoded here
            may have others there.
    """

    def __init__(self, splits: Splits, *, sampled: bool = False) -> None:
        self.splits = self.all = splits
        self._sampled = sampled
        self._indices: dict[str, np.ndarray] = {}

    def part(self, name: str) -> Part:
        """Return a part without the images that are known to be unreadable."""
        return _named(self.splits, name)

    def indices(self, name: str) -> np.ndarray | None:
        """Return the positions of readable images in the whole part; None: not yet known."""
        return self._indices.get(name)

    def narrow(self, name: str, indices: np.ndarray) -> None:
        """Take note of which images of a part can be decoded, when that is first known.

        Raises:
            InputError: no training image of a class can.
        """
        if name in self._indices:
            return
        self._indices[name] = indices
        part = self.part(name)
        lost = np.setdiff1d(np.arange(len(part)), indices)
        failed = explain_failures(part, lost)
        if name == "train" and not self._sampled:
            _check_classes_left(part.labels, lost, failed, self.splits.class_names)
        parts = {each.name: each for each in self.splits.parts} | {name: part.select(indices)}
        self.splits = self.splits.with_parts(list(parts.values()), failed)

    def why_incomplete(self, name: str, indices: np.ndarray, size: tuple[int, int]) -> str:
        """Say what is wrong with rows of these images alone: others of the part can be read; or "".

        Args:
            name: of the part.
            indices: positions in the whole part.
            size: at which others would be decoded.
        """
        known, part = self._indices.get(name), _named(self.all, name)
        if known is None:
            lacking = decodable(part, np.setdiff1d(np.arange(len(part)), indices), size)
        else:
            lacking = np.setdiff1d(known, indices)
        if not len(lacking):
            return ""
        return (
            f"it lacks {len(lacking)} of {len(part)} images that can be read, such as "
            f"{part.images.name(int(lacking[0]))!r}"
        )


def _named(splits: Splits, name: str) -> Part:
    return next(part for part in splits.parts if part.name == name)


def _check_classes_left(
    labels: np.ndarray, lost: np.ndarray, failed: tuple[Skipped, ...], class_names: Sequence[str]
) -> None:
    """Refuse classes of which every image is among the `lost` ones."""
    for label in np.setdiff1d(labels, np.delete(labels, lost)):
        example = failed[int(np.argmax(labels[lost] == label))]
        raise InputError(
            f"no training image of class {class_names[label]!r} can be decoded; for example "
            f"{example.path!r}: {example.reason}"
        )
