"""What training makes: the model and all that is known of it.

Names load on first use (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.classifier.classifier import BackboneRecord, Classifier, versions_here
    from ktransfer.classifier.evaluation import Evaluation
    from ktransfer.classifier.results import FitResult
    from ktransfer.classifier.summary import Summary, SummaryRow, summary_of

__all__ = [
    "BackboneRecord",
    "Classifier",
    "Evaluation",
    "FitResult",
    "Summary",
    "SummaryRow",
    "summary_of",
    "versions_here",
]

_HOME = {
    "BackboneRecord": "classifier",
    "Classifier": "classifier",
    "Evaluation": "evaluation",
    "FitResult": "results",
    "Summary": "summary",
    "SummaryRow": "summary",
    "summary_of": "summary",
    "versions_here": "classifier",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
