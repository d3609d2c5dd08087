"""`ktransfer export`."""

from __future__ import annotations

from typing import Any

import click

from ktransfer.cli import checks, terminal
from ktransfer.cli.options import json_option, named, overwrite_option
from ktransfer.cli.startup import classifier_of, elapsed
from ktransfer.export.formats import DEFAULT_OPSET
from ktransfer.export.quantisation import DEFAULT_MAX_LOSS
from ktransfer.show.timing import timed


@click.command()
@click.argument("run")
@click.option("--out", required=True, metavar="FILE", help="Where to; a folder for a SavedModel.")
@click.option(
    "--format",
    "format_name",
    metavar="NAME",
    help="onnx, litert, savedmodel or keras; default what the ending of FILE says.",
)
@click.option(
    "--data",
    "validation",
    metavar="DATA",
    help="Images to prove the export on; default the validation images of the training.",
)
@click.option(
    "--quantise",
    metavar="KIND",
    help="Make an ONNX or LiteRT file smaller: float16 (half) or int8 (a quarter, and faster).",
)
@click.option(
    "--max-loss",
    type=float,
    default=100 * DEFAULT_MAX_LOSS,
    show_default=True,
    metavar="POINTS",
    callback=lambda _, __, points: points / 100,
    help="Points of accuracy that --quantise may cost; what costs more is not written.",
)
@click.option(
    "--calibration",
    metavar="DATA",
    help="Images to calibrate int8 on; default the training images.",
)
@click.option("--opset", type=int, default=DEFAULT_OPSET, show_default=True, help="Of ONNX.")
@overwrite_option("what was exported to FILE before")
@json_option
def export(
    run: str, out: str, format_name: str | None, opset: int, as_json: bool, **options: Any
) -> None:
    """Write the model of RUN as a file that other programs run.

    It is loaded again in its own runtime and compared with the model on real images; only if it
    predicts the same is it put in place, with a model card beside it.
    """
    _check(run, out, format_name, opset, options)
    seconds: dict[str, float] = {}
    with classifier_of(run, seconds) as classifier, timed(seconds, "export"):
        from ktransfer.export import export as export_model

        result = export_model(classifier, out, format_name, opset=opset, **options)
    seconds["total"] = elapsed()
    if as_json:
        terminal.print_json(
            {**result.to_dict(), "run": run, "seconds": {**result.seconds, **seconds}}
        )
    else:
        terminal.show(result.printed())
        terminal.print_seconds({**seconds, **result.seconds})
        if result.format == "onnx":
            terminal.print_next(["ktransfer", "predict", str(result.path), "photo.jpg"])


def _check(
    run: str, out: str, format_name: str | None, opset: int, options: dict[str, Any]
) -> None:
    """Raise the error of `export` for all that can be seen before the run is loaded."""
    from ktransfer.export import Request, check_calibration, check_images
    from ktransfer.runs.record import read_record

    record = read_record(run)
    images = (options["validation"], options["calibration"])
    how = named(("overwrite", "quantise", "max_loss"), options)
    Request.of(out, format_name, opset, **how, images=images, models=(run,))
    check_images(options["validation"], record["data"])
    if options["quantise"] == "int8":
        check_calibration(options["calibration"], record["data"])
    checks.check_paths([each for each in images if each])
