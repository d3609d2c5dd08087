"""`export`: write aside, prove, describe, move into place."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ktransfer.classifier import Classifier
from ktransfer.errors import InputError, RunError
from ktransfer.export.agreement import Agreement, Expected, batches, compare, expected
from ktransfer.export.calibration import calibration_images
from ktransfer.export.card import write_card
from ktransfer.export.formats import BOUND, DEFAULT_OPSET, Request, card_path
from ktransfer.export.images import MOST_IMAGES, MOST_JUDGED, ComparisonImages, images_to_compare
from ktransfer.export.metadata import as_json, metadata_of
from ktransfer.export.quantisation import DEFAULT_MAX_LOSS, Quantised, judge
from ktransfer.export.quantising import quantise_file
from ktransfer.export.result import ExportResult
from ktransfer.export.runtimes import load_export
from ktransfer.export.servable import computing_in_float32
from ktransfer.export.staging import put_in_place, size_and_digest, staged
from ktransfer.features import compile_forward
from ktransfer.files.seal import seal
from ktransfer.processes.keras_settings import own_settings
from ktransfer.serving.metadata import KEY
from ktransfer.show.progress import working
from ktransfer.show.timing import timed


@own_settings()
def export(
    classifier: Classifier,
    path: str | os.PathLike[str],
    format: str | None = None,
    *,
    opset: int = DEFAULT_OPSET,
    quantise: str | None = None,
    max_loss: float = DEFAULT_MAX_LOSS,
    calibration: Any = None,
    validation: Any = None,
    overwrite: bool = False,
) -> ExportResult:
    """Write a model as a file that other programs run, proven to predict the same.

    Resizing, preprocessing, softmax, temperature and class names are inside. The file is written
    aside, loaded again in its own runtime and compared with the model on real images; it is put in
    place only if every image has the same class, and every probability differs by less than 1e-4. A
    model card, `NAME.card.md`, is written beside it.

    A quantised file is made of one that has passed this, and is put in place if it loses no more
    accuracy than `max_loss`.

    Args:
        classifier: the model and what is known of it.
        path: of the file or folder; its ending says the format where `format` does not.
        format: `"onnx"` (`.onnx`, needs the extra `onnx`), `"litert"` (`.tflite`), `"savedmodel"`
            (a folder) or `"keras"` (`.keras`, which takes images of `backbone.input_size` only;
            the others take any size).
        opset: of ONNX.
        quantise: for ONNX and LiteRT (extra `litert`): `"float16"` keeps the weights in half the
            space, and computes in float32; `"int8"` keeps weights and activations in a quarter of
            it, and is faster where the processor has instructions for it (VNNI, or those of ARM).
            None: float32.
        max_loss: the share of accuracy that quantisation may cost; 0.01 is one point. Where the
            images to compare on have no labels, the share of them that may get another class.
        calibration: for int8, images to measure the activations on, at most 128 of them: a source
            as `fit` or `predict` takes it. None: the training images.
        validation: images to compare on, at most 128 of them, 1,000 where a quantised file is
            judged: a source as `fit` or `predict` takes it, labelled or not. None: the validation
            part of the training.
        overwrite: replace the export that lies there. It stays whole until the new one has proven
            itself. What else lies in the folder of a SavedModel is left alone.

    Returns:
        An `ExportResult`; print it.

    Raises:
        InputError: the format is unknown, an extra is missing, the model has what the format does
            not know, or the images cannot be read; there are no images to calibrate on.
        RunError: the place is taken or cannot be written to, there are no images to compare on, the
            export cannot be converted, quantised or loaded again, predicts something else, or loses
            more than `max_loss`. Nothing of it is left then, and an earlier export is untouched.
    """
    request = Request.of(
        path,
        format,
        opset,
        overwrite=overwrite,
        quantise=quantise,
        max_loss=max_loss,
        images=(validation, calibration),
    )
    most = MOST_JUDGED if quantise else MOST_IMAGES
    part, notes = images_to_compare(classifier, validation, most=most)
    calibrated = calibration_images(classifier, calibration) if quantise == "int8" else None
    probabilities, rows, _ = classifier.probabilities(part)
    images = ComparisonImages(part.select(rows), probabilities, notes, calibrated)
    return _export(classifier, request, images)


def _export(classifier: Classifier, request: Request, compared: ComparisonImages) -> ExportResult:
    """Write the model, and put it in place if it predicts the same as before."""
    verbose = classifier.verbose
    name, seconds = request.format.name, dict[str, float]()
    _check_backend(name)
    with staged(request.target) as folder:
        # Under its own name: a runtime may go by the ending.
        written = folder / request.target.name
        metadata = metadata_of(
            classifier.class_names,
            classifier.input_size,
            classifier.data_sha256,
            classifier.learnt,
            sealed=name == "onnx",
            value_range=classifier.value_range,
        )
        with timed(seconds, "convert"), working(f"writing {name}", shown=verbose):
            _write(classifier, request, written, as_json(metadata))
        with timed(seconds, "compare"), working("comparing with the model", shown=verbose):
            wanted, notes = _wanted(classifier, request, compared)
            agreement = _compared(classifier, request, wanted, written, BOUND)
        quantised = None
        if request.quantise:
            metadata = {**metadata, "quantisation": request.quantise}
            with timed(seconds, "quantise"), working(f"to {request.quantise}", shown=verbose):
                images = compared.calibration
                size = _quantise(classifier, request, written, images, as_json(metadata))
            with timed(seconds, "compare"), working("comparing once more", shown=verbose):
                float32, agreement = (
                    agreement,
                    _compared(classifier, request, wanted, written, None),
                )
            quantised = judge(
                request.quantise,
                agreement,
                float32,
                size,
                max_loss=request.max_loss,
                num_calibration_images=0 if images is None else len(images),
            )
        result = _result(classifier, request, written, agreement, notes, seconds, quantised)
        card = folder / "card.md"
        card.write_text(write_card(classifier, result, metadata), "utf-8", "backslashreplace")
        moves, outdated = _moves(request, written)
        put_in_place(folder, {**moves, card: result.card}, outdated)
    return result


def _moves(request: Request, written: Path) -> tuple[dict[Path, Path], list[Path]]:
    """From where to where, and what goes."""
    if not (request.format.holds and request.target.is_dir()):
        return {written: request.target}, []
    from ktransfer.export.savedmodel import replacing

    return replacing(written, request.target)


def _wanted(
    classifier: Classifier, request: Request, compared: ComparisonImages
) -> tuple[Expected, tuple[str, ...]]:
    """Say what the export must say, and notes."""
    wanted = expected(
        classifier.forward, compared.part, compared.probabilities, classifier.input_size
    )
    if request.format.name == "keras":  # which keeps the precision of each layer
        return wanted, compared.notes
    return _in_float32(classifier.model, wanted, compared.notes)


def _compared(
    classifier: Classifier, request: Request, wanted: Expected, written: Path, bound: float | None
) -> Agreement:
    predict = load_export(written, request.format.name)
    any_size, names = request.format.any_size, classifier.class_names
    return compare(predict, wanted, names, any_size=any_size, bound=bound)


def _in_float32(
    model: keras.Model, wanted: Expected, notes: tuple[str, ...]
) -> tuple[Expected, tuple[str, ...]]:
    """Say what a model of mixed precision would say in float32, in which it is exported."""
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
    classifier: Classifier,
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
        input_size=classifier.input_size,
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


def _write(classifier: Classifier, request: Request, path: Path, metadata: str) -> None:
    """Write the file or folder; every failure is a `RunError`."""
    writers = {"onnx": _onnx, "litert": _litert, "savedmodel": _savedmodel, "keras": _keras}
    with _errors_in_words(request, path):
        writers[request.format.name](classifier, request, path, metadata)


def _quantise(
    classifier: Classifier, request: Request, path: Path, images: np.ndarray | None, metadata: str
) -> int:
    """Put a quantised file in place of that of float32, whose size in bytes is returned."""
    kind, size = str(request.quantise), path.stat().st_size
    with _errors_in_words(request, path):
        quantise_file(path, path, request.format.name, kind, images, {KEY: metadata})
        if request.format.name == "onnx":
            path.write_bytes(seal(path.read_bytes()))
        else:
            from ktransfer.export.litert import append_metadata

            append_metadata(path, classifier.class_names, metadata)
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


def _onnx(classifier: Classifier, request: Request, path: Path, metadata: str) -> None:
    from ktransfer.export.onnx import write_onnx

    held = {KEY: metadata}
    write_onnx(classifier.model, classifier.input_size, path, opset=request.opset, metadata=held)
    path.write_bytes(seal(path.read_bytes()))


def _litert(classifier: Classifier, _: Request, path: Path, metadata: str) -> None:
    from ktransfer.export.litert import write_litert

    names = classifier.class_names
    write_litert(
        classifier.model, classifier.input_size, path, class_names=names, metadata=metadata
    )


def _savedmodel(classifier: Classifier, _: Request, path: Path, metadata: str) -> None:
    from ktransfer.export.savedmodel import write_savedmodel

    names = classifier.class_names
    write_savedmodel(
        classifier.model, classifier.input_size, path, class_names=names, metadata=metadata
    )


def _keras(classifier: Classifier, _: Request, path: Path, metadata: str) -> None:
    from ktransfer.export.keras_file import write_keras

    write_keras(classifier.model, classifier.input_size, path, metadata=metadata)
