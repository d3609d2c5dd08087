"""Which augmentation suits how many images, where nobody says it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from ktransfer.errors import InputError
from ktransfer.plan.fields import whole
from ktransfer.plan.stage import Stage

#: From so many images a class on they vary by themselves.
PLENTY_PER_CLASS = 5_000
#: Up to so many a class, a few fixed views of each are worth their time behind frozen blocks.
FEW_PER_CLASS = 100
#: Mixed images are harder than those of the validation: only long trainings learn them.
LONG_EPOCHS = 50
#: Fixed views of each image, where what frozen blocks say of them is kept.
FIXED_VIEWS = 4


@dataclass(frozen=True)
class AugmentationChoice:
    """An augmentation and why it.

    Attributes:
        augmentation: one of `ktransfer.augment.AUGMENTATIONS`.
        views: as in `Stage`.
        reason: in a sentence.
    """

    augmentation: str
    views: int | None
    reason: str

    def __str__(self) -> str:
        views = f", {self.views} views of each image" if self.views else ""
        return f"{self.augmentation}{views}: {self.reason}"


def choose_augmentation(
    images_per_class: float, *, unfreeze: int, num_blocks: int, epochs: int
) -> AugmentationChoice:
    """Return an augmentation by the size of the data, and by what a stage keeps frozen.

    A prior, as the 2x2 rule is one: it looks at numbers, not at the images. It asks first what
    augmentation costs: what frozen blocks say of an image is computed once, and of every new view
    again.

    Args:
        images_per_class: training images by classes, above 0.
        unfreeze: how many last blocks train.
        num_blocks: how many blocks the model has.
        epochs: most epochs of the stage.

    Raises:
        InputError: A number is out of range.

    Example:
        >>> choose_augmentation(60, unfreeze=0, num_blocks=19, epochs=30).augmentation
        'none'
        >>> choice = choose_augmentation(60, unfreeze=4, num_blocks=19, epochs=10)
        >>> choice.augmentation, choice.views
        ('standard', 4)

    Source: Steiner et al. 2021, How to train your ViT? (arXiv 2106.10270): augmentation pays in
        long trainings on few images, and seldom where pretrained weights are adapted; Kornblith et
        al. 2018 (arXiv 1805.08974), who fine-tune with random parts and flips on all their sets.
        The numbers are ours, and round.
    """
    _check(images_per_class, unfreeze, num_blocks, epochs)
    said = f"{images_per_class:,.0f} images a class"
    if unfreeze == 0:
        return AugmentationChoice(
            "none",
            None,
            "every block is frozen and runs once for each image; views would take that time again, "
            "and the head alone has little to gain from them",
        )
    if unfreeze < num_blocks and images_per_class > FEW_PER_CLASS:
        return AugmentationChoice(
            "none",
            None,
            f"{said}, more than {FEW_PER_CLASS}, and frozen blocks that run once for each image: "
            "new views would run them in every epoch",
        )
    if unfreeze < num_blocks:
        return AugmentationChoice(
            "standard",
            FIXED_VIEWS,
            f"{said}, at most {FEW_PER_CLASS}: {FIXED_VIEWS} fixed views of each, so that the "
            "frozen blocks still run only once for each of these",
        )
    if images_per_class >= PLENTY_PER_CLASS:
        return AugmentationChoice(
            "light", None, f"{said}, {PLENTY_PER_CLASS:,} or more: they vary by themselves"
        )
    if epochs >= LONG_EPOCHS:
        return AugmentationChoice(
            "strong",
            None,
            f"{said}, under {PLENTY_PER_CLASS:,}, and {epochs} epochs of everything: without "
            "strong views they would be learned by heart",
        )
    return AugmentationChoice(
        "standard", None, f"{said}, under {PLENTY_PER_CLASS:,}, and every block trains"
    )


def with_augmentation(stage: Stage, num_blocks: int, images_per_class: float) -> Stage:
    """Return a stage whose augmentation "auto" has become one with a name."""
    choice = choice_for(stage, num_blocks, images_per_class)
    return dataclasses.replace(stage, augmentation=choice.augmentation, views=choice.views)


def choice_for(stage: Stage, num_blocks: int, images_per_class: float) -> AugmentationChoice:
    """Say what `choose_augmentation` says of a stage."""
    return choose_augmentation(
        images_per_class,
        unfreeze=stage.num_trainable_blocks(num_blocks),
        num_blocks=num_blocks,
        epochs=stage.epochs,
    )


def _check(images_per_class: float, unfreeze: int, num_blocks: int, epochs: int) -> None:
    if not 0 < images_per_class < math.inf:
        raise InputError(
            f"choose_augmentation: images_per_class must be above 0, got {images_per_class!r}"
        )
    for field, value, least in (
        ("num_blocks", num_blocks, 1),
        ("unfreeze", unfreeze, 0),
        ("epochs", epochs, 1),
    ):
        whole("choose_augmentation", field, value, least)
    if unfreeze > num_blocks:
        raise InputError(
            f"choose_augmentation: unfreeze must be at most the {num_blocks} blocks, got {unfreeze}"
        )
