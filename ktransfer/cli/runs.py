"""`ktransfer runs`: the runs of a folder side by side."""

from __future__ import annotations

import click

from ktransfer.cli import terminal
from ktransfer.cli.options import json_option


@click.command()
@click.argument("folder", metavar="DIR")
@json_option
def runs(folder: str, as_json: bool) -> None:
    """Compare the runs in DIR, the most accurate first."""
    from ktransfer.runs import compare_runs

    table = compare_runs(folder)
    if as_json:
        terminal.print_json(table.to_dict())
    else:
        terminal.show_text(table)
