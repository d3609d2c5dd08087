"""Learning rates over the epochs as a picture."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence

from ktransfer import charts
from ktransfer.charts import Axis, Band, Curve, Panel
from ktransfer.plan.rates import LearningRates
from ktransfer.plan.stage import HEAD

_HEAD_COLOUR = "#c2410c"
# From dark to light: the last block to the first that trains. The light end still shows on white.
_BLOCK_COLOURS = ((8, 48, 107), (146, 197, 222))


def write_svg(
    path: str | os.PathLike[str], rates: LearningRates, title: str, *, overwrite: bool = False
) -> None:
    """Write the picture of `draw`.

    Raises:
        InputError: The path does not end in `.svg`, exists (unless `overwrite`) or cannot be
            written.
    """
    charts.write_svg(path, draw(rates, title), overwrite=overwrite)


def draw(rates: LearningRates, title: str) -> str:
    """The picture as SVG text: a band for each stage, a curve for the head and for each block.

    Blocks that always have the same rate share a curve. No curve is drawn where a block is frozen.

    Args:
        rates: What is drawn.
        title: What stands above it.
    """
    last_epoch = sum(epoch >= math.floor(rates.epochs[-1] + 1e-9) for epoch in rates.epochs)
    ends = [*rates.epochs, round(rates.epochs[-1] + 1 / last_epoch, 6)]
    panel = Panel(
        x=Axis("epochs", low=0.0, high=ends[-1], whole=True),
        y=Axis("learning rate", log=True, decades=True),
        curves=tuple(_curves(rates, ends)),
        bands=tuple(Band(each.name, ends[each.start], ends[each.stop]) for each in rates.stages),
    )
    return charts.draw(title, panel)


def _curves(rates: LearningRates, ends: Sequence[float]) -> Iterator[Curve]:
    """The head's curve and those of the blocks; groups that are always equal share one."""
    groups: dict[tuple[float, ...], list[str]] = {}
    for group, values in rates.rates.items():
        groups.setdefault(values, []).append(group)
    for (values, names), colour in zip(groups.items(), _colours(len(groups)), strict=True):
        yield Curve(_label(names), colour, tuple(_points(rates, values, ends)))


def _points(
    rates: LearningRates, values: Sequence[float], ends: Sequence[float]
) -> Iterator[tuple[float, float]]:
    """A piece for each stage in which the group trains: stages do not flow into one another."""
    for span in rates.stages:
        steps = range(span.start, span.stop)
        if any(values[step] for step in steps):
            yield from ((ends[step], values[step]) for step in steps)
            yield ends[span.stop], values[span.stop - 1]
            yield math.nan, math.nan


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
