"""Learning rates over the epochs as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ktransfer.plan.rates import LearningRates
from ktransfer.plan.stage import HEAD
from ktransfer.show.charts import (
    HEIGHT_PX,
    PALETTE,
    WIDTH_PX,
    Chart,
    Look,
    log_axis,
    mixed,
    series,
    whole_axis,
)

# From the last block to the first that trains; both ends show on white as on dark paper.
_BLOCK_COLOURS = ("#4a56c6", "#63a8b8")
_MOST_DECADES = 12
_MOST_POINTS = 300  # of a smooth curve
_RATE, _EPOCHS = "learning rate", "epochs"


def draw(rates: LearningRates, title: str) -> Chart:
    """Return the picture: a band for each stage, a curve for the head and for each block.

    Blocks that always have the same rate share a curve. No curve is drawn where a block is frozen;
    what trains in a stage stands above its band.

    Args:
        rates: what is drawn.
        title: what stands above it.
    """
    import altair as alt

    ends = _ends(rates)
    groups = _groups(rates)
    span = alt.Scale(domain=[0, ends[-1]], nice=False)
    epochs = alt.X(f"{_EPOCHS}:Q", scale=span, title=_EPOCHS, axis=whole_axis(0, ends[-1]))
    colour, dashes = series("group", list(groups), _looks(len(groups)))
    low, high = _decades(list(groups.values()))
    scale, axis = log_axis(low, high)
    curves = (
        alt.Chart(alt.NamedData("_curves"))
        .mark_line()
        .encode(
            x=epochs,
            y=alt.Y(f"{_RATE}:Q", title=_RATE, scale=scale, axis=axis),
            color=colour,
            strokeDash=dashes,
            detail="stage:N",
            description="group:N",
        )
    )
    picture = alt.layer(*_bands(span), curves).properties(width=WIDTH_PX, height=HEIGHT_PX)
    tables = {
        "stages": list(_stages(rates, ends)),
        "learning rates": list(_summaries(rates, groups)),
        "_curves": list(_points(rates, groups, ends, low)),
    }
    return Chart(title, picture, tables)


def _bands(scale: Any) -> Iterator[Any]:
    """Yield every other stage shaded.

    Above it its name and what trains, as far as there is room.
    """
    import altair as alt

    stages = alt.Chart(alt.NamedData("stages"))
    begins, ends = alt.X("from epoch:Q", scale=scale), alt.X2("to epoch:Q")
    shade = alt.condition("datum._shaded", alt.value(0.07), alt.value(0.0))
    yield stages.mark_rect().encode(x=begins, x2=ends, opacity=shade, description="stage:N")
    room = alt.expr("scale('x', datum['to epoch']) - scale('x', datum['from epoch']) - 6")
    for line, style, y in (("stage", "panel", -24), ("_said", [], -9)):
        yield stages.mark_text(limit=room, style=style, clip=False).encode(
            x=alt.X("_middle:Q", scale=scale), y=alt.value(y), text=f"{line}:N"
        )


def _ends(rates: LearningRates) -> list[float]:
    """Return the epoch at which each step begins, and at which the last one ends."""
    last_epoch = sum(epoch >= math.floor(rates.epochs[-1] + 1e-9) for epoch in rates.epochs)
    return [*rates.epochs, round(rates.epochs[-1] + 1 / last_epoch, 6)]


def _stages(rates: LearningRates, ends: Sequence[float]) -> Iterator[dict[str, Any]]:
    for number, span in enumerate(rates.stages):
        begins, stops = ends[span.start], ends[span.stop]
        trains = [name for name, of in rates.rates.items() if any(of[span.start : span.stop])]
        frozen = [name for name in rates.rates if name not in trains]
        yield {
            "stage": span.name,
            "from epoch": begins,
            "to epoch": stops,
            "trains": _label(trains),
            "frozen, and trained in another stage": _label(frozen) or "nothing",
            "_middle": (begins + stops) / 2,
            "_shaded": number % 2 == 0,
            "_said": _briefly(trains),
        }


def _groups(rates: LearningRates) -> dict[str, tuple[float, ...]]:
    """Return the head and the blocks; those that are always equal are one."""
    equal: dict[tuple[float, ...], list[str]] = {}
    for group, values in rates.rates.items():
        equal.setdefault(values, []).append(group)
    return {_label(names): values for values, names in equal.items()}


def _summaries(
    rates: LearningRates, groups: Mapping[str, Sequence[float]]
) -> Iterator[dict[str, Any]]:
    """Say what can be said of a curve in figures, for each stage in which it is drawn."""
    for span in rates.stages:
        for group, values in groups.items():
            steps = values[span.start : span.stop]
            if any(steps):
                first, highest, last = steps[0], max(steps), steps[-1]
                yield {"stage": span.name, "group": group} | {
                    "first": first,
                    "highest": highest,
                    "last": last,
                }


def _points(
    rates: LearningRates, groups: Mapping[str, Sequence[float]], ends: Sequence[float], low: float
) -> Iterator[dict[str, Any]]:
    """Yield a piece for each stage in which a group trains: stages do not flow into one another."""
    for group, values in reversed(list(groups.items())):  # the head lies on top
        for span in rates.stages:
            if any(values[span.start : span.stop]):
                rows = [(ends[step], values[step]) for step in range(span.start, span.stop)]
                rows.append((ends[span.stop], values[span.stop - 1]))
                for epoch, rate in _telling(_ending_at(low, rows), ends[-1] / _MOST_POINTS):
                    yield {"stage": span.name, "group": group, _EPOCHS: epoch, _RATE: rate}


def _ending_at(low: float, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a curve that ends at the bottom of the picture, where it goes under it.

    NaN breaks it there.

    Vega would cut each curve on its own, which makes a PNG of sixty curves take ten times as long.
    """
    under = [rate < low for _, rate in points]
    beside = zip([True, *under], under, [*under[1:], True], strict=False)
    return [
        (epoch, math.nan if all(three) else max(rate, low))
        for (epoch, rate), three in zip(points, beside, strict=True)
    ]


