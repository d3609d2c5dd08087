"""A search as pictures: accuracy by depth, every trial, times with and without the cache."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ktransfer.show.charts import (
    GREY,
    HEIGHT_PX,
    PALETTE,
    WIDTH_PX,
    Chart,
    Column,
    Line,
    draw_parallel,
    mixed,
    series,
    whole_axis,
)
from ktransfer.tuner.choice import Depth
from ktransfer.tuner.hyperparameters import NAMES
from ktransfer.tuner.records import DONE, FAILED, Record

#: From the worst trial to the best.
_WORST, _BEST = "#98a1b0", PALETTE[0][0]
_LOG = ("learning_rate", "head_rate")
_DEPTH, _ACCURACY = "last blocks unfrozen", "validation accuracy, %"
_LOW, _HIGH = "95 % from", "95 % to"
_TRIAL, _SECONDS = "trial", "seconds"
_CHOSEN, _OTHERS = "chosen, 95 % interval", "the best of a depth, 95 % interval"
_A_TRIAL = "a trial"
_THIS_SEARCH, _UNCACHED = "this search", "frozen blocks run in every epoch (estimate)"


def draw_depths(records: Sequence[Record], depths: Sequence[Depth], best: Depth) -> Chart:
    """Draw validation accuracy by blocks unfrozen: all trials, and the best of each depth."""
    import altair as alt

    trials = [each for each in records if each.val_accuracy is not None]
    deepest = max(each.unfreeze for each in trials)
    x = alt.X(
        f"{_DEPTH}:Q",
        title=_DEPTH,
        scale=alt.Scale(domain=[-0.5, deepest + 0.5], nice=False),
        axis=whole_axis(0, deepest),
    )
    y = alt.Y(f"{_ACCURACY}:Q", title=_ACCURACY, scale=alt.Scale(zero=False))
    kinds = [_CHOSEN, _OTHERS, _A_TRIAL]
    colour = alt.Color(
        "is:N",
        scale=alt.Scale(domain=kinds, range=[PALETTE[0][0], PALETTE[1][0], GREY]),
        legend=alt.Legend(title=None, symbolType="circle", symbolSize=90),
    )
    shown = alt.Chart(alt.NamedData("depths")).encode(x=x, color=colour, description="_said:N")
    each_trial = alt.Chart(alt.NamedData("trials")).encode(x=x, y=y, color=colour)
    picture = alt.layer(
        shown.mark_rule(strokeWidth=2).encode(
            y=alt.Y(f"{_LOW}:Q", title=_ACCURACY), y2=f"{_HIGH}:Q"
        ),
        each_trial.mark_circle(size=30, opacity=1).encode(description="_said:N"),
        shown.mark_circle(size=120, opacity=1).encode(y=y),
        alt.Chart(alt.NamedData("depths"))
        .mark_text(align="left", dx=10, dy=-6)
        .encode(x=x, y=y, text="_caption:N"),
    ).properties(width=WIDTH_PX, height=HEIGHT_PX)
    tables = {
        "depths": [_depth_row(each, chosen=each is best) for each in depths],
        "trials": [
            {
                _TRIAL: each.name,
                _DEPTH: each.unfreeze,
                _ACCURACY: 100 * (each.val_accuracy or 0.0),
                "is": _A_TRIAL,
                "_said": _said(each),
            }
            for each in trials
        ],
    }
    return Chart(f"{_blocks(best.unfreeze)} chosen, of {len(depths)} depths", picture, tables)


def _depth_row(depth: Depth, *, chosen: bool) -> dict[str, Any]:
    low, high = (100 * each for each in depth.interval)
    mean = 100 * depth.mean
    return {
        _DEPTH: depth.unfreeze,
        _ACCURACY: mean,
        _LOW: low,
        _HIGH: high,
        "is": _CHOSEN if chosen else _OTHERS,
        "_caption": f"{mean:.1f}",
        "_said": f"{_blocks(depth.unfreeze)}: {mean:.1f} % ({low:.1f} to {high:.1f} %)",
    }


def draw_trials(trials: Sequence[Record], chosen: str) -> Chart:
    """Parallel coordinates: the values of every trial, from the worst to the best on top."""
    ranked = sorted(trials, key=lambda each: (each.name == chosen, each.val_accuracy or 0))
    varied = [
        name for name in NAMES if len({each.values.get(name) for each in trials} - {None}) > 1
    ]
    accuracies = tuple(map(_per_cent, ranked))
    columns = [
        *(
            Column(
                name.replace("_", " "),
                tuple(each.values.get(name) for each in ranked),
                "log" if name in _LOG else "steps",
            )
            for name in varied
        ),
        Column("val accuracy, %", accuracies, "linear"),
    ]
    known = [each for each in accuracies if each is not None]
    lines = [
        Line(
            each.name,
            _colour(each, known),
            _said(each),
            strong=each.name == chosen,
            dashed=each.status != DONE,
        )
        for each in ranked
    ]
    title = f"{len(trials)} trials; the thick line was chosen, dashed ones ended early"
    return draw_parallel(title, columns, lines, {"trials": [_trial_row(each) for each in trials]})


def _trial_row(record: Record) -> dict[str, Any]:
    return {
        _TRIAL: record.name,
        **{name.replace("_", " "): value for name, value in record.values.items()},
        _ACCURACY: _per_cent(record),
        "status": record.status,
        _SECONDS: record.seconds,
    }


def draw_times(records: Sequence[Record], without_cache: Mapping[str, float]) -> Chart:
    """Draw the seconds of each trial, and about what it would have taken without a cache."""
    import altair as alt

    trials = [each for each in records if each.status != FAILED]
    took = sum(each.seconds for each in trials)
    other = sum(without_cache[each.name] for each in trials)
    colour, dashes = series("which", [_THIS_SEARCH, _UNCACHED])
    x = alt.X(
        f"{_TRIAL}:Q",
        title=_TRIAL,
        scale=alt.Scale(zero=False, nice=False, padding=8),
        axis=whole_axis(1, len(trials)),
    )
    times = alt.Chart(alt.NamedData("times")).encode(
        x=x, y=alt.Y(f"{_SECONDS}:Q", title=_SECONDS), color=colour, description="_said:N"
    )
    picture = alt.layer(
        times.mark_line().encode(strokeDash=dashes, description="which:N"),
        times.mark_circle(size=30, opacity=1),
    ).properties(width=WIDTH_PX, height=HEIGHT_PX)
    rows = [
        {
            _TRIAL: number,
            _SECONDS: seconds,
            "which": which,
            "_said": f"trial {each.name}: {seconds:.1f} s, {which}",
        }
        for number, each in enumerate(trials, start=1)
        for which, seconds in (
            (_THIS_SEARCH, each.seconds),
            (_UNCACHED, without_cache[each.name]),
        )
    ]
    title = f"{took:.0f} s for {len(trials)} trials, about {other:.0f} s without the cache"
    return Chart(title, picture, {"times": rows})


def _blocks(unfreeze: int) -> str:
    return f"the last {unfreeze} blocks" if unfreeze else "the head alone"


def _per_cent(record: Record) -> float | None:
    return None if record.val_accuracy is None else 100 * record.val_accuracy


def _words(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _colour(record: Record, accuracies: Sequence[float]) -> str:
    accuracy = _per_cent(record)
    if accuracy is None:
        return GREY
    low, high = min(accuracies), max(accuracies)
    return mixed(_WORST, _BEST, (accuracy - low) / (high - low) if high > low else 1.0)


def _said(record: Record) -> str:
    said = record.status if record.val_accuracy is None else f"{100 * record.val_accuracy:.1f} %"
    values = ", ".join(f"{name} {_words(value)}" for name, value in record.values.items())
    return f"trial {record.name}: {said}; {values}; {math.ceil(record.seconds)} s"
