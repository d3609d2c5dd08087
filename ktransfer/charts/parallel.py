"""Parallel coordinates: a column for each quantity, a line through all of them for each case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from ktransfer.charts.chart import BOTTOM_PX, HEIGHT_PX, TOP_PX, frame, text

COLUMN_PX = 150
_SIDE_PX = 70
_BOTTOM = HEIGHT_PX - BOTTOM_PX


@dataclass(frozen=True)
class Column:
    """A vertical axis.

    Attributes:
        label: What stands above it.
        ticks: What is marked: how far up, from 0 to 1, and the words beside it.
    """

    label: str
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Line:
    """A case.

    Attributes:
        shares: How far up it passes each column, from 0 to 1; None: it passes that one by.
        colour: As SVG takes it.
        title: What is shown where the pointer rests on it.
        strong: Whether it stands out.
        dashes: As SVG's `stroke-dasharray`.
    """

    shares: tuple[float | None, ...]
    colour: str
    title: str
    strong: bool = False
    dashes: str = ""


def draw_parallel(title: str, columns: Sequence[Column], lines: Sequence[Line]) -> str:
    """The picture as SVG text; later lines lie on top."""
    width = 2 * _SIDE_PX + COLUMN_PX * (len(columns) - 1)
    parts = [*frame(title, width)]
    parts += [each for line in lines for each in _line(line)]
    parts += [each for at, column in enumerate(columns) for each in _column(column, at)]
    return "\n".join([*parts, "</svg>", ""])


def _x(at: int) -> float:
    return _SIDE_PX + at * COLUMN_PX


def _y(share: float) -> float:
    return _BOTTOM - share * (_BOTTOM - TOP_PX)


def _column(column: Column, at: int) -> Iterator[str]:
    x = _x(at)
    yield text(x, TOP_PX - 20, column.label, anchor="middle", kind="panel")
    yield f'<line class="axis" x1="{x}" x2="{x}" y1="{TOP_PX}" y2="{_BOTTOM}"/>'
    for share, words in column.ticks:
        y = _y(share)
        yield f'<line class="axis" x1="{x - 4}" x2="{x + 4}" y1="{y:.1f}" y2="{y:.1f}"/>'
        # On white, since lines pass behind.
        yield text(x + 8, y + 4, words, more='stroke="#ffffff" stroke-width="3" aria-hidden="true"')
        yield text(x + 8, y + 4, words)


def _line(line: Line) -> Iterator[str]:
    points = [(_x(at), _y(share)) for at, share in enumerate(line.shares) if share is not None]
    width, opacity = (4, 1.0) if line.strong else (2, 0.7)
    dashes = f' stroke-dasharray="{line.dashes}"' if line.dashes else ""
    where = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield (
        f'<polyline fill="none" stroke="{line.colour}" stroke-width="{width}" opacity="{opacity}"'
        f'{dashes} stroke-linejoin="round" points="{where}">'
        f"<title>{escape(line.title)}</title></polyline>"
    )
