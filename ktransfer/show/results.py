"""Results that print themselves: labels, and what stands behind them, as text and as HTML.

The command line prints what `str` says, with what stands out in bold or in colour.
"""

from __future__ import annotations

import html
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ktransfer.show.printable import printable

_LABEL_WIDTH = 14
_LEAST_WIDTH, _USUAL_WIDTH, _MOST_WIDTH = 40, 100, 110
_MOST_LEFT_OUT = 20

#: Read on white and on black; all else has the colours of the notebook, light or dark.
FIGURE_COLOUR = "#2e8555"
_CELL = "text-align:left;vertical-align:top;padding:2px 12px 2px 0;background:none"
_PRE = "margin:0;font-family:monospace;background:none;color:inherit"


class Bold(str):
    """A part of a line that stands out."""


class Figure(Bold):
    """What matters most, which has a colour, too."""


@dataclass(frozen=True)
class Row:
    """A label and what stands behind it.

    Attributes:
        label: empty where it is the label of the row before; the first row has one.
        texts: paragraphs or, where it is verbatim, lines.
        bullet: whether each is a point of a list.
        figure: what stands before the first and stands out.
        verbatim: whether they stay as they are: a table's columns, a path that is to be copied.
        wide: whether they begin at the margin, as a table of many columns.
    """

    label: str
    texts: tuple[str, ...]
    bullet: bool = False
    figure: str = ""
    verbatim: bool = False
    wide: bool = False

    def lines(self, width: int) -> Iterator[tuple[str, ...]]:
        """Yield each line as parts that are safe to print; some of them are `Bold`."""
        figure = (Figure(printable(self.figure)),) if self.figure else ()
        for at, text in enumerate(self.texts):
            for number, line in enumerate(self._wrapped(printable(text), width)):
                first = not at and not number
                indent = 0 if self.wide else _LABEL_WIDTH
                label = Bold(f"{self.label if first else '':<{indent}}")
                bullet = ("  " if number else "- ",) if self.bullet else ()
                yield label, *(figure if first else ()), *bullet, line

    def markup(self) -> str:
        """Return the same as HTML, without the label."""
        figure = f'<b style="color:{FIGURE_COLOUR}">{_escaped(self.figure)}</b>'
        before = figure if self.figure else ""
        if self.bullet:
            points = "".join(f"<li>{_escaped(each)}</li>" for each in self.texts)
            return f'<ul style="margin:0;padding-left:1.2em">{points}</ul>'
        if self.verbatim and not self.figure:
            return _preformatted(self.texts)
        return "".join(
            f"<div>{'' if at else before}{_escaped(each)}</div>"
            for at, each in enumerate(self.texts)
        )

    def _wrapped(self, text: str, width: int) -> list[str]:
        if self.verbatim:
            return [text]
        room = width - _LABEL_WIDTH - 2 * self.bullet
        found = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
        return found or [""]


class Printed:
    """A result that prints itself, on a terminal and in a notebook."""

    def printed(self) -> Iterator[Row]:
        """Say what it says of itself."""
        raise NotImplementedError

    def details(self) -> Iterator[Row]:
        """Say the rest, which is not said unless it is asked for."""
        return iter(())

    def __str__(self) -> str:
        columns = width()
        return "\n".join("".join(line) for row in self.printed() for line in row.lines(columns))

    def _repr_html_(self) -> str:
        labelled: list[tuple[str, list[str]]] = []
        for row in self.printed():
            if row.label:
                labelled.append((row.label, []))
            if row.texts:
                labelled[-1][1].append(row.markup())
        rows = "".join(
            f'<tr style="background:none"><th style="{_CELL}">{_escaped(label)}</th>'
            f'<td style="{_CELL}">{"".join(parts)}</td></tr>'
            for label, parts in labelled
            if parts
        )
        return f"<table>{rows}</table>"


class PrintedLines:
    """A result that is a table or a report already: in a notebook its text stays as it is."""

    def _repr_html_(self) -> str:
        return _preformatted(str(self).splitlines())


def left_out(files: Sequence[object]) -> Iterator[Row]:
    """Yield the first files that were left out, each with its reason, and how many there are."""
    if not files:
        return
    yield Row("Skipped", (f"{len(files):,} file{'s' if len(files) > 1 else ''}",))
    yield Row("", tuple(map(str, files[:_MOST_LEFT_OUT])), verbatim=True)
    if len(files) > _MOST_LEFT_OUT:
        yield Row("", (f"and {len(files) - _MOST_LEFT_OUT:,} more; --json lists them all",))


def width() -> int:
    """Columns to wrap text at."""
    columns = shutil.get_terminal_size((_USUAL_WIDTH, 24)).columns
    return max(_LEAST_WIDTH, min(_MOST_WIDTH, columns))


def _preformatted(lines: Iterable[str]) -> str:
    text = "\n".join(map(_escaped, lines))
    return f'<pre style="{_PRE}">{text}</pre>'


def _escaped(text: str) -> str:
    return html.escape(printable(text))
