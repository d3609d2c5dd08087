"""Which formats there are, and what is checked before any slow work; imports no TensorFlow."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktransfer.errors import InputError, RunError, unknown_name
from ktransfer.export.quantisation import DEFAULT_MAX_LOSS, check_quantise
from ktransfer.runs.record import MODEL_NAME, RECORD_NAME

#: Largest difference in probability of one image and class that counts as the same, in float32.
BOUND = 1e-4

DEFAULT_OPSET = 17

#: Below the first one the resizing cannot be written, above the last one tf2onnx (1.17) refuses.
OPSETS = range(10, 19)


@dataclass(frozen=True)
class Format:
    """A kind of file that a model is exported as.

    Attributes:
        name: how it is asked for.
        ending: of its file; an empty one: it is a folder.
        any_size: whether it takes images of any size, and not only of the network's.
        extra: what of `pip install "ktransfer[...]"` it needs; empty: nothing.
        modules: what the extra brings.
        holds: for a folder, the file by which an earlier export is known again.
    """

    name: str
    ending: str
    any_size: bool = True
    extra: str = ""
    modules: tuple[str, ...] = ()
    holds: str = ""


FORMATS = {
    each.name: each
    for each in (
        Format("onnx", ".onnx", extra="onnx", modules=("onnx", "onnxruntime", "tf2onnx")),
        Format("litert", ".tflite"),
        Format("savedmodel", "", holds="assets.extra/ktransfer.json"),
        Format("keras", ".keras", any_size=False),
    )
}


def choose_format(path: str | os.PathLike[str], name: str | None = None) -> Format:
    """Return the format that is named, or else the one that the path's ending says.

    Raises:
        InputError: it is unknown, or the ending is that of another one.
    """
    if name is not None and name not in FORMATS:
        raise unknown_name("format", str(name), tuple(FORMATS))
    ending = Path(path).suffix.lower()
    of_ending = {each.ending: each for each in FORMATS.values()}
    if name is None:
        if ending not in of_ending:
            raise InputError(
                f"{os.fspath(path)!r} does not say which format is wanted: let it end in .onnx, "
                ".tflite or .keras, or have no ending for the folder of a SavedModel, or give "
                f"format= (--format): {', '.join(FORMATS)}"
            )
        return of_ending[ending]
    chosen = FORMATS[name]
    other = of_ending.get(ending) if ending else None
    if (other and other is not chosen) or (chosen.ending and ending != chosen.ending):
        wanted = f"a file that ends in {chosen.ending}" if chosen.ending else "a folder"
        raise InputError(f"format {name!r} is {wanted}, got {os.fspath(path)!r}")
    return chosen


def check_extra(chosen: Format) -> None:
    """Raise an `InputError` that says what to install where something is missing."""
    missing = [name for name in chosen.modules if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"the format {chosen.name} needs {' and '.join(missing)}: "
            f'pip install "ktransfer[{chosen.extra}]"'
        )


def check_opset(opset: int) -> None:
    """Raise an `InputError` if it is no opset that is written."""
    if isinstance(opset, bool) or not isinstance(opset, int) or opset not in OPSETS:
        raise InputError(
            f"opset must be a whole number from {OPSETS[0]} to {OPSETS[-1]}, got {opset!r}"
        )


def card_path(path: str | os.PathLike[str]) -> Path:
    """Say where the model card of an export lies: `NAME.card.md` beside it."""
    target = Path(path)
    return target.with_name(f"{target.name}.card.md")


def check_target(
    path: str | os.PathLike[str],
    chosen: Format,
    *,
    overwrite: bool,
    images: Any = (),
    models: Sequence[str] = (),
) -> Path:
    """Return the path; nothing is made.

    Args:
        path: of the file or folder.
        chosen: what it is to be.
        overwrite: whether it may take the place of what is there.
        images: the images that it is compared with, as `check_not_read` takes them.
        models: the runs that it is made of.

    Raises:
        InputError: it is one of the images, or part of the run.
        RunError: something is there already (unless `overwrite`, and it is an earlier export), or
            it cannot be written there.
    """
    # Here, as it imports NumPy, and the command line wants the formats for its help.
    from ktransfer.data.inputs import check_not_read

    target = Path(path)
    if target.name in ("", ".."):
        raise RunError(f"cannot export to {os.fspath(path)!r}: name a file or folder")
    for each in (target, card_path(target)):
        check_not_read(each, "the export", images, models=models)
        if os.path.lexists(each) and not overwrite:
            raise RunError(
                f"{each} exists; name another file, or say overwrite=True (--overwrite) to "
                "replace it"
            )
    if os.path.lexists(target) and not _is_replaceable(target, chosen):
        kind = f"folder with {chosen.holds}" if chosen.holds else "file"
        raise RunError(
            f"{target} is no {kind}: it is no earlier export, and will not be overwritten"
        )
    if MODEL_NAME.fullmatch(target.name) and (target.parent / RECORD_NAME).is_file():
        raise RunError(f"{target} is the model of a run, and will not be overwritten")
    if os.path.lexists(card_path(target)) and not card_path(target).is_file():
        raise RunError(f"{card_path(target)} is no file, and will not be overwritten")
    parent = target.absolute().parent
    existing = next(each for each in (parent, *parent.parents) if os.path.lexists(each))
    if not existing.is_dir():
        raise RunError(f"cannot export to {target}: {existing} is not a folder")
    if not os.access(existing, os.W_OK):
        raise RunError(f"cannot export to {target}: no permission to write to {existing}")
    return target


def _is_replaceable(target: Path, chosen: Format) -> bool:
    if chosen.holds:
        return (target / chosen.holds).is_file()
    return target.is_file()


@dataclass(frozen=True)
class Request:
    """What is to be written, checked.

    Attributes:
        target: where.
        format: as what.
        opset: of ONNX.
        quantise: None, `"float16"` or `"int8"`.
        max_loss: most accuracy that quantisation may cost, a share.
    """

    target: Path
    format: Format
    opset: int
    quantise: str | None = None
    max_loss: float = DEFAULT_MAX_LOSS

    @classmethod
    def of(
        cls,
        path: str | os.PathLike[str],
        format: str | None,
        opset: int,
        *,
        overwrite: bool,
        quantise: str | None = None,
        max_loss: float = DEFAULT_MAX_LOSS,
        images: Any = (),
        models: Sequence[str] = (),
    ) -> Request:
        """Return everything that can be found wrong before any slow work; TensorFlow is not needed.

        Raises:
            InputError: the format, the opset or the quantisation is unknown, they do not go
                together, an extra is not installed, or the place is that of an image or a run.
            RunError: the place is taken, or cannot be written to.
        """
        chosen = choose_format(path, format)
        check_opset(opset)
        check_quantise(chosen.name, opset, quantise, max_loss)
        check_extra(chosen)
        target = check_target(path, chosen, overwrite=overwrite, images=images, models=models)
        return cls(target, chosen, opset, quantise, max_loss)
