"""Line charts as SVG text, written by hand: no plotting library needed."""

from ktransfer.charts.chart import (
    BOTTOM_PX,
    HEIGHT_PX,
    LEFT_PX,
    PALETTE,
    RIGHT_PX,
    TOP_PX,
    WIDTH_PX,
    Band,
    Curve,
    Mark,
    Panel,
    check_picture,
    draw,
    write_svg,
)
from ktransfer.charts.parallel import Column, Line, draw_parallel
from ktransfer.charts.scale import Axis, Scale, fit

__all__ = [
    "BOTTOM_PX",
    "HEIGHT_PX",
    "LEFT_PX",
    "PALETTE",
    "RIGHT_PX",
    "TOP_PX",
    "WIDTH_PX",
    "Axis",
    "Band",
    "Column",
    "Curve",
    "Line",
    "Mark",
    "Panel",
    "Scale",
    "check_picture",
    "draw",
    "draw_parallel",
    "fit",
    "write_svg",
]
