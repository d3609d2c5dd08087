"""What several commands check before TensorFlow is imported: an error must not take seconds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ktransfer.errors import InputError, unknown_name
from ktransfer.files.writing import check_new_file

_OPENED_BY = {
    "litert": "ai-edge-litert",
    "savedmodel": "TensorFlow (Serving)",
    "keras": "Keras",
}
_NAMED_WEIGHTS = ("imagenet", "mini")


def check_backbone(name: str, weights: str | None = None) -> None:
    """Raise an `InputError` for what is no name, preset of KerasHub or model file.

    Args:
        name: of the backbone.
        weights: given beside it; a model in a file has its own.
    """
    from ktransfer.backbones import list_backbones
    from ktransfer.backbones.model_file import check_model_path, is_model_file

    if is_model_file(name):
        check_model_path(name)
        if weights not in (None, "imagenet"):  # the default, meant for names
            raise InputError(
                f"the model in {name!r} has weights of its own, got --weights {weights} beside it: "
                "leave --weights out"
            )
        return
    known = [each.name for each in list_backbones()]
    if not name.startswith("hub:") and name.casefold() not in map(str.casefold, known):
        raise unknown_name("backbone", name, known)


def checked_weights(value: str) -> str | None:
    """Return the `weights` of a `FineTuner`; an `InputError` for a file that is not there."""
    if value == "none":
        return None
    if value not in _NAMED_WEIGHTS and not os.path.exists(value):
        raise InputError(
            f"no weights file {value!r}; --weights takes imagenet, mini, none or the path of a file"
        )
    return value


def checked_similarity(value: str | None) -> float | str | None:
    """Check the `similarity` of `fit`, and give it as a number where it is one."""
    from ktransfer.advisor import check_similarity

    try:
        given: float | str | None = None if value is None else float(value)
    except ValueError:
        given = value
    check_similarity(given)
    return given


def is_weights_file(weights: str) -> bool:
    """Tell whether weights are a file, not a name."""
    return weights not in _NAMED_WEIGHTS


def check_labelled(
    data: str, class_names: Sequence[str] | None = None, *, of_run: bool = False
) -> None:
    """Raise the error of `read_data` for what is no folder, CSV file, .npz file or TFDS name.

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


def check_paths(paths: Sequence[str]) -> None:
    """Raise the error of `read_images` for a path that does not exist."""
    from ktransfer.data import read_paths
    from ktransfer.data.reading.layout import TFDS_PREFIX
    from ktransfer.data.sources.tfds import check_installed

    for path in paths:
        if path.startswith(TFDS_PREFIX) and len(paths) == 1:
            check_installed(path)
        elif not os.path.lexists(path):
            read_paths(path)


def is_exported(model: str) -> bool:
    """Tell whether a model is, or should be, an exported file; else it is the folder of a run."""
    named_so = model.lower().endswith(".onnx") and not os.path.isdir(model)
    return named_so or os.path.isfile(model)


def check_model(model: str) -> None:
    """Raise an error for what is neither a run nor an ONNX file; of other exports it says more.

    Raises:
        InputError: an export in another format, which other programs open.
        RunError: no run there, or a damaged record.
    """
    from ktransfer.export.formats import FORMATS, card_path
    from ktransfer.runs.record import read_record

    folder = FORMATS["savedmodel"]
    endings = {each.ending: each for each in FORMATS.values() if each.ending not in ("", ".onnx")}
    found = endings.get(os.path.splitext(model)[1].lower()) if os.path.isfile(model) else None
    if found is None and os.path.isfile(os.path.join(model, "saved_model.pb")):
        found = folder
    if found is not None:
        raise InputError(
            f"{model} is an export in the format {found.name}, which {_OPENED_BY[found.name]} "
            f"opens: the lines of Python are in {card_path(model)}. Here give the run that it was "
            "made of, or an .onnx export of it"
        )
    if not is_exported(model):
        read_record(model)


def check_file(
    file: str | None,
    option: str,
    *images: Any,
    models: Sequence[str] = (),
    overwrite: bool = False,
    ending: str | Sequence[str] = (),
) -> None:
    """Raise an `InputError` if a file could not be written, is there, or is one that is read.

    Args:
        file: to be written; None: there is none.
        option: that named it.
        *images: what images are read.
        models: the runs and files of models and weights that are read; names of weights are passed
            over.
        overwrite: whether it may take the place of a file.
        ending: what its name must end in, or several of which it has one.
    """
    if file is None:
        return
    from ktransfer.data.inputs import check_not_read

    check_not_read(file, option, *images, models=[each for each in models if is_weights_file(each)])
    check_new_file(file, option, overwrite=overwrite, ending=ending)
