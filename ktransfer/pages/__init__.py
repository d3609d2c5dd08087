"""Pages that a browser shows without a network: each is one file, whole.

Names load on first use (PEP 562): a template is read only where a page is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.pages.explained.page import write_explained
    from ktransfer.pages.report.writing import ReportPage, write_report
    from ktransfer.pages.simulator.page import write_simulator

__all__ = ["ReportPage", "write_explained", "write_report", "write_simulator"]

_HOME = {
    "ReportPage": "report.writing",
    "write_explained": "explained.page",
    "write_report": "report.writing",
    "write_simulator": "simulator.page",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
