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
    bounded,
    log_axis,
    series,
    whole_axis,
)

_RATE, _LOSS, _EPOCH = "learning rate", "loss", "epoch"
_SMOOTHED, _EACH = "smoothed", "each step"
_FIGURES = {"loss": "training loss", "val_loss": "validation loss"}

#: From this factor between the highest and the lowest loss on a sweep is drawn logarithmically.
LARGE_RANGE = 10.0
_FAR = 20.0  # how many heights of the panel a curve may leave it


def draw_range_test(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    suggestion: float | None,
    diverged_at: float | None,
) -> Chart:
    """Return the losses over the learning rate, on a logarithmic scale.

    The suggestion is marked.
    """
    import altair as alt

    scale, axis = log_axis(rates[0], rates[-1])
    x = alt.X(f"{_RATE}:Q", title=_RATE, scale=scale, axis=axis)
    low, high = _range(rates, losses, smoothed, diverged_at)
    y = alt.Y("_drawn:Q", title=_LOSS, scale=alt.Scale(domain=[low, high], nice=False))
    far = _FAR * (high - low)
    colour, _ = series("curve", [_SMOOTHED, _EACH], [PALETTE[1], (GREY, ())], dots=True)
    steps = (
        alt.Chart(alt.NamedData("losses"))
        .transform_calculate(_drawn=bounded(_LOSS, low - far, high + far))
        .encode(x=x, y=y, color=colour)
    )
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
    return _ends(shown, log=False)


def draw_sweep(histories: Mapping[str, Sequence[Mapping[str, Any]]], whole: Sequence[str]) -> Chart:
    """Training and validation loss over the epochs, side by side, a curve for each rate.

    Args:
        histories: the epochs of each trial, by what the legend says of it.
        whole: those that did not diverge. A diverged curve leaves at the top and does not press the
            others flat.
    """
    import altair as alt

    finite = {figure: _finite(histories, whole, figure) for figure in _FIGURES}
    together = [value for values in finite.values() for value in values]
    log = min(together, default=0) > 0 and max(together) > LARGE_RANGE * min(together)
    rows = [
        {
            "rate": label,
            _EPOCH: row["epoch"],
            **{name: row[figure] for figure, name in _FIGURES.items()},
        }
        for label, history in histories.items()
        for row in history
    ]
    x = alt.X(
        f"{_EPOCH}:Q",
        title=_EPOCH,
        scale=alt.Scale(zero=False, nice=False, padding=8),
        axis=whole_axis(1, max((row[_EPOCH] for row in rows), default=1)),
    )
    colour, dashes = series("rate", list(histories))
    losses = alt.Chart(alt.NamedData("losses")).encode(x=x, color=colour, description="rate:N")
    panels = [
        _losses(losses, dashes, name, _ends(finite[figure], log=log), log=log)
        for figure, name in _FIGURES.items()
    ]
    return Chart("losses by learning rate", alt.hconcat(*panels), {"losses": rows})


def _losses(losses: Any, dashes: Any, name: str, ends: tuple[float, float], *, log: bool) -> Any:
    """Return a panel: the curves of one of the figures."""
    import altair as alt

    low, high = ends
    far = (
        (low / 1e6, high * 1e6) if log else (low - _FAR * (high - low), high + _FAR * (high - low))
    )
    linear = alt.Scale(domain=[low, high], nice=False), alt.Axis()
    scale, axis = log_axis(low, high) if log else linear
    y = alt.Y("_drawn:Q", title="loss", scale=scale, axis=axis)
    curves = losses.transform_calculate(_drawn=bounded(name, *far)).encode(y=y)
    return alt.layer(
        curves.mark_line(clip=True).encode(strokeDash=dashes),
        curves.mark_circle(size=25, clip=True, opacity=1),
    ).properties(title=name, width=SIDE_BY_SIDE_PX, height=HEIGHT_PX)


def _finite(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], whole: Sequence[str], figure: str
) -> list[float]:
    rows = [row for label in whole for row in histories[label]]
    return [row[figure] for row in rows if math.isfinite(row[figure])]


def _ends(values: Sequence[float], *, log: bool) -> tuple[float, float]:
    """Of a loss axis: a little beside the least and the greatest."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if log:
        return low / 1.2, high * 1.2
    edge = 0.04 * (high - low) or 0.5  # one value alone stands in the middle
    return low - edge, high + edge
