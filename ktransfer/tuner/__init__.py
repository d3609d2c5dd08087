"""The search for how many blocks to unfreeze, and how fast: KerasTuner over the plans.

    from ktransfer.tuner import UnfreezeTuner
    tuner = UnfreezeTuner("MobileNetV2", directory="runs/search", max_unfreeze=6, max_trials=12)
    tuner.search("photos/")
    tuner.best_plan                       # for FineTuner.fit(plan=...) or `train --plan`

What frozen blocks say is kept by content and computed once for all trials, processes and searches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names
from ktransfer.tuner.requirements import check_installed

if TYPE_CHECKING:
    from ktransfer.tuner.space import plan_of, search_space
    from ktransfer.tuner.tuner import UnfreezeTuner

_HOME = {
    "UnfreezeTuner": "tuner",
    "plan_of": "space",
    "search_space": "space",
}

__all__ = ["UnfreezeTuner", "plan_of", "search_space"]

check_installed()

__getattr__, __dir__ = lazy_names(__name__, _HOME)
