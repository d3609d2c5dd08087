"""Backbones: pretrained networks as ordered rows of blocks, with their preprocessing inside."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ktransfer.backbones.backbone import Backbone
    from ktransfer.backbones.blocks import Block
    from ktransfer.backbones.catalog import BackboneInfo, list_backbones
    from ktransfer.backbones.graph import Call, trace
    from ktransfer.backbones.loading import load_backbone
    from ktransfer.backbones.preprocessing import check_rgb_range

__all__ = [
    "Backbone",
    "BackboneInfo",
    "Block",
    "Call",
    "check_rgb_range",
    "list_backbones",
    "load_backbone",
    "trace",
]

_HOMES = {
    "Backbone": "backbone",
    "BackboneInfo": "catalog",
    "Block": "blocks",
    "Call": "graph",
    "check_rgb_range": "preprocessing",
    "list_backbones": "catalog",
    "load_backbone": "loading",
    "trace": "graph",
}


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562): listing the backbones on the command line must not wait 3 s for TensorFlow.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
