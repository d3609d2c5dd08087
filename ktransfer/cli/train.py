"""`ktransfer train`."""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ktransfer.augment.policies import AUGMENTATIONS
from ktransfer.cli import checks, terminal
from ktransfer.cli.options import (
    NumberOrName,
    auto_option,
    built,
    class_names_option,
    fine_tuning_option,
    finite,
    json_option,
    named,
    overwrite_option,
    tuner_options,
    verbosity_options,
)
from ktransfer.cli.program import INTERRUPTED
from ktransfer.cli.resume import (
    check_only_resume,
    command_of,
    command_to_resume,
    given_backbone,
    resumable,
)
from ktransfer.cli.startup import at_work, classifier_of, elapsed
from ktransfer.errors import InputError, RunError, unknown_name
from ktransfer.files.reading import read_plain
from ktransfer.show.timing import timed

if TYPE_CHECKING:
    from ktransfer.classifier.results import FitResult

_MOST_PLAN_MB = 16
_FIT_OPTIONS = (
    "unfreeze",
    "learning_rate",
    "epochs",
    "batch_size",
    "patience",
    "seeds",
    "validation_fraction",
    "value_range",
    "cache",
    "balance",
    "similarity",
    "fine_tuning",
    "refit",
    "time_budget",
    "augmentation",
    "check",
    "class_names",
)


