"""`ktransfer doctor`: what is wrong with a data set."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from ktransfer.cli import checks, terminal
from ktransfer.cli.options import (
    class_names_option,
    json_option,
    overwrite_option,
    value_range_option,
)
from ktransfer.errors import InputError
from ktransfer.show.results import width

if TYPE_CHECKING:
    from ktransfer.doctor import Report

FOUND_ERRORS = 1
_COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}


@click.command()
@click.argument("data")
@click.option("--out", metavar="MANIFEST.csv", help="Write path, label, split and findings.")
@click.option(
    "--exclude",
    is_flag=True,
    help="Leave out of the manifest what should not be trained on: copies, contradictions, the "
    "training side of leaks.",
)
@value_range_option
@class_names_option
@overwrite_option("MANIFEST.csv, should there be one")
@click.option("--strict", is_flag=True, help="Exit with 1 if there are errors.")
@json_option
def doctor(
    data: str,
    out: str | None,
    exclude: bool,
    value_range: str | tuple[float, float],
    class_names: list[str] | None,
    overwrite: bool,
    strict: bool,
    as_json: bool,
) -> int:
    """Look for what is wrong with the images in DATA.

    DATA is a folder or a CSV file as for `train`. All images are decoded; nothing is moved,
    rewritten or deleted. The manifest can be trained on in place of DATA.
    """
    if exclude and out is None:
        raise InputError("--exclude needs --out MANIFEST.csv, the manifest to leave them out of")
    checks.check_file(out, "--out", data, overwrite=overwrite, ending=".csv")
    from ktransfer.doctor import inspect_data, write_manifest

    examined = inspect_data(data, verbose=True, value_range=value_range, class_names=class_names)
    report = examined.report
    written = None
    if out:
        written = write_manifest(out, examined, exclude=exclude, overwrite=overwrite)
    if as_json:
        terminal.print_json({**report.to_dict(), "manifest": out, "manifest_images": written})
    else:
        print_report(report)
        if out:
            left = report.num_images - (written or 0)
            terminal.echo(f"{written:,} images in {out}, {left:,} left out")
            terminal.echo(f"next: ktransfer train {shlex.quote(out)} --out runs/mine")
    return FOUND_ERRORS if strict and report.by_severity("error") else 0


def print_report(report: Report) -> None:
    """Return the findings, the most severe first, and the verdict."""
    for finding in report.findings:
        for line in finding.lines(width()):
            word = finding.severity if line.startswith(finding.severity) else ""
            colour = terminal.styled(word, bold=True, fg=_COLOURS[finding.severity])
            terminal.echo(colour if word else "", line.removeprefix(word))
    terminal.print_seconds(report.seconds)
    terminal.echo(terminal.styled("verdict", bold=True), f"  {report.verdict}")
