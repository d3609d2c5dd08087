"""What is wrong with a data set, found before it is trained on.

    report = examine("photos/")
    print(report)

Neither Keras nor TensorFlow is imported. Names load on first use (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.doctor.before_training import check_name, preflight
    from ktransfer.doctor.examining import examine, inspect_data
    from ktransfer.doctor.findings import KINDS, Finding, Report
    from ktransfer.doctor.manifest import write_manifest

__all__ = [
    "KINDS",
    "Finding",
    "Report",
    "check_name",
    "examine",
    "inspect_data",
    "preflight",
    "write_manifest",
]

_HOME = {
    "Finding": "findings",
    "KINDS": "findings",
    "Report": "findings",
    "check_name": "before_training",
    "examine": "examining",
    "inspect_data": "examining",
    "preflight": "before_training",
    "write_manifest": "manifest",
}

_MOVED = {"look_through": "ktransfer.doctor:inspect_data"}

__getattr__, __dir__ = lazy_names(__name__, _HOME, moved=_MOVED)
