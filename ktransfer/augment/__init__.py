"""Random views of training images that can be had again: pure functions of image and seed."""

from ktransfer.augment.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from ktransfer.augment.views import AUGMENTATIONS, augment, source_size, view_seed

__all__ = [
    "AUGMENTATIONS",
    "CORRUPTIONS",
    "STRENGTHS",
    "augment",
    "corrupt",
    "source_size",
    "view_seed",
]
