"""`ktransfer tune`."""

from __future__ import annotations

import contextlib
import functools
import os
from typing import Any

import click

from ktransfer.cli import checks, machines, terminal
from ktransfer.cli.options import class_names_option, json_option, tuner_options, words_of
from ktransfer.cli.resume import (
    check_only_resume,
    command_of,
    command_to_resume,
    given_backbone,
    resumable,
)
from ktransfer.cli.startup import at_work, elapsed
from ktransfer.errors import InputError

_TRIALS = "--trials "  # as errors name it


class NameAndValues(click.ParamType):
    """`unfreeze=0,2,4` as `("unfreeze", (0, 2, 4))`, all of one type, as KerasTuner takes them."""

    name = "NAME=VALUE[,VALUE...]"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, tuple[Any, ...]]:
        """Split at the first equals sign, and at the commas behind it."""
        key, _, text = value.partition("=")
        texts = text.split(",")
        if not key.isidentifier() or not all(texts):
            self.fail(f"{value!r} is not of the form NAME=VALUE, such as unfreeze=0,2", param, ctx)
        for kind in (int, float):
            with contextlib.suppress(ValueError):
                return key, tuple(map(kind, texts))
        return key, tuple(texts)


@click.command()
@click.argument("data", required=False)
@tuner_options
@click.option("--out", metavar="DIR", help="Folder for the search and its best plan.")
@click.option(
    "--max-unfreeze",
    type=click.IntRange(0),
    metavar="K",
    help="The most last blocks that train; default 6.",
)
@click.option("--trials", type=click.IntRange(1), metavar="T", default=12, show_default=True)
@click.option(
    "--oracle",
    default="bayesian",
    show_default=True,
    metavar="bayesian|random|grid|hyperband",
    help="Which of KerasTuner's oracles says what to try.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Most epochs of the stage that unfreezes.",
)
@click.option(
    "--values",
    type=NameAndValues(),
    multiple=True,
    help="Search only these, such as unfreeze=0,2,4 or batch_norm=frozen. Repeatable.",
)
@click.option(
    "--repeats",
    type=click.IntRange(0),
    metavar="N",
    help="Other seeds for the plans that may be the best; default 2 where validation is small.",
)
@click.option(
    "--folds",
    type=int,
    metavar="K",
    help="Carry these plans out in K folds of train and validation instead.",
)
@click.option(
    "--cache-mb",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Most megabytes of what trials share; default what the library's cache has room for.",
)
@click.option(
    "--test-fraction",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of each class that no trial sees, where DATA has no test part.",
)
@click.option(
    "--resume", metavar="DIR", help="Go on with the search in DIR; all options come from there."
)
@class_names_option
@machines.machine_options
@json_option
@click.pass_context
def tune(
    context: click.Context,
    data: str | None,
    out: str | None,
    resume: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Search for how many blocks of a backbone to unfreeze, and how fast.

    DATA is as for `train`. What frozen blocks say is computed once for all trials. The model of the
    chosen plan is a run in DIR/best. A search that was killed goes on with `ktransfer tune --resume
    DIR`. On several machines: one with `--role chief`, the others, which have the same DATA, with
    `--role worker`. Needs the extra `tuner`.
    """
    from ktransfer.tuner.requirements import check_installed

    check_installed()
    machine = machines.machine_asked_for(options, resume)
    if machine is not None and machine.role == "worker":
        machines.work(context, data, out, as_json, options)
        return
    from ktransfer.tuner import search

    if resume is None:
        out, command = _new_search(data, out, options)
    else:
        check_only_resume(context)
        noted, moved = search.read_command(resume), given_backbone(context)
        out, command = resume, command_to_resume(noted, data, moved, resume)
    seconds: dict[str, float] = {}
    begun, forget = functools.partial(search.has_begun, out), functools.partial(search.forget, out)
    again = resume is not None
    with resumable("tune", out, begun, forget, resumed=again), at_work(seconds):
        result, name = search.run(command, out, seconds, _TRIALS)
    if as_json:
        extra = {"out": out, "backbone": name, "phases": seconds, "seconds": elapsed()}
        terminal.print_json({**result.to_dict(), **extra})
    else:
        terminal.show_text(result)
        terminal.print_seconds({**seconds, "total": elapsed()})
        terminal.print_next(
            ["ktransfer", "predict", result.model, "photo.jpg"],
            _train_command(command, os.path.join(out, search.PLAN_NAME)),
        )


def _train_command(command: dict[str, Any], plan: str) -> list[str]:
    """Say what trains the best plan on all images."""
    own = ["--plan", plan, "--out", "runs/best"]
    return ["ktransfer", "train", command["data"], *words_of(command), *own]


def _new_search(
    data: str | None, out: str | None, options: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Check a command to search, and note it in the folder of the search to be."""
    if data is None or out is None:
        missing = "DATA" if data is None else "--out DIR"
        raise InputError(f"tune needs {missing}, or --resume DIR to go on with a search")
    from ktransfer.tuner import search

    search.check_options(options, _TRIALS)
    command = command_of(data, options)
    checks.check_labelled(data, options["class_names"])
    search.note_command(out, command)
    return out, command
