"""The 2x2 rule: how much data, how similar the domain, and so what to freeze.

The rule is the one that practitioners learn first (Stanford CS231n, "Transfer Learning"; Yosinski
et al. 2014, arXiv 1411.1792). It is a prior: it looks at two numbers, not at the images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ktransfer.advisor.advice import Advice
from ktransfer.advisor.choosing import plan_for
from ktransfer.advisor.sentences import RISK, SIMILARITY, SIZE, WHY
from ktransfer.advisor.thresholds import (
    EARLIER_BLOCKS,
    FROM_SCRATCH_IMAGES_PER_CLASS,
    HIGH_RISK_FROM,
    LARGE_IMAGES_PER_CLASS,
    LOW_RISK_BELOW,
    ONE_BLOCK_OF,
    SIMILAR_FROM,
    SMALL_IMAGES_PER_CLASS,
    SMALL_NUM_IMAGES,
)
from ktransfer.errors import InputError, unknown_name

#: Weights per block of MobileNetV2 1.0 without its classifier: the default of `textbook_rule`.
MOBILENETV2_BLOCK_PARAMETERS = (
    992, 992, 5_568, 9_456, 10_640, 15_680, 15_680, 21_952, 55_936, 55_936, 55_936, 68_352,
    120_768, 120_768, 157_888, 324_160, 324_160, 478_400, 414_720,
)  # fmt: skip

_SIMILARITY_WORDS = {"similar": 1.0, "different": 0.0}


def textbook_rule(
    num_images: int,
    num_classes: int,
    similarity: float | str | None = None,
    *,
    num_features: int = 1_280,
    block_parameters: Sequence[int] = MOBILENETV2_BLOCK_PARAMETERS,
) -> Advice:
    """Decide by the 2x2 rule what to freeze.

    Small means under 500 images or under 100 a class, large more than 1,000 a class.

    Args:
        num_images: training images, at least 1.
        num_classes: at least 2.
        similarity: how similar the images are to what the backbone was trained on: a number in [0,
            1] (similar from 0.5 on), `"similar"` or `"different"`. None: nobody said; similar is
            assumed, and the reasons say that it was.
        num_features: width of the pooled feature vector that the head reads.
        block_parameters: number of weights of each block of the backbone, first block first. The
            default is MobileNetV2 1.0.

    Returns:
        An `Advice`.

    Raises:
        InputError: a count is too small, or `similarity` is neither a number in [0, 1] nor one of
            the words.

    Example:
        >>> textbook_rule(300, 5, "similar").strategy
        'linear_probe'
        >>> textbook_rule(300, 5, "similar", num_features=512).trainable_parameters
        2565
    """
    advice = rule_alone(num_images, num_classes, similarity, num_features, block_parameters)
    return replace(advice, plan=plan_for(advice))


def rule_alone(
    num_images: int,
    num_classes: int,
    similarity: float | str | None,
    num_features: int,
    block_parameters: Sequence[int],
) -> Advice:
    """Say what `textbook_rule` says, without a plan that carries it out."""
    _check_counts(num_images, num_classes)
    similar, assumption = _is_similar(similarity)
    size = size_of(num_images, num_classes)
    cell = cell_of(size, similar)
    blocks, per_class = len(block_parameters), num_images / num_classes
    strategy, kept, trained = _strategy(cell, per_class, similar, blocks)
    head = (num_features + 1) * num_classes
    trainable = head + sum(block_parameters[kept - trained : kept])
    return Advice(
        cell=cell,
        strategy=strategy,
        reasons=(size_reason(num_images, num_classes), assumption, WHY[strategy]),
        trainable_parameters=trainable,
        num_blocks=kept,
        num_trainable_blocks=trained,
        overfitting_risk=overfitting_risk(trainable, num_images, head_only=trained == 0),
        size=size,
        similar=None if similarity is None else similar,
    )


def _check_counts(num_images: int, num_classes: int) -> None:
    if num_images < 1:
        raise InputError(f"num_images must be at least 1, got {num_images}")
    if num_classes < 2:
        raise InputError(
            f"num_classes must be at least 2, got {num_classes}: one class needs no classifier"
        )


def check_similarity(similarity: float | str | None) -> None:
    """Raise an `InputError` if it is none that `advise` takes."""
    _is_similar(similarity)


def _is_similar(similarity: float | str | None) -> tuple[bool, str]:
    """Tell whether the domain counts as similar, and in a sentence where that comes from."""
    if similarity is None:
        return True, SIMILARITY["unknown"]
    if isinstance(similarity, str):
        if similarity not in _SIMILARITY_WORDS:
            raise unknown_name("similarity", similarity, tuple(_SIMILARITY_WORDS))
        similarity = _SIMILARITY_WORDS[similarity]
    if not 0.0 <= similarity <= 1.0:  # also refuses NaN
        raise InputError(
            f"similarity must lie in [0, 1] or be 'similar' or 'different', got {similarity}"
        )
    similar = similarity >= SIMILAR_FROM
    sentence = SIMILARITY["similar" if similar else "different"]
    return similar, sentence.format(similarity=similarity)


def size_of(num_images: int, num_classes: int) -> str:
    """`"small"`, `"between"` or `"large"`."""
    per_class = num_images / num_classes
    if num_images < SMALL_NUM_IMAGES or per_class < SMALL_IMAGES_PER_CLASS:
        return "small"
    return "large" if per_class > LARGE_IMAGES_PER_CLASS else "between"


def cell_of(size: str, similar: bool) -> str:
    """Return the cell of the rule."""
    return "between" if size == "between" else f"{size}_{'similar' if similar else 'different'}"


def earlier_block(num_blocks: int) -> int:
    """Say how many first blocks the textbook keeps where few images differ from the source.

    Two thirds: past the edges and textures of the first blocks, before the source's own classes.
    """
    kept, of = EARLIER_BLOCKS
    return max(1, math.ceil(num_blocks * kept / of))


def _strategy(cell: str, per_class: float, similar: bool, blocks: int) -> tuple[str, int, int]:
    """Return the strategy's name, how many blocks it keeps, and how many of these train."""
    if cell == "small_similar":
        return "linear_probe", blocks, 0
    if cell == "small_different":
        return "earlier_linear_probe", earlier_block(blocks), 0
    if cell == "between":
        # A different domain needs more of the late, source-specific blocks to move.
        one_of = ONE_BLOCK_OF["similar" if similar else "different"]
        return "last_blocks", blocks, max(1, round(blocks / one_of))
    if cell == "large_different" and per_class > FROM_SCRATCH_IMAGES_PER_CLASS:
        return "from_scratch", blocks, blocks
    return "full_fine_tune", blocks, blocks


def size_reason(num_images: int, num_classes: int) -> str:
    """Say how large the data counts, with the thresholds."""
    per_class = num_images / num_classes
    size = size_of(num_images, num_classes)
    if size == "small":
        size = "few" if num_images < SMALL_NUM_IMAGES else "few_per_class"
    return SIZE[size].format(num_images=num_images, num_classes=num_classes, per_class=per_class)


def overfitting_risk(trainable: int, num_images: int, *, head_only: bool) -> str:
    """Say how many numbers are trained for each image, and what that means."""
    per_image = trainable / num_images
    if per_image < LOW_RISK_BELOW:
        level = "low"
    elif per_image < HIGH_RISK_FROM:
        level = "moderate_head" if head_only else "moderate"
    else:
        level = "high"
    return RISK[level].format(trainable=trainable, num_images=num_images, per_image=per_image)
