"""What is checked before TensorFlow is imported: an error must not take seconds to appear."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ktransfer.errors import InputError, RunError, unknown_name
from ktransfer.files.reading import read_plain
from ktransfer.files.writing import check_new_file

if TYPE_CHECKING:
    from ktransfer.data import Skipped

_MOST_PLAN_MB = 16
_NAMED_WEIGHTS = ("imagenet", "mini")


def check_backbone(name: str) -> None:
    """Raises an `InputError` for a name that is neither in the catalog nor a KerasHub preset."""
    from ktransfer.backbones import list_backbones

    known = [each.name for each in list_backbones()]
    if not name.startswith("hub:") and name.casefold() not in map(str.casefold, known):
        raise unknown_name("backbone", name, known)


def weights(value: str) -> str | None:
    """The `weights` of a `FineTuner`; an `InputError` for a file that is not there."""
    if value == "none":
        return None
    if value not in _NAMED_WEIGHTS and not os.path.isfile(value):
        raise InputError(
            f"no weights file {value!r}; --weights takes imagenet, mini, none or the path of a file"
        )
    return value


def similarity(value: str | None) -> float | str | None:
    """The `similarity` of `fit`, as a number where it is one; `InputError` as in `advise`."""
    from ktransfer.advisor import check_similarity

    try:
        given: float | str | None = None if value is None else float(value)
    except ValueError:
        given = value
    check_similarity(given)
    return given


def check_labelled(
    data: str, class_names: Sequence[str] | None = None, *, of_run: bool = False
) -> None:
    """Raises the error of `read_data` for what is no folder, CSV file, .npz file or TFDS name.

    Of a CSV file the rows are looked at, too, and of a folder which folders it has, but no image.
    TensorFlow is not imported.

    Args:
        data: the path or name.
        class_names: those asked for.
        of_run: whether a run that is not read yet knows the classes, and with them how a folder is
            read.
    """
    from ktransfer.data.sources.front import source_of

    source_of(data).check(class_names, of_run=of_run)


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def absolute(data: str) -> str:
    """A path from the root, for a later run in another folder; a TFDS name as it is."""
    from ktransfer.data.reading.layout import TFDS_PREFIX

    return data if data.startswith(TFDS_PREFIX) else os.path.abspath(data)


def check_paths(paths: Sequence[str]) -> None:
    """Raises the error of `read_images` for a path that does not exist."""
    from ktransfer.data import read_paths
    from ktransfer.data.reading.layout import TFDS_PREFIX
    from ktransfer.data.sources.tfds import check_installed

    for path in paths:
        if path.startswith(TFDS_PREFIX) and len(paths) == 1:
            check_installed(path)
        elif not os.path.lexists(path):
            read_paths(path)


def check_output(folder: str, *, overwrite: bool = False) -> None:
    """Raises a `RunError` if a run could not be saved there."""
    from ktransfer.runs.saving import check_output_folder

    check_output_folder(folder, overwrite=overwrite)


def new_training(
    data: str | None, out: str | None, options: dict[str, Any], *, overwrite: bool
) -> tuple[str, dict[str, Any]]:
    """Checks a command to train, and notes it in the folder of the run to be.

    Returns:
        The folder, and the command as plain data.
    """
    if data is None or out is None:
        missing = "DATA" if data is None else "--out RUN"
        raise InputError(f"train needs {missing}, or --resume RUN to go on with a training")
    command = {**command_of(data, options), "plan": plan(options["plan"])}
    check_labelled(data, options["class_names"])
    check_no_training(out, overwrite=overwrite)
    check_output(out, overwrite=overwrite)
    from ktransfer.runs.unfinished import write_command

    write_command(out, command)
    return out, command


def training_to_resume(run: str, data: str | None) -> dict[str, Any]:
    """The command that began a training which was not finished, with the data where it is now."""
    from ktransfer.runs.unfinished import read_command

    return command_to_resume(read_command(run), data, run)


def command_of(data: str, options: dict[str, Any]) -> dict[str, Any]:
    """Checked options of the tuner and the data, for a later run in another folder."""
    check_backbone(options["backbone"])
    own = weights(options["weights"])
    return {
        **options,
        "data": absolute(data),
        "weights": os.path.abspath(own) if own and _is_file(own) else own,
        "similarity": similarity(options["similarity"]),
    }


def command_to_resume(command: dict[str, Any], data: str | None, folder: str) -> dict[str, Any]:
    """A command that was noted, checked, with the data where it is now.

    Raises:
        RunError: what every command says is missing, or of another kind.
        InputError: the data or the weights are no longer there.
    """
    if data is not None:
        command["data"] = absolute(data)
    texts = {name: command.get(name) for name in ("data", "backbone", "weights")}
    optional = texts["weights"] is None
    for name, value in texts.items():
        if not isinstance(value, str) and not (name == "weights" and optional):
            raise RunError(f"the command noted in {folder} is damaged: {name!r} is {value!r}")
    names = command.get("class_names")
    if names is not None and not _is_strings(names):
        raise RunError(f"the command noted in {folder} is damaged: 'class_names' is {names!r}")
    options = command.get("backbone_options")
    if not isinstance(options, list) or not all(
        isinstance(each, list) and len(each) == 2 and isinstance(each[0], str) for each in options
    ):
        raise RunError(
            f"the command noted in {folder} is damaged: 'backbone_options' is {options!r}"
        )
    check_labelled(command["data"], command.get("class_names"))
    if command["weights"]:
        weights(command["weights"])
    return command


def check_only_resume(context: click.Context) -> None:
    """Refuses options beside --resume, which takes all of them from the run."""
    given = [
        each.opts[0]
        for each in context.command.params
        if context.get_parameter_source(str(each.name)) == ParameterSource.COMMANDLINE
        and each.name not in ("resume", "data", "as_json")
    ]
    if given:
        raise InputError(f"--resume takes all options from the run: leave out {', '.join(given)}")


def plan(value: str) -> str | dict[str, Any]:
    """A plan's name, or the plan that a JSON file holds, as plain data."""
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
    """Raises a `RunError` if a training that was not finished lies there."""
    from ktransfer.runs.unfinished import is_unfinished

    if is_unfinished(folder) and not overwrite:
        raise RunError(
            f"{folder} holds a training that was not finished: --resume {folder} goes on with it, "
            "--overwrite starts anew"
        )


