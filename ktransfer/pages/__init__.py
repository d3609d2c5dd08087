"""Pages of HTML that say what there is to say, whole in one file.

Names load on first use (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.pages.report.writing import ReportPage, write_report

__all__ = ["ReportPage", "write_report"]

_HOME = {
    "ReportPage": "report.writing",
    "write_report": "report.writing",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
