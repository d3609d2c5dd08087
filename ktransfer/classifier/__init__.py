"""What training makes: the model and all that is known of it.

Names load on first use (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.classifier.classifier import BackboneRecord, Classifier, summary_of
    from ktransfer.classifier.results import Evaluation, FitResult, Summary, SummaryRow

__all__ = [
    "BackboneRecord",
    "Classifier",
    "Evaluation",
    "FitResult",
    "Summary",
    "SummaryRow",
    "summary_of",
]

_HOME = {
    "BackboneRecord": "classifier",
    "Classifier": "classifier",
    "Evaluation": "results",
    "FitResult": "results",
    "Summary": "results",
    "SummaryRow": "results",
    "summary_of": "classifier",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
