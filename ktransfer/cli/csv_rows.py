"""Predictions as a CSV file, a row an image."""

from __future__ import annotations

import contextlib
import csv
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ktransfer.files.formulas import cell_of, path_cell
from ktransfer.files.writing import aside

if TYPE_CHECKING:
    from ktransfer.serving import Predictions


@contextlib.contextmanager
def csv_writer(name: str | None, *, overwrite: bool = False) -> Iterator[Callable[..., None]]:
    """Write predictions to a file, whole or not at all.

    Args:
        name: of the file; None: nothing is written.
        overwrite: whether it may take the place of a file.

    Yields:
        A function to be called at least once, with predictions and, where they are known, the
        label of each image.
    """
    if name is None:
        yield lambda predictions, labels=None: None
        return
    with (
        aside(Path(name), "--csv", overwrite=overwrite) as partial,
        # Paths keep the very bytes that the system knows them by.
        partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        yield functools.partial(_append, stream)


def _append(stream: TextIO, predictions: Predictions, labels: Sequence[str] | None = None) -> None:
    """Write path, the label where it is known, the class said, its and all probabilities."""
    writer = csv.writer(stream, lineterminator="\n")
    said = ["label"] if labels is None else ["label", "predicted"]
    unsure = ["unsure"] if predictions.abstain_below else []
    far = ["unfamiliar"] if predictions.distances is not None else []
    if not stream.tell():
        names = map(cell_of, predictions.classes)
        writer.writerow(["path", *said, "probability", *unsure, *far, *names])
    for row, each in enumerate(predictions):
        # Nine digits give a float32 back exactly.
        shares = (each.probability, *predictions.probabilities[row])
        probability, *others = (f"{share:.9g}" for share in shares)
        known = [] if labels is None else [cell_of(labels[row])]
        marked = [str(each.unsure).lower()] if unsure else []
        marked += [str(each.unfamiliar).lower()] if far else []
        named = [path_cell(each.path or ""), *known, cell_of(each.label)]
        writer.writerow([*named, probability, *marked, *others])
