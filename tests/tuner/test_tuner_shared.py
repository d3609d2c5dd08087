"""What trials share: within the budget, the deepest cut first."""

import math

import numpy as np
import pytest
from conftest import write_pictures
from training_networks import three_blocks

from ktransfer import InputError
from ktransfer.backbones import load_backbone
from ktransfer.cache import Store
from ktransfer.data import read_data
from ktransfer.tuner import search_space
from ktransfer.tuner.shared import share

NUM_IMAGES, NUM_TRAIN = 30, 24
#: Numbers of a row behind the blocks 1 and 2 of the network, and of its features.
BLOCK_1, BLOCK_2, FEATURES = 8 * 8 * 4, 4 * 4 * 5, 6
MB = 2**20


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return read_data(write_pictures(tmp_path_factory.mktemp("sharing") / "pictures", 10))


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(three_blocks(), preprocessing="none")


def narrow(backbone, augmentations=("none",), depths=(0, 1, 2)):
    from keras_tuner import HyperParameters

    given = HyperParameters()
    given.Choice("unfreeze", list(depths))
    given.Choice("augmentation", list(augmentations))
    return search_space(backbone, hyperparameters=given)


def test_the_size_is_that_of_images_features_and_rows(backbone, splits):
    assert [len(each) for each in splits.parts] == [NUM_TRAIN, NUM_IMAGES - NUM_TRAIN]
    found = share(backbone, "avg", narrow(backbone), splits)
    pixels = NUM_IMAGES * math.prod(backbone.input_size) * 3
    assert found.size_mb * MB == pytest.approx(
        pixels + 4 * NUM_IMAGES * (FEATURES + BLOCK_1 + BLOCK_2)
    )
    assert (found.cuts, found.left_out) == ((1, 2), ())
    assert found.budget_mb == pytest.approx(Store().free_mb(), rel=0.05)


def test_views_take_their_room_for_every_seed(backbone, splits):
    plain = share(backbone, "avg", narrow(backbone), splits)
    space = narrow(backbone, ("none", "light", "standard"))
    views = share(backbone, "avg", space, splits, seeds=3)
    larger = NUM_TRAIN * (24 * 24) * 3  # "standard" cuts its views out of larger images
    of_views = 3 * 2 * 4 * NUM_TRAIN * (BLOCK_1 + BLOCK_2) * 4
    assert (views.size_mb - plain.size_mb) * MB == pytest.approx(larger + of_views)
    twice = share(backbone, "avg", narrow(backbone), splits, copies=2)
    assert twice.size_mb == pytest.approx(2 * plain.size_mb)


@pytest.mark.parametrize(
    ("room", "cuts", "left_out"),
    [
        (BLOCK_1 + BLOCK_2, (1, 2), ()),
        (BLOCK_1, (1,), (2,)),
        (BLOCK_2, (2,), (1,)),
        (1, (), (1, 2)),
    ],
)
def test_the_deepest_cut_comes_first_and_then_what_fits(backbone, splits, room, cuts, left_out):
    least = NUM_IMAGES * (16 * 16 * 3 + 4 * FEATURES)
    budget = (least + 4 * NUM_IMAGES * room + 1) / MB
    found = share(backbone, "avg", narrow(backbone), splits, budget_mb=budget)
    assert (found.cuts, found.left_out) == (cuts, left_out)
    assert found.size_mb <= found.budget_mb == budget
    assert ("no room for those behind" in str(found)) == bool(left_out)


def test_where_nothing_or_everything_is_frozen_no_cut_is_kept(backbone, splits):
    assert share(backbone, "avg", narrow(backbone, depths=(0, 3)), splits).cuts == ()


@pytest.mark.parametrize("budget", [0, -1, np.nan, "1"])
def test_a_budget_is_a_number_of_megabytes(backbone, splits, budget):
    with pytest.raises(InputError, match="cache_mb must be a finite number above 0"):
        share(backbone, "avg", narrow(backbone), splits, budget_mb=budget)


def test_a_budget_that_is_not_enough_for_images_says_what_is(backbone, splits):
    with pytest.raises(InputError, match=r"features take 0\.0227 MB, got cache_mb=0\.001: give at"):
        share(backbone, "avg", narrow(backbone), splits, budget_mb=0.001)
