"""How good a model is on the images that its training never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktransfer.data import Part
from ktransfer.data.learnt import TRAINED, UNSEEN, VALIDATED, Learnt
from ktransfer.metrics import Score, score


@dataclass(frozen=True, eq=False)
class Apart:
    """The images of an evaluation, told apart by what the training made of them.

    Attributes:
        seen_in_training: how many of them the model was trained on; None where that cannot be told.
        seen_in_validation: how many others its epoch, and perhaps its plan, was chosen on; None
            likewise.
        held_back: score on these others alone; None where there are none.
        unseen: score on the images that are neither; None where there are none.
        notes: what to think of it.
    """

    seen_in_training: int | None = None
    seen_in_validation: int | None = None
    held_back: Score | None = None
    unseen: Score | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON; notes are left to the evaluation."""
        return {
            "seen_in_training": self.seen_in_training,
            "seen_in_validation": self.seen_in_validation,
            "held_back": self.held_back.to_dict() if self.held_back else None,
            "unseen": self.unseen.to_dict() if self.unseen else None,
        }


def scored_apart(
    learnt: Learnt | None, part: Part, predicted: np.ndarray, class_names: Sequence[str]
) -> Apart:
    """Score what was seen in the training and what was not apart.

    Args:
        learnt: what the model learnt from; None where that is not known.
        part: the images, with their labels.
        predicted: int64 `(images,)`, the class that the model says.
        class_names: of the model.
    """
    why = "its run was saved without digests of its images"
    differs = learnt.differs_from(part) if learnt else why
    if learnt is None or differs:
        return Apart(notes=(f"whether it was trained on any of these cannot be told: {differs}",))
    found = learnt.look_up(part)

    def scored(what: int) -> Score | None:
        rows = np.flatnonzero(found == what)
        return score(predicted[rows], part.labels[rows], class_names) if len(rows) else None

    trained, validated = (int((found == each).sum()) for each in (TRAINED, VALIDATED))
    notes = _notes(part, trained, validated)
    return Apart(trained, validated, scored(VALIDATED), scored(UNSEEN), notes)


def _notes(part: Part, trained: int, validated: int) -> tuple[str, ...]:
    notes = []
    if trained:
        notes.append(
            f"{_which(trained, part)} were trained on: a model is nearly always right on such, "
            "which says nothing of new ones"
        )
    # Of a validation part everybody knows.
    if validated and part.name != "validation":
        notes.append(
            f"{_which(validated, part)} are of the validation part, which the epoch and perhaps "
            "the plan was chosen on: a little optimistic"
        )
    return tuple(notes)


def _which(count: int, part: Part) -> str:
    return f"{'all' if count == len(part) else f'{count:,}'} of these {len(part):,} images"
