"""Progress for people: bars with the time left, on standard error, apart from the results.

One display is shown at a time: two that redraw the same line leave pieces of each other on it.
What begins within another makes it wait.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ktransfer.show.printable import printable

#: Displays whose `with` blocks are open, the innermost last; only that one is shown.
_open: list[Progress] = []


def say(*lines: str) -> None:
    """Print lines on standard error as they are: no name is taken for markup or an emoji."""
    with _outer_waits():
        _console().print(Text("\n".join(map(printable, lines))))


def _console() -> Console:
    """Return a console on standard error.

    Rich leaves colours and bars out where that is no terminal.
    """
    return Console(file=sys.stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


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
    with _shown(columns, shown=shown) as bars:
        task = bars.add_task(printable(description), total=total)
        yield lambda done, of: bars.update(task, completed=done, total=of)


@contextmanager
def working(description: str, *, shown: bool = True) -> Iterator[None]:
    """Show a spinner for the time of a `with` block whose steps cannot be counted."""
    with _shown(_SPINNER, shown=shown) as display:
        display.add_task(printable(description), total=None)
        yield


@contextmanager
def loading(description: str, *, shown: bool = True) -> Iterator[None]:
    """Show a spinner for the time of a `with` block, until something is printed in it.

    A download has a bar of its own, which only a line to itself shows.
    """
    redirected = {"redirect_stdout": False, "redirect_stderr": False}
    with _shown(_SPINNER, shown=shown, **redirected) as display:
        display.add_task(printable(description), total=None)
        out, err = (cast(TextIO, _Ending(display, each)) for each in (sys.stdout, sys.stderr))
        with redirect_stdout(out), redirect_stderr(err):
            yield


class _Ending:
    """A stream that ends a display before it prints."""

    def __init__(self, display: Progress, stream: TextIO) -> None:
        self._display, self._stream = display, stream

    def write(self, text: str) -> int:
        self._display.stop()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


# Columns of text: rich's own spinner takes brackets for markup, whatever the console.
_SPINNER = (SpinnerColumn(), TextColumn("{task.description}", markup=False))


@contextmanager
def _shown(columns: tuple[Any, ...], *, shown: bool, **options: Any) -> Iterator[Progress]:
    """Show a display for the time of a `with` block; it is hidden where nobody looks."""
    console = _console()
    # Not on a pipe: a log file full of redrawn bars helps nobody.
    hidden = not (shown and console.is_terminal)
    display = Progress(*columns, console=console, disable=hidden, transient=True, **options)
    if hidden:
        yield display
        return
    with _outer_waits(), display:
        _open.append(display)
        try:
            yield display
        finally:
            _open.remove(display)


@contextmanager
def _outer_waits() -> Iterator[None]:
    """Hide what is shown for the time of a `with` block."""
    outer = _open[-1] if _open else None
    if outer is None or not outer.live.is_started:  # a download has ended it
        yield
        return
    outer.stop()
    try:
        yield
    finally:
        outer.start()
