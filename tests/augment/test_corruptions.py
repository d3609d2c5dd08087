"""Corruptions against Pillow, NumPy and SciPy."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy.ndimage import gaussian_filter

from ktransfer.augment import CORRUPTIONS, STRENGTHS, corrupt, view_seed
from ktransfer.errors import InputError

SEED = view_seed(3, rows=5, view=0)


def an_image(height: int = 61, width: int = 45) -> np.ndarray:
    # Smooth enough that a blur leaves something, with a border that shows how edges are treated.
    coarse = np.random.default_rng(0).integers(0, 256, (8, 6, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def corrupted(name: str, strength: float, seed: tf.Tensor = SEED) -> np.ndarray:
    return corrupt(an_image(), name, strength, seed).numpy()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_strength_0_changes_nothing(name: str) -> None:
    np.testing.assert_array_equal(corrupted(name, 0), an_image())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_greater_strength_changes_more(name: str) -> None:
    image = an_image(224, 224)
    made = [corrupt(image, name, each, SEED).numpy() for each in (0.5, *STRENGTHS)]
    changes = [np.abs(each.astype(float) - image).mean() for each in made]
    assert changes == sorted(changes)
    assert changes[0] > 0


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_graph_with_a_strength_that_is_a_tensor_gives_the_same_pixels(name: str) -> None:
    rows = tf.data.Dataset.from_tensors((an_image(), tf.constant(1.7), SEED))
    (made,) = rows.map(lambda image, strength, seed: corrupt(image, name, strength, seed))
    np.testing.assert_array_equal(made, corrupted(name, 1.7))


@pytest.mark.parametrize("strength", [*STRENGTHS, 1.25])
def test_grey_blends_with_pillows_luma(strength: float) -> None:
    photo = Image.fromarray(an_image())
    expected = Image.blend(photo, photo.convert("L").convert("RGB"), strength / 3)
    difference = corrupted("grey", strength).astype(int) - np.asarray(expected)
    assert np.abs(difference).max() <= 1


def test_grey_at_strength_3_has_three_equal_channels() -> None:
    grey = corrupted("grey", 3)
    assert (grey == grey[..., :1]).all()


@pytest.mark.parametrize("strength", [*STRENGTHS, 0.4])
@pytest.mark.parametrize("size", [(224, 300), (61, 45), (1, 500)])
def test_blur_is_scipys_gaussian_filter(strength: float, size: tuple[int, int]) -> None:
    image = an_image(*size)
    sigma = strength * min(size) / 224
    expected = gaussian_filter(image.astype(float), (sigma, sigma, 0), mode="reflect")
    made = corrupt(image, "blur", strength, SEED).numpy()
    np.testing.assert_allclose(made, expected, atol=0.5 + 1e-3)


def test_noise_has_the_deviation_stated() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    for strength in STRENGTHS:
        made = corrupt(grey, "noise", strength, SEED).numpy().astype(float) - 128
        assert made.mean() == pytest.approx(0, abs=0.5)
        expected = np.random.default_rng(0).normal(0, 0.06 * strength * 255, made.shape)
        expected = np.clip(np.round(expected), -128, 127)
        assert made.std() == pytest.approx(expected.std(), rel=0.02)
        # Pixels and channels are on their own.
        assert np.corrcoef(made[..., 0].ravel(), made[..., 1].ravel())[0, 1] == pytest.approx(
            0, abs=0.02
        )


@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_gains_of_a_colour_shift_have_the_product_1_and_the_size_stated(strength: int) -> None:
    image = np.full((1, 1, 3), 100, np.uint8)
    gains = np.array(
        [
            corrupt(image, "colour_shift", strength, view_seed(0, row, 0)).numpy()[0, 0] / 100
            for row in range(100)
        ]
    )
    logs = np.log(gains)
    # Three cosines a third of a turn apart: their squares add up to 1.5 whatever the hue.
    np.testing.assert_allclose(logs.sum(axis=1), 0, atol=0.03)
    np.testing.assert_allclose((logs**2).sum(axis=1), 1.5 * (0.15 * strength) ** 2, rtol=0.12)
    # Every hue occurs.
    assert set(logs.argmax(axis=1)) == set(logs.argmin(axis=1)) == {0, 1, 2}


@pytest.mark.parametrize("name", ["noise", "colour_shift"])
def test_the_seed_decides_what_is_random(name: str) -> None:
    again, other = corrupted(name, 2), corrupted(name, 2, view_seed(3, rows=6, view=0))
    np.testing.assert_array_equal(corrupted(name, 2), again)
    assert (again != other).any()


def test_noise_is_another_than_the_draws_of_a_view() -> None:
    plain = tf.random.stateless_normal((20, 20, 3), SEED, alg="philox").numpy()
    made = corrupt(np.full((20, 20, 3), 128, np.uint8), "noise", 1, SEED).numpy().astype(float)
    assert abs(np.corrcoef(plain.ravel(), made.ravel())[0, 1]) < 0.1


def test_an_unknown_corruption_is_refused_with_the_near_name() -> None:
    with pytest.raises(InputError, match=r"unknown corruption 'gray'.*grey"):
        corrupt(an_image(), "gray", 1, SEED)


@pytest.mark.parametrize("strength", [-0.1, 3.5, float("nan")])
def test_a_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(InputError, match=rf"from 0 to 3, got {strength}"):
        corrupt(an_image(), "grey", strength, SEED)


def test_images_that_are_not_uint8_are_refused() -> None:
    with pytest.raises(InputError, match=r"uint8 .*got float32 \(2, 2, 3\)"):
        corrupt(tf.zeros((2, 2, 3)), "grey", 1, SEED)
