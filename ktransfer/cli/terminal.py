"""What a terminal is given: results for people, one line of JSON for programs."""

from __future__ import annotations

import json
import math
import shlex
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from ktransfer.show.printable import printable
from ktransfer.show.results import Bold, Figure, Row, width


def print_json(data: Mapping[str, Any]) -> None:
    """One line of ASCII: bytes of file names that are not UTF-8 are escaped, NaN is null."""
    click.echo(json.dumps(_finite(data), allow_nan=False))


class Styled(str):
    """Text that is safe already, with the codes of its colour."""


def styled(text: str, **style: Any) -> Styled:
    """Text in bold or in colour, as of `click.style`."""
    return Styled(click.style(printable(text), **style))


def echo(*parts: str, err: bool = False) -> None:
    """Print one line. All that is written on the terminal comes through here, and is made safe."""
    click.echo("".join(map(_safe, parts)), err=err)


def _safe(part: str) -> str:
    if isinstance(part, Styled):
        return part
    if isinstance(part, Bold):
        return styled(part, bold=True, fg="green" if isinstance(part, Figure) else None)
    return printable(part)


def show(rows: Iterable[Row]) -> None:
    """Print what a result says of itself, with what stands out in bold or in colour."""
    for row in rows:
        for line in row.lines(width()):
            echo(*line)


def show_text(result: object) -> None:
    """Print a result that is a table or a report already."""
    show_lines(str(result).splitlines())


def show_lines(lines: Iterable[str]) -> None:
    """Print lines as they are."""
    for line in lines:
        echo(line)


def print_row(label: str, text: str) -> None:
    """A paragraph behind a label."""
    show([Row(label, (text,))])


def print_seconds(seconds: Mapping[str, float]) -> None:
    """Wall time by phase."""
    phases = [f"{name.replace('_', ' ')} {value:.1f}" for name, value in seconds.items()]
    print_row("Seconds", ", ".join(phases))


def print_next(*commands: Sequence[str]) -> None:
    """Print commands to type next."""
    show([Row("Next", tuple(map(shlex.join, commands)), verbatim=True)])


def print_note(text: str) -> None:
    """A paragraph."""
    for line in textwrap.wrap(printable(text), width()):
        echo(line)


def heading(text: str) -> None:
    """A line in bold, apart from what stands above."""
    echo()
    echo(Bold(text))


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {name: _finite(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(each) for each in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
