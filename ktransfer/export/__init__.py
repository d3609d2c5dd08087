"""Models that leave the library: files that other programs read, proven to predict the same.

Names load on first use (PEP 562), so that the formats are checked before TensorFlow is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.export.agreement import Agreement
    from ktransfer.export.exporting import export
    from ktransfer.export.formats import FORMATS, Request
    from ktransfer.export.images import check_images, images_to_compare
    from ktransfer.export.result import ExportResult
    from ktransfer.export.trained import Proof, Trained

__all__ = [
    "FORMATS",
    "Agreement",
    "ExportResult",
    "Proof",
    "Request",
    "Trained",
    "check_images",
    "export",
    "images_to_compare",
]

_HOME = {
    "Agreement": "agreement",
    "ExportResult": "result",
    "FORMATS": "formats",
    "Proof": "trained",
    "Request": "formats",
    "Trained": "trained",
    "check_images": "images",
    "export": "exporting",
    "images_to_compare": "images",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
