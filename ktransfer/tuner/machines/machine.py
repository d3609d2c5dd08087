"""Which part a process has in a search over several machines, and where its chief is."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from ktransfer.errors import InputError, RunError, unknown_name

CHIEF, WORKER = "chief", "worker"

#: Those of KerasTuner.
_TUNER_ID = "KERASTUNER_TUNER_ID"
_HOST, _PORT = "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"
_VARIABLES = (_TUNER_ID, _HOST, _PORT)

_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class Machine:
    """What a process does in a search over several machines.

    Attributes:
        role: `"chief"` or `"worker"`.
        host: of the chief; an IPv6 address in square brackets.
        port: of the chief.
        tuner_id: what the process is called; empty where nobody says.
    """

    role: str
    host: str
    port: int
    tuner_id: str = ""

    @property
    def address(self) -> str:
        """`HOST:PORT` of the chief."""
        return f"{self.host}:{self.port}"


def machine_of(role: str | None, chief: str | None) -> Machine | None:
    """Say what this process is asked to be.

    Where nobody says, by KerasTuner's environment variables.

    Args:
        role: `"chief"`, `"worker"` or None.
        chief: `HOST:PORT` or None.

    Returns:
        None: the search has no other machines.

    Raises:
        InputError: something of it is missing, unknown or malformed.
    """
    if role is None and chief is None:
        return _of_the_environment()
    if chief is None:
        raise InputError(f"role={role!r} needs the chief's HOST:PORT, such as 127.0.0.1:8000")
    if role is None:
        raise InputError(f"chief={chief!r} needs a role: {CHIEF!r} or {WORKER!r}")
    if role not in (CHIEF, WORKER):
        raise unknown_name("role", str(role), (CHIEF, WORKER))
    return Machine(role, *_host_and_port(str(chief)), os.environ.get(_TUNER_ID, ""))


def check_free(machine: Machine) -> None:
    """Refuse an address at which no chief can listen.

    Raises:
        RunError: another process listens there, or the address is none of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            machine.host.strip("[]"), machine.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # A chief that was killed leaves connections behind, which do not hold the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        raise cannot_listen(machine, error) from error


def cannot_listen(machine: Machine, error: OSError | RuntimeError) -> RunError:
    """Return the error for a chief that cannot listen at its address."""
    if isinstance(error, OSError) and error.errno != errno.EADDRINUSE:
        return RunError(
            f"the chief cannot listen at {machine.address}: {error.strerror or error}; give an "
            "address of this machine, such as 127.0.0.1:8000"
        )
    return RunError(
        f"the chief cannot listen at {machine.address}: another process does, maybe a chief that "
        "still runs. End that process, or give another port to the chief and its workers"
    )


@contextlib.contextmanager
def without_variables() -> Iterator[None]:
    """Hide KerasTuner's environment variables: with them it makes a client of its own."""
    hidden = {name: os.environ.pop(name) for name in _VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _of_the_environment() -> Machine | None:
    given = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
    if _HOST not in given:
        return None
    missing = [name for name in _VARIABLES if name not in given]
    if missing:
        raise InputError(
            f"the environment variable {_HOST} is set, but {' and '.join(missing)} is not: set "
            "all three of KerasTuner's variables, or none"
        )
    name = CHIEF if CHIEF in given[_TUNER_ID] else WORKER
    return Machine(name, *_host_and_port(f"{given[_HOST]}:{given[_PORT]}"), given[_TUNER_ID])


def _host_and_port(chief: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(chief)
    if found is None or not 1 <= int(found["port"]) <= 65_535:
        raise InputError(
            f"the chief's address must be HOST:PORT with a port from 1 to 65535, such as "
            f"127.0.0.1:8000 or [::1]:8000, got {chief!r}"
        )
    return found["host"], int(found["port"])
