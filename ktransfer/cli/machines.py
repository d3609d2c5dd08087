"""`ktransfer tune` on several machines: its options, and the worker's part."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ktransfer.cli import checks, terminal
from ktransfer.cli.startup import at_work, elapsed
from ktransfer.errors import InputError

if TYPE_CHECKING:
    from ktransfer.tuner.machines.machine import Machine

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


def machine_asked_for(options: dict[str, Any], resume: str | None) -> Machine | None:
    """Say what this process does in the search.

    The options are given what environment variables say.

    Raises:
        InputError: something of it is missing or malformed, or a worker shall resume.
        RunError: the chief's port is in use.
    """
    from ktransfer.tuner.machines.machine import WORKER, check_free, machine_of

    for name, other in (("role", "chief"), ("chief", "role")):
        if options[name] and not options[other]:
            needed = "--chief HOST:PORT" if other == "chief" else "--role chief or --role worker"
            raise InputError(f"--{name} {options[name]} needs {needed}")
    machine = machine_of(options["role"], options["chief"])
    if machine is None:
        return None
    options["role"], options["chief"] = machine.role, machine.address
    if machine.role != WORKER:
        check_free(machine)
    elif resume is not None:
        raise InputError(
            "a worker has nothing to resume: the chief has the search; leave out --resume"
        )
    return machine


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
    checks.check_backbone(options["backbone"], options["weights"])
    weights = checks.checked_weights(options["weights"])
    checks.check_labelled(data, options["class_names"])
    from ktransfer.tuner import search

    seconds: dict[str, float] = {}
    command = {**options, "data": data, "weights": weights}
    with at_work(seconds):
        count = search.work(command, out, seconds)
    if as_json:
        facts = {"role": "worker", "chief": options["chief"], "carried_out": count}
        terminal.print_json({**facts, "phases": seconds, "seconds": elapsed()})


def _refuse_options_of_the_chief(context: click.Context) -> None:
    given = [
        each.opts[0]
        for each in context.command.params
        if each.name in _OF_THE_CHIEF
        and context.get_parameter_source(str(each.name)) == ParameterSource.COMMANDLINE
    ]
    if given:
        raise InputError(f"the chief says what is searched: leave out {', '.join(given)}")
