"""`ktransfer tune`."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ktransfer.cli import early, machines, terminal
from ktransfer.cli.program import json_option
from ktransfer.cli.session import at_work, resumable
from ktransfer.cli.started import elapsed
from ktransfer.cli.tuner_options import built, named, tuner_options, words_of
from ktransfer.errors import InputError, RunError
from ktransfer.show.timing import timed

if TYPE_CHECKING:
    from ktransfer.advisor import Advice
    from ktransfer.data import Splits
    from ktransfer.finetuner import FineTuner
    from ktransfer.tuner.result import SearchResult

_SEARCH_OPTIONS = ("test_fraction", "seed", "max_unfreeze", "epochs", "values", "oracle", "trials")
_TRIALS = "--trials "  # as errors name it
COMMAND_NAME, ADVICE_NAME, PLAN_NAME = "command.json", "advice.json", "best_plan.json"


class NameAndValues(click.ParamType):
    """`unfreeze=0,2,4` as `("unfreeze", (0, 2, 4))`, all of one type, as KerasTuner takes them."""

    name = "NAME=VALUE[,VALUE...]"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, tuple[Any, ...]]:
        """Splits at the first equals sign, and at the commas behind it."""
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
    from ktransfer.tuner.extra import check_installed

    check_installed()
    role = machines.role_asked_for(options, resume)
    if role is not None and role.name == "worker":
        machines.work(context, data, out, as_json, options)
        return
    if resume is None:
        out, command = _new_search(data, out, options)
    else:
        early.check_only_resume(context)
        out, command = resume, _search_to_resume(resume, data)
    seconds: dict[str, float] = {}
    with _resumable(out, resumed=resume is not None), at_work(seconds):
        result, name = _searched(command, out, seconds)
    if as_json:
        extra = {"out": out, "backbone": name, "phases": seconds, "seconds": elapsed()}
        terminal.print_json({**result.to_dict(), **extra})
    else:
        for line in str(result).splitlines():
            terminal.echo(line)
        terminal.print_seconds({**seconds, "total": elapsed()})
        terminal.print_next(
            ["ktransfer", "predict", result.model, "photo.jpg"], _train_command(command, out)
        )


def _train_command(command: dict[str, Any], out: str) -> list[str]:
    """What trains the best plan on all images."""
    plan = ["--plan", os.path.join(out, PLAN_NAME), "--out", "runs/best"]
    return ["ktransfer", "train", command["data"], *words_of(command), *plan]


def _new_search(
    data: str | None, out: str | None, options: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Checks a command to search, and notes it in the folder of the search to be."""
    if data is None or out is None:
        missing = "DATA" if data is None else "--out DIR"
        raise InputError(f"tune needs {missing}, or --resume DIR to go on with a search")
    from ktransfer.tuner.records import write_json
    from ktransfer.tuner.repeating import Repeating

    Repeating(options["repeats"], options["folds"], options["seed"]).check()
    _check_search(options)
    command = early.command_of(data, options)
    early.check_labelled(data)
    folder = Path(out)
    if (folder / COMMAND_NAME).is_file():
        if options["role"] == "chief":
            return out, _same_command(command, folder)
        raise RunError(f"{out} holds a search: --resume {out} goes on with it; or name another")
    early.check_output(out)
    write_json(folder / COMMAND_NAME, json.dumps(command, indent=1))
    return out, command


def _check_search(options: dict[str, Any]) -> None:
    """Raises the error of a search that cannot be, as far as options tell."""
    from ktransfer.tuner import budget, hyperparameters

    hyperparameters.check_names(name for name, _ in options["values"])
    oracle, trials = options["oracle"], options["trials"]
    budget.check_oracle(oracle)
    if oracle == "hyperband":
        needed = budget.of_hyperband(options["epochs"])
    elif oracle == "grid":
        narrowed = {name: len(set(values)) for name, values in options["values"]}
        needed = budget.of_grid(budget.least_grid(narrowed, options["max_unfreeze"]))
    else:
        return
    budget.check_trials(oracle, *needed, trials, _TRIALS)


