"""A comparison of backbones as a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ktransfer.charts import PALETTE, Axis, Curve, Mark, Panel, draw
from ktransfer.recommend.rated import RatedBackbone

_FRONT_COLOUR = "#9ca3af"
_DOT_PX = 5.0
_X = Callable[[RatedBackbone], float | None]


def draw_front(best: RatedBackbone, measured: Sequence[RatedBackbone], limit: float | None) -> str:
    """The picture as SVG text: accuracy over latency, and over ImageNet's where that is known.

    A dot for each backbone with its number in the table and the 95 % interval of its accuracy; a
    line joins the front.

    Args:
        best: what is recommended.
        measured: all that could be had, from fast to slow.
        limit: the longest that one image may take, in milliseconds; None: there is none.
    """
    latencies = [each.latency_ms or 0.0 for each in measured]
    # A limit that all meet by far would lie beside the panel.
    drawn = limit is not None and min(latencies) <= limit <= max(latencies)
    lows, highs = zip(*(each.interval or (0.0, 1.0) for each in measured), strict=True)
    accuracy = Axis("accuracy here, %", low=_floor(min(lows)), high=_ceiling(max(highs)))
    latency = Panel(
        x=Axis("latency of one image, ms", log=True),
        y=accuracy,
        curves=(*_dots(measured, lambda each: each.latency_ms), _front(measured)),
        title="what it costs",
        marks=(Mark(limit, f"limit {limit:g} ms"),) if limit and drawn else (),
    )
    title = f"{best.label} recommended, of {len(measured)} backbones"
    if all(each.imagenet_top1 is None for each in measured):
        return draw(title, latency)
    imagenet = Panel(
        x=Axis("published top-1 accuracy on ImageNet, %"),
        y=accuracy,
        curves=_dots(measured, lambda each: _per_cent(each.imagenet_top1)),
        title="what ImageNet says",
    )
    return draw(title, latency, imagenet)


def _dots(measured: Sequence[RatedBackbone], x_of: _X) -> tuple[Curve, ...]:
    """For each backbone its interval and, of the same label so that it has one line, its dot."""
    curves = []
    for number, each in enumerate(measured, start=1):
        x, (low, high) = x_of(each), each.interval or (0.0, 1.0)
        if x is None:
            continue
        colour, _ = PALETTE[(number - 1) % len(PALETTE)]
        label = f"{number} {each.short_label}"
        interval = ((x, 100 * low), (x, 100 * high))
        dot = ((x, _per_cent(each.accuracy) or 0.0),)
        curves.append(Curve(label, colour, interval, faint=True))
        curves.append(
            Curve(label, colour, dot, line=False, markers=True, dot_px=_DOT_PX, caption=str(number))
        )
    return tuple(curves)


def _front(measured: Sequence[RatedBackbone]) -> Curve:
    points = [
        (each.latency_ms or 0.0, _per_cent(each.accuracy) or 0.0)
        for each in measured
        if each.on_front
    ]
    return Curve("front", _FRONT_COLOUR, tuple(points), dashes="2 3")


def _per_cent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _floor(share: float) -> float:
    return math.floor(20 * share) * 5.0


def _ceiling(share: float) -> float:
    return math.ceil(20 * share) * 5.0
