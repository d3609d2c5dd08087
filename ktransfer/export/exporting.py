"""One call of `FineTuner.export`: write aside, prove, describe, move into place."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from ktransfer.errors import InputError, RunError
from ktransfer.export.agreement import Agreement, Expected, batches, compare, expected
from ktransfer.export.card import write_card
from ktransfer.export.formats import BOUND, Request, card_path
from ktransfer.export.metadata import as_json, metadata_of
from ktransfer.export.quantisation import Quantised, judge
from ktransfer.export.quantising import quantise_file
from ktransfer.export.result import ExportResult
from ktransfer.export.runtimes import load_export
from ktransfer.export.servable import computing_in_float32
from ktransfer.export.staging import put_in_place, size_and_digest, staged
from ktransfer.export.trained import Proof, Trained
from ktransfer.features import compile_forward
from ktransfer.files.seal import seal
from ktransfer.serving.metadata import KEY
from ktransfer.show.progress import working
from ktransfer.show.timing import timed


def export(
    trained: Trained, request: Request, proof: Proof, *, verbose: bool = True
) -> ExportResult:
    """Write a model, and put it in place if it predicts the same as before.

    Args:
        trained: the model.
        request: where and as what.
        proof: the images to compare on.
        verbose: show on standard error what is being done.

    Returns:
        The result. At `request.target` lies the export, and beside it its card.

    Raises:
        InputError: the model has what the format does not know, or no image can be decoded.
        RunError: it cannot be converted, quantised, written or loaded again, predicts something
            else, or loses more by quantisation than it may.
            Nothing of it is left then, and an earlier export is untouched.
    """
    name, seconds = request.format.name, dict[str, float]()
    _check_backend(name)
    with staged(request.target) as folder:
        # Under its own name: a runtime may go by the ending.
        written = folder / request.target.name
        metadata = metadata_of(
            trained.class_names,
            trained.input_size,
            trained.data_sha256,
            trained.learnt,
            sealed=name == "onnx",
            value_range=trained.value_range,
        )
        with timed(seconds, "convert"), working(f"writing {name}", shown=verbose):
            _write(trained, request, written, as_json(metadata))
        with timed(seconds, "compare"), working("comparing with the model", shown=verbose):
            wanted, notes = _wanted(trained, request, proof)
            agreement = _compared(trained, request, wanted, written, BOUND)
        quantised = None
        if request.quantise:
            metadata = {**metadata, "quantisation": request.quantise}
            with timed(seconds, "quantise"), working(f"to {request.quantise}", shown=verbose):
                images = proof.calibration
                size = _quantise(trained, request, written, images, as_json(metadata))
            with timed(seconds, "compare"), working("comparing once more", shown=verbose):
                float32, agreement = agreement, _compared(trained, request, wanted, written, None)
            quantised = judge(
                request.quantise,
                agreement,
                float32,
                size,
                max_loss=request.max_loss,
                num_calibration_images=0 if images is None else len(images),
            )
        result = _result(trained, request, written, agreement, notes, seconds, quantised)
        card = folder / "card.md"
        card.write_text(write_card(trained, result, metadata), "utf-8", "backslashreplace")
        moves, outdated = _moves(request, written)
        put_in_place(folder, {**moves, card: result.card}, outdated)
    return result


def _moves(request: Request, written: Path) -> tuple[dict[Path, Path], list[Path]]:
    """From where to where, and what goes."""
    if not (request.format.holds and request.target.is_dir()):
        return {written: request.target}, []
    from ktransfer.export.savedmodel import replacing

    return replacing(written, request.target)


def _wanted(trained: Trained, request: Request, proof: Proof) -> tuple[Expected, tuple[str, ...]]:
    """What the export must say, and notes."""
    wanted = expected(trained.forward, proof.part, proof.probabilities, trained.input_size)
    if request.format.name == "keras":  # which keeps the precision of each layer
        return wanted, proof.notes
    return _in_float32(trained.model, wanted, proof.notes)


def _compared(
    trained: Trained, request: Request, wanted: Expected, written: Path, bound: float | None
) -> Agreement:
    predict = load_export(written, request.format.name)
    any_size, names = request.format.any_size, trained.class_names
    return compare(predict, wanted, names, any_size=any_size, bound=bound)


def _in_float32(
    model: keras.Model, wanted: Expected, notes: tuple[str, ...]
) -> tuple[Expected, tuple[str, ...]]:
    """What a model of mixed precision would say in float32, in which it is exported."""
    other = {layer.compute_dtype for layer in model._flatten_layers()} - {"float32"}
    if not other:
        return wanted, notes
    with computing_in_float32(model):
        forward = compile_forward(model)
    probabilities = np.concatenate([forward(each) for each in batches(wanted.resized)])
    apart = np.abs(probabilities - wanted.probabilities).max()
    note = (
        f"the model computes in {' and '.join(sorted(other))}, the export in float32: it is "
        f"compared with the model in float32, whose probabilities differ by up to {apart:.1e} from "
        "its own"
    )
    return dataclasses.replace(wanted, probabilities=probabilities), (*notes, note)


def _result(
    trained: Trained,
    request: Request,
    written: Path,
    agreement: Agreement,
    notes: tuple[str, ...],
    seconds: dict[str, float],
    quantised: Quantised | None,
) -> ExportResult:
    size_bytes, sha256 = size_and_digest(written)
    return ExportResult(
        path=request.target,
        format=request.format.name,
        size_bytes=size_bytes,
        sha256=sha256,
        card=card_path(request.target),
        input_size=trained.input_size,
        any_size=request.format.any_size,
        opset=request.opset if request.format.name == "onnx" else None,
        agreement=agreement,
        notes=notes,
        seconds=seconds,
        quantised=quantised,
    )


def _check_backend(name: str) -> None:
    backend = keras.backend.backend()
    if name != "keras" and backend != "tensorflow":
        raise InputError(
            f"the format {name} is traced by TensorFlow, and Keras runs on {backend!r}: save the "
            "run and export it with KERAS_BACKEND=tensorflow"
        )


def _write(trained: Trained, request: Request, path: Path, metadata: str) -> None:
    """Write the file or folder; every failure is a `RunError`."""
    writers = {"onnx": _onnx, "litert": _litert, "savedmodel": _savedmodel, "keras": _keras}
    with _errors_in_words(request, path):
        writers[request.format.name](trained, request, path, metadata)


def _quantise(
    trained: Trained, request: Request, path: Path, images: np.ndarray | None, metadata: str
) -> int:
    """Put a quantised file in place of that of float32, whose size in bytes is returned."""
    kind, size = str(request.quantise), path.stat().st_size
    with _errors_in_words(request, path):
        quantise_file(path, path, request.format.name, kind, images, {KEY: metadata})
        if request.format.name == "onnx":
            path.write_bytes(seal(path.read_bytes()))
        else:
            from ktransfer.export.litert import append_metadata

            append_metadata(path, trained.class_names, metadata)
    return size


@contextlib.contextmanager
def _errors_in_words(request: Request, path: Path) -> Iterator[None]:
    try:
        yield
    except InputError as error:  # of ours: it says what stands in the way
        raise type(error)(str(error).replace(str(path), str(request.target))) from error
    # TensorFlow and h5py have errors of their own for a full disk, and each converter for a layer
    # that it does not know.
    except Exception as error:
        raise RunError(
            f"the model cannot be exported as {request.format.name} to {request.target}: "
            f"{_in_words(error)}; nothing of it is left"
        ) from error


def _in_words(error: Exception) -> str:
    no_space = os.strerror(errno.ENOSPC)
    if no_space in str(error):  # TensorFlow says it in four lines
        return no_space
    return str(error) or type(error).__name__


def _onnx(trained: Trained, request: Request, path: Path, metadata: str) -> None:
    from ktransfer.export.onnx import write_onnx

    held = {KEY: metadata}
    write_onnx(trained.model, trained.input_size, path, opset=request.opset, metadata=held)
    path.write_bytes(seal(path.read_bytes()))


def _litert(trained: Trained, _: Request, path: Path, metadata: str) -> None:
    from ktransfer.export.litert import write_litert

    names = trained.class_names
    write_litert(trained.model, trained.input_size, path, class_names=names, metadata=metadata)


def _savedmodel(trained: Trained, _: Request, path: Path, metadata: str) -> None:
    from ktransfer.export.savedmodel import write_savedmodel

    names = trained.class_names
    write_savedmodel(trained.model, trained.input_size, path, class_names=names, metadata=metadata)


def _keras(trained: Trained, _: Request, path: Path, metadata: str) -> None:
    from ktransfer.export.keras_file import write_keras

    write_keras(trained.model, trained.input_size, path, metadata=metadata)
