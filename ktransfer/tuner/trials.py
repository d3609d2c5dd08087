"""The trainings of a search: each carried out once, in a process of its own, and recorded."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from keras_tuner.errors import FatalError

from ktransfer.backbones import Backbone
from ktransfer.data import Splits
from ktransfer.errors import RunError
from ktransfer.metrics import Score
from ktransfer.runs.saving import check_output_folder, holds_model
from ktransfer.show.progress import working
from ktransfer.tuner.choice import by_depth, choose, repeated
from ktransfer.tuner.records import DONE, FAILED, Journal, Record
from ktransfer.tuner.repetition import Repetition
from ktransfer.tuner.result import SearchResult
from ktransfer.tuner.shared import Shared
from ktransfer.tuner.trial_process import TrialProcess
from ktransfer.tuner.uncached import measured_costs, uncached_seconds
from ktransfer.tuner.worker import Job, Setup

#: The record of the last training, and the folder of the search that its run lies in.
FINAL, BEST = "final", "best"


class Trials:
    """Carries out what the journal does not have.

    Args:
        journal: of the search.
        repetition: how plans that may be the best are carried out again.
        say: tells people what became of a training.
        most: trials.
        verbose: show on a terminal what runs, and about how long it takes.
    """

    def __init__(
        self,
        journal: Journal,
        repetition: Repetition,
        say: Callable[[Record], None],
        *,
        most: int,
        verbose: bool,
    ) -> None:
        self.journal = journal
        #: What trains, once `training` was entered.
        self.process: TrialProcess | None = None
        self._repetition, self._say = repetition, say
        self._most, self._verbose = most, verbose

    @property
    def best_run(self) -> Path:
        """Where the run of the last training lies."""
        return self.journal.folder / BEST

    @property
    def of_the_oracle(self) -> list[Record]:
        """Those that the oracle has asked for."""
        return [each for each in self.journal.all() if not each.repeats and each.name != FINAL]

    def check_place(self) -> None:
        """Refuse a folder in which the best model could not be saved.

        Raises:
            RunError: there is something in its place, or the folder cannot be written to.
        """
        if os.path.lexists(self.best_run) and self.journal.read_request() is None:
            raise RunError(
                f"{self.best_run} exists, and is of no search: the best model is to lie there; "
                "give another directory"
            )
        check_output_folder(self.best_run, overwrite=True)

    @contextlib.contextmanager
    def training(self, setup: Setup, log: Path) -> Iterator[TrialProcess]:
        """Have a process for the time of a `with` block.

        Args:
            setup: what all trainings share.
            log: where the process writes what it has to say.
        """
        self.process = TrialProcess(setup, log)
        with contextlib.closing(self.process):
            yield self.process

    def carried_out(self, record: Record) -> Record:
        """Return the record of a training: found, or made.

        Raises:
            RunError: it cannot be written, or no process can be started. It ends the search.
        """
        found = self.journal.find(record.name)
        if found is not None and found.finished:
            return found
        fold = self._repetition.fold_of(record)
        return self._trained(
            record, Job(dict(record.plan), record.seed, self.curves(record), fold=fold)
        )

    def result(
        self,
        backbone: Backbone,
        splits: Splits,
        shared: Shared,
        notes: Sequence[str],
        started: float,
    ) -> SearchResult:
        """Choose among the trials, and train the chosen plan once more.

        Args:
            backbone: what was trained.
            splits: the images.
            shared: what trials share.
            notes: what went otherwise than asked for.
            started: when the search began, by `time.perf_counter`.

        Raises:
            RunError: no trial was carried out, or a training ends the search.
        """
        trials, num_validation = self.of_the_oracle, len(splits.validation)
        if not by_depth(trials, num_validation):
            raise RunError(f"none of the {len(trials)} trials was carried out: {trials[-1].reason}")
        repeats = repeated(trials, num_validation, self._repetition, self.carried_out)
        depths = by_depth([*trials, *repeats], num_validation)
        chosen = choose(depths)
        best = next(each for each in trials if each.name == chosen.name)
        final = self._final(best, test=splits.test is not None)
        costs = measured_costs(backbone, self.journal.folder / "costs.json")
        return SearchResult(
            trials=tuple(trials),
            repeats=tuple(repeats),
            depths=depths,
            chosen=chosen,
            best_plan=best.to_plan(),
            model=str(self.best_run),
            test=Score.from_dict(final.test) if final.test else None,
            part_sizes={part.name: len(part) for part in splits.parts},
            shared=shared,
            naive_seconds=uncached_seconds(trials, costs, len(splits.train) + num_validation),
            seconds=time.perf_counter() - started,
            notes=tuple(notes),
        )

    def curves(self, record: Record) -> tuple[tuple[float, ...], ...]:
        """Say what the median rule compares a trial with; repeats end in time."""
        if record.repeats:
            return ()
        every = self.journal.all()
        return tuple(each.curve for each in every if each.status == DONE and not each.repeats)

    def _final(self, best: Record, *, test: bool) -> Record:
        """Train the chosen plan once more; keep its run, and judge it on the test part.

        It is found where it was done, of this plan, and its run is there; else made, also where it
        failed before.

        Args:
            best: the trial that found the plan.
            test: whether there is a test part.

        Raises:
            RunError: it failed, or the run cannot be saved.
        """
        found = self.journal.find(FINAL)
        done = found is not None and found.status == DONE and found.plan == best.plan
        if found is not None and done and holds_model(self.best_run):
            return found
        job = Job(dict(best.plan), best.seed, test=test, save=str(self.best_run.absolute()))
        final = self._trained(Record(FINAL, best.values, best.plan, best.seed), job)
        if final.status == FAILED:
            raise RunError(f"the chosen plan could not be trained once more: {final.reason}")
        return final

    def _trained(self, record: Record, job: Job) -> Record:
        try:
            record = self.journal.begin(record)
            assert self.process is not None  # only within `training`
            with working(self._running(record), shown=self._verbose):
                record = dataclasses.replace(record, **self.process.run(job))
            if not record.finished:
                raise RunError(record.reason)
            self.journal.write(record)
        except RunError as error:
            # KerasTuner goes on after any other error: the next trial would meet the same.
            raise _EndedError(str(error)) from error
        self._say(record)
        return record

    def _running(self, record: Record) -> str:
        """Say what is being trained, and about how long the trainings that are left take."""
        done = [each for each in self.journal.all() if each.finished]
        each_s = sum(one.seconds for one in done) / len(done) if done else 0.0
        if record.name == FINAL:
            what, left = "training the chosen plan once more", 1
        elif record.repeats:
            what, left = f"training the plan of trial {record.repeats} again", 1
        else:
            number = len(self.of_the_oracle)
            what, left = f"training trial {number} of {self._most}", 1 + self._most - number
        return f"{what}, about {each_s * left:,.0f} s left" if done else what


class _EndedError(FatalError, RunError):
    """Ends a search: KerasTuner lets it pass."""
