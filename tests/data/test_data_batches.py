"""Batches: every image once an epoch, in an order and a view that the seed and the epoch fix."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from ktransfer.data.batches.rows import (
    epoch_order,
    even_order,
    num_batches,
    ordered_batches,
    shuffled_batches,
)

IMAGES, VIEWS = 23, 4
LABELS = (np.arange(IMAGES) % 5).astype(np.int32)


def held_views():
    """Row `view * IMAGES + image` says which view of which image it is."""
    numbers = [(image, view) for view in range(VIEWS) for image in range(IMAGES)]
    return np.array(numbers, np.float32)


def numbered():
    """Images that say which they are; `render` adds the view."""
    return np.array([(image, -1) for image in range(IMAGES)], np.float32)


def render(image, row, view):
    return tf.stack([image[0], tf.cast(view, tf.float32) + 0 * tf.cast(row, tf.float32)])


def epochs_of(values, count, *, batch_size=6, seed=3, first_epoch=0, **options):
    """For each epoch its values and labels, joined, and the sizes of its batches."""
    batches = shuffled_batches(
        values, LABELS, batch_size=batch_size, seed=seed, first_epoch=first_epoch, **options
    )
    per_epoch = num_batches(IMAGES, batch_size)
    taken = list(batches.take(count * per_epoch).as_numpy_iterator())
    found = []
    for start in range(0, len(taken), per_epoch):
        several = taken[start : start + per_epoch]
        joined = [np.concatenate(each) for each in zip(*several, strict=True)]
        found.append((*joined, [len(labels) for _, labels in several]))
    return found


WAYS = {
    "one view": (held_views()[:IMAGES], {}),
    "held views": (held_views(), {"views": VIEWS}),
    "rendered views": (numbered(), {"views": VIEWS, "render": render}),
    "endless views": (numbered(), {"views": None, "render": render}),
}
TWO_WAYS = (WAYS["held views"], WAYS["rendered views"])


@pytest.mark.parametrize("name", WAYS)
def test_every_epoch_has_every_image_once_with_its_label(name):
    values, options = WAYS[name]
    for rows, labels, sizes in epochs_of(values, 3, **options):
        assert sizes == [6, 6, 6, 5]
        assert sorted(rows[:, 0]) == [*range(IMAGES)]
        np.testing.assert_array_equal(labels, LABELS[rows[:, 0].astype(int)])


@pytest.mark.parametrize("name", WAYS)
def test_order_is_that_of_the_seed_and_the_epoch_and_of_nothing_else(name):
    values, options = WAYS[name]
    found = epochs_of(values, 3, **options)
    for epoch, (rows, _, _) in enumerate(found):
        np.testing.assert_array_equal(rows[:, 0], epoch_order(IMAGES, 3, epoch))
    for one, other in itertools.combinations(found, 2):
        assert np.any(one[0][:, 0] != other[0][:, 0])
    assert np.any(epoch_order(IMAGES, 3, 0) != epoch_order(IMAGES, 4, 0))


@pytest.mark.parametrize("name", WAYS)
def test_a_training_that_goes_on_sees_what_it_would_have_seen(name):
    values, options = WAYS[name]
    whole = epochs_of(values, 5, **options)
    rest = epochs_of(values, 2, first_epoch=3, **options)
    for expected, found in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


def views_by_image(rows):
    return rows[rows[:, 0].argsort(), 1]


def test_views_are_drawn_by_seed_and_epoch_whatever_the_size_of_a_batch():
    values, options = WAYS["held views"]
    drawn = [views_by_image(rows) for rows, _, _ in epochs_of(values, 12, **options)]
    again = [views_by_image(rows) for rows, _, _ in epochs_of(values, 12, batch_size=23, **options)]
    np.testing.assert_array_equal(drawn, again)
    other = [views_by_image(rows) for rows, _, _ in epochs_of(values, 12, seed=4, **options)]
    assert np.any(np.array(drawn) != other)
    for one, two in itertools.combinations(drawn, 2):
        assert np.any(one != two)


def test_over_the_epochs_every_image_is_seen_in_every_view_equally_often():
    values, options = WAYS["held views"]
    drawn = np.array([views_by_image(rows) for rows, _, _ in epochs_of(values, 80, **options)])
    counts = np.stack([(drawn == view).sum(axis=0) for view in range(VIEWS)])
    assert counts.sum() == 80 * IMAGES
    # Of 80 draws 20 are expected, with a standard deviation of 3.9.
    assert counts.min() >= 4
    assert counts.max() <= 36
    np.testing.assert_allclose(counts.mean(axis=1), 20, atol=2.5)
    # Drawn for each image by itself: the view of one does not tell that of the next.
    together = np.mean(drawn[:, 1:] == drawn[:, :-1])
    assert together == pytest.approx(1 / VIEWS, abs=0.05)


def test_a_view_does_not_depend_on_the_place_in_the_order():
    values, options = WAYS["held views"]
    found = epochs_of(values, 80, **options)
    first, last = ([rows[at, 1] for rows, _, _ in found] for at in (0, -1))
    assert {*first} == {*last} == {*range(VIEWS)}


def test_views_that_are_held_and_views_that_are_made_give_the_same_batches():
    held, made = (epochs_of(values, 3, **options) for values, options in TWO_WAYS)
    for one, other in zip(held, made, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
        assert one[2] == other[2]


def test_endless_views_are_numbered_by_the_epoch():
    values, options = WAYS["endless views"]
    for epoch, (rows, _, _) in enumerate(epochs_of(values, 3, first_epoch=5, **options), 5):
        np.testing.assert_array_equal(rows[:, 1], np.full(IMAGES, epoch))


def test_a_view_is_made_from_the_image_its_row_and_its_number():
    def check(image, row, view):
        tf.debugging.assert_equal(tf.cast(image[0], tf.int64), row)
        assert (row.dtype, view.dtype) == (tf.int64, tf.int64)
        assert row.shape == view.shape == ()
        return image

    for rows, _, _ in epochs_of(numbered(), 2, views=VIEWS, render=check):
        assert sorted(rows[:, 0]) == [*range(IMAGES)]


@pytest.mark.parametrize("name", WAYS)
def test_memory_mapped_values_give_the_same_batches(name, tmp_path):
    values, options = WAYS[name]
    mapped = np.memmap(tmp_path / "values", values.dtype, "w+", shape=values.shape)
    mapped[:] = values
    for one, other in zip(
        epochs_of(values, 2, **options), epochs_of(mapped, 2, **options), strict=True
    ):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("mapped", [False, True])
def test_values_keep_their_type_and_shape(dtype, mapped, tmp_path):
    values = np.arange(IMAGES * 6).reshape(IMAGES, 3, 2).astype(dtype)
    if mapped:
        held = np.memmap(tmp_path / "values", dtype, "w+", shape=values.shape)
        held[:] = values
        values = held
    shuffled = shuffled_batches(values, LABELS, batch_size=6, seed=0)
    ordered = ordered_batches(values, LABELS, batch_size=6)
    for batches in (shuffled, ordered):
        images, _ = batches.element_spec
        assert (images.shape.as_list(), images.dtype) == ([None, 3, 2], dtype)
    joined = [np.concatenate(each) for each in zip(*ordered.as_numpy_iterator(), strict=True)]
    np.testing.assert_array_equal(joined[0], values)
    np.testing.assert_array_equal(joined[1], LABELS)


UNEVEN = np.repeat(np.arange(4), (150, 40, 9, 1)).astype(np.int32)


@pytest.mark.parametrize("name", WAYS)
def test_weights_come_with_the_images_that_they_belong_to(name):
    values, options = WAYS[name]
    weights = np.arange(IMAGES, dtype=np.float32) / 7
    batches = shuffled_batches(values, LABELS, batch_size=6, seed=3, weights=weights, **options)
    plain = shuffled_batches(values, LABELS, batch_size=6, seed=3, **options)
    for (rows, labels, found), (as_before, _) in zip(batches.take(8), plain.take(8), strict=True):
        np.testing.assert_array_equal(rows, as_before)
        images = rows.numpy()[:, 0].astype(int)
        np.testing.assert_array_equal(found, weights[images])
        np.testing.assert_array_equal(labels, LABELS[images])


def test_an_even_order_has_as_many_images_of_every_class_and_repeats_them_evenly():
    for epoch in range(3):
        order = even_order(UNEVEN, 5, epoch)
        assert len(order) == len(UNEVEN)
        np.testing.assert_array_equal(np.bincount(UNEVEN[order]), [50, 50, 50, 50])
        for each in range(4):
            rows = np.flatnonzero(each == UNEVEN)
            counts = np.bincount(order, minlength=len(UNEVEN))[rows]
            # Each as often as the others, give or take one: 50 of 150, 40, 9 and 1.
            assert {*counts} <= {50 // len(rows), -(-50 // len(rows))}


def test_the_rest_of_an_even_order_goes_to_classes_by_turns():
    labels = np.repeat(np.arange(7), (20, 3, 1, 1, 1, 1, 1))
    drawn = [np.bincount(labels[even_order(labels, 0, epoch)]) for epoch in range(60)]
    assert {*np.ravel(drawn)} == {4}
    labels = np.append(labels, 0)
    drawn = np.array([np.bincount(labels[even_order(labels, 0, epoch)]) for epoch in range(60)])
    assert {*drawn.ravel()} == {4, 5}
    assert (drawn.max(axis=0) == 5).all()


def test_an_even_order_is_that_of_the_seed_and_the_epoch_and_is_shuffled():
    orders = [tuple(even_order(UNEVEN, seed, epoch)) for seed in (0, 1) for epoch in range(3)]
    assert len(set(orders)) == 6
    assert orders[0] == tuple(even_order(UNEVEN, 0, 0))
    # Shuffled: the classes of neighbours have nothing to do with each other, 1 in 4 is alike.
    classes = UNEVEN[np.array(orders)]
    assert np.mean(classes[:, 1:] == classes[:, :-1]) == pytest.approx(0.25, abs=0.05)
    # Of the largest class another third comes in every epoch.
    largest = [{row for row in order if UNEVEN[row] == 0} for order in orders[:3]]
    assert len(set.union(*largest)) > 90


def test_classes_without_images_are_left_out_of_an_even_order():
    labels = np.array([0, 0, 0, 2, 2, 5])
    np.testing.assert_array_equal(np.bincount(labels[even_order(labels, 0, 0)]), [2, 0, 2, 0, 0, 2])


@pytest.mark.parametrize("name", WAYS)
def test_even_epochs_are_as_long_as_others_and_can_be_had_again(name):
    values, options = WAYS[name]
    whole = epochs_of(values, 4, evenly=True, **options)
    rest = epochs_of(values, 2, first_epoch=2, evenly=True, **options)
    for epoch, (rows, labels, sizes) in enumerate(whole):
        assert sizes == [6, 6, 6, 5]
        np.testing.assert_array_equal(rows[:, 0], even_order(LABELS, 3, epoch))
        np.testing.assert_array_equal(labels, LABELS[rows[:, 0].astype(int)])
    for expected, found in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(found[0], expected[0])


def test_a_repeated_image_has_a_new_view_every_time():
    values = np.arange(len(UNEVEN), dtype=np.float32)[:, None]
    seen = []
    batches = shuffled_batches(
        values,
        UNEVEN,
        batch_size=len(UNEVEN),
        seed=0,
        views=None,
        evenly=True,
        render=lambda image, row, view: tf.stack([row, view]),
    )
    for rows, _ in batches.take(3):
        seen += [tuple(each) for each in rows.numpy()]
    assert len(set(seen)) == len(seen) == 3 * len(UNEVEN)


def test_neighbouring_seeds_do_not_share_orders():
    # Stages count their seeds up by 2**32: the order of one is not that of another.
    seeds = [0, 1, 2**32, 2**32 + 1, 2 * 2**32]
    orders = [tuple(epoch_order(IMAGES, seed, epoch)) for seed in seeds for epoch in range(3)]
    assert len(set(orders)) == len(orders)


@pytest.mark.parametrize(
    ("rows", "batch_size", "batches"), [(1, 4, 1), (8, 4, 2), (9, 4, 3), (3, 100, 1), (0, 4, 0)]
)
def test_number_of_batches(rows, batch_size, batches):
    assert num_batches(rows, batch_size) == batches
