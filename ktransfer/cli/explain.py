"""`ktransfer explain`."""

from __future__ import annotations

import os

import click

from ktransfer.cli import checks, terminal
from ktransfer.cli.options import json_option, overwrite_option
from ktransfer.cli.startup import elapsed


@click.command()
@click.option("--out", required=True, metavar="PAGE.html", help="Where to write the page.")
@overwrite_option("PAGE.html, should there be one")
@json_option
def explain(out: str, overwrite: bool, as_json: bool) -> None:
    """Write a page to play with learning rate, momentum and early stopping.

    It opens in a browser and needs no network: a valley to descend, and the errors of a small
    regression as it learns, from underfitting to overfitting.
    """
    checks.check_file(out, "--out", overwrite=overwrite, ending=".html")
    from ktransfer.pages.explained.page import write_explained

    write_explained(out, overwrite=overwrite)
    if as_json:
        size = os.path.getsize(out)
        terminal.print_json({"out": out, "size": size, "seconds": {"total": elapsed()}})
    else:
        terminal.print_row("Page", f"{out}: open it in a browser")
