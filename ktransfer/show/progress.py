"""Progress for people: bars with the time left, on standard error, apart from the results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from ktransfer.show.printable import printable


def say(*lines: str) -> None:
    """Print lines on standard error as they are: no name is taken for markup or an emoji."""
    _console().print(Text("\n".join(map(printable, lines))))


def _console() -> Console:
    """Return a console on standard error.

    Rich leaves colours and bars out where that is no terminal.
    """
    return Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


@contextmanager
def progress_bar(
    description: str, total: int, *, shown: bool = True
) -> Iterator[Callable[[int, int], None]]:
    """Show a bar for the time of a `with` block.

    Args:
        description: what is being done, for example `"extracting features"`.
        total: number of steps.
        shown: False hides it.

    Yields:
        A function to call with (steps done, steps in all).
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = _console()
    # Not on a pipe: a log file full of redrawn bars helps nobody.
    hidden = not (shown and console.is_terminal)
    with Progress(*columns, console=console, disable=hidden, transient=True) as bars:
        task = bars.add_task(printable(description), total=total)
        yield lambda done, of: bars.update(task, completed=done, total=of)


@contextmanager
def working(description: str, *, shown: bool = True) -> Iterator[None]:
    """Show a spinner for the time of a `with` block whose steps cannot be counted."""
    console = _console()
    if not (shown and console.is_terminal):
        yield
        return
    # As text: of a plain string rich's spinner takes brackets for markup, whatever the console.
    with console.status(Text(printable(description))):
        yield
