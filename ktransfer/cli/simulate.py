"""`ktransfer simulate`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import click

from ktransfer.cli import checks, terminal
from ktransfer.cli.options import json_option, overwrite_option
from ktransfer.cli.startup import at_work, elapsed


@click.command()
@click.option(
    "--backbone",
    "backbones",
    multiple=True,
    metavar="NAME|PATH.keras",
    help="One to choose from, a name from `backbones` or a model file. Repeatable; default some "
    "from small to large.",
)
@click.option("--out", required=True, metavar="PAGE.html", help="Where to write the page.")
@overwrite_option("PAGE.html, should there be one")
@json_option
def simulate(backbones: Sequence[str], out: str, overwrite: bool, as_json: bool) -> None:
    """Write a page to try out what to freeze, for how many images.

    It opens in a browser and needs no network: lock and unlock blocks, say how many images there
    are and how similar, see what the textbook's rule advises, and save a plan that `train` takes.
    """
    for name in backbones:
        checks.check_backbone(name)
    checks.check_file(out, "--out", overwrite=overwrite, ending=".html")
    from ktransfer.pages.simulator.anatomy import ships
    from ktransfer.pages.simulator.page import write_simulator

    seconds: dict[str, float] = {}
    builds = not all(map(ships, backbones))
    with at_work(seconds, "ktransfer.backbones.loading") if builds else contextlib.nullcontext():
        shown = write_simulator(out, backbones, overwrite=overwrite)
    seconds["total"] = elapsed()
    if as_json:
        rows = [{"name": each.name, "blocks": len(each.blocks)} for each in shown]
        size = os.path.getsize(out)
        terminal.print_json({"out": out, "size": size, "backbones": rows, "seconds": seconds})
    else:
        titles = [f"{each.title} ({len(each.blocks)} blocks)" for each in shown]
        terminal.print_row("Backbones", ", ".join(titles))
        terminal.print_row("Page", f"{out}: open it in a browser")
