"""The gate by itself: what it lets through, and what it finds."""

import numpy as np
import pytest

from ktransfer import RunError
from ktransfer.data import read_images, resize_array
from ktransfer.export.agreement import compare, expected

NAMES = ("dark", "light")


def model(images):
    """The share of light in images of 16 x 16 pixels."""
    light = images.astype(np.float32).mean(axis=(1, 2, 3)) / 255
    return np.stack([1 - light, light], axis=1).astype(np.float32)


def whole(images):
    return model(resize_array(images, (16, 16)))


@pytest.fixture(scope="module")
def wanted():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 48, 40, 3)).astype(np.uint8)
    images[::2] //= 2  # dark ones
    part, _ = read_images(
        images[:, None].reshape(40, 48, 40, 3) if False else (images, np.zeros(40))
    )
    return expected(model, part, whole(images), (16, 16))


def judged(predict, wanted, any_size=True):
    return compare(predict, wanted, NAMES, any_size=any_size, bound=1e-4)


def test_what_says_the_same_passes_with_its_figures(wanted):
    found = judged(lambda images: whole(images) + np.float32([3e-5, -3e-5]), wanted)
    assert found.num_images == 40
    assert found.top1_agreement == 1.0
    assert found.max_difference == pytest.approx(3e-5, rel=0.05)
    assert found.mean_difference == pytest.approx(3e-5, rel=0.05)
    assert found.accuracy is None  # images without labels


def test_fixed_size_is_given_images_of_that_size_only(wanted):
    assert judged(model, wanted, any_size=False).max_difference < 1e-6
    with pytest.raises(RunError, match="does not predict the same"):
        judged(lambda images: model(images[:, :16, :16]), wanted)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda images, right: right + np.float32([2e-4, -2e-4]), id="bound"),
        pytest.param(lambda images, right: np.full_like(right, np.nan), id="nan"),
        pytest.param(lambda images, right: right[:, ::-1], id="classes"),
        pytest.param(
            lambda images, right: right if len(images) == 1 else right[::-1], id="only in batches"
        ),
        pytest.param(
            lambda images, right: right if images.shape[1] == 16 else right[:, ::-1],
            id="only at its own size",
        ),
    ],
)
def test_fault_is_found(wanted, fault):
    with pytest.raises(RunError, match=r"on \d+ of 40 prediction images.*most on image \d+ of"):
        judged(lambda images: fault(images, whole(images)), wanted)


def test_other_class_is_a_fault_within_the_bound_too():
    images = np.full((1, 16, 16, 3), 127, np.uint8)
    part, _ = read_images((images, np.zeros(1)))
    even = lambda images: np.full((len(images), 2), [0.50001, 0.49999], np.float32)  # noqa: E731
    wanted = expected(even, part, even(images), (16, 16))
    with pytest.raises(RunError, match=r"'dark' with 0\.500010, the export 'light' with 0\.500010"):
        judged(lambda images: even(images)[:, ::-1], wanted)


def test_worst_image_is_the_one_that_is_named(wanted):
    def off_on_one(images):
        right = whole(images)
        bad = np.isclose(right, whole(wanted.resized[17:18])).all(axis=1)
        return right + np.where(bad[:, None], np.float32([0.01, -0.01]), np.float32([2e-4, -2e-4]))

    with pytest.raises(RunError, match=r"most on image 17 of .*largest difference 0\.01"):
        judged(off_on_one, wanted)


def test_other_number_of_classes_is_said(wanted):
    with pytest.raises(
        RunError, match=r"probabilities of shape \(3,\) for an image, the model \(2,\)"
    ):
        judged(lambda images: np.zeros((len(images), 3), np.float32), wanted)


def test_without_a_bound_any_probabilities_pass_but_they_must_be_numbers(wanted):
    def judge(predict):
        return compare(predict, wanted, NAMES, any_size=True, bound=None)

    assert judge(lambda images: whole(images)[:, ::-1]).top1_agreement < 0.5
    with pytest.raises(RunError, match=r"no numbers \(NaN or infinity\) for 40 of 40 prediction"):
        judge(lambda images: np.full_like(whole(images), np.nan))
