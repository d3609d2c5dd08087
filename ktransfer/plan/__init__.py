"""Plans: what trains when, for how long and how fast, as plain data. No training happens here."""

from ktransfer._lazy import moved_names
from ktransfer.plan.augmentation import AugmentationChoice, choose_augmentation
from ktransfer.plan.by_name import PLAN_NAMES, named_plan
from ktransfer.plan.named import (
    classic,
    from_scratch,
    full_fine_tune,
    gradual_unfreeze,
    last_blocks,
    linear_probe,
    lp_ft,
    lp_ft_refit,
)
from ktransfer.plan.notes import augmentation_notes
from ktransfer.plan.plan import Plan
from ktransfer.plan.rates import LearningRates, StageSpan
from ktransfer.plan.stage import Stage

__all__ = [
    "PLAN_NAMES",
    "AugmentationChoice",
    "LearningRates",
    "Plan",
    "Stage",
    "StageSpan",
    "augmentation_notes",
    "choose_augmentation",
    "classic",
    "from_scratch",
    "full_fine_tune",
    "gradual_unfreeze",
    "last_blocks",
    "linear_probe",
    "lp_ft",
    "lp_ft_refit",
    "named_plan",
]

__getattr__ = moved_names(
    __name__, dict.fromkeys(("ADVISED", "choose_plan", "plan_for"), "ktransfer.advisor")
)
