"""Markdown that shows any text as it is: names of classes and files may hold anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$&!])")
#: What begins a list or a quotation where it begins a line.
_BEGINNING = re.compile(r"^(\d*)([-+=.)])(?=\s|$)")


def text(words: object) -> str:
    """Plain text on one line: nothing of it is taken for Markdown or HTML."""
    line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in str(words))
    line = line.encode("utf-8", "backslashreplace").decode()
    line = _SPECIAL.sub(r"\\\1", line)
    return _BEGINNING.sub(r"\1\\\2", line)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0) -> list[str]:
    """Return a table whose last columns, `numbers` of them, are set to the right.

    Cells are escaped.

    It is aligned in the source, too, for those who read it there.
    """
    cells = [list(head), *([text(cell) for cell in row] for row in rows)]
    widths = [max(3, *(len(row[at]) for row in cells)) for at in range(len(head))]
    first = len(head) - numbers

    def line(row: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if at < first else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * width if at < first else "-" * (width - 1) + ":" for at, width in enumerate(widths)
    ]
    return [line(cells[0]), line(rule), *(line(row) for row in cells[1:])]


def bullets(lines: Iterable[str]) -> list[str]:
    """Return a list; its lines are Markdown already."""
    return [f"- {each}" for each in lines]


def code(lines: Iterable[str], language: str) -> list[str]:
    """Return a block of code."""
    return [f"```{language}", *lines, "```"]