@click.command()
@click.argument("data", required=False)
@tuner_options
@click.option(
    "--out", metavar="RUN", help="Folder for the trained model, and for checkpoints until then."
)
@click.option(
    "--plan",
    default="auto",
    show_default=True,
    metavar="NAME|FILE.json",
    help="What trains when: auto (see `advise`), textbook, lp_ft, gradual_unfreeze... or a file.",
)
@click.option(
    "--unfreeze",
    type=NumberOrName(),
    metavar="K|NAME",
    help="How many last blocks train, or from which block or layer on; 0 is the head alone.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    callback=finite,
    metavar="R",
    help="Peak rate of the stages that train blocks, or of the head alone; default the plan's.",
)
@click.option(
    "--resume",
    metavar="RUN",
    help="Go on with the training in RUN that was killed; all options come from there.",
)
@click.option(
    "--epochs", type=click.IntRange(1), help="Most epochs of every stage; default the plan's."
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    help="Images a step; default the plan's, or an eighth of them, from 4 to 32.",
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    help="Epochs without a better one until a stage ends; default the plan's.",
)
@click.option(
    "--augmentation",
    type=click.Choice([*AUGMENTATIONS, "auto"]),
    help="Random views of the training images (see `look`); default the plan's.",
)
@click.option(
    "--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True
)
@fine_tuning_option
@click.option(
    "--time-budget",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Keep the best so far when so much time is over.",
)
@click.option(
    "--refit",
    is_flag=True,
    help="At the end, let the chosen head learn from the validation images as well.",
)
@auto_option("--cache", "Whether what frozen blocks say is computed once.")
@click.option(
    "--balance",
    type=click.Choice(["auto", "none", "class_weights", "sampling"]),
    default="auto",
    show_default=True,
    help="What is done about classes of unequal size; auto weights them where it pays.",
)
@click.option(
    "--no-check",
    "check",
    flag_value="off",
    default="auto",
    help="Do not look for leaks, duplicates and contradicting labels first.",
)
@class_names_option
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Train with N seeds from --seed on, and keep the median model.",
)
@overwrite_option("the run in RUN")
@verbosity_options
@json_option
@click.pass_context
def train(
    context: click.Context,
    data: str | None,
    out: str | None,
    resume: str | None,
    overwrite: bool,
    verbose: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Train a classifier of the images in DATA.

    DATA holds a folder for each class, or train/, val/ and perhaps test/ with such folders inside;
    or it is a CSV file with the columns path, label[, split], an .npz file of images and labels, or
    tfds:NAME (TensorFlow Datasets).
    A training that was killed goes on with `ktransfer train --resume RUN`, with DATA or --backbone
    PATH.keras beside it where these have moved; on a CPU with as many
    cores it ends with the same weights, bit for bit.
    """
    if resume is None:
        out, command = _new_training(data, out, options, overwrite=overwrite)
    else:
        check_only_resume(context)
        if _is_complete(resume):
            return _already_complete(resume, as_json=as_json, verbose=verbose)
        out, command = resume, _training_to_resume(resume, data, given_backbone(context))
    from ktransfer.runs.unfinished import forget_command

    seconds: dict[str, float] = {}
    begun = functools.partial(_has_begun, out)
    forget = functools.partial(forget_command, out)
    again, say = resume is not None, {"verbose": verbose, "quiet": quiet}
    with resumable("train", out, begun, forget, resumed=again), at_work(seconds, quiet=quiet):
        result, name = _trained(command, out, resume=again, seconds=seconds, say=say)
    seconds["total"] = elapsed()
    if as_json:
        extra = {"out": out, "backbone": name, "seconds": seconds}
        terminal.print_json({**result.to_dict(), **extra})
    else:
        _print(dataclasses.replace(result, seconds=seconds), name, verbose=verbose)
        terminal.print_row("Saved", out)
        on = ["train", "--resume", out] if result.interrupted else ["predict", out, "photo.jpg"]
        terminal.print_next(["ktransfer", *on])
    return INTERRUPTED if result.interrupted else 0


def _print(result: FitResult, backbone: str, *, verbose: bool) -> None:
    terminal.show(result.printed())
    if verbose:
        terminal.show(result.details(backbone))
        terminal.print_seconds(result.seconds)


def _trained(
    command: dict[str, Any],
    out: str,
    *,
    resume: bool,
    seconds: dict[str, float],
    say: dict[str, bool],
) -> tuple[FitResult, str]:
    """Carry out a command that was checked, or go on with it."""
    from ktransfer.plan import Plan

    with timed(seconds, "backbone"):
        finetuner = built(command, **say)
    plan = command["plan"]
    # Killed before its first step, it has nothing to go on from, and begins.
    resume = resume and _has_begun(out)
    result = finetuner.fit(
        command["data"],
        plan=Plan.from_dict(plan) if isinstance(plan, dict) else plan,
        out=out,
        resume=resume,
        # That it may be was checked before the command was noted there.
        overwrite=not resume and _holds_run(out),
        **named(_FIT_OPTIONS, command),
    )
    seconds |= result.seconds
    return result, finetuner.backbone.name


def _already_complete(run: str, *, as_json: bool, verbose: bool) -> int:
    """Say what came of a training that needs no resuming."""
    with classifier_of(run, {}) as classifier:
        result, name = classifier.result, classifier.backbone.name
    if result is None:
        raise RunError(f"{run} is a complete run, there is nothing to resume")
    if as_json:
        own = {"out": run, "backbone": name, "seconds": result.seconds}
        terminal.print_json({**result.to_dict(), **own})
    else:
        terminal.print_note(f"{run} was complete already; this is what came of it:")
        _print(result, name, verbose=verbose)
    return 0


def _new_training(
    data: str | None, out: str | None, options: dict[str, Any], *, overwrite: bool
) -> tuple[str, dict[str, Any]]:
    """Check a command to train, and notes it in the folder of the run to be.

    Returns:
        The folder, and the command as plain data.
    """
    from ktransfer.runs.saving import check_output_folder
    from ktransfer.runs.unfinished import write_command

    if data is None or out is None:
        missing = "DATA" if data is None else "--out RUN"
        raise InputError(f"train needs {missing}, or --resume RUN to go on with a training")
    command = {**command_of(data, options), "plan": checked_plan(options["plan"])}
    checks.check_labelled(data, options["class_names"])
    check_no_training(out, overwrite=overwrite)
    check_output_folder(out, overwrite=overwrite)
    write_command(out, command)
    return out, command


def _training_to_resume(run: str, data: str | None, backbone: str | None) -> dict[str, Any]:
    """Return the command that began an unfinished training, with its files where they are now."""
    from ktransfer.runs.unfinished import read_command

    return command_to_resume(read_command(run), data, backbone, run)


def checked_plan(value: str) -> str | dict[str, Any]:
    """Return a plan's name, or the plan that a JSON file holds, as plain data."""
    from ktransfer.advisor import ADVISED
    from ktransfer.plan import PLAN_NAMES, Plan

    if value in (*ADVISED, *PLAN_NAMES):
        return value
    if not value.endswith(".json") and not os.path.isfile(value):
        raise unknown_name("plan", value, (*ADVISED, *PLAN_NAMES))
    try:
        text = read_plain(Path(value), most_mb=_MOST_PLAN_MB, follow_links=True).decode("utf-8")
    except ValueError as error:
        raise InputError(f"--plan {value!r} cannot be read: {error}") from error
    return Plan.from_json(text).to_dict()


def check_no_training(folder: str, *, overwrite: bool) -> None:
    """Raise a `RunError` if a training that was not finished lies there."""
    from ktransfer.runs.unfinished import is_unfinished

    if is_unfinished(folder) and not overwrite:
        raise RunError(
            f"{folder} holds a training that was not finished: --resume {folder} goes on with it, "
            "--overwrite starts anew"
        )


def _is_complete(folder: str) -> bool:
    """Tell whether a folder holds a run, and no training that was not finished."""
    from ktransfer.runs.unfinished import is_unfinished

    return _holds_run(folder) and not is_unfinished(folder)


def _holds_run(folder: str) -> bool:
    """Tell whether there is a saved run."""
    from ktransfer.runs.record import RECORD_NAME

    return os.path.isfile(os.path.join(folder, RECORD_NAME))


def _has_begun(folder: str) -> bool:
    """Tell whether the training there came as far as to note what it is made of."""
    from ktransfer.runs.unfinished import has_begun

    return has_begun(folder)
