"""`ktransfer predict`: what a saved run, or an exported file, says of images."""

from __future__ import annotations

import contextlib
import csv
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from ktransfer.cli import checks, terminal
from ktransfer.cli.options import json_option, overwrite_option
from ktransfer.cli.startup import classifier_of, elapsed
from ktransfer.errors import InputError
from ktransfer.files.formulas import cell_of, path_cell
from ktransfer.files.writing import aside
from ktransfer.show.results import left_out
from ktransfer.show.timing import timed

if TYPE_CHECKING:
    from ktransfer.data import Skipped
    from ktransfer.serving import Predictions


@click.command()
@click.argument("model")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--csv", "csv_file", metavar="FILE.csv", help="Write path, label, and all probabilities."
)
@overwrite_option("FILE.csv, should there be one")
@json_option
def predict(
    model: str, paths: Sequence[str], csv_file: str | None, overwrite: bool, as_json: bool
) -> None:
    """Classify image files, all images in folders, and those that CSV files name, with MODEL.

    MODEL is the folder of a run, or an ONNX file that was exported from one. Of a file the
    predictions come as they are made, and TensorFlow is not needed.
    """
    _check_model(model)
    checks.check_paths(paths)
    checks.check_file(csv_file, "--csv", paths, models=[model], overwrite=overwrite, ending=".csv")
    seconds: dict[str, float] = {}
    found: list[dict[str, Any]] = []
    skipped: list[Skipped] = []
    classes: tuple[str, ...] = ()
    num_read = 0
    with _csv_writer(csv_file, overwrite=overwrite) as write:
        for batch in _batches(model, paths, seconds, quiet=as_json):
            write(batch)
            num_read += len(batch)
            skipped += batch.skipped
            classes = batch.classes
            if as_json:
                found += [asdict(each) for each in batch]
            else:
                terminal.show_text(batch)
        _check_any_read(num_read, skipped)
    seconds["total"] = elapsed()
    if as_json:
        terminal.print_json(
            {
                "predictions": found,
                "skipped": [asdict(each) for each in skipped],
                "classes": classes,
                "csv": csv_file,
                "seconds": seconds,
            }
        )
    else:
        terminal.show(left_out(skipped))


def _batches(
    model: str, paths: Sequence[str], seconds: dict[str, float], *, quiet: bool
) -> Iterator[Predictions]:
    """The predictions of a run at once, or those of a file as they are made."""
    if _is_exported(model):
        yield from _of_file(model, paths, seconds, quiet=quiet)
        return
    with classifier_of(model, seconds) as classifier, timed(seconds, "predict"):
        predictions = classifier.predict(paths)
    yield predictions


def _of_file(
    model: str, paths: Sequence[str], seconds: dict[str, float], *, quiet: bool
) -> Iterator[Predictions]:
    with timed(seconds, "import"):
        from ktransfer.serving import OnnxClassifier
        from ktransfer.show.progress import progress_bar
    with timed(seconds, "load"):
        classifier = OnnxClassifier(model)
    # Where predictions are printed as they come, they show how far it is.
    with timed(seconds, "predict"), progress_bar("predicting", len(paths), shown=quiet) as show:
        yield from classifier.stream(paths, on_progress=show)


@contextlib.contextmanager
def _csv_writer(
    name: str | None, *, overwrite: bool = False
) -> Iterator[Callable[[Predictions], None]]:
    """A file with path, label, probability and a column for each class; whole or not at all.

    Args:
        name: of the file; None: nothing is written.
        overwrite: whether it may take the place of a file.

    Yields:
        A function that appends predictions, to be called at least once.
    """
    if name is None:
        yield lambda predictions: None
        return
    with (
        aside(Path(name), "--csv", overwrite=overwrite) as partial,
        # Paths keep the very bytes that the system knows them by.
        partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        yield functools.partial(_append_csv, stream)


def _append_csv(stream: TextIO, predictions: Predictions) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    if not stream.tell():
        writer.writerow(["path", "label", "probability", *map(cell_of, predictions.classes)])
    for each, row in zip(predictions, predictions.probabilities, strict=True):
        # Nine digits give a float32 back exactly.
        shares = [f"{share:.9g}" for share in (each.probability, *row)]
        writer.writerow([path_cell(each.path or ""), cell_of(each.label), *shares])


def _check_model(model: str) -> None:
    """Raises a `RunError` if there is neither a run nor a file."""
    if not _is_exported(model):
        from ktransfer.runs.record import read_record

        read_record(model)


def _is_exported(model: str) -> bool:
    """Whether a model is, or should be, an exported file; else it is the folder of a run."""
    named_so = model.lower().endswith(".onnx") and not os.path.isdir(model)
    return named_so or os.path.isfile(model)


def _check_any_read(num_read: int, skipped: Sequence[Skipped]) -> None:
    """Raises an `InputError` that names the files if none could be read."""
    if num_read:
        return
    if not skipped:
        raise InputError("there is no file in the folders given, nothing to predict on")
    named = "; ".join(f"{each.path}: {each.reason}" for each in skipped[:20])
    more = f"; and {len(skipped) - 20} more" if len(skipped) > 20 else ""
    raise InputError(f"none of the {len(skipped)} files can be read: {named}{more}")
