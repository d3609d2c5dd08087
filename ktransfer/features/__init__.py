"""Frozen means computed once: what a network says of images, kept, and the head that reads it.

Names load on first use (PEP 562): a plan that names a feature set does not import Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.features.feature_sets import FEATURE_SETS
    from ktransfer.features.forward import (
        DEFAULT_BUDGET_MB,
        FORWARD_BATCH_SIZE,
        Features,
        Forward,
        NoSpaceError,
        OnProgress,
        allocate,
        compile_forward,
        extract,
        extract_images,
        extract_part,
    )
    from ktransfer.features.heads import (
        POOLINGS,
        attach,
        build_classifier,
        check_dropout,
        check_pooling,
        check_pooling_name,
        pool,
    )
    from ktransfer.features.network import Network, body, randomize
    from ktransfer.features.rows import CACHE_DTYPES, RowSource
    from ktransfer.features.taps import Tap, concatenated, taps_of
    from ktransfer.features.views import PLAIN, Views

__all__ = [
    "CACHE_DTYPES",
    "DEFAULT_BUDGET_MB",
    "FEATURE_SETS",
    "FORWARD_BATCH_SIZE",
    "PLAIN",
    "POOLINGS",
    "Features",
    "Forward",
    "Network",
    "NoSpaceError",
    "OnProgress",
    "RowSource",
    "Tap",
    "Views",
    "allocate",
    "attach",
    "body",
    "build_classifier",
    "check_dropout",
    "check_pooling",
    "check_pooling_name",
    "compile_forward",
    "concatenated",
    "extract",
    "extract_images",
    "extract_part",
    "pool",
    "randomize",
    "taps_of",
]

_HOME = {
    "CACHE_DTYPES": "rows",
    "DEFAULT_BUDGET_MB": "forward",
    "FEATURE_SETS": "feature_sets",
    "FORWARD_BATCH_SIZE": "forward",
    "Features": "forward",
    "Forward": "forward",
    "Network": "network",
    "NoSpaceError": "forward",
    "OnProgress": "forward",
    "PLAIN": "views",
    "POOLINGS": "heads",
    "RowSource": "rows",
    "Tap": "taps",
    "Views": "views",
    "allocate": "forward",
    "attach": "heads",
    "body": "network",
    "build_classifier": "heads",
    "check_dropout": "heads",
    "check_pooling": "heads",
    "check_pooling_name": "heads",
    "compile_forward": "forward",
    "concatenated": "taps",
    "extract": "forward",
    "extract_images": "forward",
    "extract_part": "forward",
    "pool": "heads",
    "randomize": "network",
    "taps_of": "taps",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
