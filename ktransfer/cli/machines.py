"""`ktransfer tune` on several machines: its options, and the worker's part."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ktransfer.cli import early, terminal
from ktransfer.cli.session import at_work
from ktransfer.cli.started import elapsed
from ktransfer.cli.tuner_options import named
from ktransfer.errors import InputError, RunError
from ktransfer.show.timing import timed

if TYPE_CHECKING:
    from ktransfer.tuner.machines.role import Role

#: What a worker does not decide.
_OF_THE_CHIEF = (
    *("max_unfreeze", "trials", "oracle", "epochs", "values", "repeats", "folds", "similarity"),
    "worker_timeout_s",
)

_OPTIONS = (
    click.option(
        "--role",
        type=click.Choice(["chief", "worker"]),
        help="On several machines: the chief has the search, workers train.",
    ),
    click.option(
        "--chief",
        metavar="HOST:PORT",
        help="Where the chief is. Not encrypted: for networks that you trust.",
    ),
    click.option(
        "--worker-timeout-s",
        type=click.FloatRange(0, min_open=True),
        default=60.0,
        show_default=True,
        help="A worker that is silent for so long is lost; its trial is given to another.",
    ),
    click.option(
        "--chief-timeout-s",
        type=click.FloatRange(0, min_open=True),
        default=600.0,
        show_default=True,
        help="For so long a worker waits for a chief that does not answer.",
    ),
)


def machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a search on several machines."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def role_asked_for(options: dict[str, Any], resume: str | None) -> Role | None:
    """The role of this process; the options are given what environment variables say.

    Raises:
        InputError: something of it is missing or malformed, or a worker shall resume.
        RunError: the chief's port is in use.
    """
    from ktransfer.tuner.machines.role import WORKER, check_free, role_of

    for name, other in (("role", "chief"), ("chief", "role")):
        if options[name] and not options[other]:
            needed = "--chief HOST:PORT" if other == "chief" else "--role chief or --role worker"
            raise InputError(f"--{name} {options[name]} needs {needed}")
    role = role_of(options["role"], options["chief"])
    if role is None:
        return None
    options["role"], options["chief"] = role.name, role.address
    if role.name != WORKER:
        check_free(role)
    elif resume is not None:
        raise InputError(
            "a worker has nothing to resume: the chief has the search; leave out --resume"
        )
    return role


def work(
    context: click.Context,
    data: str | None,
    out: str | None,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    """Carry out trials of the chief until the search is over."""
    if data is None:
        raise InputError("a worker needs DATA: the same images as the chief's")
    _refuse_options_of_the_chief(context)
    early.check_backbone(options["backbone"])
    weights = early.weights(options["weights"])
    early.check_labelled(data)
    seconds: dict[str, float] = {}
    with at_work(seconds), _folder(out) as folder:
        count = _carried_out({**options, "data": data, "weights": weights}, folder, seconds)
    if as_json:
        facts = {"role": "worker", "chief": options["chief"], "carried_out": count}
        terminal.print_json({**facts, "phases": seconds, "seconds": elapsed()})


def _carried_out(options: dict[str, Any], folder: str, seconds: dict[str, float]) -> int:
    from ktransfer.data import read_data
    from ktransfer.data.reading.dividing import with_test
    from ktransfer.tuner import UnfreezeTuner

    with timed(seconds, "backbone"):
        tuner = UnfreezeTuner(
            options["backbone"],
            options["weights"],
            directory=folder,
            **named(("role", "chief", "chief_timeout_s", "cache_mb"), options),
            **named(("seed", "input_size", "pooling"), options),
            **dict(options["backbone_options"]),
        )
    with timed(seconds, "scan"):
        chosen = named(("validation_fraction", "value_range", "seed"), options)
        splits = with_test(
            read_data(options["data"], **chosen), options["test_fraction"], options["seed"]
        )
    with timed(seconds, "search"):
        tuner.search(splits)
    return tuner.num_carried_out


def _refuse_options_of_the_chief(context: click.Context) -> None:
    given = [
        each.opts[0]
        for each in context.command.params
        if each.name in _OF_THE_CHIEF
        and context.get_parameter_source(str(each.name)) == ParameterSource.COMMANDLINE
    ]
    if given:
        raise InputError(f"the chief says what is searched: leave out {', '.join(given)}")


@contextlib.contextmanager
def _folder(out: str | None) -> Iterator[str]:
    """Where a worker writes its log; one of its own is kept where an error left a log in it."""
    if out is not None:
        try:
            Path(out).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"the worker cannot write to {out}: {error.strerror}") from error
        yield out
        return
    folder = tempfile.mkdtemp(prefix="ktransfer-worker-")
    failed = True
    try:
        yield folder
        failed = False
    finally:
        if not failed or not list(Path(folder).glob("*.log")):
            shutil.rmtree(folder, ignore_errors=True)
