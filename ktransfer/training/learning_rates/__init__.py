"""What searches for a learning rate found, as plain data: a range test and a sweep."""

from ktransfer.training.learning_rates.held_out import held_out_result
from ktransfer.training.learning_rates.range_test import RangeTest, range_test_result
from ktransfer.training.learning_rates.sweep import SWEEP_RATES, Sweep, SweepTrial

__all__ = [
    "SWEEP_RATES",
    "RangeTest",
    "Sweep",
    "SweepTrial",
    "held_out_result",
    "range_test_result",
]
