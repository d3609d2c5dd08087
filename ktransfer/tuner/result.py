"""What a search found, as plain data that prints and serialises."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktransfer.metrics import Score
from ktransfer.plan import Plan
from ktransfer.show.charts import Chart, check_picture
from ktransfer.show.printable import printable
from ktransfer.show.results import PrintedLines
from ktransfer.tuner.choice import Depth
from ktransfer.tuner.pictures import draw_depths, draw_times, draw_trials
from ktransfer.tuner.records import FAILED, Record
from ktransfer.tuner.shared import Shared


@dataclass(frozen=True, eq=False)
class SearchResult(PrintedLines):
    """What a search found. Print it for a table.

    Attributes:
        trials: every trial, in order.
        repeats: the plans that were carried out again, with other seeds or in folds.
        depths: the best plan of each number of blocks.
        chosen: the simplest within one standard error of the best.
        best_plan: what it is, resolved for the backbone.
        model: the folder of the run that it made, trained once more: for `FineTuner.load`.
        test: the score of that run on the images that were held back from the search.
        part_sizes: how many images each part has.
        shared: what was computed once for all trials.
        naive_seconds: about what each trial would have taken if its frozen blocks had run in every
            epoch.
        seconds: wall time of this search; trials that an earlier one finished took none.
        notes: what went otherwise than asked for.
    """

    trials: tuple[Record, ...]
    repeats: tuple[Record, ...]
    depths: tuple[Depth, ...]
    chosen: Depth
    best_plan: Plan
    model: str
    test: Score | None
    part_sizes: Mapping[str, int]
    shared: Shared
    naive_seconds: Mapping[str, float]
    seconds: float
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON: the fields of `ktransfer tune --json`."""
        return {
            "trials": [
                {**each.row(), "naive_seconds": self.naive_seconds[each.name]}
                for each in self.trials
            ],
            "repeats": [each.row() for each in self.repeats],
            "depths": [each.to_dict() for each in self.depths],
            "chosen": self.chosen.to_dict(),
            "best_plan": self.best_plan.to_dict(),
            "model": self.model,
            "test_accuracy": self.test.accuracy if self.test else None,
            "test_interval": list(self.test.interval) if self.test else None,
            "part_sizes": dict(self.part_sizes),
            "cache": self.shared.to_dict(),
            "seconds": self.seconds,
            "notes": list(self.notes),
        }

    def plot(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> tuple[Path, ...]:
        """Draw the search, as SVG: accuracy by depth, all trials, their time.

        Args:
            folder: where `depths.svg`, `trials.svg` and `times.svg` are written.
            overwrite: replace those that are there.

        Returns:
            Their paths.

        Raises:
            InputError: one exists (unless `overwrite`), or they cannot be written.
        """
        charts = self.charts()
        paths = {Path(folder) / f"{name}.svg": chart for name, chart in charts.items()}
        for path in paths:  # all of them, before the first is written
            check_picture(path, overwrite=overwrite)
        for path, chart in paths.items():
            chart.save(path, overwrite=overwrite)
        return tuple(paths)

    def charts(self) -> dict[str, Chart]:
        """Return the pictures of `plot` as values: `"depths"`, `"trials"` and `"times"`."""
        return {
            "depths": draw_depths(self.trials, self.depths, self.chosen),
            "trials": draw_trials(self.trials, self.chosen.name),
            "times": draw_times(self.trials, self.naive_seconds),
        }

    def __str__(self) -> str:
        lines = [_depth_table(self.depths, self.chosen), ""]
        failed = [each for each in self.trials if each.status == FAILED]
        lines += [f"trial {each.name} failed: {each.reason.splitlines()[0]}" for each in failed]
        lines.append(
            f"chosen: {_blocks(self.chosen.unfreeze)}, the simplest plan within one standard error "
            f"({self.chosen.error:.1%}) of the best"
        )
        if self.test:
            low, high = self.test.interval
            lines.append(
                f"on {self.test.num_images} images that the search did not see: "
                f"{self.test.accuracy:.1%} right (95 % interval {low:.1%} to {high:.1%})"
            )
        lines += [f"note: {each}" for each in self.notes]
        lines.append(f"the model is in {self.model}")
        return "\n".join(map(printable, "\n".join(lines).splitlines()))


def _depth_table(depths: Sequence[Depth], chosen: Depth) -> str:
    head = f"  {'unfreeze':>8}  {'accuracy':>8}  {'95 % interval':>16}  {'runs':>4}  {'trials':>6}"
    rows = [
        f"{'*' if each is chosen else ' '} {each.unfreeze:>8}  {each.mean:>8.1%}  "
        f"{f'{each.interval[0]:.1%} to {each.interval[1]:.1%}':>16}  {each.runs:>4}  "
        f"{each.trials:>6}"
        for each in depths
    ]
    return "\n".join([head, "-" * len(head), *rows])


def _blocks(unfreeze: int) -> str:
    return f"the last {unfreeze} blocks" if unfreeze else "the head alone"
