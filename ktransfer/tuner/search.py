"""A search as a folder that it can be gone on with: noted, carried out, its best plan written.

    DIR/command.json     what was asked for, as plain data
    DIR/advice.json      what the images said before the search
    DIR/best_plan.json   the plan that was chosen
    DIR/best/            the run that it made

The records of the trials lie beside these: see `tuner.records`. TensorFlow is imported only where a
search is carried out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktransfer.errors import RunError
from ktransfer.files.scratch import keep, temporary_scratch
from ktransfer.runs.saving import check_output_folder
from ktransfer.show.timing import timed
from ktransfer.tuner import budget, hyperparameters
from ktransfer.tuner.records import REQUEST_NAME, read_json, write_json
from ktransfer.tuner.repetition import Repetition

if TYPE_CHECKING:
    from keras_tuner import HyperParameters

    from ktransfer.advisor import Advice
    from ktransfer.data import Splits
    from ktransfer.tuner.result import SearchResult

COMMAND_NAME, ADVICE_NAME, PLAN_NAME = "command.json", "advice.json", "best_plan.json"

#: What a command says of the search; of the backbone and the data it says more.
_OPTIONS = ("test_fraction", "seed", "max_unfreeze", "epochs", "values", "oracle", "trials")
_OF_THE_BACKBONE = ("input_size", "pooling", "seed")

Command = dict[str, Any]


def check_options(options: Mapping[str, Any], trials_option: str) -> None:
    """Raise an `InputError` for a search that cannot be, as far as its options tell.

    Args:
        options: of a command.
        trials_option: how the caller gives the number of trials, such as `"--trials "`.
    """
    Repetition(options["repeats"], options["folds"], options["seed"]).check()
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
    budget.check_trials(oracle, *needed, trials, trials_option)


def note_command(folder: str, command: Command) -> None:
    """Note a new search in its folder. A chief that starts again, as services do, has the same.

    Raises:
        RunError: the folder holds another search, or cannot be written to.
    """
    path = Path(folder) / COMMAND_NAME
    if not path.is_file():
        check_output_folder(folder)
        write_json(path, json.dumps(command, indent=1))
        return
    if command["role"] != "chief":
        raise RunError(
            f"{folder} holds a search: --resume {folder} goes on with it; or name another"
        )
    from ktransfer.training import check_same

    plain, then = json.loads(json.dumps(command)), read_json(path)
    check_same(then, {name: plain[name] for name in plain if name in then}, folder)


def read_command(folder: str) -> Command:
    """Return the command that began a search.

    Raises:
        RunError: there is none, or it is damaged.
    """
    path = Path(folder) / COMMAND_NAME
    if not os.path.lexists(path):
        raise RunError(f"there is no search to resume in {folder}: it has no {COMMAND_NAME}")
    command = read_json(path)
    missing = [each for each in _OPTIONS if each not in command]
    if missing:
        raise RunError(f"{path} is damaged: it does not say {', '.join(missing)}")
    return command


def has_begun(folder: str) -> bool:
    """Tell whether the search there came as far as to note what it is made of."""
    return (Path(folder) / REQUEST_NAME).is_file()


def forget(folder: str) -> None:
    """Delete what was noted of a search that could not begin."""
    for name in (COMMAND_NAME, ADVICE_NAME):
        (Path(folder) / name).unlink(missing_ok=True)
    if os.path.isdir(folder) and not os.listdir(folder):
        os.rmdir(folder)


def run(
    command: Command, folder: str, seconds: dict[str, float], trials_option: str
) -> tuple[SearchResult, str]:
    """Carry a search out, or go on with it; its best plan and its pictures are written as well.

    Args:
        command: that `check_options` has passed.
        folder: of the search.
        seconds: is given the wall time of each phase.
        trials_option: as in `check_options`.

    Returns:
        What was found, and the name of the backbone.

    Raises:
        InputError: the data, the backbone or an option cannot be used.
        RunError: as `UnfreezeTuner.search`.
    """
    from ktransfer.data.reading.dividing import in_fold
    from ktransfer.finetuner import FineTuner
    from ktransfer.tuner.oracles import Search
    from ktransfer.tuner.space import search_space
    from ktransfer.tuner.tuner import UnfreezeTuner

    splits = _read(command, seconds)
    chosen, own = _named(_OF_THE_BACKBONE, command), dict(command["backbone_options"])
    with timed(seconds, "backbone"):
        finetuner = FineTuner(command["backbone"], command["weights"], **chosen, **own)
    options = {"max_unfreeze": command["max_unfreeze"], "epochs": command["epochs"]}
    given = _narrowed(command["values"])
    # Errors before a long look.
    settings = Search(*(command[name] for name in ("oracle", "trials", "epochs", "seed")))
    space = search_space(finetuner.backbone, **options, hyperparameters=given)
    settings.check(space, trials_option)
    if command.get("folds") is not None:
        in_fold(splits, command["folds"], 0, command["seed"])
    with timed(seconds, "advise"):
        advice = _advice(finetuner, splits, command["similarity"], Path(folder) / ADVICE_NAME)
    tuner = UnfreezeTuner(
        command["backbone"],
        command["weights"],
        directory=folder,
        hyperparameters=search_space(finetuner.backbone, advice, **options, hyperparameters=given),
        oracle=command["oracle"],
        max_trials=command["trials"],
        **options,
        **_named(("repeats", "folds", "cache_mb"), command),
        **_named(("role", "chief", "worker_timeout_s"), command),
        **chosen,
        **own,
    )
    with timed(seconds, "search"):
        result = tuner.search(splits)
    assert result is not None  # this is no worker
    write_json(Path(folder) / PLAN_NAME, result.best_plan.to_json())
    result.plot(folder, overwrite=True)  # the folder is the search's own
    return result, finetuner.backbone.name


def work(command: Command, folder: str | None, seconds: dict[str, float]) -> int:
    """Carry out trials of a chief on another machine, until its search is over.

    Args:
        command: what of one a worker needs.
        folder: for the log; None: one that is deleted, unless an error left a log in it.
        seconds: is given the wall time of each phase.

    Returns:
        How many trials.

    Raises:
        InputError: the data or the backbone cannot be used.
        RunError: as `UnfreezeTuner.search`.
    """
    from ktransfer.tuner.tuner import UnfreezeTuner

    with _log_folder(folder) as directory:
        with timed(seconds, "backbone"):
            tuner = UnfreezeTuner(
                command["backbone"],
                command["weights"],
                directory=directory,
                **_named(("role", "chief", "chief_timeout_s", "cache_mb"), command),
                **_named(_OF_THE_BACKBONE, command),
                **dict(command["backbone_options"]),
            )
        splits = _read(command, seconds)
        with timed(seconds, "search"):
            tuner.search(splits)
        return tuner.num_carried_out


def _read(command: Command, seconds: dict[str, float]) -> Splits:
    """Return the images, with a test part."""
    from ktransfer.data import read_data
    from ktransfer.data.reading.dividing import with_test

    chosen = _named(("validation_fraction", "value_range", "seed", "class_names"), command)
    with timed(seconds, "scan"):
        splits = read_data(command["data"], **chosen)
        return with_test(splits, command["test_fraction"], command["seed"])


def _named(names: Sequence[str], command: Command) -> dict[str, Any]:
    """Return those options that there are.

    A search may have begun before there was such an option.
    """
    return {name: command[name] for name in names if name in command}


def _narrowed(given: Sequence[tuple[str, Sequence[Any]]]) -> HyperParameters:
    """Hyperparameters by their values: one value fixes, several are a choice."""
    from keras_tuner import HyperParameters

    made = HyperParameters()
    for name, values in given:
        if len(values) > 1:
            made.Choice(name, list(values))
        else:
            made.Fixed(name, values[0])
    return made


def _advice(finetuner: Any, splits: Splits, similarity: float | str | None, path: Path) -> Advice:
    """Say what the images say before the search; it rests on times, so that it is decided once."""
    from ktransfer.advisor import Advice

    if os.path.lexists(path):
        noted = read_json(path)
        try:
            return Advice.from_dict(noted)
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    advice: Advice = finetuner.advise(dataclasses.replace(splits, test=None), similarity=similarity)
    write_json(path, json.dumps(advice.to_dict()))
    return advice


@contextlib.contextmanager
def _log_folder(folder: str | None) -> Iterator[str]:
    """Say where a worker writes its log; one of its own is kept where an error left a log in it."""
    if folder is not None:
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"the worker cannot write to {folder}: {error.strerror}") from error
        yield folder
        return
    with temporary_scratch() as made:
        try:
            yield str(made)
        except BaseException:
            if any(made.glob("*.log")):
                keep(made)
            raise
