"""What is wrong with a data set, found before it is trained on.

    report = examine("photos/")
    print(report)

Neither Keras nor TensorFlow is imported. Names load on first use (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ktransfer.doctor.before_training import check_name, preflight
    from ktransfer.doctor.examining import examine, look_through
    from ktransfer.doctor.findings import KINDS, Finding, Report
    from ktransfer.doctor.manifest import write_manifest

__all__ = [
    "KINDS",
    "Finding",
    "Report",
    "check_name",
    "examine",
    "look_through",
    "preflight",
    "write_manifest",
]

_HOME = {
    "KINDS": "findings",
    "Finding": "findings",
    "Report": "findings",
    "check_name": "before_training",
    "examine": "examining",
    "look_through": "examining",
    "preflight": "before_training",
    "write_manifest": "manifest",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
