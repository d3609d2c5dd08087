"""`Profile`: what one pass of a backbone over images says of them, as plain data."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ktransfer.backbones import Backbone
from ktransfer.errors import InputError, RunError, unknown_name
from ktransfer.features import FEATURE_SETS, taps_of
from ktransfer.files.archives import read_arrays
from ktransfer.files.reading import open_plain, parse_json
from ktransfer.files.records import check_typed
from ktransfer.files.writing import check_new_file, write_file
from ktransfer.profile.gap import DomainGap

#: The feature set that holds all others, and in which each of them comes first.
WIDEST = FEATURE_SETS[-1]

_FORMAT = 1


@dataclass(frozen=True)
class Columns:
    """Which columns of a profile's features one tap has made.

    Attributes:
        name: the tap's, as in `taps_of`.
        block: index of its block.
        start: first column.
        stop: the one behind the last.
    """

    name: str
    block: int
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Profile:
    """What a backbone says of images at every depth, and how far they are from its own.

    Attributes:
        features: float32 `(images, features)` of the widest set of `FEATURE_SETS`; every narrower
            set is its first columns, so that "last" is the finished feature extraction.
        labels: int32 `(images,)`.
        columns: which tap made which columns.
        widths: for each of `FEATURE_SETS` how many columns it has.
        gap: the domain gap; None where it is unknown.
        gap_source: what it was measured with, or why it is unknown, in a sentence.
    """

    features: np.ndarray
    labels: np.ndarray
    columns: tuple[Columns, ...]
    widths: dict[str, int]
    gap: DomainGap | None
    gap_source: str

    def __len__(self) -> int:
        return len(self.features)

    def features_of(self, feature_set: str) -> np.ndarray:
        """Return the features of one of `FEATURE_SETS`, float32 `(images, features)`.

        Raises:
            InputError: there is no such set.
        """
        if feature_set not in self.widths:
            raise unknown_name("feature set", feature_set, tuple(self.widths))
        return self.features[:, : self.widths[feature_set]]

    def features_of_block(self, index: int) -> np.ndarray:
        """Return the averaged output of one block, float32 `(images, channels)`.

        Raises:
            InputError: there is no such block, or its output cannot be averaged.
        """
        ends = [
            np.arange(each.start, each.stop)
            for each in self.columns
            if each.block == index and not each.name.endswith("/inner")
        ]
        if not ends:
            known = sorted({each.block for each in self.columns})
            raise InputError(f"the profile has no features of block {index}, but of {known}")
        return self.features[:, np.concatenate(ends)]

    def select(self, rows: np.ndarray) -> Profile:
        """Return the profile of some of the images; the gap stays that of all."""
        return dataclasses.replace(self, features=self.features[rows], labels=self.labels[rows])

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the profile as one file: arrays and JSON in a zip archive, nothing pickled.

        Raises:
            InputError: the file exists (unless `overwrite`), or cannot be written.
        """
        about = {
            "format": _FORMAT,
            "columns": [dataclasses.astuple(each) for each in self.columns],
            "widths": self.widths,
            "gap": self.gap.to_dict() if self.gap else None,
            "gap_source": self.gap_source,
        }
        target = check_new_file(path, "the profile", overwrite=overwrite)

        def write(partial: Path) -> None:
            with partial.open("wb") as stream:
                np.savez(
                    stream,
                    features=self.features,
                    labels=self.labels,
                    about=np.frombuffer(json.dumps(about).encode(), np.uint8),
                )

        write_file(target, "the profile", write, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Profile:
        """Read what `save` wrote; nothing is unpickled.

        Raises:
            RunError: there is no profile, or it is damaged or of another format.
        """
        try:
            with open_plain(Path(path), follow_links=True) as file:
                arrays = read_arrays(file)
            about = parse_json(arrays["about"].tobytes())
            if about["format"] != _FORMAT:
                raise RunError(
                    f"the profile {path} has format {about['format']!r}, this version reads "
                    f"{_FORMAT}"
                )
            profile = cls(
                arrays["features"],
                arrays["labels"],
                tuple(Columns(*each) for each in about["columns"]),
                about["widths"],
                DomainGap.from_dict(about["gap"]) if about["gap"] else None,
                about["gap_source"],
            )
            check_typed(profile, "profile")
            profile._check_shapes()
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, RunError):
                raise
            raise RunError(f"{path} is no profile, or a damaged one: {error}") from error
        return profile

    def _check_shapes(self) -> None:
        """Raise a `ValueError` if its parts do not fit together."""
        if self.features.ndim != 2 or self.labels.shape != (len(self.features),):
            raise ValueError(
                f"features of the shape {self.features.shape} and labels of {self.labels.shape}"
            )
        if self.features.dtype.kind != "f" or self.labels.dtype.kind not in "iu":
            raise ValueError(f"features are {self.features.dtype}, labels {self.labels.dtype}")
        width = self.features.shape[1]
        if not all(0 <= each.start <= each.stop <= width for each in self.columns):
            raise ValueError(f"columns beyond its {width} features")
        if set(self.widths) != set(FEATURE_SETS) or not all(
            0 <= each <= width for each in self.widths.values()
        ):
            raise ValueError(f"widths {self.widths} for {width} features")


def columns_of(
    backbone: Backbone, pooling: str = "avg"
) -> tuple[tuple[Columns, ...], dict[str, int]]:
    """Say which tap makes which columns of the widest feature set, and how many each set has."""
    columns: list[Columns] = []
    for tap in taps_of(backbone, WIDEST, pooling):
        start = columns[-1].stop if columns else 0
        columns.append(Columns(tap.name, tap.block, start, start + tap.width))
    counted = {
        "last": columns[:1],
        "all_blocks": [each for each in columns if not each.name.endswith("/inner")],
        WIDEST: columns,
    }
    widths = {name: sum(each.stop - each.start for each in counted[name]) for name in FEATURE_SETS}
    return tuple(columns), widths
