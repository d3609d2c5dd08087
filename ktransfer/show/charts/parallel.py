"""Parallel coordinates: a column for each quantity, a line through all of them for each case."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ktransfer.show.charts.chart import Chart, Table, Value
from ktransfer.show.charts.theme import HEIGHT_PX
from ktransfer.show.charts.ticks import linear_ticks, log_ticks

_COLUMN_PX = 150


@dataclass(frozen=True)
class Column:
    """A vertical axis.

    Attributes:
        label: what stands above it.
        values: where each line passes it; None: the line passes it by.
        scale: `"linear"`, `"log"`, or `"steps"`: each value that there is stands as far from the
            next.
    """

    label: str
    values: tuple[Any, ...]
    scale: str = "steps"


@dataclass(frozen=True)
class Line:
    """A case.

    Attributes:
        name: what tells it from the others.
        colour: as SVG takes it.
        said: where the pointer rests on it.
        strong: whether it stands out.
        dashed: whether it is dashed.
    """

    name: str
    colour: str
    said: str
    strong: bool = False
    dashed: bool = False


def draw_parallel(
    title: str, columns: Sequence[Column], lines: Sequence[Line], figures: Mapping[str, Table]
) -> Chart:
    """Return the chart; later lines lie on top.

    Args:
        title: what stands above it.
        columns: at least one.
        lines: one for each value of a column.
        figures: the tables that the chart says as text.
    """
    import altair as alt

    x = alt.X("x:Q", scale=alt.Scale(domain=[-0.5, len(columns) - 0.5], nice=False), axis=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, 1], nice=False), axis=None)
    scales = [_shares(column) for column in columns]
    ticks = alt.Chart(alt.NamedData("_ticks")).encode(x=x, y=y)
    heads = alt.Chart(alt.NamedData("_columns")).encode(x=x)
    words: dict[str, Any] = {"align": "left", "dx": 9, "aria": False}
    picture = alt.layer(
        _lines(x, y),
        heads.mark_rule(opacity=0.6, aria=False),
        heads.mark_text(style="panel", aria=False).encode(y=alt.value(-16), text="label:N"),
        ticks.mark_point(shape="stroke", size=70, style="tick", aria=False),
        ticks.mark_text(**words, style="halo").encode(text="words:N"),
        ticks.mark_text(**words).encode(text="words:N"),
    ).properties(width=_COLUMN_PX * len(columns), height=HEIGHT_PX)
    drawn: dict[str, Table] = {
        "_lines": list(_points(columns, lines, [share for share, _ in scales])),
        "_columns": [{"x": at, "label": each.label} for at, each in enumerate(columns)],
        "_ticks": [
            {"x": at, "y": place, "words": words}
            for at, (_, marked) in enumerate(scales)
            for place, words in marked
        ],
    }
    return Chart(title, picture, {**figures, **drawn})


def _lines(x: Any, y: Any) -> Any:
    import altair as alt

    dashes = alt.Scale(domain=[False, True], range=[[], [3, 3]])
    return (
        alt.Chart(alt.NamedData("_lines"))
        .mark_line()
        .encode(
            x=x,
            y=y,
            detail="line:N",
            color=alt.Color("colour:N", scale=None),
            # Of lines Vega-Lite takes the width from `size`, and overrides what `strokeWidth` says.
            size=alt.Size("width:Q", scale=None),
            opacity=alt.Opacity("opacity:Q", scale=None),
            strokeDash=alt.StrokeDash("dashed:N", scale=dashes, legend=None),
            description="said:N",
        )
    )


_Share = Callable[[Any], float]
_Ticks = list[tuple[float, str]]


def _points(
    columns: Sequence[Column], lines: Sequence[Line], shares: Sequence[_Share]
) -> Iterator[dict[str, Value]]:
    for number, line in enumerate(lines):
        for at, (column, share) in enumerate(zip(columns, shares, strict=True)):
            if column.values[number] is not None:
                yield {
                    "line": line.name,
                    "x": at,
                    "y": share(column.values[number]),
                    "colour": line.colour,
                    "width": 4 if line.strong else 2,
                    "opacity": 1.0 if line.strong else 0.7,
                    "dashed": line.dashed,
                    "said": line.said,
                }


def _shares(column: Column) -> tuple[_Share, _Ticks]:
    """Say how far up a value lies, from 0 to 1, and what is marked."""
    values = [each for each in column.values if each is not None]
    if column.scale == "steps":
        steps = sorted(set(values), key=lambda value: (isinstance(value, str), value))
        places = {value: at / max(1, len(steps) - 1) for at, value in enumerate(steps)}
        return places.__getitem__, [(place, _words(value)) for value, place in places.items()]
    marked = (log_ticks if column.scale == "log" else linear_ticks)(values)
    scaled = math.log10 if column.scale == "log" else float
    low, high = scaled(marked[0]), scaled(marked[-1])

    def share(value: float) -> float:
        return (scaled(value) - low) / (high - low)

    return share, [(share(tick), f"{tick:g}") for tick in marked]


def _words(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
