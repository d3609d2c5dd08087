"""What there is to say of a plan beside the plan itself."""

from __future__ import annotations

from ktransfer.augment.policies import POLICIES
from ktransfer.plan.augmentation import choice_for
from ktransfer.plan.plan import Plan
from ktransfer.plan.stage import AUTO

_FLIP_NOTE = (
    "half of the augmented views are mirrored: whether that keeps the label, only the images say "
    "(letters, left and right hands and organs it does not)"
)


def augmentation_notes(plan: Plan, num_blocks: int, images_per_class: float) -> tuple[str, ...]:
    """Say what there is to say of a plan's augmentation: the reason of every "auto", and flips.

    Args:
        plan: the plan before its "auto" became a name.
        num_blocks: how many blocks the backbone has.
        images_per_class: training images by classes.
    """
    notes, mirrored = [], False
    for stage in plan.stages:
        augmentation = stage.augmentation
        if augmentation == AUTO:
            choice = choice_for(stage, plan.num_blocks or num_blocks, images_per_class)
            notes.append(f"stage {stage.name!r}: augmentation {choice}")
            augmentation = choice.augmentation
        mirrored |= POLICIES[augmentation].mirrors
    return (*notes, _FLIP_NOTE) if mirrored else tuple(notes)
