"""What `train` and `tune` share: a command is noted, and gone on with after a kill."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import click
from click.core import ParameterSource

from ktransfer.cli.checks import (
    check_backbone,
    check_labelled,
    checked_similarity,
    checked_weights,
    is_weights_file,
)
from ktransfer.errors import InputError, RunError


def command_of(data: str, options: dict[str, Any]) -> dict[str, Any]:
    """Keep checked options and the data, for a later run in another folder."""
    from ktransfer.backbones.model_file import located

    check_backbone(options["backbone"], options["weights"])
    own = checked_weights(options["weights"])
    return {
        **options,
        "data": _absolute(data),
        "backbone": located(options["backbone"]),
        "weights": os.path.abspath(own) if own and is_weights_file(own) else own,
        "similarity": checked_similarity(options["similarity"]),
    }


def command_to_resume(
    command: dict[str, Any], data: str | None, backbone: str | None, folder: str
) -> dict[str, Any]:
    """Return a command that was noted, checked, with data and model file where they are now.

    Args:
        command: that was noted.
        data: where it is now; None: where it was.
        backbone: where the model file is now; None: where it was, or the backbone has a name.
        folder: where the command was noted, for messages.

    Raises:
        RunError: what every command says is missing, or of another kind.
        InputError: the data, the model file or the weights are no longer there.
    """
    if data is not None:
        command["data"] = _absolute(data)
    texts = {name: command.get(name) for name in ("data", "backbone", "weights")}
    optional = texts["weights"] is None
    for name, value in texts.items():
        if not isinstance(value, str) and not (name == "weights" and optional):
            raise RunError(f"the command noted in {folder} is damaged: {name!r} is {value!r}")
    names = command.get("class_names")
    if names is not None and not _are_strings(names):
        raise RunError(f"the command noted in {folder} is damaged: 'class_names' is {names!r}")
    options = command.get("backbone_options")
    if not isinstance(options, list) or not all(
        isinstance(each, list) and len(each) == 2 and isinstance(each[0], str) for each in options
    ):
        raise RunError(
            f"the command noted in {folder} is damaged: 'backbone_options' is {options!r}"
        )
    command["backbone"] = _backbone_to_resume(command["backbone"], backbone, folder)
    check_labelled(command["data"], command.get("class_names"))
    if command["weights"]:
        checked_weights(command["weights"])
    return command


def _backbone_to_resume(noted: str, given: str | None, folder: str) -> str:
    """Say what backbone goes on: the one that was noted, or its file where it is now."""
    from ktransfer.backbones.model_file import is_model_file, located

    if given is not None and not (is_model_file(noted) and is_model_file(given)):
        raise InputError(
            f"--resume takes all options from the run, whose backbone is {noted}: leave out "
            "--backbone, which is for a model file that has moved"
        )
    if given is None and is_model_file(noted) and not os.path.exists(noted):
        raise InputError(
            f"{folder} was begun with the model in {noted!r}, which is no longer there: say where "
            "it is now, --backbone PATH"
        )
    found = str(located(given or noted))
    if is_model_file(found):
        check_backbone(found)
    return found


def check_only_resume(context: click.Context) -> None:
    """Refuse options beside --resume, which takes all but where things lie from the run."""
    given = [
        each.opts[0]
        for each in context.command.params
        if context.get_parameter_source(str(each.name)) == ParameterSource.COMMANDLINE
        and each.name not in ("resume", "data", "backbone", "as_json", "verbose", "quiet")
    ]
    if given:
        raise InputError(f"--resume takes all options from the run: leave out {', '.join(given)}")


@contextlib.contextmanager
def resumable(
    command: str,
    out: str,
    has_begun: Callable[[], bool],
    forget: Callable[[], None],
    *,
    resumed: bool = False,
) -> Iterator[None]:
    """Leave nothing of work that could not begin; says how to go on with what did.

    Args:
        command: its name.
        out: the folder that it goes on from.
        has_begun: whether there is something to go on from.
        forget: deletes what was noted in the folder.
        resumed: whether it was noted before, and so stays noted.
    """
    try:
        yield
    except BaseException as error:
        if not has_begun() and not resumed:
            forget()
        elif isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(
                f"interrupted; `ktransfer {command} --resume {shlex.quote(out)}` goes on"
            ) from error
        raise


def _absolute(data: str) -> str:
    """Return a path from the root, for a later run in another folder; a TFDS name as it is."""
    from ktransfer.data.reading.layout import TFDS_PREFIX

    return data if data.startswith(TFDS_PREFIX) else os.path.abspath(data)


def given_backbone(context: click.Context) -> str | None:
    """Return the --backbone of a command where it was typed, not the default."""
    typed = context.get_parameter_source("backbone") == ParameterSource.COMMANDLINE
    return str(context.params["backbone"]) if typed else None


def _are_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
