"""`ktransfer evaluate`: how good a saved run is."""

from __future__ import annotations

import click

from ktransfer.cli import checks, terminal
from ktransfer.cli.csv_rows import csv_writer
from ktransfer.cli.options import json_option, overwrite_option, verbosity_options
from ktransfer.cli.startup import classifier_of, elapsed
from ktransfer.show.timing import timed


@click.command()
@click.argument("run")
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
    run: str,
    data: str,
    corruptions: bool,
    csv_file: str | None,
    overwrite: bool,
    verbose: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure how good RUN is on the labelled images in DATA.

    DATA holds a folder for each class, or test/ (taken first) or val/ with such folders inside; or
    it is a CSV file with the columns path, label[, split], an .npz file, or tfds:NAME.

    Images that RUN was trained on are counted, and those that it never saw scored apart.
    """
    from ktransfer.runs.record import read_record

    read_record(run)
    checks.check_labelled(data, of_run=True)
    checks.check_file(csv_file, "--csv", data, models=[run], overwrite=overwrite, ending=".csv")
    seconds: dict[str, float] = {}
    with classifier_of(run, seconds, quiet=quiet) as classifier, timed(seconds, "evaluate"):
        evaluation = classifier.evaluate(data, corruptions=corruptions)
    with csv_writer(csv_file, overwrite=overwrite) as write:
        write(evaluation.predictions, evaluation.labels)
    seconds["total"] = elapsed()
    if as_json:
        terminal.print_json(
            {**evaluation.to_dict(), "run": run, "csv": csv_file, "seconds": seconds}
        )
    else:
        terminal.show(evaluation.printed(data))
        if csv_file:
            terminal.print_row("Wrote", csv_file)
        if verbose:
            terminal.print_seconds(seconds)
