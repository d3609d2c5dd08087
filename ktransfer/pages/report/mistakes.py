"""The photos that a model gets wrong, the surest first, and those it is least sure of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ktransfer.classifier import Classifier
from ktransfer.classifier.mistakes import wrong_rows
from ktransfer.pages.parts import (
    Photo,
    Photos,
    Section,
    Table,
    Text,
    cells,
    count,
    shares,
)
from ktransfer.pages.report.heat import Heat, heat_of, reads_more
from ktransfer.pages.report.judging import Judged, Said
from ktransfer.pages.report.photos import (
    MOST_UNSURE,
    MOST_WRONG,
    least_sure,
    names_of,
    photos_of,
)

_MOST_LISTED = 200


def mistakes(classifier: Classifier, judged: Judged, *, explain: bool) -> Section:
    """Return the photos, each with its class, what the model says, and what spoke for that.

    Args:
        classifier: the model.
        judged: what it says.
        explain: whether to compute what spoke for the class that it says.
    """
    key, title = "mistakes", "Where it is wrong, and where it is not sure"
    said = judged.said
    if said is None:
        return Section(key, title, (Text(("The images are not at hand, so none is shown.",)),))
    heat = heat_of(classifier) if explain else ""
    wrong = wrong_rows(said.probabilities, said.part.labels)
    surest = wrong[:MOST_WRONG].tolist()
    unsure = least_sure(said, surest)[:MOST_UNSURE].tolist()
    photos = photos_of(
        said,
        [*surest, *unsure],
        classifier.class_names,
        classifier.input_size,
        heat if isinstance(heat, Heat) else None,
    )
    return Section(
        key,
        title,
        (
            Text((_counted(said, wrong), *_of_heat(classifier, heat))),
            *_photos("Wrong, the surest first", surest, photos),
            *_others(said, wrong[MOST_WRONG:], classifier.class_names),
            *_photos("Least sure of", unsure, photos),
        ),
    )


def _photos(title: str, rows: Sequence[int], photos: Mapping[int, Photo]) -> Iterator[Photos]:
    """Yield those of the photos that could be read, in order."""
    shown = tuple(photos[row] for row in rows if row in photos)
    if shown:
        yield Photos(title, shown)


def num_shown(section: Section) -> int:
    """Say how many photos are in a section."""
    return sum(len(each.photos) for each in section.parts if isinstance(each, Photos))


def _counted(said: Said, wrong: Sequence[int] | np.ndarray) -> str:
    images = f"{len(said.part):,} images"
    if not len(wrong):
        return f"None of the {images} is wrong."
    shown = f"; the {MOST_WRONG} surest are shown" if len(wrong) > MOST_WRONG else ""
    return f"{count(len(wrong), 'image')} of {len(said.part):,} {_is(len(wrong))} wrong{shown}."


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _of_heat(classifier: Classifier, heat: Heat | str) -> tuple[str, ...]:
    """Say how the pictures are to be read, or why there are none of what spoke for a class."""
    if isinstance(heat, str):
        return (heat,) if heat else ()
    more = (
        " The head reads earlier blocks, too, of which this says nothing."
        if reads_more(classifier)
        else ""
    )
    return (
        "Beside each photo is where the model found what speaks for the class that it says "
        "(Grad-CAM): bright and framed is what counted most. It shows where, not why, and as "
        f"coarsely as the last feature map is.{more}",
    )


def _others(said: Said, rows: np.ndarray, class_names: Sequence[str]) -> Iterator[Table]:
    """Yield the mistakes that are not shown, by name."""
    if not len(rows):
        return
    names = names_of(said.part)
    listed: list[Any] = [
        cells(
            names[row],
            class_names[said.part.labels[row]],
            class_names[said.classes[row]],
            *shares(float(said.certainty[row])),
        )
        for row in rows[:_MOST_LISTED]
    ]
    left = f", the first {_MOST_LISTED} of them" if len(rows) > _MOST_LISTED else ""
    yield Table(
        f"{len(rows):,} more that are wrong{left}",
        ("Photo", "Class", "Said", "Probability"),
        tuple(listed),
        words=frozenset({0, 1, 2}),
        sortable=True,
        folded=True,
    )
