"""`ktransfer backbones`."""

from __future__ import annotations

from dataclasses import asdict

import click

from ktransfer.cli import terminal
from ktransfer.cli.program import json_option


@click.command()
@json_option
def backbones(as_json: bool) -> None:
    """List the backbones that can be named."""
    from ktransfer.backbones import list_backbones

    rows = list_backbones()
    if as_json:
        terminal.print_json({"backbones": [asdict(each) for each in rows]})
    else:
        terminal.print_backbones(rows)
