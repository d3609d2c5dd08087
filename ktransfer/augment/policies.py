"""The policies by name, as plain data: what each does to an image, and to a batch."""

from __future__ import annotations

from dataclasses import dataclass

from ktransfer.errors import unknown_name


@dataclass(frozen=True)
class Policy:
    """What an augmentation is made of.

    Attributes:
        summary: in a line.
        crops: whether it takes a random part, and so wants more pixels than the input has.
        mirrors: whether half of its views are mirrored.
        mixes: whether it mixes the images and labels of a batch.
    """

    summary: str
    crops: bool = False
    mirrors: bool = False
    mixes: bool = False


POLICIES = {
    "none": Policy("every image as it is"),
    "light": Policy("half of the views mirrored", mirrors=True),
    "standard": Policy("a random part, resized; half mirrored", crops=True, mirrors=True),
    "strong": Policy(
        "a random part, mirrored; TrivialAugment; erasing; MixUp or CutMix of each batch",
        crops=True,
        mirrors=True,
        mixes=True,
    ),
    "grey": Policy("less colour, down to none"),
    "blur": Policy("out of focus, more or less"),
    "noise": Policy("the noise of a sensor, more or less"),
    "colour_shift": Policy("another white balance"),
}
AUGMENTATIONS = tuple(POLICIES)


def policy_of(augmentation: str) -> Policy:
    """Return the policy of a name.

    Raises:
        InputError: it is none of `AUGMENTATIONS`.
    """
    if augmentation not in POLICIES:
        raise unknown_name("augmentation", str(augmentation), AUGMENTATIONS)
    return POLICIES[augmentation]
