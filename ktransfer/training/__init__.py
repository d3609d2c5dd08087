"""Carrying out a plan: models, rows, stages, checkpoints. The one place where training happens."""

from ktransfer._lazy import moved_names
from ktransfer.training.caching import CACHE_MODES, CacheDecision, CacheMode, check_cache_mode
from ktransfer.training.calibration import best_temperature
from ktransfer.training.callbacks import assign, values_of
from ktransfer.training.checkpoint import Checkpoints
from ktransfer.training.devices import choose_jit_compile, choose_precision, measures_bfloat16
from ktransfer.training.resume import check_same
from ktransfer.training.search import range_test, sweep
from ktransfer.training.settings import Settings
from ktransfer.training.training import Training

__all__ = [
    "CACHE_MODES",
    "CacheDecision",
    "CacheMode",
    "Checkpoints",
    "Settings",
    "Training",
    "assign",
    "best_temperature",
    "check_cache_mode",
    "check_same",
    "choose_jit_compile",
    "choose_precision",
    "measures_bfloat16",
    "range_test",
    "sweep",
    "values_of",
]

_MOVED = ("CACHE_DTYPES", "Network", "RowSource", "body", "randomize")

__getattr__ = moved_names(__name__, dict.fromkeys(_MOVED, "ktransfer.features"))
