"""Charts: described with Altair, written as SVG that fits light and dark pages, as PNG, as text.

`chart` has the value that a result hands out, `theme` what is common to all of them, `parallel` the
one kind that Vega-Lite does not know, `svg` makes what Vega draws fit for a page.
"""

from ktransfer.show.charts.chart import ENDINGS, Chart, check_picture
from ktransfer.show.charts.parallel import Column, Line, draw_parallel
from ktransfer.show.charts.theme import (
    GREY,
    HEIGHT_PX,
    PALETTE,
    SIDE_BY_SIDE_PX,
    WIDTH_PX,
    Look,
    mixed,
    series,
)
from ktransfer.show.charts.ticks import log_axis, whole_axis

__all__ = [
    "ENDINGS",
    "GREY",
    "HEIGHT_PX",
    "PALETTE",
    "SIDE_BY_SIDE_PX",
    "WIDTH_PX",
    "Chart",
    "Column",
    "Line",
    "Look",
    "check_picture",
    "draw_parallel",
    "log_axis",
    "mixed",
    "series",
    "whole_axis",
]
