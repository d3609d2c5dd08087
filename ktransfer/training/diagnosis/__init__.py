"""What a finished training shows: underfitting, overfitting or a good fit, and what to try next."""

from ktransfer.training.diagnosis.table import history_table
from ktransfer.training.diagnosis.verdict import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose", "history_table"]
