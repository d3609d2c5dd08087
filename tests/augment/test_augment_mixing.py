"""MixUp and CutMix: what Keras' own layers make of the same draws, and labels that follow."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from ktransfer import InputError
from ktransfer.augment import mix
from ktransfer.augment.mixing import cut_mixed, mixed_up
from ktransfer.data.batches.rows import shuffled_batches


def batch(number=5, height=12, width=16):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (number, height, width, 3), dtype=np.uint8)
    return tf.constant(images), tf.one_hot(np.arange(number) % 3, 3)


def seed_of(*numbers):
    return tf.constant(numbers, tf.int64)


def test_mixed_up_is_what_keras_mixup_makes_of_the_same_shares():
    images, _ = batch()
    shares = np.array([0.1, 0.5, 0.25, 1.0, 0.0])
    mixed, kept = mixed_up(images, tf.constant(shares))
    layer = keras.layers.MixUp()
    drawn = {"mix_weight": tf.constant(shares, tf.float32), "permutation_order": [1, 2, 3, 4, 0]}
    expected = layer.transform_images(tf.cast(images, tf.float32), drawn)
    np.testing.assert_array_equal(mixed, tf.cast(tf.round(expected), tf.uint8))
    np.testing.assert_array_equal(kept, shares)


def test_cut_mixed_is_what_keras_cutmix_makes_of_the_same_rectangles():
    images, _ = batch()
    draws = np.random.default_rng(1).random((5, 3))
    mixed, own = cut_mixed(images, tf.constant(draws))
    masks = np.zeros((5, 12, 16, 3), bool)
    for mask, (share, y, x) in zip(masks, draws, strict=True):
        # The paper's rand_bbox, written out.
        height, width = np.sqrt(1 - share) * 12, np.sqrt(1 - share) * 16
        top, bottom = np.clip([y * 12 - height / 2, y * 12 + height / 2], 0, 12).round().astype(int)
        left, right = np.clip([x * 16 - width / 2, x * 16 + width / 2], 0, 16).round().astype(int)
        mask[top:bottom, left:right] = True
    drawn = {"batch_masks": masks, "permutation_order": [1, 2, 3, 4, 0]}
    expected = keras.layers.CutMix().transform_images(tf.cast(images, tf.float32), drawn)
    np.testing.assert_array_equal(mixed, tf.cast(expected, tf.uint8))
    np.testing.assert_allclose(own, 1 - masks[..., 0].mean(axis=(1, 2)))


def test_labels_are_the_shares_that_the_pixels_have():
    # Every image has one level: what it became says how much of it is whose.
    levels = np.array([0, 60, 120, 200], np.uint8)
    images = tf.constant(np.broadcast_to(levels[:, None, None, None], (4, 20, 20, 3)))
    labels = tf.eye(4)
    for number in range(30):
        mixed, shares = mix(images, labels, seed_of(7, number))
        np.testing.assert_allclose(np.sum(shares, axis=1), 1, atol=1e-6)
        found = np.mean(mixed, axis=(1, 2, 3))
        np.testing.assert_allclose(found, shares.numpy() @ levels, atol=0.5)


def test_both_kinds_come_in_about_half_of_the_batches_and_shares_as_in_the_papers():
    images, _ = batch(64, 4, 4)
    kinds, own = {"mixup": 0, "cutmix": 0}, []
    for number in range(60):
        mixed, shares = mix(images, tf.eye(64), seed_of(1, number))
        pure = np.all((mixed == images) | (mixed == tf.roll(images, -1, 0)))
        kinds["cutmix" if pure else "mixup"] += 1
        if not pure:
            own += list(np.diag(shares))
    assert 15 < kinds["mixup"] < 45
    assert stats.kstest(own, stats.beta(0.2, 0.2).cdf).statistic < 0.05


def test_same_seed_gives_the_same_batch_eagerly_and_in_a_graph_and_other_seeds_others():
    images, labels = batch()
    graph = tf.function(mix)
    for number in range(8):
        seed = seed_of(3, number)
        for one, two in zip(mix(images, labels, seed), graph(images, labels, seed), strict=True):
            np.testing.assert_array_equal(one, two)
    made = {mix(images, labels, seed_of(*at))[0].numpy().tobytes() for at in np.ndindex(4, 5)}
    assert len(made) == 20


def test_one_image_alone_stays_as_it_is():
    images, labels = batch(1)
    for number in range(4):
        mixed, shares = mix(images, labels, seed_of(0, number))
        np.testing.assert_array_equal(mixed, images)
        np.testing.assert_allclose(shares, labels)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), np.eye(2), r"uint8 \(batch, .* got float32 \(2, 4,"),
        (np.zeros((4, 4, 3), np.uint8), np.eye(2), r"must be a batch, .* got uint8 \(4, 4, 3\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 1]), r"must be float .* got int64 \(2,\)"),
    ],
)
def test_what_cannot_be_mixed_is_refused(images, labels, message):
    with pytest.raises(InputError, match=message):
        mix(images, labels, seed_of(0, 0))


def test_batches_of_an_epoch_are_mixed_the_same_from_wherever_it_is_begun():
    values = batch(10, 6, 6)[0].numpy()
    labels = np.arange(10) % 3

    def mixing(images, classes, seed):
        return mix(images, tf.one_hot(classes, 3), seed)

    def epochs(first_epoch, number, mix=mixing):
        made = shuffled_batches(
            values, labels, batch_size=4, seed=5, first_epoch=first_epoch, mix=mix
        )
        return list(made.take(3 * number).as_numpy_iterator())

    whole, later = epochs(0, 4), epochs(2, 2)
    for one, two in zip(whole[6:], later, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
    # The very batches that come without mixing, with a seed that no other batch has.
    seeds = [
        tuple(seed)
        for *_, seed in epochs(0, 4, mix=lambda images, classes, seed: (images, classes, seed))
    ]
    assert len(set(seeds)) == 12
    for (images, classes), mixed, seed in zip(epochs(0, 4, mix=None), whole, seeds, strict=True):
        expected = mixing(tf.constant(images), classes, seed_of(*seed))
        np.testing.assert_array_equal(mixed[0], expected[0])
        np.testing.assert_array_equal(mixed[1], expected[1])
