"""Learning rates over the epochs as an SVG picture, written by hand: no plotting library needed."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from ktransfer._checks import InputError
from ktransfer.plan.rates import LearningRates
from ktransfer.plan.stage import HEAD

WIDTH_PX, HEIGHT_PX = 900, 440
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 84, 190, 74, 56
CHARACTER_PX = 6.4  # mean width of a character of 12 pixels in common sans-serif fonts
MOST_LEGEND_LINES = 12
#: How far the axis goes under the highest rate at most: many blocks would stretch it without end.
MOST_DECADES = 12

_HEAD_COLOUR = "#c2410c"
# From dark to light: the last block to the first that trains. The light end still shows on white.
_BLOCK_COLOURS = ((8, 48, 107), (146, 197, 222))
_STYLE = (
    "text{font:12px system-ui,'Helvetica Neue',Arial,sans-serif;fill:#1f2937}"
    ".title{font-size:15px;font-weight:600}.grid{stroke:#e5e7eb}.axis{stroke:#6b7280}"
    ".curve{fill:none;stroke-width:2;stroke-linejoin:round}"
)


@dataclass(frozen=True)
class Axes:
    """Where an epoch and a learning rate lie in the picture."""

    epochs: float
    low: int
    high: int

    def x(self, epoch: float) -> float:
        """Pixels from the left."""
        return LEFT_PX + epoch / self.epochs * (WIDTH_PX - LEFT_PX - RIGHT_PX)

    def y(self, rate: float) -> float:
        """Pixels from the top; 0 has no logarithm and lies two decades under the picture."""
        exponent = math.log10(max(rate, 10.0 ** (self.low - 2)))
        share = (exponent - self.low) / (self.high - self.low)
        return HEIGHT_PX - BOTTOM_PX - share * (HEIGHT_PX - TOP_PX - BOTTOM_PX)


def write_svg(path: str | os.PathLike[str], rates: LearningRates, title: str) -> None:
    """Write the picture of `draw`.

    Raises:
        InputError: The path does not end in `.svg` or cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".svg":
        raise InputError(f"the picture is an SVG: give a path that ends in .svg, got {str(path)!r}")
    try:
        path.write_text(draw(rates, title), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {error.strerror}") from error


def draw(rates: LearningRates, title: str) -> str:
    """The picture as SVG text: a band for each stage, a curve for the head and for each block.

    Blocks that always have the same rate share a curve. No curve is drawn where a block is frozen.

    Args:
        rates: What is drawn.
        title: What stands above it.
    """
    axes = _fit_axes(rates)
    curves = _curves(rates)
    # The head is drawn last, so that it lies on top of blocks that are as fast.
    parts = [
        *_frame(title),
        *_bands(rates, axes),
        *_rate_axis(axes),
        *_epoch_axis(axes),
        '<g clip-path="url(#inside)">',
        *(line for curve in reversed(curves) for line in _polylines(rates, curve, axes)),
        "</g>",
        *_legend(curves),
    ]
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True)
class _Curve:
    label: str
    colour: str
    values: tuple[float, ...]


