"""`ktransfer demo`."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from ktransfer.cli import early, terminal
from ktransfer.cli.program import json_option
from ktransfer.cli.session import at_work
from ktransfer.cli.started import elapsed
from ktransfer.show.timing import timed


@click.command()
@click.option("--out", metavar="DIR", help="Keep the pictures and the run there.")
@json_option
def demo(out: str | None, as_json: bool) -> None:
    """Draw 300 flowers by formula and learn to tell their species, in under a minute."""
    from ktransfer.demo import draw_demo_photos, train_on
    from ktransfer.show.progress import working

    seconds: dict[str, float] = {}
    with _demo_folder(out) as folder:
        showing = working("drawing 300 flowers of 5 species by formula")
        with timed(seconds, "draw"), showing:
            photos = draw_demo_photos(folder / "photos")
        with at_work(seconds):
            done = train_on(photos)
            seconds |= done.seconds
            if out:
                with timed(seconds, "save"):
                    done.tuner.save(folder / "run")
    seconds["total"] = elapsed()
    if as_json:
        terminal.print_json({**done.to_dict(), "out": out, "seconds": seconds})
    else:
        terminal.print_demo(done)
        terminal.print_seconds(seconds)
        terminal.print_demo_end(out)


@contextlib.contextmanager
def _demo_folder(out: str | None) -> Iterator[Path]:
    """The folder of a demonstration: a temporary one, or `out`, emptied again if it fails."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="ktransfer-demo-") as folder:
            yield Path(folder)
        return
    kept = early.check_demo_folder(out)
    try:
        yield kept
    except BaseException:
        for name in ("photos", "run"):
            shutil.rmtree(kept / name, ignore_errors=True)
        with contextlib.suppress(OSError):  # somebody else has put something there by now
            kept.rmdir()
        raise