def _telling(points: Sequence[tuple[float, float]], near: float) -> Iterator[tuple[float, float]]:
    """Yield the points that the eye can tell apart.

    Blocks and steps make hundred thousands of them.

    Args:
        points: `(epoch, rate)`.
        near: how many epochs are close by.
    """
    last = points[0]
    yield last
    for before, point, after in zip(points, points[1:], points[2:], strict=False):
        level = before[1] == point[1] == after[1]
        close = point[0] - last[0] < near and math.isclose(point[1], last[1], rel_tol=0.02)
        gap = math.isnan(before[1]) and math.isnan(point[1])
        ends = math.isnan(after[1])
        if not (level or gap) and (ends or not close):
            last = point
            yield last
    yield points[-1]


def _briefly(trains: Sequence[str]) -> str:
    """For example "head alone" or "head, last 3 blocks"."""
    blocks = len(trains) - 1
    if HEAD not in trains:
        return _label(trains)
    return (
        f"head, last {blocks} blocks" if blocks > 1 else _label(trains) if blocks else "head alone"
    )


def _label(names: Sequence[str]) -> str:
    """For example "head", "block -2" or "head, blocks -1 to -17"."""
    blocks = [name for name in names if name != HEAD]
    words = [HEAD] if HEAD in names else []
    if len(blocks) > 1:
        words.append(f"blocks {blocks[0].split()[1]} to {blocks[-1].split()[1]}")
    else:
        words += blocks
    return ", ".join(words)


def _looks(count: int) -> list[Look]:
    """Of the head, dashed so that both show where blocks have its rate; then a ramp for blocks."""
    head, _ = PALETTE[0]
    if count == 1:
        return [(head, ())]
    ramp = [mixed(*_BLOCK_COLOURS, index / max(count - 2, 1)) for index in range(count - 1)]
    return [(head, (8, 4)), *((colour, ()) for colour in ramp)]


def _decades(curves: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Whole decades; the lowest seventh of a curve may lie under them: schedules end near 0."""
    above = [sorted(value for value in values if value > 0) for values in curves]
    above = [values for values in above if values]
    least = min((values[len(values) // 7] for values in above), default=0.1)
    most = max((values[-1] for values in above), default=1.0)
    # The small numbers keep a rate of exactly 0.001 from an empty decade above or below it.
    low, high = math.floor(math.log10(least) + 1e-9), math.ceil(math.log10(most) - 1e-9)
    return 10.0 ** max(min(low, high - 1), high - _MOST_DECADES), 10.0**high
