"""`ktransfer cache`: what earlier trainings left for later ones."""

from __future__ import annotations

import click

from ktransfer.cli import terminal
from ktransfer.cli.options import json_option


@click.command()
@click.option("--clear", is_flag=True, help="Delete every entry instead.")
@json_option
def cache(clear: bool, as_json: bool) -> None:
    """Check every byte that is kept for later trainings, and delete what is damaged.

    Decoded images, features and statistics lie in $KTRANSFER_CACHE, else in ~/.cache/ktransfer.
    """
    from ktransfer.cache import Store

    store = Store()
    if clear:
        store.clear()
    entries, megabytes = store.verify()
    if as_json:
        found = {"folder": str(store.folder), "entries": entries, "mb": megabytes}
        terminal.print_json({**found, "remarks": store.remarks})
        return
    for remark in store.remarks:
        terminal.print_note(remark)
    kept = f"{entries:,} whole entries, {megabytes:,.1f} MB"
    terminal.echo(f"{store.folder}: {kept if entries else 'empty'}")
