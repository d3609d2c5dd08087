"""What all charts have in common: colours and dashes, fonts, sizes, ink and paper.

The colours of curves are the same on light and on dark paper, on which only the ink changes: so a
picture needs no style sheet to be read in a page, a notebook or a printed report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair

#: Of a chart's panel, without axes and legend; of each of several panels side by side.
WIDTH_PX, HEIGHT_PX = 620, 310
SIDE_BY_SIDE_PX = 400

#: A colour, and dashes: the lengths of lines and gaps in pixels; none: a whole line.
Look = tuple[str, tuple[int, ...]]
#: Colours that differ for the colour-blind too and show on white as on dark paper, each with dashes
#: of its own.
PALETTE: tuple[Look, ...] = (
    ("#b0541e", ()),
    ("#3599e8", (8, 3)),
    ("#1f7355", (2, 3)),
    ("#ad2fe6", (9, 3, 2, 3)),
    ("#b09010", (14, 4)),
    ("#968da5", (5, 3, 1, 3, 1, 3)),
)
#: What stays in the background.
GREY = "#968da5"

MOST_LEGEND_LINES = 12
# Text is measured in a font as wide as Arial, with which vl-convert comes.
_FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
_TEXT_PX, _TITLE_PX = 12, 15


@dataclass(frozen=True)
class Theme:
    """Of what colour the text and the axes are, and what they stand on.

    Attributes:
        ink: as SVG takes it.
        paper: of the whole picture; empty: what it stands on shows through.
        halo: around words that lines pass behind.
    """

    ink: str
    paper: str
    halo: str


LIGHT = Theme(ink="#1f2937", paper="#ffffff", halo="#ffffff")
DARK = Theme(ink="#e5e7eb", paper="#111827", halo="#111827")
#: In a page the text of the page is the ink; what lies behind the chart only the page can know.
PAGE = Theme(ink="currentColor", paper="", halo="var(--chart-paper, transparent)")


def config(theme: Theme) -> dict[str, Any]:
    """Return the theme as the `config` of a Vega-Lite specification."""
    words: dict[str, Any] = {"labelColor": theme.ink, "titleColor": theme.ink}
    words |= {"labelFontSize": _TEXT_PX, "titleFontSize": _TEXT_PX, "titleFontWeight": "normal"}
    lines = {"domainColor": theme.ink, "tickColor": theme.ink, "gridColor": theme.ink}
    faint = {"domainOpacity": 0.5, "tickOpacity": 0.5, "gridOpacity": 0.13}
    return {
        "background": theme.paper or None,
        "font": _FONT,
        "view": {"stroke": None},
        "title": {
            "anchor": "start",
            "color": theme.ink,
            "fontSize": _TITLE_PX,
            "fontWeight": 600,
            "offset": 12,
        },
        "axis": {**words, **lines, **faint, "titlePadding": 10, "labelPadding": 4},
        "axisX": {"grid": False, "labelFlush": False},
        "legend": {
            **words,
            "labelLimit": 0,
            "symbolSize": 500,
            "symbolOpacity": 1,
            "rowPadding": 4,
        },
        "header": words,
        "line": {"strokeWidth": 2, "strokeJoin": "round", "color": theme.ink},
        "rule": {"color": theme.ink},
        "text": {"color": theme.ink, "fontSize": _TEXT_PX},
        "rect": {"color": theme.ink},
        "range": {"category": [colour for colour, _ in PALETTE]},
        # Marks name these with `style=`.
        "style": {
            "halo": {"stroke": theme.halo, "strokeWidth": 3, "strokeJoin": "round"},
            "mark": {"strokeDash": [4, 3]},
            "panel": {"fontWeight": 600},
            "tick": {"stroke": theme.ink, "strokeWidth": 1},
        },
    }


def series(
    field: str, labels: Sequence[str], looks: Sequence[Look] = (), *, dots: bool = False
) -> tuple[altair.Color, altair.StrokeDash]:
    """Return the encodings of lines that differ by colour and dashes, with one legend for both.

    Args:
        field: the column whose words tell them apart.
        labels: these words, in the order of the legend. Of very many the legend has the first and
            an even choice of the others.
        looks: one for each; empty: those of the palette in turn.
        dots: whether the legend shows dots instead of lines.
    """
    import altair

    chosen = looks or [PALETTE[at % len(PALETTE)] for at in range(len(labels))]
    shades, dashes = [colour for colour, _ in chosen], [list(dashes) for _, dashes in chosen]
    symbol = {"symbolType": "circle", "symbolSize": 90} if dots else {"symbolType": "stroke"}
    legend = altair.Legend(title=None, values=_chosen(labels), **symbol)
    return (
        altair.Color(
            f"{field}:N", scale=altair.Scale(domain=list(labels), range=shades), legend=legend
        ),
        altair.StrokeDash(
            f"{field}:N", scale=altair.Scale(domain=list(labels), range=dashes), legend=legend
        ),
    )


def mixed(first: str, second: str, share: float) -> str:
    """Return a colour between two, both as `#rrggbb`."""
    parts = ((int(first[at : at + 2], 16), int(second[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in parts)


def _chosen(labels: Sequence[str]) -> list[str]:
    last = len(labels) - 1
    if last < MOST_LEGEND_LINES:
        return list(labels)
    others = MOST_LEGEND_LINES - 2
    picked = {1 + round(index * (last - 1) / others) for index in range(others + 1)}
    return [labels[index] for index in sorted({0, *picked})]
