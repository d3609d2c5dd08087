"""Which classes are taken for which, and how well each is found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ktransfer.metrics import Score, confused_pairs
from ktransfer.pages.parts import Cell, Part, Picture, Section, Table, Text, cells, count
from ktransfer.pages.parts import shares as share_cells
from ktransfer.pages.report.pictures import draw_confusion

#: Of more classes a table of all pairs could not be read; the picture still shows them.
MOST_IN_A_TABLE = 12
_MOST_PAIRS = 15


def confused(found: Score, class_names: Sequence[str]) -> Section:
    """Return the confusion matrix, as a picture and in figures."""
    pairs = confused_pairs(found.confusion)
    silent = _never_said(found.confusion, class_names)
    parts: list[Part] = [*([Text((silent,))] if silent else [])]
    small = len(class_names) <= MOST_IN_A_TABLE
    frequent = [_pairs_table(found.confusion, pairs, class_names)] if pairs else []
    tables = [*frequent, _whole_table(found.confusion, class_names)] if small else []
    parts.append(
        Picture(
            draw_confusion(found.confusion, class_names),
            "Each row is a class, and shows as what its images are classified: on the diagonal "
            "they are right. The stronger its colour, the larger a cell's share of the row.",
            tuple(tables),
        )
    )
    # In a large matrix nobody finds them.
    parts += [] if small else frequent
    return Section("confused", "Which classes are taken for which", tuple(parts))


def _never_said(confusion: np.ndarray, class_names: Sequence[str]) -> str:
    """Return a sentence on classes that no image is given."""
    silent = [class_names[at] for at in np.flatnonzero(confusion.sum(axis=0) == 0).tolist()]
    if not silent:
        return ""
    shown = ", ".join(silent[:_MOST_PAIRS])
    more = f" and {len(silent) - _MOST_PAIRS} more" if len(silent) > _MOST_PAIRS else ""
    return (
        f"{count(len(silent), 'class is', 'classes are')} never said of any image: {shown}{more}."
    )


def _pairs_table(
    confusion: np.ndarray, pairs: Sequence[tuple[int, int]], class_names: Sequence[str]
) -> Table:
    images = confusion.sum(axis=1)
    rows = [
        cells(
            class_names[row],
            class_names[column],
            (float(confusion[row, column]), f"{confusion[row, column]:,}"),
            *share_cells(float(confusion[row, column] / images[row])),
        )
        for row, column in pairs[:_MOST_PAIRS]
    ]
    more = f", the first {_MOST_PAIRS} of {len(pairs):,} pairs" if len(pairs) > _MOST_PAIRS else ""
    return Table(
        f"Most often confused{more}",
        ("Class", "Taken for", "Images", "Of the class"),
        tuple(rows),
        words=frozenset({0, 1}),
    )


def _whole_table(confusion: np.ndarray, class_names: Sequence[str]) -> Table:
    rows = [
        cells(name, *((float(number), f"{number:,}") for number in row))
        for name, row in zip(class_names, confusion, strict=True)
    ]
    return Table(
        "All of it: rows are classes, columns what is said", ("", *class_names), tuple(rows)
    )


def by_class(found: Score) -> Section:
    """Precision, recall and F1 of each class."""
    support = dict(zip(found.per_class, found.confusion.sum(axis=1).tolist(), strict=True))
    rows = [
        (
            Cell(name),
            *cells(*share_cells(found.precision[name], recall, found.f1[name])),
            Cell(f"{support[name]:,}", support[name]),
        )
        for name, recall in sorted(found.per_class.items(), key=lambda each: _order(each[1]))
    ]
    table = Table(
        "The class that is found least comes first. Recall: the share of its images that are "
        "found. Precision: the share of what is given its name that is of it. F1: the harmonic "
        "mean of both.",
        ("Class", "Precision", "Recall", "F1", "Images"),
        tuple(rows),
        sortable=True,
    )
    missing = [name for name, number in support.items() if not number]
    note = Text((f"{count(len(missing), 'class has', 'classes have')} no image here.",))
    return Section("by-class", "Class by class", (table, *([note] if missing else [])))


def _order(recall: float | None) -> float:
    """Classes without images come last."""
    return 2.0 if recall is None else recall
