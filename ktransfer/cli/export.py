"""`ktransfer export`."""

from __future__ import annotations

import click

from ktransfer._timing import timed
from ktransfer.cli import early, terminal
from ktransfer.cli.program import json_option
from ktransfer.cli.session import at_work, loaded
from ktransfer.cli.started import elapsed
from ktransfer.export.formats import DEFAULT_OPSET


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
@click.option("--opset", type=int, default=DEFAULT_OPSET, show_default=True, help="Of ONNX.")
@click.option("--overwrite", is_flag=True, help="Replace what was exported to FILE before.")
@json_option
def export(
    run: str,
    out: str,
    format_name: str | None,
    data: str | None,
    opset: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the model of RUN as a file that other programs run.

    It is loaded again in its own runtime and compared with the model on real images; only if it
    predicts the same is it put in place, with a model card beside it.
    """
    early.check_export(run, out, format_name, data, opset, overwrite=overwrite)
    seconds: dict[str, float] = {}
    with at_work(seconds):
        tuner = loaded(run, seconds)
        with timed(seconds, "export"):
            result = tuner.export(
                out, format_name, opset=opset, validation=data, overwrite=overwrite
            )
    seconds["total"] = elapsed()
    if as_json:
        terminal.print_json(
            {**result.to_dict(), "run": run, "seconds": {**result.seconds, **seconds}}
        )
    else:
        terminal.print_export(result)
        terminal.print_seconds({**seconds, **result.seconds})
        terminal.print_after_export(result)
