"""One call of `FineTuner.fit`: look, decide, train, judge."""

from ktransfer.fitting.advising import Adviser, Look
from ktransfer.fitting.fit import Begun, Fit, Fitted
from ktransfer.fitting.options import FitOptions

__all__ = ["Adviser", "Begun", "Fit", "FitOptions", "Fitted", "Look"]
