"""`ktransfer evaluate`: how good a saved run is."""

from __future__ import annotations

import click

from ktransfer.cli import checks, terminal
from ktransfer.cli.options import json_option, verbosity_options
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
@verbosity_options
@json_option
def evaluate(
    run: str, data: str, corruptions: bool, verbose: bool, quiet: bool, as_json: bool
) -> None:
    """Measure how good RUN is on the labelled images in DATA.

    DATA holds a folder for each class, or test/ (taken first) or val/ with such folders inside; or
    it is a CSV file with the columns path, label[, split], an .npz file, or tfds:NAME.

    Images that RUN was trained on are counted, and those that it never saw scored apart.
    """
    from ktransfer.runs.record import read_record

    read_record(run)
    checks.check_labelled(data, of_run=True)
    seconds: dict[str, float] = {}
    with classifier_of(run, seconds, quiet=quiet) as classifier, timed(seconds, "evaluate"):
        evaluation = classifier.evaluate(data, corruptions=corruptions)
    seconds["total"] = elapsed()
    if as_json:
        terminal.print_json({**evaluation.to_dict(), "run": run, "seconds": seconds})
    else:
        terminal.show(evaluation.printed(data))
        if verbose:
            terminal.print_seconds(seconds)
