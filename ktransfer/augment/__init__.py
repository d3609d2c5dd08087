"""Random views of training images that can be had again: pure functions of image and seed.

    view = augment(image, view_seed(0, rows=5, view=2), "standard", (224, 224))
    layer = Augmentation("standard", seed=0)          # the same as a Keras layer

Names load on first use (PEP 562), so that `ktransfer.plan` can name the policies without importing
TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.augment.corruptions import CORRUPTIONS, STRENGTHS, corrupt
    from ktransfer.augment.layer import Augmentation
    from ktransfer.augment.mixing import mix
    from ktransfer.augment.policies import AUGMENTATIONS, POLICIES, Policy, policy_of
    from ktransfer.augment.views import augment, source_size, view_seed

__all__ = [
    "AUGMENTATIONS",
    "CORRUPTIONS",
    "POLICIES",
    "STRENGTHS",
    "Augmentation",
    "Policy",
    "augment",
    "corrupt",
    "mix",
    "policy_of",
    "source_size",
    "view_seed",
]

_HOME = {
    "AUGMENTATIONS": "policies",
    "Augmentation": "layer",
    "CORRUPTIONS": "corruptions",
    "POLICIES": "policies",
    "Policy": "policies",
    "STRENGTHS": "corruptions",
    "augment": "views",
    "corrupt": "corruptions",
    "mix": "mixing",
    "policy_of": "policies",
    "source_size": "views",
    "view_seed": "views",
}

_MOVED = dict.fromkeys(("Look", "look"), "ktransfer.augment.samples")

__getattr__, __dir__ = lazy_names(__name__, _HOME, moved=_MOVED)
