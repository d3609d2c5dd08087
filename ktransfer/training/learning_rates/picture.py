"""Range tests and sweeps as pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ktransfer.show.charts import (
    GREY,
    HEIGHT_PX,
    PALETTE,
    SIDE_BY_SIDE_PX,
    WIDTH_PX,
    Chart,
    log_axis,
    series,
    whole_axis,
)

_RATE, _LOSS, _EPOCH = "learning rate", "training loss", "epoch"
_SMOOTHED, _EACH = "smoothed", "each step"

#: From this factor between the highest and the lowest loss on a sweep is drawn logarithmically.
LARGE_RANGE = 10.0


def draw_range_test(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    suggestion: float | None,
    diverged_at: float | None,
) -> Chart:
    """The losses over the learning rate, on a logarithmic scale; the suggestion is marked."""
    import altair as alt

    scale, axis = log_axis(rates[0], rates[-1])
    x = alt.X(f"{_RATE}:Q", title=_RATE, scale=scale, axis=axis)
    low, high = _range(rates, losses, smoothed, diverged_at)
    y = alt.Y(f"{_LOSS}:Q", title=_LOSS, scale=alt.Scale(domain=[low, high], nice=False))
    colour, _ = series("curve", [_SMOOTHED, _EACH], [PALETTE[1], (GREY, ())], dots=True)
    steps = alt.Chart(alt.NamedData("losses")).encode(x=x, y=y, color=colour)
    marked = alt.Chart(alt.NamedData("suggestion")).encode(x=x)
    picture = alt.layer(
        steps.transform_filter(f"datum.curve == '{_EACH}'").mark_circle(clip=True, size=20),
        steps.transform_filter(f"datum.curve == '{_SMOOTHED}'").mark_line(clip=True),
        marked.mark_rule(style="mark", description="suggested"),
        marked.mark_text(aria=False).encode(y=alt.value(-8), text="_said:N"),
    ).properties(width=WIDTH_PX, height=HEIGHT_PX)
    said = f"{suggestion:.2g} suggested" if suggestion else "none suggested"
    tables = {
        "suggestion": [{_RATE: suggestion, "_said": f"{suggestion:.2g}"}] if suggestion else [],
        "losses": [
            {_RATE: rate, _LOSS: loss, "curve": curve}
            for curve, values in ((_SMOOTHED, smoothed), (_EACH, losses))
            for rate, loss in zip(rates, values, strict=False)
        ],
    }
    return Chart(f"learning-rate range test: {said}", picture, tables)


def _range(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    diverged_at: float | None,
) -> tuple[float, float]:
    """Of the loss: what comes after the divergence would press all that matters flat."""
    stop = rates.index(diverged_at) if diverged_at else len(rates)
    raw = [loss for loss in losses[:stop] if math.isfinite(loss)]
    shown = [*smoothed[:stop], *sorted(raw)[: math.ceil(0.98 * stop)]]
    low, high = min(shown, default=0.0), max(shown, default=1.0)
    edge = 0.04 * (high - low) or 0.5
    return low - edge, high + edge


def draw_sweep(histories: Mapping[str, Sequence[Mapping[str, Any]]], whole: Sequence[str]) -> Chart:
    """Training and validation loss over the epochs, side by side, a curve for each rate.

    Args:
        histories: the epochs of each trial, by what the legend says of it.
        whole: those that did not diverge. A diverged curve leaves at the top and does not press the
            others flat.
    """
    import altair as alt

    colour, dashes = series("rate", list(histories))
    figures = {"loss": "training loss", "val_loss": "validation loss"}
    ranges = {figure: _finite(histories, whole, figure) for figure in figures}
    together = [value for values in ranges.values() for value in values]
    log = min(together, default=0) > 0 and max(together) > LARGE_RANGE * min(together)
    longest = max((row["epoch"] for rows in histories.values() for row in rows), default=1)
    x = alt.X(
        f"{_EPOCH}:Q",
        title=_EPOCH,
        scale=alt.Scale(zero=False, nice=False, padding=8),
        axis=whole_axis(1, longest),
    )
    losses = alt.Chart(alt.NamedData("losses")).encode(
        x=x, color=colour, strokeDash=dashes, description="rate:N"
    )
    panels = []
    for figure, name in figures.items():
        y = alt.Y(f"{name}:Q", title="loss", scale=_loss_scale(ranges[figure], log=log))
        curves = losses.encode(y=y)
        dots = curves.mark_point(filled=True, size=25, clip=True, opacity=1)
        panels.append(
            alt.layer(
                curves.mark_line(clip=True), dots.encode(strokeDash=alt.value([]))
            ).properties(title=name, width=SIDE_BY_SIDE_PX, height=HEIGHT_PX)
        )
    rows = [
        {
            "rate": label,
            _EPOCH: row["epoch"],
            **{name: row[figure] for figure, name in figures.items()},
        }
        for label, history in histories.items()
        for row in history
    ]
    return Chart("losses by learning rate", alt.hconcat(*panels), {"losses": rows})


def _finite(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], whole: Sequence[str], figure: str
) -> list[float]:
    rows = [row for label in whole for row in histories[label]]
    return [row[figure] for row in rows if math.isfinite(row[figure])]


def _loss_scale(values: Sequence[float], *, log: bool) -> Any:
    import altair as alt

    if not values:
        return alt.Scale(domain=[0, 1])
    low, high = min(values), max(values)
    if low == high:  # one value alone stands in the middle
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    edge = 0.0 if log else 0.04 * (high - low)
    return alt.Scale(
        type="log" if log else "linear", domain=[low - edge, high + edge], nice=log, zero=False
    )
