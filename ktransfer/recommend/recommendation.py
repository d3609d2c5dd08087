"""What a comparison of backbones found, as plain data that prints itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ktransfer.data import Skipped
from ktransfer.recommend.picture import draw_front
from ktransfer.recommend.ranking import Agreement
from ktransfer.recommend.rated import RatedBackbone
from ktransfer.recommend.table import FOOTNOTES, agreement_lines, table_lines
from ktransfer.show.charts import Chart
from ktransfer.show.printable import printable
from ktransfer.show.results import PrintedLines


@dataclass(frozen=True)
class Recommendation(PrintedLines):
    """Backbones compared on some images; print it for the table.

    Attributes:
        best: the fastest within one standard error of the most accurate of those that meet the
            limits.
        reason: why, in a sentence.
        candidates: all of them, in the order given.
        agreements: how well other rankings agree with the accuracies, by `"imagenet_top1"`,
            `"logme"` and `"h_score"`; empty where there are too few candidates to say.
        limits: what was asked for, by name.
        num_images: how many images were judged.
        num_classes: of how many classes.
        skipped: images that could not be decoded, with their reasons.
        seconds: wall time by phase.
        notes: how the data was read, where that is not plain.
    """

    best: RatedBackbone
    reason: str
    candidates: tuple[RatedBackbone, ...]
    agreements: Mapping[str, Agreement]
    limits: Mapping[str, float]
    num_images: int
    num_classes: int
    skipped: tuple[Skipped, ...]
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(map(printable, self._lines()))

    def _lines(self) -> Iterator[str]:
        """Yield the table from fast to slow, what could not be had, and how to read it."""
        images = f"{self.num_images:,} images of {self.num_classes} classes"
        yield f"best: {self.best.label}, features: {self.best.features}. {self.reason}"
        yield f"measured on {images}"
        yield from (f"note: {each}" for each in self.notes)
        yield ""
        yield from table_lines(self.measured)
        for each in self.candidates:
            if not each.measured:
                yield f"  {each.label}: {each.status}"
        yield ""
        yield from agreement_lines(self.agreements)
        yield from FOOTNOTES

    @property
    def measured(self) -> tuple[RatedBackbone, ...]:
        """The candidates that could be had, from fast to slow."""
        found = [each for each in self.candidates if each.measured]
        return tuple(sorted(found, key=lambda each: each.latency_ms or 0.0))

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        return {
            "best": self.best.to_dict(),
            "reason": self.reason,
            "candidates": [each.to_dict() for each in self.candidates],
            "agreements": {name: asdict(each) for name, each in self.agreements.items()},
            "limits": dict(self.limits),
            "num_images": self.num_images,
            "num_classes": self.num_classes,
            "skipped": [asdict(each) for each in self.skipped],
            "seconds": dict(self.seconds),
            "notes": list(self.notes),
        }

    def plot(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Draw accuracy over latency, beside accuracy over ImageNet's, as an SVG or PNG file.

        Raises:
            InputError: the path does not end in `.svg` or `.png`, exists (unless `overwrite`) or
                cannot be written.
        """
        self.chart().save(path, overwrite=overwrite)

    def chart(self) -> Chart:
        """Return the picture of `plot` as a value: shown by a notebook, put into a page."""
        return draw_front(self.best, self.measured, self.limits.get("max_latency_ms"))
