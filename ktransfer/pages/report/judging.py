"""The images that a report is about, found again, and what the model says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktransfer.classifier import Classifier, FitResult
from ktransfer.classifier.unseen import scored_apart
from ktransfer.data import Part, Skipped, read_labelled
from ktransfer.data.learnt import Learnt
from ktransfer.errors import InputError
from ktransfer.metrics import Score, score
from ktransfer.runs.seen import held_back

_GIVE_DATA = "give the images with data= (--data) to see the photos that are wrong"

Found = tuple[Part, tuple[Skipped, ...], tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class Said:
    """What the model says of images.

    Attributes:
        part: those that can be decoded, with their labels.
        probabilities: float32 `(images, classes)`.
    """

    part: Part
    probabilities: np.ndarray

    @property
    def classes(self) -> np.ndarray:
        """The most probable class of each, int64 `(images,)`."""
        return self.probabilities.argmax(axis=1)

    @property
    def certainty(self) -> np.ndarray:
        """The probability of that class, `(images,)`."""
        return self.probabilities.max(axis=1)


@dataclass(frozen=True, eq=False)
class Judged:
    """How good a model is, and on which images.

    Attributes:
        part: `"test"`, `"validation"`, or `"all"` of images that are given without parts.
        score: on these.
        said: what it says of each; None where the images are not at hand, and the score is that
            of the training.
        skipped: images that cannot be decoded.
        notes: what is to be said of the images.
    """

    part: str
    score: Score
    said: Said | None
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]


def judge(classifier: Classifier, data: Any = None) -> Judged:
    """Find the images of a classifier again and ask it about them: each is decoded once.

    Args:
        classifier: what is judged.
        data: labelled images, as `Classifier.evaluate` takes them; None: the test part of its
            training where there is one, or else its validation part, as far as they are still
            what they were.

    Raises:
        InputError: the data cannot be used; or none is given, none is found, and the classifier
            was saved without the result of its training.
    """
    if data is not None:
        part, skipped, notes = _given(classifier, data)
        judged = _asked(classifier, part, skipped, notes)
        if judged is None:
            raise InputError(f"none of the {len(part)} images of the data can be decoded")
        return judged
    found, notes = _found_again(classifier)
    judged = _asked(classifier, *found) if found else None
    return judged or _remembered(classifier.result, notes)


def _asked(
    classifier: Classifier, part: Part, skipped: Sequence[Skipped], notes: Sequence[str]
) -> Judged | None:
    """Say what the model says of a part; None where none of it can be decoded."""
    probabilities, rows, failed = classifier.probabilities(part)
    if not len(rows):
        return None
    said = Said(part.select(rows), probabilities)
    names = classifier.class_names
    return Judged(
        part.name,
        score(said.classes, said.part.labels, names),
        said,
        (*skipped, *failed),
        (*scored_apart(classifier.learnt, said.part, said.classes, names).notes, *notes),
    )


def _remembered(result: FitResult | None, notes: Sequence[str]) -> Judged:
    """Return the score of the training itself."""
    if result is None:
        why = f" ({notes[0]})" if notes else ""
        raise InputError(
            f"there is nothing to report on: the run was saved without its result{why}; "
            f"{_GIVE_DATA}"
        )
    part, found = ("test", result.test) if result.test else ("validation", result.validation)
    said = f"The figures are those of the training; {_GIVE_DATA}."
    return Judged(part, found, None, (), (*notes, said))


def _given(classifier: Classifier, data: Any) -> Found:
    """Images of the user's, as `Classifier.evaluate` reads them."""
    names, value_range = classifier.class_names, classifier.value_range
    part, skipped, remarks = read_labelled(data, names, value_range=value_range)
    part, notes = held_back(data, part, dict(classifier.data))
    return part, skipped, (*notes, *remarks)


def _found_again(classifier: Classifier) -> tuple[Found | None, tuple[str, ...]]:
    """Return the images that the training was judged by, or why they are not at hand."""
    held = classifier.test or classifier.validation
    if held is not None:
        return (held, (), ()), ()
    source = classifier.data.get("source")
    if source is None:
        return None, ("The images of the training were in memory and are not kept with the run.",)
    try:
        part, skipped, notes = _given(classifier, source)
    except (InputError, OSError) as error:
        return None, (f"The images of the training are not at hand: {error}.",)
    if part.name not in ("test", "validation"):
        # Whatever is left there may well be what it was trained on.
        return None, (f"The validation images of the training are no longer in {source}.",)
    part, changes = _unchanged(classifier, part)
    if not len(part):
        return None, (f"The {part.name} images of the training are no longer in {source}.",)
    return (part, skipped, (*changes, *notes)), ()


def _unchanged(classifier: Classifier, part: Part) -> tuple[Part, tuple[str, ...]]:
    """Return the images that are what they were, and what became of the others."""
    if classifier.result is None:
        return part, ()
    then, before = classifier.result.part_sizes.get(part.name), len(part)
    if part.name == "validation":
        part = _known(classifier.learnt, part)
    if then is None:
        return part, ()
    notes = []
    if len(part) < then:
        gone = then - len(part)
        notes.append(
            f"Of the {then:,} {part.name} images of the training {gone:,} are gone or changed "
            "since; the others are judged here."
        )
    if before > len(part):
        notes.append(
            f"{before - len(part):,} images lie there that were not among the {part.name} images "
            "of the training; they are left out."
        )
    if len(part) > then:
        notes.append(f"There were {then:,} {part.name} images at the training.")
    return part, tuple(notes)


def _known(learnt: Learnt | None, part: Part) -> Part:
    """Return those of the validation images that the training has seen, where that can be told."""
    if learnt is None or learnt.differs_from(part):
        return part
    return part.select(np.flatnonzero(learnt.validated(part)))
