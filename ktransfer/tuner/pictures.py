"""A search as pictures: accuracy by depth, every trial, times with and without the cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ktransfer.charts import PALETTE, Axis, Column, Curve, Line, Panel, draw, draw_parallel, fit
from ktransfer.tuner.choice import Depth
from ktransfer.tuner.hyperparameters import NAMES
from ktransfer.tuner.records import DONE, FAILED, Record

_GREY = "#9ca3af"
#: From the worst trial to the best.
_WORST_RGB, _BEST_RGB = (191, 200, 214), (194, 65, 12)
_LOG = ("learning_rate", "head_rate")
_ACCURACY = "val accuracy"


def draw_depths(records: Sequence[Record], depths: Sequence[Depth], best: Depth) -> str:
    """Validation accuracy by the number of blocks unfrozen: all trials, and the best of a depth."""
    trials = [each for each in records if each.val_accuracy is not None]
    dots = tuple((float(each.unfreeze), 100 * (each.val_accuracy or 0.0)) for each in trials)
    curves = [
        curve
        for each in depths
        for chosen in (each is best,)
        for label, (colour, _) in (_depth_style(chosen=chosen),)
        for low, high in (each.interval,)
        for curve in (
            Curve(label, colour, ((each.unfreeze, 100 * low), (each.unfreeze, 100 * high))),
            Curve(
                label,
                colour,
                ((each.unfreeze, 100 * each.mean),),
                line=False,
                markers=True,
                dot_px=6.0,
                caption=f"{100 * each.mean:.1f}",
            ),
        )
    ]
    panel = Panel(
        x=Axis("last blocks unfrozen", whole=True, low=-0.5, high=max(x for x, _ in dots) + 0.5),
        y=Axis("validation accuracy, %"),
        curves=(*curves, Curve("a trial", _GREY, dots, line=False, markers=True, dot_px=3.0)),
    )
    return draw(f"{_blocks(best.unfreeze)} chosen, of {len(depths)} depths", panel)


def draw_trials(trials: Sequence[Record], chosen: str) -> str:
    """Parallel coordinates: the values of every trial, from the worst to the best on top."""
    varied = [
        name for name in NAMES if len({each.values.get(name) for each in trials} - {None}) > 1
    ]
    scales = [_scale(name, trials) for name in varied]
    accuracies = [each.val_accuracy for each in trials if each.val_accuracy is not None]
    accuracy = fit(Axis(_ACCURACY), [[100 * each for each in accuracies]])
    columns = [
        *(
            Column(name.replace("_", " "), ticks)
            for name, (_, ticks) in zip(varied, scales, strict=True)
        ),
        Column(_ACCURACY, tuple((accuracy.share(tick), f"{tick:g} %") for tick in accuracy.ticks)),
    ]
    ranked = sorted(trials, key=lambda each: (each.name == chosen, each.val_accuracy or 0))
    lines = [
        Line(
            (
                *(
                    share(each.values.get(name))
                    for name, (share, _) in zip(varied, scales, strict=True)
                ),
                None if each.val_accuracy is None else accuracy.share(100 * each.val_accuracy),
            ),
            _colour(each, accuracies),
            _title(each),
            strong=each.name == chosen,
            dashes="" if each.status == DONE else "3 3",
        )
        for each in ranked
    ]
    return draw_parallel(
        f"{len(trials)} trials; the thick line was chosen, dashed ones ended early",
        columns,
        lines,
    )


def draw_times(records: Sequence[Record], without_cache: Mapping[str, float]) -> str:
    """Seconds of each trial, and about what it would have taken with nothing computed once."""
    trials = [each for each in records if each.status != FAILED]
    took = sum(each.seconds for each in trials)
    other = sum(without_cache[each.name] for each in trials)
    (first, _), (second, dashes) = PALETTE[0], PALETTE[1]
    at = range(1, len(trials) + 1)
    curves = (
        Curve(
            "frozen blocks run in every epoch (estimate)",
            second,
            tuple((x, without_cache[each.name]) for x, each in zip(at, trials, strict=True)),
            dashes=dashes,
            markers=True,
        ),
        Curve(
            "this search",
            first,
            tuple((x, each.seconds) for x, each in zip(at, trials, strict=True)),
            markers=True,
        ),
    )
    panel = Panel(x=Axis("trial", whole=True), y=Axis("seconds", low=0.0), curves=curves)
    return draw(
        f"{took:.0f} s for {len(trials)} trials, about {other:.0f} s without the cache", panel
    )


def _depth_style(*, chosen: bool) -> tuple[str, tuple[str, str]]:
    label = "chosen" if chosen else "the best of a depth"
    return f"{label}, 95 % interval", PALETTE[0 if chosen else 1]


def _blocks(unfreeze: int) -> str:
    return f"the last {unfreeze} blocks" if unfreeze else "the head alone"


_Share = Callable[[Any], float | None]


def _scale(name: str, trials: Sequence[Record]) -> tuple[_Share, tuple[tuple[float, str], ...]]:
    """How far up a value lies, and what is marked: even steps, but for rates."""
    values = [each.values[name] for each in trials if each.values.get(name) is not None]
    if name in _LOG:
        scale = fit(Axis(name, log=True), [values])
        ticks = tuple((scale.share(tick), f"{tick:g}") for tick in scale.ticks)
        return lambda value: None if value is None else scale.share(value), ticks
    steps = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    shares = {value: at / max(1, len(steps) - 1) for at, value in enumerate(steps)}
    ticks = tuple((share, _words(value)) for value, share in shares.items())
    return lambda value: None if value is None else shares[value], ticks


def _words(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _colour(record: Record, accuracies: Sequence[float]) -> str:
    if record.val_accuracy is None:
        return _GREY
    low, high = min(accuracies), max(accuracies)
    share = (record.val_accuracy - low) / (high - low) if high > low else 1.0
    mixed = (
        round(worst + share * (best - worst))
        for worst, best in zip(_WORST_RGB, _BEST_RGB, strict=True)
    )
    return "#" + "".join(f"{each:02x}" for each in mixed)


def _title(record: Record) -> str:
    said = record.status if record.val_accuracy is None else f"{100 * record.val_accuracy:.1f} %"
    values = ", ".join(f"{name} {_words(value)}" for name, value in record.values.items())
    return f"trial {record.name}: {said}; {values}; {math.ceil(record.seconds)} s"