def _same_command(command: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The command of a chief that starts again, as services do.

    Raises:
        RunError: the folder's is another one; each difference is named.
    """
    from ktransfer.training import check_same
    from ktransfer.tuner.records import read_json

    plain = json.loads(json.dumps(command))
    then = read_json(folder / COMMAND_NAME)
    check_same(then, {name: plain[name] for name in plain if name in then}, str(folder))
    return command


def _search_to_resume(folder: str, data: str | None) -> dict[str, Any]:
    """The command that began a search, with the data where it is now."""
    from ktransfer.tuner.records import read_json

    path = Path(folder) / COMMAND_NAME
    if not os.path.lexists(path):
        raise RunError(f"there is no search to resume in {folder}: it has no {COMMAND_NAME}")
    command = early.command_to_resume(read_json(path), data, folder)
    missing = [each for each in _SEARCH_OPTIONS if each not in command]
    if missing:
        raise RunError(f"{path} is damaged: it does not say {', '.join(missing)}")
    return command


def _searched(
    command: dict[str, Any], out: str, seconds: dict[str, float]
) -> tuple[SearchResult, str]:
    """Carry out a search that was checked, or go on with it."""
    from ktransfer.data import read_data
    from ktransfer.data.reading.dividing import in_fold, with_test
    from ktransfer.tuner import UnfreezeTuner, search_space
    from ktransfer.tuner.oracles import Search
    from ktransfer.tuner.records import write_json

    with timed(seconds, "scan"):
        chosen = named(("validation_fraction", "value_range", "seed"), command)
        splits = read_data(command["data"], **chosen)
        splits = with_test(splits, command["test_fraction"], command["seed"])
    with timed(seconds, "backbone"):
        one = built(command)
    options = {"max_unfreeze": command["max_unfreeze"], "epochs": command["epochs"]}
    given = narrowed(command["values"])
    # Errors before a long look.
    search = Search(*(command[name] for name in ("oracle", "trials", "epochs", "seed")))
    search.check(search_space(one.backbone, **options, hyperparameters=given), _TRIALS)
    if command.get("folds") is not None:
        in_fold(splits, command["folds"], 0, command["seed"])
    with timed(seconds, "advise"):
        advice = _advice(one, splits, command, Path(out) / ADVICE_NAME)
    space = search_space(one.backbone, advice, **options, hyperparameters=given)
    tuner = UnfreezeTuner(
        command["backbone"],
        command["weights"],
        directory=out,
        hyperparameters=space,
        oracle=command["oracle"],
        max_trials=command["trials"],
        **options,
        **named(("repeats", "folds", "seed", "input_size", "pooling", "cache_mb"), command),
        **named(("role", "chief", "worker_timeout_s"), command),
        **dict(command["backbone_options"]),
    )
    with timed(seconds, "search"):
        result = tuner.search(splits)
    assert result is not None  # this is no worker
    write_json(Path(out) / PLAN_NAME, result.best_plan.to_json())
    result.plot(out, overwrite=True)  # the folder is the search's own
    return result, tuner.backbone.name


def _advice(one: FineTuner, splits: Splits, command: dict[str, Any], path: Path) -> Advice:
    """What the images say before the search; it rests on times, so that it is decided once."""
    import dataclasses

    from ktransfer.advisor import Advice
    from ktransfer.tuner.records import read_json, write_json

    if os.path.lexists(path):
        noted = read_json(path)
        try:
            return Advice.from_dict(noted)
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    advice = one.plan(dataclasses.replace(splits, test=None), similarity=command["similarity"])
    write_json(path, json.dumps(advice.to_dict()))
    return advice


def narrowed(given: Sequence[tuple[str, Sequence[Any]]]) -> Any:
    """Hyperparameters by `--values`: one value fixes, several are a choice."""
    from keras_tuner import HyperParameters

    made = HyperParameters()
    for name, values in given:
        if len(values) > 1:
            made.Choice(name, list(values))
        else:
            made.Fixed(name, values[0])
    return made


@contextlib.contextmanager
def _resumable(out: str, *, resumed: bool) -> Iterator[None]:
    """Leaves nothing of a search that could not begin; says how to go on with one that did."""
    from ktransfer.tuner.records import REQUEST_NAME

    def forget() -> None:
        for name in (COMMAND_NAME, ADVICE_NAME):
            (Path(out) / name).unlink(missing_ok=True)
        if os.path.isdir(out) and not os.listdir(out):
            os.rmdir(out)

    begun = (Path(out) / REQUEST_NAME).is_file
    with resumable("tune", out, begun, forget, resumed=resumed):
        yield
