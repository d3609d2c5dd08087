"""Which plan to take: small validation sets make lucky winners."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ktransfer.metrics import wilson_interval
from ktransfer.tuner.records import DONE, Record
from ktransfer.tuner.repetition import Repetition


@dataclass(frozen=True)
class Depth:
    """The best plan that unfreezes so many blocks, and how good it is.

    Attributes:
        unfreeze: how many last blocks train.
        name: of the trial that found the plan.
        mean: validation accuracy, over the runs of the plan with different seeds; or where it was
            carried out in folds, of all their images, the trial that found it left out.
        error: standard error of it: that of a share of so many images, and what the seeds add, or
            what the folds differ beyond that.
        interval: 95 % Wilson interval of the mean, as of one set of so many images.
        runs: of how many trainings that is.
        trials: how many trials unfroze so many blocks.
    """

    unfreeze: int
    name: str
    mean: float
    error: float
    interval: tuple[float, float]
    runs: int
    trials: int

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        return {**asdict(self), "interval": list(self.interval)}


def by_depth(records: Sequence[Record], num_validation: int) -> tuple[Depth, ...]:
    """Return the best plan of each depth, from few blocks to many.

    Only trials that were done count.

    Args:
        records: of trials and of repeats.
        num_validation: how many validation images there are, beside the folds.

    Among trials of one depth that have as many validation images right, the best is that with the
    lowest loss.
    """
    done = [each for each in records if each.status == DONE]
    trials = [each for each in done if not each.repeats]
    return tuple(
        _depth([each for each in trials if each.unfreeze == unfreeze], done, num_validation)
        for unfreeze in sorted({each.unfreeze for each in trials})
    )


def choose(depths: Sequence[Depth]) -> Depth:
    """Return the one that unfreezes fewest blocks of those within one standard error of the best.

    Args:
        depths: at least one, from few blocks to many.

    Source: Breiman et al. 1984, Classification and Regression Trees: the one-standard-error rule.
    """
    return contenders(depths)[0]


def contenders(depths: Sequence[Depth]) -> list[Depth]:
    """Return those within one standard error of the best."""
    best = max(depths, key=lambda each: each.mean)
    return [each for each in depths if each.mean >= best.mean - best.error]


def repeated(
    trials: Sequence[Record],
    num_validation: int,
    repetition: Repetition,
    carry_out: Callable[[Record], Record],
) -> list[Record]:
    """Return the plans that may be the best carried out again, until there is no other such plan.

    Args:
        trials: every trial.
        num_validation: how many validation images there are.
        repetition: how.
        carry_out: makes a record of a training that was, of one that is to be.
    """
    by_name = {each.name: each for each in trials}
    found: dict[str, list[Record]] = {}
    while True:
        every = [*trials, *itertools.chain(*found.values())]
        best = [each.name for each in contenders(by_depth(every, num_validation))]
        left = [name for name in best if name not in found]
        if not left:
            return list(itertools.chain(*found.values()))
        for name in left:
            again = repetition.trainings(by_name[name], num_validation)
            found[name] = [carry_out(each) for each in again]


def _depth(trials: Sequence[Record], done: Sequence[Record], num_validation: int) -> Depth:
    best = min(trials, key=lambda each: (-_accuracy(each), each.val_calibrated_loss or 0.0))
    runs = [each for each in done if best.name in (each.name, each.repeats)]
    folds = [each for each in runs if each.fold is not None]
    runs = folds or runs
    images = sum(each.num_validation for each in folds) or num_validation
    weights = [each.num_validation for each in folds] or None
    accuracies = [_accuracy(each) for each in runs]
    mean = float(np.average(accuracies, weights=weights))
    of_images = mean * (1 - mean) / images
    of_runs = float(np.var(accuracies, ddof=1)) / len(runs) if len(runs) > 1 else 0.0
    # Folds differ already because their images do; seeds are judged on the same images.
    variance = max(of_images, of_runs) if folds else of_images + of_runs
    return Depth(
        unfreeze=best.unfreeze,
        name=best.name,
        mean=mean,
        error=math.sqrt(variance),
        interval=wilson_interval(round(mean * images), images),
        runs=len(runs),
        trials=len(trials),
    )


def _accuracy(record: Record) -> float:
    assert record.val_accuracy is not None  # of what is done
    return record.val_accuracy
