"""Backbones: pretrained networks as ordered rows of blocks, with their preprocessing inside.

Names load on first use: listing the backbones on the command line must not wait 3 s for TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.backbones.backbone import Backbone, check_no_nan, has_class_token
    from ktransfer.backbones.blocks import Block
    from ktransfer.backbones.catalog import BackboneInfo, list_backbones
    from ktransfer.backbones.graph import Call, trace
    from ktransfer.backbones.loading import load_backbone, restore_backbone
    from ktransfer.backbones.preprocessing import check_rgb_range

__all__ = [
    "Backbone",
    "BackboneInfo",
    "Block",
    "Call",
    "check_no_nan",
    "check_rgb_range",
    "has_class_token",
    "list_backbones",
    "load_backbone",
    "restore_backbone",
    "trace",
]

_HOME = {
    "Backbone": "backbone",
    "BackboneInfo": "catalog",
    "Block": "blocks",
    "Call": "graph",
    "check_no_nan": "backbone",
    "check_rgb_range": "preprocessing",
    "has_class_token": "backbone",
    "list_backbones": "catalog",
    "load_backbone": "loading",
    "restore_backbone": "loading",
    "trace": "graph",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
