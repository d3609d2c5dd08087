import math

import pytest

from ktransfer import InputError, textbook_rule
from ktransfer.advisor import MOBILENETV2_BLOCK_PARAMETERS


@pytest.mark.parametrize(
    ("num_images", "num_classes", "similarity", "cell", "strategy"),
    [
        (300, 5, "similar", "small_similar", "linear_probe"),
        (499, 2, 0.5, "small_similar", "linear_probe"),
        (499, 2, 0.49, "small_different", "earlier_linear_probe"),
        (990, 10, "similar", "small_similar", "linear_probe"),  # 99 a class
        (500, 5, "different", "between", "last_blocks"),  # exactly 500 images, 100 a class
        (2_000, 2, "similar", "between", "last_blocks"),  # exactly 1,000 a class
        (2_002, 2, "similar", "large_similar", "full_fine_tune"),
        (2_002, 2, "different", "large_different", "full_fine_tune"),
        (10_002, 2, "different", "large_different", "from_scratch"),
    ],
)
def test_every_cell_of_the_rule(num_images, num_classes, similarity, cell, strategy):
    advice = textbook_rule(num_images, num_classes, similarity)
    assert (advice.cell, advice.strategy) == (cell, strategy)


def test_head_of_512_features_and_5_classes_has_2565_parameters():
    assert textbook_rule(300, 5, "similar", num_features=512).trainable_parameters == 2_565


def test_trainable_parameters_count_the_blocks_that_train():
    blocks, head = (10, 20, 30, 40, 50, 60), 4 * 2 + 2
    probe, full = (
        textbook_rule(each, 2, "similar", num_features=4, block_parameters=blocks)
        for each in (100, 3_000)
    )
    assert probe.trainable_parameters == head
    assert full.trainable_parameters == head + sum(blocks)
    last = textbook_rule(1_000, 2, "similar", num_features=4, block_parameters=blocks)
    assert last.trainable_parameters == head + 60
    last = textbook_rule(1_000, 2, "different", num_features=4, block_parameters=blocks)
    assert last.trainable_parameters == head + 50 + 60


def test_earlier_features_stop_before_the_last_blocks():
    advice = textbook_rule(300, 5, "different")
    assert advice.num_blocks == math.ceil(len(MOBILENETV2_BLOCK_PARAMETERS) * 2 / 3)
    assert advice.num_trainable_blocks == 0


def test_reasons_say_when_similarity_was_assumed():
    assert any("Nobody said" in reason for reason in textbook_rule(300, 5).reasons)
    assert not any("Nobody said" in reason for reason in textbook_rule(300, 5, 1.0).reasons)


def test_overfitting_risk_grows_with_parameters_per_image():
    def risk(num_images, strategy_features):
        advice = textbook_rule(num_images, 2, "similar", num_features=strategy_features)
        return advice.overfitting_risk.split(":")[0]

    assert risk(400, 100) == "low"
    assert risk(400, 10_000) == "moderate"
    assert risk(10, 100_000) == "high"


@pytest.mark.parametrize("similarity", [-0.1, 1.1, math.nan])
def test_similarity_outside_0_to_1_is_refused(similarity):
    with pytest.raises(InputError, match=rf"\[0, 1\].*got {similarity}"):
        textbook_rule(300, 5, similarity)


def test_unknown_similarity_word_names_near_ones():
    with pytest.raises(InputError, match="unknown similarity 'simlar': did you mean similar"):
        textbook_rule(300, 5, "simlar")


def test_counts_that_make_no_classifier_are_refused():
    with pytest.raises(InputError, match="num_images must be at least 1, got 0"):
        textbook_rule(0, 2)
    with pytest.raises(InputError, match="num_classes must be at least 2, got 1"):
        textbook_rule(10, 1)
