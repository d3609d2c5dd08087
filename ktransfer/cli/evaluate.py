"""`ktransfer evaluate`: how good a saved run is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ktransfer.cli import checks, terminal
from ktransfer.cli.csv_rows import csv_writer
from ktransfer.cli.options import json_option, overwrite_option, verbosity_options
from ktransfer.cli.startup import at_work, classifier_of, elapsed
from ktransfer.errors import InputError
from ktransfer.show.timing import timed

if TYPE_CHECKING:
    from ktransfer.classifier import Evaluation


@click.command()
@click.argument("model")
@click.argument("data")
@click.option(
    "--corruptions",
    is_flag=True,
    help="Also on the images grey, blurred, noisy and of another colour.",
)
@click.option(
    "--csv",
    "csv_file",
    metavar="FILE.csv",
    help="Write path, label, predicted class and all probabilities of each image.",
)
@overwrite_option("FILE.csv, should there be one")
@verbosity_options
@json_option
def evaluate(
    model: str,
    data: str,
    corruptions: bool,
    csv_file: str | None,
    overwrite: bool,
    verbose: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure how good MODEL is on the labelled images in DATA.

    MODEL is the folder of a run, or an ONNX file that was exported from one.

    DATA holds a folder for each class, or test/ (taken first) or val/ with such folders inside; or
    it is a CSV file with the columns path, label[, split], an .npz file, or tfds:NAME.

    Images that MODEL was trained on are counted, and those that it never saw scored apart.
    """
    checks.check_model(model)
    if corruptions and checks.is_exported(model):
        raise InputError("--corruptions needs the run that the file was exported from")
    checks.check_labelled(data, of_run=True)
    checks.check_file(csv_file, "--csv", data, models=[model], overwrite=overwrite, ending=".csv")
    seconds: dict[str, float] = {}
    evaluation = _evaluated(model, data, corruptions, seconds, quiet=quiet)
    with csv_writer(csv_file, overwrite=overwrite) as write:
        write(evaluation.predictions, evaluation.labels)
    seconds["total"] = elapsed()
    if as_json:
        terminal.print_json(
            {**evaluation.to_dict(), "run": model, "csv": csv_file, "seconds": seconds}
        )
    else:
        terminal.show(evaluation.printed(data))
        if csv_file:
            terminal.print_row("Wrote", csv_file)
        if verbose:
            terminal.print_seconds(seconds)


def _evaluated(
    model: str, data: str, corruptions: bool, seconds: dict[str, float], *, quiet: bool
) -> Evaluation:
    if checks.is_exported(model):
        with at_work(seconds, "ktransfer.classifier.evaluating", quiet=quiet):
            from ktransfer.classifier.evaluating import evaluate_file

            with timed(seconds, "evaluate"):
                return evaluate_file(model, data, verbose=not quiet)
    with classifier_of(model, seconds, quiet=quiet) as classifier, timed(seconds, "evaluate"):
        return classifier.evaluate(data, corruptions=corruptions)
