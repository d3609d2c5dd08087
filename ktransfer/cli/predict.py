"""`ktransfer predict`: what a saved run, or an exported file, says of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ktransfer.cli import checks, terminal
from ktransfer.cli.csv_rows import csv_writer
from ktransfer.cli.options import json_option, learnt_range_option, overwrite_option, quiet_option
from ktransfer.cli.startup import classifier_of, elapsed
from ktransfer.errors import InputError
from ktransfer.show.results import Row, left_out
from ktransfer.show.timing import timed

if TYPE_CHECKING:
    from ktransfer.data import Skipped
    from ktransfer.serving import Predictions

_MOST_CLASSES, _MOST_UNFAMILIAR = 10, 3


@click.command()
@click.argument("model")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--csv", "csv_file", metavar="FILE.csv", help="Write path, label, and all probabilities."
)
@learnt_range_option
@overwrite_option("FILE.csv, should there be one")
@click.option(
    "--top",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="K",
    help="Print the K most probable classes of each image.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=0.0,
    metavar="P",
    help="Mark and count images whose best class is less probable than P.",
)
@quiet_option
@json_option
def predict(
    model: str,
    paths: Sequence[str],
    csv_file: str | None,
    value_range: str | tuple[float, float],
    overwrite: bool,
    top: int,
    threshold: float,
    quiet: bool,
    as_json: bool,
) -> None:
    """Classify image files, all images in folders, and those that CSV files name, with MODEL.

    MODEL is the folder of a run, or an ONNX file that was exported from one. Of a file the
    predictions come as they are made, and TensorFlow is not needed. With --csv the images are only
    counted on the screen.
    """
    checks.check_model(model)
    checks.check_paths(paths)
    checks.check_file(csv_file, "--csv", paths, models=[model], overwrite=overwrite, ending=".csv")
    seconds: dict[str, float] = {}
    found: list[dict[str, Any]] = []
    skipped: list[Skipped] = []
    classes: tuple[str, ...] = ()
    num_read = num_unsure = 0
    unfamiliar: list[str] = []
    counts: Counter[str] = Counter()
    how = {"abstain_below": threshold, "value_range": value_range}
    with csv_writer(csv_file, overwrite=overwrite) as write:
        for batch in _batches(model, paths, seconds, how, quiet=quiet, printed=not as_json):
            write(batch)
            num_read += len(batch)
            num_unsure += int(batch.unsure.sum())
            unfamiliar += [each.path or "" for each in batch if each.unfamiliar]
            counts.update(label for label in batch.labels if label is not None)
            skipped += batch.skipped
            classes = batch.classes
            if as_json:
                found += _plain(batch, top)
            elif csv_file is None:
                terminal.show_lines(batch.lines(top))
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
        terminal.show(_summary(num_read, counts, num_unsure, threshold))
        terminal.show(_unfamiliar(unfamiliar, num_read))
        terminal.show(left_out(skipped))
        if csv_file:
            terminal.print_row("Wrote", csv_file)


def _plain(batch: Predictions, top: int) -> Iterator[dict[str, Any]]:
    """Yield each prediction as plain data, with the probability of every class."""
    for each, row, best in zip(batch, batch.probabilities, batch.top(top), strict=True):
        shares = dict(zip(batch.classes, map(float, row), strict=True))
        tops = [{"label": batch.classes[at], "probability": float(row[at])} for at in best]
        yield {**asdict(each), "top": tops, "probabilities": shares}


def _summary(number: int, counts: Counter[str], unsure: int, threshold: float) -> Iterator[Row]:
    """Say how many images were given each class, the most frequent first."""
    said = [f"{count:,} {name}" for name, count in counts.most_common(_MOST_CLASSES)]
    if len(counts) > _MOST_CLASSES:
        said.append(f"{len(counts) - _MOST_CLASSES:,} more classes")
    if threshold:
        said.append(f"{unsure:,} unsure, under {threshold:.1%}")
    yield Row("Images", (f"{number:,}: {', '.join(said)}",))


def _unfamiliar(paths: Sequence[str], number: int) -> Iterator[Row]:
    """Name images that are unlike those of the training, where these are more than chance."""
    if not paths:
        return
    said = (
        f"{len(paths):,} of {number:,} are unlike the training images; of such as these about 1 % "
        "are, more where few were held back to validate"
    )
    yield Row("Unfamiliar", (said,))
    yield Row("", tuple(paths[:_MOST_UNFAMILIAR]), verbatim=True)


def _batches(
    model: str,
    paths: Sequence[str],
    seconds: dict[str, float],
    how: dict[str, Any],
    *,
    quiet: bool,
    printed: bool,
) -> Iterator[Predictions]:
    """Yield the predictions of a run at once, or those of a file as they are made."""
    if checks.is_exported(model):
        # Where predictions are printed as they come, they show how far it is.
        yield from _of_file(model, paths, seconds, how, quiet=quiet or printed)
        return
    with classifier_of(model, seconds, quiet=quiet) as classifier, timed(seconds, "predict"):
        predictions = classifier.predict(paths, **how)
    yield predictions


def _of_file(
    model: str, paths: Sequence[str], seconds: dict[str, float], how: dict[str, Any], *, quiet: bool
) -> Iterator[Predictions]:
    with timed(seconds, "import"):
        from ktransfer.serving import OnnxClassifier
        from ktransfer.show.progress import progress_bar
    with timed(seconds, "load"):
        classifier = OnnxClassifier(model)
    bar = progress_bar("predicting", len(paths), shown=not quiet)
    with timed(seconds, "predict"), bar as show:
        yield from classifier.stream(paths, **how, on_progress=show)


def _check_any_read(num_read: int, skipped: Sequence[Skipped]) -> None:
    """Raise an `InputError` that names the files if none could be read."""
    if num_read:
        return
    if not skipped:
        raise InputError("there is no file in the folders given, nothing to predict on")
    named = "; ".join(f"{each.path}: {each.reason}" for each in skipped[:20])
    more = f"; and {len(skipped) - 20} more" if len(skipped) > 20 else ""
    raise InputError(f"none of the {len(skipped)} files can be read: {named}{more}")
