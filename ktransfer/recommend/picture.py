"""A comparison of backbones as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ktransfer.recommend.rated import RatedBackbone
from ktransfer.show.charts import (
    GREY,
    HEIGHT_PX,
    SIDE_BY_SIDE_PX,
    WIDTH_PX,
    Chart,
    log_axis,
    series,
)

_ACCURACY, _LOW, _HIGH = "accuracy here, %", "95 % from", "95 % to"
_LATENCY = "latency of one image, ms"
_IMAGENET = "published top-1 accuracy on ImageNet, %"
_BESIDE = 1.25  # free space beside the fastest and the slowest, as a factor


def draw_front(
    best: RatedBackbone, measured: Sequence[RatedBackbone], limit: float | None
) -> Chart:
    """Return the picture: accuracy over latency, and over ImageNet's where that is known.

    A dot for each backbone with its number in the table and the 95 % interval of its accuracy; a
    line joins the front.

    Args:
        best: what is recommended.
        measured: all that could be had, from fast to slow.
        limit: the longest that one image may take, in milliseconds; None: there is none.
    """
    import altair as alt

    rows = list(_rows(measured))
    latencies = [row[_LATENCY] for row in rows]
    # A limit that all meet by far would lie beside the panel.
    shown = limit if limit and min(latencies) <= limit <= max(latencies) else None
    scale, axis = log_axis(min(latencies) / _BESIDE, max(latencies) * _BESIDE)
    latency = alt.X(f"{_LATENCY}:Q", title=_LATENCY, scale=scale, axis=axis)
    accuracy = _accuracies(rows)
    panels = [
        alt.layer(
            *_limit(latency, shown), _front(latency, accuracy), *_dots(latency, rows, accuracy)
        )
    ]
    published = any(row[_IMAGENET] is not None for row in rows)
    if published:
        imagenet = alt.X(f"{_IMAGENET}:Q", title=_IMAGENET, scale=alt.Scale(zero=False, padding=16))
        panels = [
            panels[0].properties(title="what it costs"),
            alt.layer(*_dots(imagenet, rows, accuracy)).properties(title="what ImageNet says"),
        ]
    width = SIDE_BY_SIDE_PX if published else WIDTH_PX
    picture = alt.hconcat(*(each.properties(width=width, height=HEIGHT_PX) for each in panels))
    title = f"{best.label} recommended, of {len(measured)} backbones"
    limits = [] if shown is None else [{"ms": shown, "_said": f"limit {shown:g} ms"}]
    return Chart(title, picture, {"backbones": rows, "limit": limits})


def _rows(measured: Sequence[RatedBackbone]) -> Iterator[dict[str, Any]]:
    for number, each in enumerate(measured, start=1):
        low, high = each.interval or (0.0, 1.0)
        name, accuracy = f"{number} {each.short_label}", 100 * (each.accuracy or 0.0)
        yield {
            "backbone": name,
            _LATENCY: each.latency_ms or 0.0,
            _ACCURACY: accuracy,
            _LOW: 100 * low,
            _HIGH: 100 * high,
            _IMAGENET: None if each.imagenet_top1 is None else 100 * each.imagenet_top1,
            "on the front": "yes" if each.on_front else "no",
            "_number": str(number),
            "_said": f"{name}: {accuracy:.1f} % ({100 * low:.1f} to {100 * high:.1f} %)",
        }


def _accuracies(rows: Sequence[Mapping[str, Any]]) -> Any:
    """From one multiple of 5 % to another, around the intervals."""
    import altair as alt

    low, high = min(row[_LOW] for row in rows), max(row[_HIGH] for row in rows)
    return alt.Scale(domain=[5 * math.floor(low / 5), 5 * math.ceil(high / 5)], nice=False)


def _dots(x: Any, rows: Sequence[Mapping[str, Any]], scale: Any) -> Iterator[Any]:
    """For each backbone its interval, its dot and, beside that, its number."""
    import altair as alt

    colour, _ = series("backbone", [row["backbone"] for row in rows], dots=True)
    y = alt.Y(f"{_ACCURACY}:Q", title=_ACCURACY, scale=scale)
    backbones = alt.Chart(alt.NamedData("backbones")).encode(x=x, description="_said:N")
    interval = alt.Y(f"{_LOW}:Q", title=_ACCURACY, scale=scale)
    yield backbones.mark_rule(strokeWidth=2, opacity=0.6).encode(
        y=interval, y2=f"{_HIGH}:Q", color=colour
    )
    yield backbones.mark_circle(opacity=1, size=80).encode(y=y, color=colour)
    styles: tuple[Any, ...] = ("halo", [])
    for style in styles:
        words = backbones.mark_text(align="left", dx=8, dy=-8, style=style, aria=False)
        yield words.encode(y=y, text="_number:N")


def _front(x: Any, scale: Any) -> Any:
    import altair as alt

    # With a field in place of a constant it has a line in the legend.
    dashes = alt.StrokeDash(
        "_line:N",
        scale=alt.Scale(domain=["front"], range=[[2, 3]]),
        legend=alt.Legend(title=None, symbolType="stroke", symbolStrokeColor=GREY),
    )
    return (
        alt.Chart(alt.NamedData("backbones"))
        .transform_filter("datum['on the front'] == 'yes'")
        .transform_calculate(_line="'front'")
        .mark_line(color=GREY)
        .encode(x=x, y=alt.Y(f"{_ACCURACY}:Q", scale=scale), strokeDash=dashes)
    )


def _limit(x: Any, limit: float | None) -> Iterator[Any]:
    import altair as alt

    if limit is None:
        return
    marked = alt.Chart(alt.NamedData("limit")).encode(x=alt.X("ms:Q", title=_LATENCY))
    yield marked.mark_rule(style="mark").encode(description="_said:N")
    yield marked.mark_text(align="left", dx=6, aria=False).encode(y=alt.value(8), text="_said:N")
