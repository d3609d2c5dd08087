"""A worker of a search over several machines: it asks the chief for trials and carries them out."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import grpc
from keras_tuner import HyperParameters
from keras_tuner.engine.trial import Trial
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_client import OracleClient

from ktransfer.errors import RunError
from ktransfer.training.resume import differences
from ktransfer.tuner.machines.chief import WORKER_KEY
from ktransfer.tuner.machines.machine import Machine
from ktransfer.tuner.machines.messages import message_of, with_message
from ktransfer.tuner.records import Record
from ktransfer.tuner.trial_process import TrialProcess
from ktransfer.tuner.worker import Job

_PAUSE_S = 1.0
#: A call that is not answered by then is made again: a machine that lost its power closes nothing.
_CALL_S = 60.0
#: So many signs of life fit into the silence after which a worker is lost.
_SIGNS = 5


class Remote(OracleClient):
    """The chief's oracle, from a worker: KerasTuner's client, which waits while the chief is away.

    Args:
        machine: where the chief is.
        patience_s: for how long a chief that does not answer is waited for.
        say: tells people what happens.
    """

    def __init__(self, machine: Machine, patience_s: float, say: Callable[[str], None]) -> None:
        # Not KerasTuner's own, which takes all of this from environment variables.
        name = machine.tuner_id or socket.gethostname()
        #: No two are the same, so that a worker that was started again is another one.
        self.tuner_id = f"{name}-{uuid.uuid4().hex[:6]}"
        self.multi_worker, self.should_report = False, True
        self._oracle = None
        self._channel = grpc.insecure_channel(
            machine.address,
            options=[
                ("grpc.initial_reconnect_backoff_ms", 500),
                ("grpc.max_reconnect_backoff_ms", 2_000),
            ],
        )
        stub = protos.get_service_grpc().OracleStub(self._channel)
        self.stub = _Patient(stub, self.tuner_id, machine, patience_s, say)

    def message(self) -> dict[str, Any]:
        """Say what the chief says of the search.

        Raises:
            RunError: there is no chief of this library at the address.
        """
        found = message_of(self.get_space())
        if found is None or "request" not in found:
            raise RunError("the chief is none of ktransfer's: it does not say what it searches")
        return found

    def next_trial(self) -> tuple[Record, tuple[tuple[float, ...], ...]] | None:
        """Return a trial to carry out and curves to compare it with; None: the search is over."""
        while True:
            trial = self.create_trial(self.tuner_id)
            if trial.status == "STOPPED":
                return None
            message = message_of(trial.hyperparameters)
            if trial.status == "RUNNING" and message is not None:
                curves = tuple(tuple(curve) for curve in message["curves"])
                return Record.from_dict(message["record"]), curves
            time.sleep(_PAUSE_S)

    def report(self, record: Record) -> None:
        """Tell the chief how a trial went."""
        message = with_message(HyperParameters(), {"record": asdict(record)})
        self.end_trial(Trial(message, record.name, "COMPLETED"))

    @contextlib.contextmanager
    def alive(self, trial_id: str, every_s: float) -> Iterator[None]:
        """Give signs of life for the time of a `with` block."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(every_s):
                # The next one will do; a chief that is away for long is met by the report.
                with contextlib.suppress(grpc.RpcError):
                    self.stub.once("UpdateTrial", _sign(trial_id), every_s)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


class _Patient:
    """The chief's calls, made again while it is away.

    Args:
        stub: of KerasTuner's service.
        worker: who calls.
        machine: where the chief is.
        patience_s: for how long a call is made again.
        say: tells people that the chief is waited for.
    """

    def __init__(
        self,
        stub: Any,
        worker: str,
        machine: Machine,
        patience_s: float,
        say: Callable[[str], None],
    ) -> None:
        self._stub, self._machine, self._patience_s, self._say = stub, machine, patience_s, say
        self._metadata = ((WORKER_KEY, worker),)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a call by its name; the times that KerasTuner gives are not looked at."""
        return lambda request, **options: self._until_answered(name, request)

    def once(self, name: str, request: Any, timeout_s: float) -> Any:
        """Return a call that fails where the chief is away."""
        return getattr(self._stub, name)(request, timeout=timeout_s, metadata=self._metadata)

    def _until_answered(self, name: str, request: Any) -> Any:
        until = time.monotonic() + self._patience_s
        waits = False
        while True:
            left = max(0.1, until - time.monotonic())
            try:
                return self.once(name, request, min(_CALL_S, left))
            except grpc.RpcError as error:
                code = error.code()
                if code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    raise RunError(f"the chief refuses: {error.details()}") from error
                if time.monotonic() >= until:
                    raise self._gone() from error
            if not waits:
                self._say(f"waiting for the chief at {self._machine.address}")
                waits = True
            time.sleep(min(_PAUSE_S, self._patience_s / 4))

    def _gone(self) -> RunError:
        return RunError(
            f"the chief at {self._machine.address} has not answered for {self._patience_s:g} s. Is "
            "that its address? Start it again, with the same command or --resume DIR, and then "
            "this worker"
        )


def check_same_as_chief(chiefs: Mapping[str, Any], own: Mapping[str, Any], address: str) -> None:
    """Refuse to work for a chief that searches something else.

    Args:
        chiefs: what the chief's search is made of, by topic.
        own: the same of the worker; only its topics are compared.
        address: of the chief.

    Raises:
        RunError: they differ; the message names every difference.
    """
    plain = json.loads(json.dumps(own))
    # The chief has all of the space; a worker may have been given a part of it.
    space = {name: chiefs["space"].get(name) for name in plain["space"]}
    sides = ("at the chief", "here")
    found = list(differences({**chiefs, "space": space}, plain, sides))
    if found:
        raise RunError(
            f"this worker has something else than the chief at {address} ({'; '.join(found)}): "
            "what it finds would not be the same. Give it what the chief has"
        )


def work(chief: Remote, process: TrialProcess, silence_s: float) -> Iterator[Record]:
    """Carry out the chief's trials until there are no more.

    Args:
        chief: where trials come from.
        process: the one that trains.
        silence_s: after which the chief gives a worker up.

    Yields:
        Each trial, when its chief has heard of it.

    Raises:
        RunError: the chief does not answer any more, or the process that trains does not start.
    """
    while (found := chief.next_trial()) is not None:
        record, curves = found
        with chief.alive(record.name, silence_s / _SIGNS):
            outcome = process.run(Job(dict(record.plan), record.seed, curves))
        record = replace(record, **outcome)
        chief.report(record)
        yield record


def _sign(trial_id: str) -> Any:
    return protos.get_service().UpdateTrialRequest(trial_id=trial_id, metrics={}, step=0)
