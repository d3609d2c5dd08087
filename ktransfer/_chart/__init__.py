"""Line charts as SVG text, written by hand: no plotting library needed."""

from ktransfer._chart.chart import (
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
from ktransfer._chart.parallel import Column, Line, draw_parallel
from ktransfer._chart.scale import Axis, Scale, fit

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
