"""The demonstration: 300 flowers by formula, and a classifier of them within a minute.

from ktransfer.demo import draw_flowers
draw_flowers("flowers/")              # flowers/bluebell/000.jpg ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.demo.demonstration import PARTS, Demo, draw_demo_photos, draw_flowers, train_on

__all__ = [
    "PARTS",
    "Demo",
    "draw_demo_photos",
    "draw_flowers",
    "train_on",
]

_HOME = {
    "Demo": "demonstration",
    "PARTS": "demonstration",
    "draw_demo_photos": "demonstration",
    "draw_flowers": "demonstration",
    "train_on": "demonstration",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
