"""`ktransfer report`: what is known of a saved run, as a page."""

from __future__ import annotations

import click

from ktransfer.cli import checks, terminal
from ktransfer.cli.options import json_option, overwrite_option, quiet_option
from ktransfer.cli.startup import classifier_of, elapsed
from ktransfer.show.timing import timed


@click.command()
@click.argument("run")
@click.option("--out", required=True, metavar="PAGE.html", help="Where to write the page.")
@click.option(
    "--data",
    metavar="DATA",
    help="Labelled images to judge RUN on; default those that its training was judged by.",
)
@click.option(
    "--explain/--no-explain",
    default=True,
    show_default=True,
    help="Show where in the photos it found what speaks for a class (Grad-CAM).",
)
@overwrite_option("PAGE.html, should there be one")
@quiet_option
@json_option
def report(
    run: str,
    out: str,
    data: str | None,
    explain: bool,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write what is known of RUN as one page of HTML, for phones and for paper.

    How good it is and why, the photos that are wrong, which classes are taken for which, how the
    training went, what was frozen and what that saved, and how to repeat it. The page is whole in
    one file and asks nothing of a network.
    """
    from ktransfer.runs.record import read_record

    record = read_record(run)
    source = data or record["data"].get("source")
    checks.check_file(
        out,
        "--out",
        *([source] if source else []),
        models=(run,),
        overwrite=overwrite,
        ending=".html",
    )
    if data is not None:
        checks.check_labelled(data, of_run=True)
    seconds: dict[str, float] = {}
    with classifier_of(run, seconds, quiet=quiet) as classifier, timed(seconds, "report"):
        page = classifier.report(out, data=data, explain=explain, overwrite=overwrite)
    seconds["total"] = elapsed()
    if as_json:
        terminal.print_json({**page.to_dict(), "run": run, "seconds": seconds})
    else:
        terminal.show(page.printed())
