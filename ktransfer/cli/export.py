"""`ktransfer export`."""

from __future__ import annotations

from typing import Any

import click

from ktransfer.cli import checks, terminal
from ktransfer.cli.program import json_option
from ktransfer.cli.session import loaded
from ktransfer.cli.startup import at_work, elapsed
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
    help="Points of accuracy that --quantise may cost; what costs more is not written.",
)
@click.option(
    "--calibration",
    metavar="DATA",
    help="Images to calibrate int8 on; default the training images.",
)
@click.option("--opset", type=int, default=DEFAULT_OPSET, show_default=True, help="Of ONNX.")
@click.option("--overwrite", is_flag=True, help="Replace what was exported to FILE before.")
@json_option
def export(
    run: str,
    out: str,
    format_name: str | None,
    data: str | None,
    quantise: str | None,
    max_loss: float,
    calibration: str | None,
    opset: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the model of RUN as a file that other programs run.

    It is loaded again in its own runtime and compared with the model on real images; only if it
    predicts the same is it put in place, with a model card beside it.
    """
    options: dict[str, Any] = {
        "quantise": quantise,
        "max_loss": max_loss / 100,
        "calibration": calibration,
        "validation": data,
        "overwrite": overwrite,
    }
    _check(run, out, format_name, opset, options)
    seconds: dict[str, float] = {}
    with at_work(seconds):
        tuner = loaded(run, seconds)
        with timed(seconds, "export"):
            result = tuner.export(out, format_name, opset=opset, **options)
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
    """Raises the error of `FineTuner.export` for all that can be seen before the run is loaded.

    Args:
        run: its folder.
        out: where to.
        format_name: as what.
        opset: of ONNX.
        options: the others of `FineTuner.export`.
    """
    from ktransfer.export import Request, check_calibration, check_images
    from ktransfer.runs.record import read_record

    record = read_record(run)
    quantise, max_loss = options["quantise"], options["max_loss"]
    overwrite = options["overwrite"]
    Request.of(
        out,
        format_name,
        opset,
        overwrite=overwrite,
        quantise=quantise,
        max_loss=max_loss,
        images=(options["validation"], options["calibration"]),
        models=(run,),
    )
    check_images(options["validation"], record["data"])
    if quantise == "int8":
        check_calibration(options["calibration"], record["data"])
    checks.check_paths([options[each] for each in ("validation", "calibration") if options[each]])
