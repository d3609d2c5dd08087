"""Plans that may be the best are carried out again: one validation part makes lucky winners."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ktransfer.errors import InputError
from ktransfer.plan.fields import whole
from ktransfer.tuner.records import Record

#: With fewer validation images, plans that may be the best are carried out with other seeds, too:
#: it needs no other rows than the trials did, where folds have the frozen blocks run for each.
FEW_VALIDATION_IMAGES = 500
_REPEATS_OF_FEW = 2


@dataclass(frozen=True)
class Repetition:
    """How plans are carried out again.

    Attributes:
        repeats: with how many other seeds; None: it goes by the number of validation images.
        folds: in how many folds of train and validation instead; None: by seed.
        seed: of the search.
    """

    repeats: int | None
    folds: int | None
    seed: int

    def check(self) -> None:
        """Raise an `InputError` if plans cannot be carried out again so."""
        if self.repeats is not None:
            whole("a search", "repeats", self.repeats, 0)
        if self.folds is not None:
            whole("a search", "folds", self.folds, 2)
        if self.repeats is not None and self.folds is not None:
            raise InputError(
                f"repeats={self.repeats} and folds={self.folds}: plans that may be the best are "
                "carried out again with other seeds or in folds, not both; leave one of them out"
            )

    def num_seeds(self, num_validation: int) -> int:
        """With how many other seeds a plan is carried out again."""
        if self.folds is not None:
            return 0
        if self.repeats is not None:
            return self.repeats
        return _REPEATS_OF_FEW if num_validation < FEW_VALIDATION_IMAGES else 0

    def trainings(self, trial: Record, num_validation: int) -> list[Record]:
        """Return the trainings of a trial's plan that tell how good it is."""
        one = Record("", trial.values, trial.plan, self.seed, repeats=trial.name)
        folds = range(self.folds or 0)
        seeds = range(self.seed + 1, self.seed + 1 + self.num_seeds(num_validation))
        return [
            *(dataclasses.replace(one, name=f"{trial.name}-fold-{at}", fold=at) for at in folds),
            *(dataclasses.replace(one, name=f"{trial.name}-seed-{at}", seed=at) for at in seeds),
        ]

    def fold_of(self, record: Record) -> tuple[int, int, int] | None:
        """Say what `in_fold` is told for a training: how many folds, which one, the seed."""
        if record.fold is None or self.folds is None:
            return None
        return self.folds, record.fold, self.seed
