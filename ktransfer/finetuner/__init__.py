"""`FineTuner`, and the workflow of one call of `fit`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.finetuner.finetuner import FineTuner

__all__ = ["FineTuner"]

_HOME = {
    "FineTuner": "finetuner",
}

#: What `ktransfer.fitting` held.
_MOVED = {
    "Adviser": "ktransfer.advisor.adviser",
    "Begun": "ktransfer.finetuner.fit:Decided",
    "Fit": "ktransfer.finetuner.fit",
    "FitOptions": "ktransfer.finetuner.options",
    "Fitted": "ktransfer.classifier:Classifier",
    "Look": "ktransfer.advisor.adviser:Seen",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME, moved=_MOVED)
