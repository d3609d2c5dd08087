"""The chief of a search over several machines: it has the oracle and the records, workers train.

KerasTuner's service over gRPC, served in a way of our own: KerasTuner's chief does not notice that
a worker has died, and waits for it for ever.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from keras_tuner import Oracle
from keras_tuner.engine.trial import Trial
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer

from ktransfer.errors import InputError, RunError
from ktransfer.tuner.machines.assignments import Assignments, replay
from ktransfer.tuner.machines.machine import Machine, cannot_listen
from ktransfer.tuner.machines.messages import message_of, with_message
from ktransfer.tuner.oracles import end_trial
from ktransfer.tuner.records import FAILED, Journal, Record

#: A trial that so many workers were lost with is not given to another.
MOST_ATTEMPTS = 3

#: What a worker's calls name it by: KerasTuner's messages do only when a trial is asked for.
WORKER_KEY = "ktransfer-worker"

_TICK_S = 0.5
_REMIND_S = 60.0
_THREADS = 64  # calls wait for each other, signs of life among them

_OF_THE_CHIEF = ("name", "values", "seed", "attempts", "repeats", "began_at")

Curves = tuple[tuple[float, ...], ...]


class Chief(OracleServicer):
    """Serves the trials of an oracle to workers, in threads, until it is closed.

    Args:
        machine: where it listens.
        oracle: what says what to try; new, it is told what the journal has.
        journal: keeps what becomes of trials.
        begin: the record of a new trial.
        curves: what the median rule compares a trial with, by its record.
        request: what the search is made of, for workers to compare.
        silence_s: a trial whose worker says nothing for so many seconds is given to another.
        say: tells people what happens.

    Raises:
        RunError: it cannot listen there, or the records are none of this oracle's.
    """

    def __init__(
        self,
        machine: Machine,
        oracle: Oracle,
        journal: Journal,
        *,
        begin: Callable[[Trial], Record],
        curves: Callable[[Record], Curves],
        request: Mapping[str, Any],
        silence_s: float,
        say: Callable[[str | Record], None],
    ) -> None:
        super().__init__(oracle)
        self._machine, self._journal, self._say = machine, journal, say
        self._begin, self._curves = begin, curves
        self._message = {"request": dict(request), "silence_s": silence_s}
        self._silence_s = silence_s
        self._assignments = Assignments(oracle, silence_s)
        self._lock = threading.RLock()
        self._over = False
        self._error: Exception | None = None
        self._alone_since = time.monotonic()
        self._server: grpc.Server | None = None

    def __enter__(self) -> Chief:
        self.oracle.verbose = 0
        replay(self.oracle, self._journal, self._assignments)
        server = grpc.server(
            ThreadPoolExecutor(_THREADS, thread_name_prefix="ktransfer-chief"),
            # gRPC lets two servers share a port, and each would get half of the calls.
            options=[("grpc.so_reuseport", 0)],
        )
        protos.get_service_grpc().add_OracleServicer_to_server(self, server)
        try:
            bound = server.add_insecure_port(self._machine.address)
        except RuntimeError as error:
            raise cannot_listen(self._machine, error) from error
        if not bound:
            raise cannot_listen(self._machine, RuntimeError("not bound"))
        server.start()
        self._server = server
        self._say(self._invitation())
        return self

    def __exit__(self, kind: Any, *details: Any) -> None:
        if kind is None:
            self._wait_for_farewells()
        assert self._server is not None
        self._server.stop(grace=0.5).wait()

    def wait(self) -> None:
        """Serve until every trial has ended.

        Raises:
            InputError: a point of the space is no plan.
            RunError: the records cannot be written.
        """
        while not self._look_after():
            time.sleep(min(_TICK_S, self._silence_s / 4))

    def GetSpace(self, request: Any, context: Any) -> Any:  # noqa: N802 - KerasTuner's
        """Return the space, and what the search is made of."""
        with self._locked(context):
            space = with_message(self.oracle.get_space(), self._message)
        return protos.get_service().GetSpaceResponse(hyperparameters=space.to_proto())

    def UpdateSpace(self, request: Any, context: Any) -> Any:  # noqa: N802 - KerasTuner's
        """Nothing: the space is the chief's."""
        return protos.get_service().UpdateSpaceResponse()

    def CreateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802 - KerasTuner's
        """Return a trial to carry out.

        The worker's own, one that another has lost, or a new one.
        """
        worker = request.tuner_id
        with self._call_of(worker), self._locked(context):
            trial = self._trial_for(worker)
            proto = trial.to_proto()
            if trial.status == "RUNNING":
                record = self._journal.find(trial.trial_id)
                assert record is not None
                message = {"record": dataclasses.asdict(record), "curves": self._curves(record)}
                space = with_message(trial.hyperparameters, message)
                proto.hyperparameters.CopyFrom(space.to_proto())
        return protos.get_service().CreateTrialResponse(trial=proto)

    def UpdateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802 - KerasTuner's
        """Return a sign of life; how a trial went is said at its end."""
        worker = _worker_of(context)
        with self._call_of(worker), self._locked(context):
            trial = self._known(request.trial_id)
            if worker:
                self._assignments.keep(worker, request.trial_id)
            return protos.get_service().UpdateTrialResponse(trial=trial.to_proto())

    def EndTrial(self, request: Any, context: Any) -> Any:  # noqa: N802 - KerasTuner's
        """Return the record of a trial that has ended; dropped where it had ended before."""
        worker = _worker_of(context)
        with self._call_of(worker), self._locked(context):
            trial = self._known(request.trial.trial_id)
            record = self._reported(Trial.from_proto(request.trial))
            own = self._journal.find(trial.trial_id)
            if own is not None and not own.finished:
                # Of what a worker says only how it went is new.
                kept = {name: getattr(own, name) for name in _OF_THE_CHIEF}
                self._end(trial, dataclasses.replace(record, **kept))
        return protos.get_service().EndTrialResponse()

    def GetTrial(self, request: Any, context: Any) -> Any:  # noqa: N802 - KerasTuner's
        """Say what KerasTuner knows of a trial."""
        with self._locked(context):
            trial = self._known(request.trial_id)
            return protos.get_service().GetTrialResponse(trial=trial.to_proto())

    def GetBestTrials(self, request: Any, context: Any) -> Any:  # noqa: N802 - KerasTuner's
        """Return the best trials so far."""
        with self._locked(context):
            return super().GetBestTrials(request, context)

    @contextlib.contextmanager
    def _locked(self, context: Any) -> Iterator[None]:
        """One call at a time. After an error the search has ended, and calls find nobody.

        An oracle that has raised keeps a lock of KerasTuner's for ever.
        """
        with self._lock:
            if self._error is not None:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the chief has ended with an error")
            try:
                yield
            except _RefusedError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            except Exception as error:
                self._error = error
                context.abort(grpc.StatusCode.UNAVAILABLE, "the chief has ended with an error")

    @contextlib.contextmanager
    def _call_of(self, worker: str) -> Iterator[None]:
        with self._assignments.call_of(worker) if worker else contextlib.nullcontext(False) as new:
            if new:
                self._say(f"worker {worker} is here")
            yield

    def _trial_for(self, worker: str) -> Trial:
        own = self._assignments.of(worker)
        if own is not None:
            self._assignments.keep(worker, own.trial_id)
            return own
        trial = self._assignments.adopt(worker)
        if trial is None and not self._over:
            trial = self.oracle.create_trial(worker)
            if trial.status != "RUNNING":
                self._over = not self.oracle.ongoing_trials
                trial = None
        if trial is not None:
            self._journal.begin(self._begin(trial))
            return trial
        if self._over:
            self._assignments.forget(worker)
        # The last trials of others may still come back: nobody goes home before.
        return Trial(self.oracle.get_space(), "", "STOPPED" if self._over else "IDLE")

    def _known(self, trial_id: str) -> Trial:
        if trial_id not in self.oracle.trials:
            raise _RefusedError(f"there is no trial {trial_id!r}")
        return self.oracle.trials[trial_id]

    def _reported(self, trial: Trial) -> Record:
        message = message_of(trial.hyperparameters) or {}
        own = self._journal.find(trial.trial_id)
        try:
            record = Record.from_dict(message["record"])
        except (KeyError, TypeError) as error:
            raise _RefusedError(f"trial {trial.trial_id} ends without a record") from error
        if own is None or not record.finished or record.plan != own.plan:
            raise _RefusedError(f"the record is none of trial {trial.trial_id}")
        return record

    def _end(self, trial: Trial, record: Record) -> None:
        self._journal.write(record)
        end_trial(self.oracle, trial, record)
        self._assignments.tidy()
        self._say(record)

    def _look_after(self) -> bool:
        """Give up silent workers; whether the search is over."""
        with self._lock:
            if self._error is None:
                self._give_up_the_silent()
                self._look_for_the_end()
                self._remind()
        if self._error is not None:
            if isinstance(self._error, InputError):
                raise self._error
            raise RunError(f"the chief cannot go on: {self._error!r}") from self._error
        return self._over

    def _give_up_the_silent(self) -> None:
        for owner in self._assignments.silent():
            trial = self._assignments.of(owner)
            assert trial is not None
            record = self._journal.find(trial.trial_id)
            if record is not None and record.attempts >= MOST_ATTEMPTS:
                reason = f"{record.attempts} workers were lost while they carried it out"
                self._end(trial, dataclasses.replace(record, status=FAILED, reason=reason))
                continue
            self._assignments.release(owner)
            self._say(
                f"nothing was heard of {owner} for {self._silence_s:g} s: "
                f"trial {trial.trial_id} is for another worker"
            )

    def _look_for_the_end(self) -> None:
        """Ask the oracle oneself where no trial is under way: maybe no worker comes any more."""
        if self._over or self.oracle.ongoing_trials:
            return
        spare = "nobody"
        if self.oracle.create_trial(spare).status == "RUNNING":
            self._assignments.release(spare)
        else:
            self._over = True

    def _remind(self) -> None:
        now = time.monotonic()
        if self._over or self._assignments.alive():
            self._alone_since = now
        elif now - self._alone_since >= _REMIND_S:
            self._alone_since = now
            self._say(f"there is no worker: {self._invitation()}")

    def _invitation(self) -> str:
        return (
            f"the chief waits at {self._machine.address}; on each machine: "
            f"ktransfer tune DATA --role worker --chief {self._machine.address}"
        )

    def _wait_for_farewells(self) -> None:
        """Workers ask once more, and hear that the search is over."""
        until = time.monotonic() + self._silence_s
        while self._assignments.alive() and time.monotonic() < until:
            time.sleep(0.1)


def _worker_of(context: Any) -> str:
    return dict(context.invocation_metadata()).get(WORKER_KEY, "")


class _RefusedError(Exception):
    """What a worker says makes no sense; the search goes on."""
