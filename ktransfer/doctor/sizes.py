"""Findings on images of quite another size than the rest of their set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ktransfer.doctor.findings import Finding
from ktransfer.doctor.pixels import TINY_PX
from ktransfer.doctor.subject import Subject

#: Sides so many times as long, or as short, as those of the usual image are another source's.
MOST_TIMES = 4.0
# Where sizes vary anyway, so many times as far from the usual one as nine in ten are.
_BEYOND = 3.0
#: Of fewer images none is usual.
FEWEST = 20


def size_findings(subject: Subject, records: np.ndarray) -> Iterator[Finding]:
    """Of the images that were decoded; those too small to show anything are `tiny`."""
    seen = np.flatnonzero(records["seen"])
    width, height = (records[name][seen].astype(np.float64) for name in ("width", "height"))
    if len(seen) < FEWEST:
        return
    sides = np.sqrt(width * height)
    away = np.abs(np.log2(sides / np.median(sides)))
    most = max(np.log2(MOST_TIMES), _BEYOND * float(np.quantile(away, 0.9)))
    odd = seen[(away > most) & (np.minimum(width, height) >= TINY_PX)]
    if not len(odd):
        return
    usual = seen[np.argsort(sides, kind="stable")[len(seen) // 2]]
    few = len(odd) == 1
    yield Finding(
        "size_outlier",
        "warning",
        len(odd),
        f"{len(odd):,} image{' is' if few else 's are'} of quite another size than the rest, such "
        f"as {_size(records, usual)}",
        "look at them: originals among thumbnails, or pictures of another source; what shows only "
        "at one size, or goes with a class, is learnt in place of the class",
        tuple((path,) for path in subject.paths(odd)),
        tuple(_size(records, at) for at in odd),
    )


def _size(records: np.ndarray, at: int) -> str:
    return f"{records['width'][at]:,} x {records['height'][at]:,} pixels"