def _fit_axes(rates: LearningRates) -> Axes:
    """Whole decades for all but the lowest seventh of each curve: a schedule may end near 0."""
    used = [sorted(rate for rate in values if rate > 0) for values in rates.rates.values()]
    lows = [values[len(values) // 7] for values in used if values] or [1.0]
    top = max((values[-1] for values in used if values), default=1.0)
    # The small number keeps a rate of exactly 0.001 from an empty decade above or below it.
    high = math.ceil(math.log10(top) - 1e-9)
    low = math.floor(math.log10(min(lows)) + 1e-9)
    low = max(min(low, high - 1), high - MOST_DECADES)
    last_epoch = sum(epoch >= math.floor(rates.epochs[-1] + 1e-9) for epoch in rates.epochs)
    return Axes(round(rates.epochs[-1] + 1 / last_epoch, 6), low, high)


def _curves(rates: LearningRates) -> list[_Curve]:
    """The head's curve and those of the blocks; groups that are always equal share one."""
    groups: dict[tuple[float, ...], list[str]] = {}
    for group, values in rates.rates.items():
        groups.setdefault(values, []).append(group)
    colours = _colours(len(groups))
    return [
        _Curve(_label(names), colour, values)
        for (values, names), colour in zip(groups.items(), colours, strict=True)
    ]


def _label(names: Sequence[str]) -> str:
    """For example "head", "block -2" or "head, blocks -1 to -17"."""
    blocks = [name for name in names if name != HEAD]
    words = [HEAD] if HEAD in names else []
    if len(blocks) > 1:
        words.append(f"blocks {blocks[0].split()[1]} to {blocks[-1].split()[1]}")
    else:
        words += blocks
    return ", ".join(words)


def _colours(count: int) -> list[str]:
    """One for the head, then a ramp for the blocks."""
    start, end = _BLOCK_COLOURS
    ramp = []
    for index in range(count - 1):
        share = index / max(count - 2, 1)
        mixed = (round(a + share * (b - a)) for a, b in zip(start, end, strict=True))
        ramp.append("#" + "".join(f"{part:02x}" for part in mixed))
    return [_HEAD_COLOUR, *ramp]


def _frame(title: str) -> list[str]:
    size = f'width="{WIDTH_PX}" height="{HEIGHT_PX}" viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}"'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        # White is painted, since a page may be dark.
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        # Curves leave the picture at the bottom; half a line is left to those on its edges.
        f'<clipPath id="inside"><rect x="0" y="{TOP_PX - 2}" width="{WIDTH_PX}" '
        f'height="{HEIGHT_PX - TOP_PX - BOTTOM_PX + 3}"/></clipPath>',
        _text(LEFT_PX, 26, title, kind="title"),
    ]


def _bands(rates: LearningRates, axes: Axes) -> Iterator[str]:
    """The stages: every other one shaded, each with as much of its name as fits."""
    height = HEIGHT_PX - TOP_PX - BOTTOM_PX
    for index, span in enumerate(rates.stages):
        left = axes.x(rates.epochs[span.start])
        after = rates.epochs[span.stop] if span.stop < len(rates.epochs) else axes.epochs
        width = axes.x(after) - left
        fill = "#f3f4f6" if index % 2 == 0 else "#ffffff"
        yield (
            f'<rect x="{left:.1f}" y="{TOP_PX}" width="{width:.1f}" height="{height}" '
            f'fill="{fill}"><title>{escape(span.name)}</title></rect>'
        )
        name = _shortened(span.name, width)
        if name:
            yield _text(left + width / 2, TOP_PX - 10, name, anchor="middle")


def _shortened(name: str, width_px: float) -> str:
    room = int(width_px / CHARACTER_PX)
    if len(name) <= room:
        return name
    return name[: room - 1] + "…" if room >= 8 else ""  # less than that tells nothing


def _rate_axis(axes: Axes) -> Iterator[str]:
    right = WIDTH_PX - RIGHT_PX
    for exponent in range(axes.low, axes.high + 1):
        y = axes.y(10.0**exponent)
        yield f'<line class="grid" x1="{LEFT_PX}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(LEFT_PX - 8, y + 4, f"{10.0**exponent:g}", anchor="end")
    middle = (TOP_PX + HEIGHT_PX - BOTTOM_PX) / 2
    turned = f'transform="rotate(-90 20 {middle:.0f})"'
    yield _text(20, middle, "learning rate", anchor="middle", more=turned)


def _epoch_axis(axes: Axes) -> Iterator[str]:
    bottom, right = HEIGHT_PX - BOTTOM_PX, WIDTH_PX - RIGHT_PX
    yield f'<line class="axis" x1="{LEFT_PX}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
    yield f'<line class="axis" x1="{LEFT_PX}" x2="{LEFT_PX}" y1="{TOP_PX}" y2="{bottom}"/>'
    for epoch in _ticks(axes.epochs):
        x = axes.x(epoch)
        yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}"/>'
        yield _text(x, bottom + 19, str(epoch), anchor="middle")
    yield _text((LEFT_PX + right) / 2, bottom + 42, "epochs", anchor="middle")


def _ticks(epochs: float) -> range:
    """Whole epochs from 0, at most 11 of them, 1, 2 or 5 times a power of ten apart."""
    steps = (base * 10**power for power in range(9) for base in (1, 2, 5))
    return range(0, int(epochs) + 1, next(step for step in steps if epochs / step <= 10))


def _polylines(rates: LearningRates, curve: _Curve, axes: Axes) -> Iterator[str]:
    """One line for each stage in which the group trains: stages do not flow into one another."""
    for span in rates.stages:
        steps = range(span.start, span.stop)
        if not any(curve.values[step] for step in steps):
            continue
        points = [(axes.x(rates.epochs[step]), axes.y(curve.values[step])) for step in steps]
        after = rates.epochs[span.stop] if span.stop < len(rates.epochs) else axes.epochs
        points.append((axes.x(after), points[-1][1]))
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in _thinned(points))
        yield f'<polyline class="curve" stroke="{curve.colour}" points="{text}"/>'


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


def _legend(curves: Sequence[_Curve]) -> Iterator[str]:
    """The head, then the blocks; of very many an even choice, since their colours are a ramp."""
    left = WIDTH_PX - RIGHT_PX + 16
    for line, curve in enumerate(_chosen(curves)):
        y = TOP_PX + 10 + 20 * line
        yield (
            f'<line x1="{left}" x2="{left + 22}" y1="{y}" y2="{y}" stroke="{curve.colour}" '
            'stroke-width="3"/>'
        )
        yield _text(left + 30, y + 4, curve.label)


def _chosen(curves: Sequence[_Curve]) -> list[_Curve]:
    last = len(curves) - 1
    if last < MOST_LEGEND_LINES:
        return list(curves)
    blocks = MOST_LEGEND_LINES - 2
    picked = {1 + round(index * (last - 1) / blocks) for index in range(blocks + 1)}
    return [curves[index] for index in sorted({0, *picked})]


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", kind: str = "", more: str = ""
) -> str:
    named = f' class="{kind}"' if kind else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f"<text{named} {place} {more}>{escape(words)}</text>"
