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
    draw,
    write_svg,
)
from ktransfer._chart.scale import Axis

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
    "Curve",
    "Mark",
    "Panel",
    "draw",
    "write_svg",
]
