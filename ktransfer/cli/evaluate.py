"""`ktransfer evaluate` and `ktransfer predict`: what a saved run is good for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from ktransfer._timing import timed
from ktransfer.cli import early, terminal
from ktransfer.cli.program import json_option
from ktransfer.cli.session import at_work, loaded
from ktransfer.cli.started import elapsed


@click.command()
@click.argument("run")
@click.argument("data")
@click.option(
    "--corruptions",
    is_flag=True,
    help="Also on the images grey, blurred, noisy and of another colour.",
)
@json_option
def evaluate(run: str, data: str, corruptions: bool, as_json: bool) -> None:
    """Measure how good RUN is on the labelled images in DATA.

    DATA holds a folder for each class, or test/ (taken first) or val/ with such folders inside; or
    it is a CSV file with the columns path, label[, split], or tfds:NAME.
    """
    early.check_run(run)
    early.check_labelled(data)
    seconds: dict[str, float] = {}
    with at_work(seconds):
        tuner = loaded(run, seconds)
        with timed(seconds, "evaluate"):
            evaluation = tuner.evaluate(data, corruptions=corruptions)
    seconds["total"] = elapsed()
    if as_json:
        terminal.print_json({**evaluation.to_dict(), "run": run, "seconds": seconds})
    else:
        terminal.print_evaluation(evaluation)
        terminal.print_seconds(seconds)


@click.command()
@click.argument("run")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--csv", "csv_file", metavar="FILE", help="Write path, label, and all probabilities.")
@json_option
def predict(run: str, paths: Sequence[str], csv_file: str | None, as_json: bool) -> None:
    """Classify image files, all images in folders, and those that CSV files name, with RUN."""
    early.check_run(run)
    early.check_paths(paths)
    early.check_csv(csv_file)
    seconds: dict[str, float] = {}
    with at_work(seconds):
        tuner = loaded(run, seconds)
        with timed(seconds, "predict"):
            predictions = tuner.predict(paths)
    early.check_any_read(predictions)
    if csv_file:
        terminal.write_csv(Path(csv_file), predictions)
    seconds["total"] = elapsed()
    if as_json:
        terminal.print_json(
            {
                "predictions": [asdict(each) for each in predictions],
                "skipped": [asdict(each) for each in predictions.skipped],
                "classes": predictions.classes,
                "csv": csv_file,
                "seconds": seconds,
            }
        )
    else:
        terminal.print_predictions(predictions)
        terminal.print_skipped(predictions.skipped)
