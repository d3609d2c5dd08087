"""Plans: what trains when, for how long and how fast, as plain data. No training happens here."""

from ktransfer.plan.augmenting import (
    AugmentationChoice,
    augmentation_notes,
    choose_augmentation,
)
from ktransfer.plan.choosing import ADVISED, PLAN_NAMES, choose_plan, named_plan, plan_for
from ktransfer.plan.named import (
    classic,
    from_scratch,
    full_fine_tune,
    gradual_unfreeze,
    last_blocks,
    linear_probe,
    lp_ft,
)
from ktransfer.plan.plan import Plan
from ktransfer.plan.rates import LearningRates, StageSpan
from ktransfer.plan.stage import Stage

__all__ = [
    "ADVISED",
    "PLAN_NAMES",
    "AugmentationChoice",
    "LearningRates",
    "Plan",
    "Stage",
    "StageSpan",
    "augmentation_notes",
    "choose_augmentation",
    "choose_plan",
    "classic",
    "from_scratch",
    "full_fine_tune",
    "gradual_unfreeze",
    "last_blocks",
    "linear_probe",
    "lp_ft",
    "named_plan",
    "plan_for",
]
