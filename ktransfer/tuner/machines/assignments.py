"""Which trial of an oracle is whose, also where workers die and chiefs start again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence

from keras_tuner import Oracle
from keras_tuner.engine.trial import Trial

from ktransfer.errors import RunError
from ktransfer.tuner.oracles import end_trial
from ktransfer.tuner.records import Journal, Record


class Assignments:
    """Which trial is whose. KerasTuner has it by worker; here trials outlive their workers.

    Args:
        oracle: what trials come from; its ongoing trials are kept in step.
        silence_s: a worker that says nothing for so many seconds is lost.
    """

    def __init__(self, oracle: Oracle, silence_s: float) -> None:
        self._oracle = oracle
        self._silence_s = silence_s
        self._seen: dict[str, float] = {}
        self._absent: dict[str, float] = {}
        self._calling: list[str] = []
        self._free: list[str] = []

    @contextlib.contextmanager
    def call_of(self, worker: str) -> Iterator[bool]:
        """Hold a call of a worker's, which is alive from its beginning to its end.

        Where an oracle thinks for long, calls wait for it for longer than a worker may be silent.

        Yields:
            Whether it is the worker's first for long.
        """
        new = worker not in self.alive()
        self._seen[worker] = time.monotonic()
        self._calling.append(worker)
        try:
            yield new
        finally:
            self._calling.remove(worker)
            if worker in self._seen:
                self._seen[worker] = time.monotonic()

    def expect(self, owner: str) -> None:
        """Give somebody who has a trial the time of silence to say so."""
        self._absent[owner] = time.monotonic()

    def forget(self, worker: str) -> None:
        """Return a worker has gone home."""
        self._seen.pop(worker, None)

    def alive(self) -> set[str]:
        """Return the workers that were heard of lately."""
        return {*self._recent(self._seen), *self._calling}

    def of(self, worker: str) -> Trial | None:
        """Return the trial that a worker has."""
        return self._oracle.ongoing_trials.get(worker)

    def adopt(self, worker: str) -> Trial | None:
        """Give a worker a trial that is nobody's; None where there is none."""
        if not self._free:
            return None
        return self._move(self._free[0], worker)

    def keep(self, worker: str, trial_id: str) -> None:
        """Return a worker says that it has this trial.

        It is the worker's, unless it is another's.
        """
        owner = self._owner(trial_id)
        if owner is None or self.of(worker) not in (None, self.of(owner)):
            return
        if owner == worker or owner not in self.alive():
            self._move(owner, worker)

    def silent(self) -> list[str]:
        """Return those who have a trial, and of whom nothing was heard for too long."""
        not_silent = {*self.alive(), *self._recent(self._absent), *self._free}
        return [each for each in self._oracle.ongoing_trials if each not in not_silent]

    def release(self, owner: str) -> None:
        """Say what it has is nobody's."""
        self._free.append(owner)

    def tidy(self) -> None:
        """Forget what trials that have ended were to be given to others for."""
        self._free = [each for each in self._free if each in self._oracle.ongoing_trials]

    def _recent(self, seen: Mapping[str, float]) -> set[str]:
        since = time.monotonic() - self._silence_s
        # A list, since other threads add to it.
        return {each for each, at in list(seen.items()) if at >= since}

    def _owner(self, trial_id: str) -> str | None:
        held = self._oracle.ongoing_trials
        return next((each for each in held if held[each].trial_id == trial_id), None)

    def _move(self, owner: str, worker: str) -> Trial:
        if owner in self._free:
            self._free.remove(owner)
        held = self._oracle.ongoing_trials
        held[worker] = held.pop(owner)
        return held[worker]


def replay(oracle: Oracle, journal: Journal, assignments: Assignments) -> None:
    """Tell a new oracle what happened before: each beginning and end, in its order.

    Trials that had not ended belong to workers that may still be at it; they have some time to
    say so.

    Raises:
        RunError: the records are none of this oracle's.
    """
    for record, ends in _events([each for each in journal.all() if each.is_trial]):
        if ends:
            end_trial(oracle, oracle.trials[record.name], record)
            continue
        owner = f"the worker of trial {record.name}"
        trial = oracle.create_trial(owner)
        if trial.trial_id != record.name or trial.status != "RUNNING":
            raise RunError(
                f"the records in {journal.folder} are none of this search: the oracle does not "
                f"ask for trial {record.name}. Search anew in another folder"
            )
        trial.hyperparameters.values = dict(record.values)
        assignments.expect(owner)


def _events(records: Sequence[Record]) -> Iterator[tuple[Record, bool]]:
    """Yield each record where it began and, with True, where it ended."""
    found = [(each.began_at, at, False, each) for at, each in enumerate(records)]
    found += [(each.ended_at, at, True, each) for at, each in enumerate(records) if each.finished]
    for _, _, ends, record in sorted(found, key=lambda each: each[:3]):
        yield record, ends
