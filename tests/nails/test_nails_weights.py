"""A seeded training in three stages ends with the weights that it ended with before."""

import numpy as np
import pytest
import same_weights
from nails.make import DATA

THEN = DATA / "three_stages.npz"


@pytest.fixture(scope="module")
def now(tmp_path_factory):
    return same_weights.train(same_weights.draw_pictures(tmp_path_factory.mktemp("w") / "pictures"))


def test_three_stages_end_with_the_weights_of_then(now):
    # Not bit for bit: another processor, or another number of threads, rounds otherwise.
    for found, expected in zip(now, same_weights.read(THEN), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_every_block_has_moved_by_more_than_what_is_let_pass():
    before = same_weights.network().weights
    after = same_weights.read(THEN)
    for weight, then in zip(before, after, strict=False):
        assert np.abs(np.asarray(weight) - then).max() > 1e-3, weight.path


@pytest.mark.slow
def test_the_same_code_gives_the_same_bits():
    first, second = (same_weights.trained_by(same_weights.ROOT) for _ in range(2))
    assert same_weights.digest(first) == same_weights.digest(second)


def test_a_single_bit_changes_the_digest():
    then = same_weights.read(THEN)
    other = [each.copy() for each in then]
    other[0].flat[0] = np.nextafter(other[0].flat[0], np.float32(9))
    assert same_weights.digest(other) != same_weights.digest(then)
