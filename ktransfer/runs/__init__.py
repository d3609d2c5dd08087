"""A run as a folder: its record, its model, what it learnt from, and a training in the making.

Names load on first use (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.runs.comparison import RunRow, RunTable, compare_runs

__all__ = ["RunRow", "RunTable", "compare_runs"]

_HOME = dict.fromkeys(__all__, "comparison")

__getattr__, __dir__ = lazy_names(__name__, _HOME)