def is_complete(folder: str) -> bool:
    """Whether a folder holds a run, and no training that was not finished."""
    from ktransfer.runs.unfinished import is_unfinished

    return holds_run(folder) and not is_unfinished(folder)


def holds_run(folder: str) -> bool:
    """Whether there is a saved run."""
    from ktransfer.runs.saving import RECORD_NAME

    return os.path.isfile(os.path.join(folder, RECORD_NAME))


def has_begun(folder: str) -> bool:
    """Whether the training there came as far as to note what it is made of."""
    from ktransfer.runs.unfinished import CHECKPOINT_FOLDER, REQUEST_NAME

    return os.path.isfile(os.path.join(folder, CHECKPOINT_FOLDER, REQUEST_NAME))


def forget(folder: str) -> None:
    """Deletes what was noted of a training that could not begin."""
    from ktransfer.runs.unfinished import forget_command

    forget_command(folder)


def _is_file(weights: str) -> bool:
    return weights not in _NAMED_WEIGHTS


def check_run(folder: str) -> None:
    """Raises a `RunError` if there is no run."""
    from ktransfer.runs.saving import read_record

    read_record(folder)


def check_export(
    run: str, out: str, format_name: str | None, opset: int, options: dict[str, Any]
) -> None:
    """Raises the error of `FineTuner.export` for all that can be seen before the run is loaded.

    Args:
        run: its folder.
        out: where to.
        format_name: as what.
        opset: of ONNX.
        options: the others of `FineTuner.export`.
    """
    from ktransfer.export import Request, check_calibration, check_images
    from ktransfer.runs.saving import read_record

    record = read_record(run)
    quantise, max_loss = options["quantise"], options["max_loss"]
    overwrite = options["overwrite"]
    Request.of(
        out,
        format_name,
        opset,
        overwrite=overwrite,
        quantise=quantise,
        max_loss=max_loss,
        images=(options["validation"], options["calibration"]),
        models=(run,),
    )
    check_images(options["validation"], record["data"])
    if quantise == "int8":
        check_calibration(options["calibration"], record["data"])
    check_paths([options[each] for each in ("validation", "calibration") if options[each]])


def is_exported(model: str) -> bool:
    """Whether a model is, or should be, an exported file; else it is the folder of a run."""
    named_so = model.lower().endswith(".onnx") and not os.path.isdir(model)
    return named_so or os.path.isfile(model)


def check_model(model: str) -> None:
    """Raises a `RunError` if there is neither a run nor a file."""
    if not is_exported(model):
        check_run(model)


def check_file(
    file: str | None,
    option: str,
    *images: Any,
    models: Sequence[str] = (),
    overwrite: bool = False,
    ending: str = "",
) -> None:
    """Raises an `InputError` if a file could not be written, is there, or is one that is read.

    Args:
        file: to be written; None: there is none.
        option: that named it.
        *images: what images are read.
        models: the runs and files of models and weights that are read; names of weights are passed
            over.
        overwrite: whether it may take the place of a file.
        ending: what its name must end in.
    """
    if file is None:
        return
    from ktransfer.data.inputs import check_not_read

    check_not_read(file, option, *images, models=[each for each in models if _is_file(each)])
    check_new_file(file, option, overwrite=overwrite, ending=ending)


def check_demo_folder(folder: str) -> Path:
    """The folder; an `InputError` if it is not empty, or could not be written to."""
    path = Path(folder)
    if path.is_dir() and any(path.iterdir()):
        raise InputError(f"the output folder {folder!r} is not empty; name a new folder")
    check_output(folder)
    return path


def check_any_read(num_read: int, skipped: Sequence[Skipped]) -> None:
    """Raises an `InputError` that names the files if none could be read."""
    if num_read:
        return
    if not skipped:
        raise InputError("there is no file in the folders given, nothing to predict on")
    named = "; ".join(f"{each.path}: {each.reason}" for each in skipped[:20])
    more = f"; and {len(skipped) - 20} more" if len(skipped) > 20 else ""
    raise InputError(f"none of the {len(skipped)} files can be read: {named}{more}")
