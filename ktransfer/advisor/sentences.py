"""The sentences of the 2x2 rule, to be filled in with `str.format`.

They are data so that the simulator (`pages.simulator`) says the same in a browser as the rule does
here; it knows the formats `,`, `,.0f` and `g`.
"""

from ktransfer.advisor.thresholds import (
    FROM_SCRATCH_IMAGES_PER_CLASS,
    LARGE_IMAGES_PER_CLASS,
    SIMILAR_FROM,
    SMALL_IMAGES_PER_CLASS,
    SMALL_NUM_IMAGES,
)

_COUNTS = "{num_images:,} training images of {num_classes} classes, {per_class:,.0f} a class"
_FIGURES = (
    "{trainable:,} trainable parameters for {num_images:,} images, {per_image:,.0f} per image"
)

#: How large the data counts, with the thresholds.
SIZE = {
    "few": f"{_COUNTS} (small: under {SMALL_NUM_IMAGES} images).",
    "few_per_class": f"{_COUNTS} (small: under {SMALL_IMAGES_PER_CLASS} a class).",
    "between": (
        f"{_COUNTS} (between: {SMALL_IMAGES_PER_CLASS} to {LARGE_IMAGES_PER_CLASS:,} a class)."
    ),
    "large": f"{_COUNTS} (large: over {LARGE_IMAGES_PER_CLASS:,} a class).",
}

#: Whether the domain counts as similar, and where that comes from.
SIMILARITY = {
    "unknown": (
        "Nobody said how similar the images are to the backbone's own; they are taken to be "
        "similar, as photos are to ImageNet. Say similarity='different' if they are not photos."
    ),
    "similar": (
        "The domain is similar to the backbone's: similarity {similarity:g}, at least "
        f"{SIMILAR_FROM:g}."
    ),
    "different": (
        "The domain is different from the backbone's: similarity {similarity:g}, under "
        f"{SIMILAR_FROM:g}."
    ),
}

#: Why a strategy is the one to take.
WHY = {
    "linear_probe": (
        "Few images and a familiar domain: the backbone's features already separate such classes, "
        "and moving its weights on so few images would overfit. So everything is frozen and only "
        "the head trains."
    ),
    "earlier_linear_probe": (
        "Few images and an unfamiliar domain: the last blocks are specific to what the backbone "
        "was trained on. So everything is frozen and the head reads earlier, more generic features."
    ),
    "last_blocks": (
        "Enough images to adapt the last, most specific blocks, too few to move the whole backbone "
        "safely. So the first blocks stay frozen and the last ones are fine-tuned with the head."
    ),
    "full_fine_tune": (
        "Many images: the whole backbone can be fine-tuned at a small learning rate without "
        "overfitting; starting from pretrained weights still saves most of the training."
    ),
    "from_scratch": (
        f"More than {FROM_SCRATCH_IMAGES_PER_CLASS:,} images a class in an unfamiliar domain: "
        "enough to train from scratch or to fine-tune broadly; what the backbone knows of its own "
        "domain helps little here."
    ),
}

#: How many numbers are trained for each image, and what that means.
RISK = {
    "low": f"low: {_FIGURES}",
    # A linear head on fixed features is convex; early stopping holds it back.
    "moderate_head": (
        f"moderate: {_FIGURES}; the head is linear and stops early on the validation images"
    ),
    "moderate": (f"moderate: {_FIGURES}; augment, keep the learning rate small and stop early"),
    "high": f"high: {_FIGURES}; fewer blocks that train, or more images, lower it",
}
