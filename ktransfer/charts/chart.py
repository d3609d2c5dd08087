"""Curves, stages and marks drawn in panels side by side."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from ktransfer.charts.scale import Axis, Scale, fit
from ktransfer.files.writing import check_new_file, write_file

#: The picture with one panel, and the margins around the panel.
WIDTH_PX, HEIGHT_PX = 900, 440
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 84, 190, 74, 56
SIDE_BY_SIDE_PX = 400  # width of each of several panels
CHARACTER_PX = 6.4  # mean width of a character of 12 pixels in common sans-serif fonts
MOST_LEGEND_LINES = 12

#: Colours that differ for the colour-blind too and are dark enough for white, each with dashes of
#: its own, as in SVG's `stroke-dasharray`.
PALETTE = (
    ("#c2410c", ""),
    ("#1d4ed8", "8 3"),
    ("#047857", "2 3"),
    ("#7e22ce", "9 3 2 3"),
    ("#92400e", "14 4"),
    ("#334155", "5 3 1 3 1 3"),
)

_STYLE = (
    "text{font:12px system-ui,'Helvetica Neue',Arial,sans-serif;fill:#1f2937}"
    ".title{font-size:15px;font-weight:600}.grid{stroke:#e5e7eb}.axis{stroke:#6b7280}"
    ".curve{fill:none;stroke-width:2;stroke-linejoin:round}"
    ".mark{stroke:#1f2937;stroke-dasharray:4 3}.panel{font-weight:600}"
)
_BOTTOM = HEIGHT_PX - BOTTOM_PX


@dataclass(frozen=True)
class Curve:
    """A curve, with a line in the legend.

    Attributes:
        label: What the legend says.
        colour: As SVG takes it.
        points: `(x, y)` from left to right. Where one is not finite the line is broken.
        dashes: As SVG's `stroke-dasharray`; empty: a whole line.
        line: Whether the points are joined.
        markers: Whether each point is a dot.
        faint: Whether it stays in the background.
        dot_px: Radius of the dots.
        caption: What stands beside its last point.
    """

    label: str
    colour: str
    points: tuple[tuple[float, float], ...]
    dashes: str = ""
    line: bool = True
    markers: bool = False
    faint: bool = False
    dot_px: float = 2.5
    caption: str = ""


@dataclass(frozen=True)
class Mark:
    """A vertical line at `x` with words above it."""

    x: float
    label: str


@dataclass(frozen=True)
class Band:
    """A named span of the x axis; every other one is shaded."""

    name: str
    start: float
    stop: float


@dataclass(frozen=True)
class Panel:
    """One pair of axes and what is drawn in it; curves come in the order of the legend."""

    x: Axis
    y: Axis
    curves: tuple[Curve, ...]
    title: str = ""
    bands: tuple[Band, ...] = ()
    marks: tuple[Mark, ...] = ()


def check_picture(
    path: str | os.PathLike[str], what: str = "the picture", *, overwrite: bool = False
) -> Path:
    """The path of an SVG file that may be written; an `InputError` says why it may not."""
    return check_new_file(path, what, overwrite=overwrite, ending=".svg")


def write_svg(path: str | os.PathLike[str], text: str, *, overwrite: bool = False) -> None:
    """Write a picture.

    Raises:
        InputError: The path does not end in `.svg`, exists (unless `overwrite`) or cannot be
            written.
    """
    target = check_picture(path, overwrite=overwrite)

    def write(partial: Path) -> None:
        partial.write_text(text, encoding="utf-8")

    write_file(target, "the picture", write, overwrite=overwrite)


def draw(title: str, *panels: Panel) -> str:
    """The picture as SVG text: the panels side by side, one legend for all of them.

    Args:
        title: What stands above it, and what a screen reader says.
        *panels: At least one. Curves with the same label are the same curve for the legend.
    """
    panel_px = WIDTH_PX - LEFT_PX - RIGHT_PX if len(panels) == 1 else SIDE_BY_SIDE_PX
    places = [
        _placed(panel, left=LEFT_PX + index * (LEFT_PX + panel_px), width=panel_px)
        for index, panel in enumerate(panels)
    ]
    curves = list({curve.label: curve for panel in panels for curve in panel.curves}.values())
    width = places[-1].right + max(RIGHT_PX, _legend_px(curves))
    parts = [
        *frame(title, width),
        *(line for number, place in enumerate(places) for line in _panel(place, number)),
        *_legend(curves, places[-1].right + 16),
    ]
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True)
class _Place:
    """A panel and where its values lie in the picture."""

    panel: Panel
    x: Scale
    y: Scale
    left: int
    width: int

    @property
    def right(self) -> int:
        return self.left + self.width

    def x_px(self, value: float) -> float:
        return self.left + self.x.share(value) * self.width

    def y_px(self, value: float) -> float:
        return _BOTTOM - self.y.share(value) * (_BOTTOM - TOP_PX)


def _placed(panel: Panel, left: int, width: int) -> _Place:
    xs = [[x for x, _ in curve.points] for curve in panel.curves]
    ys = [[y for _, y in curve.points] for curve in panel.curves]
    return _Place(panel, fit(panel.x, xs), fit(panel.y, ys), left, width)


def frame(title: str, width: int) -> list[str]:
    """How a picture begins: its size, its title, its style, white paper."""
    size = f'width="{width}" height="{HEIGHT_PX}" viewBox="0 0 {width} {HEIGHT_PX}"'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        # White is painted, since a page may be dark.
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        text(LEFT_PX, 26, title, kind="title"),
    ]


def _panel(place: _Place, number: int) -> Iterator[str]:
    # Curves leave the panel at its bottom or top; half a line or dot is left to those on its edges.
    yield (
        f'<clipPath id="inside{number}"><rect x="{place.left - 4}" y="{TOP_PX - 2}" '
        f'width="{place.width + 8}" height="{_BOTTOM - TOP_PX + 3}"/></clipPath>'
    )
    if place.panel.title:
        yield text(place.left, TOP_PX - 26, place.panel.title, kind="panel")
    yield from _bands(place)
    yield from _y_axis(place)
    yield from _x_axis(place)
    yield from _marks(place)
    yield f'<g clip-path="url(#inside{number})">'
    # The first of the legend is drawn last, so that it lies on top.
    for curve in reversed(place.panel.curves):
        yield from _curve(place, curve)
    yield "</g>"


def _bands(place: _Place) -> Iterator[str]:
    """Every other one shaded, each with as much of its name as fits."""
    for index, band in enumerate(place.panel.bands):
        left = place.x_px(band.start)
        width = place.x_px(band.stop) - left
        fill = "#f3f4f6" if index % 2 == 0 else "#ffffff"
        yield (
            f'<rect x="{left:.1f}" y="{TOP_PX}" width="{width:.1f}" height="{_BOTTOM - TOP_PX}" '
            f'fill="{fill}"><title>{escape(band.name)}</title></rect>'
        )
        name = _shortened(band.name, width)
        if name:
            yield text(left + width / 2, TOP_PX - 10, name, anchor="middle")


def _shortened(name: str, width_px: float) -> str:
    room = int(width_px / CHARACTER_PX)
    if len(name) <= room:
        return name
    return name[: room - 1] + "…" if room >= 8 else ""  # less than that tells nothing


def _y_axis(place: _Place) -> Iterator[str]:
    for tick in place.y.ticks:
        y = place.y_px(tick)
        yield f'<line class="grid" x1="{place.left}" x2="{place.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield text(place.left - 8, y + 4, f"{tick:g}", anchor="end")
    x, middle = place.left - 64, (TOP_PX + _BOTTOM) / 2
    turned = f'transform="rotate(-90 {x} {middle:.0f})"'
    yield text(x, middle, place.panel.y.label, anchor="middle", more=turned)


def _x_axis(place: _Place) -> Iterator[str]:
    left, right = place.left, place.right
    yield f'<line class="axis" x1="{left}" x2="{right}" y1="{_BOTTOM}" y2="{_BOTTOM}"/>'
    yield f'<line class="axis" x1="{left}" x2="{left}" y1="{TOP_PX}" y2="{_BOTTOM}"/>'
    for tick in place.x.ticks:
        x = place.x_px(tick)
        yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_BOTTOM}" y2="{_BOTTOM + 5}"/>'
        yield text(x, _BOTTOM + 19, f"{tick:g}", anchor="middle")
    yield text((left + right) / 2, _BOTTOM + 42, place.panel.x.label, anchor="middle")


def _marks(place: _Place) -> Iterator[str]:
    for mark in place.panel.marks:
        x = place.x_px(mark.x)
        yield f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP_PX - 6}" y2="{_BOTTOM}"/>'
        yield text(x, TOP_PX - 10, mark.label, anchor="middle")


def _curve(place: _Place, curve: Curve) -> Iterator[str]:
    faint = ' opacity="0.45"' if curve.faint else ""
    dashes = f' stroke-dasharray="{curve.dashes}"' if curve.dashes else ""
    for piece in _pieces(curve.points):
        pixels = [(place.x_px(x), place.y_px(y)) for x, y in piece]
        if curve.line:
            where = " ".join(f"{x:.1f},{y:.1f}" for x, y in _thinned(pixels))
            yield (
                f'<polyline class="curve" stroke="{curve.colour}"{dashes}{faint} points="{where}"/>'
            )
        if curve.markers:
            for x, y in pixels:
                yield (
                    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{curve.dot_px:g}" '
                    f'fill="{curve.colour}"{faint}/>'
                )
        if curve.caption:
            x, y = pixels[-1]
            beside, anchor = (-8, "end") if x > place.right - 20 else (8, "start")
            yield text(x + beside, y - 6, curve.caption, anchor=anchor)


def _pieces(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The points between those that are not finite."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if all(map(math.isfinite, point)):
            pieces[-1].append(point)
        else:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _thinned(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """The points that the eye can tell apart: no closer than a pixel, none in a level part."""
    last = points[0]
    yield last
    for before, point, after in zip(points, points[1:], points[2:], strict=False):
        level = abs(before[1] - point[1]) + abs(after[1] - point[1]) < 1e-9
        if not level and math.dist(last, point) >= 1:
            last = point
            yield last
    yield points[-1]


def _legend(curves: Sequence[Curve], left: int) -> Iterator[str]:
    """The first curve and the others; of very many an even choice, for colours that are a ramp."""
    for number, curve in enumerate(_chosen(curves)):
        y = TOP_PX + 10 + 20 * number
        dashes = f' stroke-dasharray="{curve.dashes}"' if curve.dashes else ""
        if curve.line:
            yield (
                f'<line x1="{left}" x2="{left + 22}" y1="{y}" y2="{y}" stroke="{curve.colour}" '
                f'stroke-width="3"{dashes}/>'
            )
        else:
            yield f'<circle cx="{left + 11}" cy="{y}" r="3" fill="{curve.colour}"/>'
        yield text(left + 30, y + 4, curve.label)


def _legend_px(curves: Sequence[Curve]) -> int:
    """The width of the legend, with its margins; a wide font is allowed for."""
    return 60 + math.ceil(1.2 * CHARACTER_PX * max((len(each.label) for each in curves), default=0))


def _chosen(curves: Sequence[Curve]) -> list[Curve]:
    last = len(curves) - 1
    if last < MOST_LEGEND_LINES:
        return list(curves)
    others = MOST_LEGEND_LINES - 2
    picked = {1 + round(index * (last - 1) / others) for index in range(others + 1)}
    return [curves[index] for index in sorted({0, *picked})]


def text(
    x: float, y: float, words: str, *, anchor: str = "start", kind: str = "", more: str = ""
) -> str:
    """Words at a place; `kind` is a class of the style, `more` further attributes."""
    named = f' class="{kind}"' if kind else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f"<text{named} {place} {more}>{escape(words)}</text>"
