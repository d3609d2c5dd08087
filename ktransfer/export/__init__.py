"""Models that leave the library: files that other programs read, proven to predict the same.

Names load on first use (PEP 562), so that the formats are checked before TensorFlow is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.export.agreement import Agreement
    from ktransfer.export.calibration import calibration_images, check_calibration
    from ktransfer.export.exporting import export
    from ktransfer.export.formats import FORMATS, Request
    from ktransfer.export.images import ComparisonImages, check_images, images_to_compare
    from ktransfer.export.quantisation import QUANTISATIONS, Quantised
    from ktransfer.export.result import ExportResult

__all__ = [
    "FORMATS",
    "QUANTISATIONS",
    "Agreement",
    "ComparisonImages",
    "ExportResult",
    "Quantised",
    "Request",
    "calibration_images",
    "check_calibration",
    "check_images",
    "export",
    "images_to_compare",
]

_HOME = {
    "Agreement": "agreement",
    "ComparisonImages": "images",
    "ExportResult": "result",
    "FORMATS": "formats",
    "QUANTISATIONS": "quantisation",
    "Quantised": "quantisation",
    "Request": "formats",
    "calibration_images": "calibration",
    "check_calibration": "calibration",
    "check_images": "images",
    "export": "exporting",
    "images_to_compare": "images",
}

_MOVED = {
    "Proof": "ktransfer.export:ComparisonImages",
    "Trained": "ktransfer.classifier:Classifier",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME, moved=_MOVED)
