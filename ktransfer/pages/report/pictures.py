"""The drawings of a report, each twice: for a wide page and paper, and for a phone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ktransfer.pages.parts import Drawings
from ktransfer.profile import SIMILAR_BELOW
from ktransfer.show.charts import GREY, PALETTE, Chart, log_axis, mixed, series, whole_axis
from ktransfer.show.printable import printable

if TYPE_CHECKING:
    import altair

    from ktransfer.pages.report.reliability import Reliability
    from ktransfer.pages.report.spans import Span

#: Of the panel of a drawing, in pixels.
_WIDE, _NARROW = 620, 232
_HEIGHT = 240
_TRAINING, _VALIDATION = PALETTE[1][0], PALETTE[0][0]
#: Mean width of a letter; a name of fewer letters tells nothing.
_LETTER_PX, _LEAST_LETTERS = 6.6, 4
#: A schedule ends near 0; what lies further under the highest rate is not drawn.
_LOWEST_SHOWN = 1e-4
#: From the last block to the first that trains.
_BLOCKS = ("#4a56c6", "#63a8b8")
#: Of a cell of the matrix at most, of one with a number in it at least, and of a name beside it.
_CELL_PX, _LEAST_NUMBERED_PX, _NAME_PX = 72, 22, 14
#: Of more classes cells have no numbers; and of so many they are dots.
_MOST_NUMBERED, _MANY = 12, 60
#: Mean width of a letter; a name of fewer letters tells nothing.
_LETTER_PX, _LEAST_LETTERS = 6.6, 4
#: A schedule ends near 0; what lies further under the highest rate is not drawn.
_LOWEST_SHOWN = 1e-4
#: From the last block to the first that trains.
_BLOCKS = ("#4a56c6", "#63a8b8")
#: Of more classes not every name fits beside the matrix.
_MOST_NAMES = 40
_CELL_PX, _MOST_LETTERS = 72, 140
#: Of more classes cells are too small for numbers.
_MOST_NUMBERED = 12


def _drawn(draw: Callable[[int], Chart]) -> Drawings:
    return Drawings(draw(_WIDE).svg(), draw(_NARROW).svg())


def draw_confusion(confusion: np.ndarray, class_names: Sequence[str]) -> Drawings:
    """Return the confusion matrix as a map of heat; what no image is taken for stays empty."""
    images, class_names = np.maximum(confusion.sum(axis=1), 1), _labels(class_names)
    rows = [
        {
            "class": class_names[row],
            "said": class_names[column],
            "images": int(confusion[row, column]),
            "share": float(confusion[row, column] / images[row]),
            "_said": f"{class_names[row]} taken for {class_names[column]}: "
            f"{confusion[row, column]:,} of {images[row]:,}",
            "_right": bool(row == column),
        }
        for row, column in np.argwhere(confusion > 0).tolist()
    ]
    return _drawn(lambda width: _confusion(rows, class_names, width))


def _labels(names: Sequence[str]) -> list[str]:
    """Names as axes take them, each once: vl-convert 1.9 ends the process at a control character.

    What a chart is given as data is made safe there; the domain of a scale is not.
    """
    safe = [printable(each) for each in names]
    return [name if safe.count(name) == 1 else f"{name} ({at})" for at, name in enumerate(safe, 1)]


def _confusion(rows: list[dict[str, Any]], class_names: Sequence[str], width: int) -> Chart:
    import altair as alt

    number = len(class_names)
    side = min(width - (80 if width == _NARROW else 120), _CELL_PX * number)
    numbered = number <= _MOST_NUMBERED and side / number >= _LEAST_NUMBERED_PX
    # Not every name where they would touch.
    shown = list(class_names)[:: math.ceil(number * _NAME_PX / side)]
    axis: dict[str, Any] = {
        "values": shown,
        "labelLimit": 70 if width == _NARROW else 140,
        "ticks": False,
    }
    tilted = -40 if number <= _MOST_NUMBERED else -90
    scale = alt.Scale(domain=list(class_names), paddingInner=0.02 if number < _MANY else 0)
    cells = alt.Chart(alt.NamedData("_cells")).encode(
        x=alt.X(
            "said:N", title="what it says", scale=scale, axis=alt.Axis(**axis, labelAngle=tilted)
        ),
        y=alt.Y("class:N", title="class", scale=scale, axis=alt.Axis(**axis)),
    )
    # Under numbers so pale that they can be read, of tiny cells none so pale that it is not seen.
    weakest = 0.3 if number < _MANY else 0.6
    shades = alt.Scale(domain=[0, 1], range=[0.08, 0.6] if numbered else [weakest, 1])
    heat = cells.mark_rect().encode(
        color=alt.condition("datum._right", alt.value(_TRAINING), alt.value(_VALIDATION)),
        opacity=alt.Opacity("share:Q", scale=shades, legend=None),
        description="_said:N",
    )
    figures = [cells.mark_text().encode(text="images:Q")] if numbered else []
    drawing = alt.layer(heat, *figures).properties(width=side, height=side)
    return Chart("Confusion matrix", drawing, {"_cells": rows})


def draw_reliability(found: Mapping[str, Reliability]) -> Drawings:
    """Say how often the model is right by how sure it is."""
    rows = [
        {
            "which": name,
            "probability": each.certainty,
            "right": each.right,
            "images": each.images,
            "_said": f"{name}: {each.certainty:.0%} sure, {each.right:.0%} right, "
            f"{each.images:,} images",
        }
        for name, reliable in found.items()
        for each in reliable.bins
    ]
    return _drawn(lambda width: _reliability(rows, list(found), width))


def _reliability(rows: list[dict[str, Any]], names: list[str], width: int) -> Chart:
    import altair as alt

    side = min(width, 380)
    low = 0.1 * math.floor(10 * min(min(row["probability"], row["right"]) for row in rows))
    scale = alt.Scale(domain=[low, 1], nice=False)
    shares = alt.Axis(format="%", tickCount=5)
    looks = [(GREY, (4, 3)), (_VALIDATION, ())][-len(names) :]
    colour, dashes = _below(series("which", names, looks))
    points = alt.Chart(alt.NamedData("_bins")).encode(
        x=alt.X("probability:Q", title="how sure it is", scale=scale, axis=shares),
        y=alt.Y("right:Q", title="how often it is right", scale=scale, axis=shares),
        color=colour,
    )
    size = alt.Size("images:Q", scale=alt.Scale(range=[20, 250], zero=True), legend=None)
    line = alt.Chart(alt.NamedData("_line")).mark_line(strokeWidth=1, opacity=0.5)
    drawing = alt.layer(
        line.encode(x=alt.X("at:Q", scale=scale), y=alt.Y("at:Q", scale=scale)),
        points.mark_line(strokeWidth=1).encode(strokeDash=dashes, description="which:N"),
        points.mark_circle(opacity=1).encode(size=size, description="_said:N"),
    )
    drawing = drawing.properties(width=side, height=side)
    return Chart(
        "How sure, how often right", drawing, {"_bins": rows, "_line": [{"at": low}, {"at": 1.0}]}
    )


def draw_history(
    history: Sequence[Mapping[str, Any]], spans: Sequence[Span], best_epoch: int
) -> Drawings:
    """Loss and accuracy of all epochs, the stages as bands."""
    rows = [
        {
            "epoch": epoch,
            "stage": row["stage"],
            "images": images,
            "loss": row.get(f"{prefix}loss"),
            "right": row.get(f"{prefix}accuracy"),
        }
        for epoch, row in enumerate(history, 1)
        for images, prefix in (("training", ""), ("validation", "val_"))
    ]
    return _drawn(lambda width: _history(rows, spans, best_epoch, width))


def _history(
    rows: list[dict[str, Any]], spans: Sequence[Span], best_epoch: int, width: int
) -> Chart:
    import altair as alt

    looks = [(_TRAINING, (6, 3)), (_VALIDATION, ())]
    scale = _epochs(spans)
    panels: list[Any] = []
    for column, title in (("right", "right"), ("loss", "loss")):
        colour, dashes = _below(series("images", ["training", "validation"], looks))
        axis = alt.Axis(format="%", tickCount=5) if column == "right" else alt.Axis(tickCount=5)
        values = alt.Y(f"{column}:Q", title=title, axis=axis, scale=alt.Scale(zero=False))
        lines = (
            alt.Chart(alt.NamedData("_epochs"))
            .mark_line(point={"size": 18, "opacity": 1})
            .encode(
                x=alt.X("epoch:Q", title="epoch", scale=scale, axis=_epoch_axis(spans)),
                y=values,
                color=colour,
                strokeDash=dashes,
                detail="stage:N",
                description="images:N",
            )
        )
        first = not panels
        layers = [*_bands(scale, words=first), *_kept(scale, best_epoch, words=not first), lines]
        panels.append(alt.layer(*layers).properties(width=width, height=_HEIGHT * 3 // 4))
    tables = {
        "_epochs": rows,
        "_stages": list(_stages(spans, width)),
        "_kept": [{"epoch": best_epoch}],
    }
    return Chart("Accuracy and loss by epoch", alt.vconcat(*panels, spacing=20), tables)


def _kept(scale: altair.Scale, best_epoch: int, *, words: bool) -> Iterator[Any]:
    """Say where the weights are from."""
    import altair as alt

    if best_epoch:
        kept = alt.Chart(alt.NamedData("_kept")).encode(x=alt.X("epoch:Q", scale=scale))
        yield kept.mark_rule(style="mark", opacity=0.6)
        if words:
            yield kept.mark_text(dy=-7).encode(y=alt.value(0), text=alt.value("kept"))


def _bands(scale: altair.Scale, *, words: bool) -> Iterator[Any]:
    """Yield every other stage shaded.

    Above it its name and what is frozen, as far as there is room.
    """
    import altair as alt

    stages = alt.Chart(alt.NamedData("_stages"))
    begins, ends = alt.X("begins:Q", scale=scale), alt.X2("ends:Q")
    shade = alt.condition("datum._shaded", alt.value(0.06), alt.value(0.0))
    yield stages.mark_rect().encode(x=begins, x2=ends, opacity=shade, description="_said:N")
    if words:
        for line, style, y in (("stage", "panel", -24), ("frozen", [], -9)):
            yield stages.mark_text(style=style, clip=False).encode(
                x=alt.X("_middle:Q", scale=scale), y=alt.value(y), text=f"{line}:N"
            )


def _stages(spans: Sequence[Span], width: int) -> Iterator[dict[str, Any]]:
    """Yield the bands, with as much of their words as has room."""
    for number, span in enumerate(spans):
        begins, ends = span.start + 0.5, span.stop + 0.5
        letters = int(width * (span.stop - span.start) / spans[-1].stop / _LETTER_PX)
        name = span.name if len(span.name) <= letters else f"{span.name[: letters - 1]}…"
        yield {
            "stage": name if letters >= _LEAST_LETTERS else "",
            "frozen": next((each for each in span.frozen if len(each) <= letters), ""),
            "begins": begins,
            "ends": ends,
            "_middle": (begins + ends) / 2,
            "_shaded": number % 2 == 0,
            "_said": f"{span.name}: {span.frozen[0]}",
        }


def _epochs(spans: Sequence[Span]) -> altair.Scale:
    import altair as alt

    return alt.Scale(domain=[0.5, spans[-1].stop + 0.5], nice=False)


def _epoch_axis(spans: Sequence[Span]) -> Any:
    return whole_axis(1, spans[-1].stop)


def draw_rates(
    groups: Mapping[str, Sequence[tuple[int, float]]], spans: Sequence[Span]
) -> Drawings:
    """Return the learning rate of the head and of blocks, on a logarithmic scale.

    Args:
        groups: for each its epochs from 1, and the rates; the head first.
        spans: of the stages.
    """
    ends = [span.stop for span in spans]
    highest = max(rate for points in groups.values() for _, rate in points)
    rows = [
        {"group": name, "epoch": epoch, "rate": rate, "stage": sum(epoch > end for end in ends)}
        for name, points in reversed([*groups.items()])  # the head lies on top
        for epoch, rate in points
        if rate > highest * _LOWEST_SHOWN
    ]
    return _drawn(lambda width: _rates(rows, list(groups), spans, width))


def _rates(
    rows: list[dict[str, Any]], names: list[str], spans: Sequence[Span], width: int
) -> Chart:
    import altair as alt

    ramp = [mixed(*_BLOCKS, at / max(len(names) - 2, 1)) for at in range(len(names) - 1)]
    looks = [(_VALIDATION, (8, 4)), *((colour, ()) for colour in ramp)]
    colour, dashes = _below(series("group", names, looks), columns=2 if width < _WIDE else 4)
    found = [row["rate"] for row in rows]
    low = 10.0 ** math.floor(math.log10(min(found)))
    high = 10.0 ** math.ceil(math.log10(max(found)))
    values, axis = log_axis(low, max(high, 10 * low))
    scale = _epochs(spans)
    lines = (
        alt.Chart(alt.NamedData("_rates"))
        .mark_line(point={"size": 18, "opacity": 1})
        .encode(
            x=alt.X("epoch:Q", title="epoch", scale=scale, axis=_epoch_axis(spans)),
            y=alt.Y("rate:Q", title="learning rate", scale=values, axis=axis),
            color=colour,
            strokeDash=dashes,
            detail="stage:N",
            description="group:N",
        )
    )
    drawing = alt.layer(*_bands(scale, words=True), lines).properties(width=width, height=_HEIGHT)
    tables = {"_rates": rows, "_stages": list(_stages(spans, width))}
    return Chart("Learning rates by epoch", drawing, tables)


def draw_depths(points: Sequence[tuple[int, float, tuple[float, float]]]) -> Drawings:
    """Say what a head on each block by itself gets right, with its interval."""
    rows = [
        {"block": block, "right": right, "low": low, "high": high}
        for block, right, (low, high) in points
    ]
    return _drawn(lambda width: _depths(rows, width))


def _depths(rows: list[dict[str, Any]], width: int) -> Chart:
    import altair as alt

    last = rows[-1]["block"]
    blocks = alt.X("block:Q", title="block", axis=whole_axis(1, last), scale=alt.Scale(zero=False))
    axis = alt.Axis(format="%", tickCount=5)
    points = alt.Chart(alt.NamedData("_depths")).encode(x=blocks)
    scale = alt.Scale(zero=False)
    drawing = alt.layer(
        points.mark_rule(color=GREY).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q"),
        points.mark_line(color=_VALIDATION, point={"color": _VALIDATION, "opacity": 1}).encode(
            y=alt.Y("right:Q", title="right", axis=axis, scale=scale)
        ),
    ).properties(width=width, height=_HEIGHT)
    return Chart("Heads by depth", drawing, {"_depths": rows})


def draw_gap(values: Sequence[float]) -> Drawings:
    """Return the domain gap by layer, and the line below which images count as similar."""
    rows = [{"layer": number, "gap": value} for number, value in enumerate(values, 1)]
    return _drawn(lambda width: _gap(rows, width))


def _gap(rows: list[dict[str, Any]], width: int) -> Chart:
    import altair as alt

    layers = alt.X("layer:Q", title="batch-norm layer", axis=whole_axis(1, len(rows)))
    bars = alt.Chart(alt.NamedData("_layers")).mark_bar(
        color=_VALIDATION, size=max(1.0, 0.7 * width / len(rows))
    )
    limit = alt.Chart(alt.NamedData("_limit")).mark_rule(style="mark")
    drawing = alt.layer(
        bars.encode(x=layers, y=alt.Y("gap:Q", title="domain gap, nats")),
        limit.encode(y="similar below:Q"),
    ).properties(width=width, height=_HEIGHT)
    return Chart(
        "Domain gap by layer",
        drawing,
        {"_layers": rows, "_limit": [{"similar below": SIMILAR_BELOW}]},
    )


def _below(
    encodings: tuple[altair.Color, altair.StrokeDash], columns: int = 4
) -> tuple[altair.Color, altair.StrokeDash]:
    """With the legend below, where it costs no width."""
    for each in encodings:
        each["legend"]["orient"] = "bottom"
        each["legend"]["columns"] = columns
        each["legend"]["columnPadding"] = 28
    return encodings
