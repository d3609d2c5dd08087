"""Random views: the same again from the same seed, and drawn and computed as the papers say."""

import math
from collections import defaultdict

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats

from ktransfer.augment import AUGMENTATIONS, CORRUPTIONS, augment, erasing, source_size, view_seed
from ktransfer.augment.trivial import OPERATIONS, TRIVIAL_DRAWS, trivial_augment
from ktransfer.errors import InputError


def noise(height, width, seed=0):
    """Channels of unlike ranges, none of them the full one, uint8 (height, width, 3)."""
    random = np.random.default_rng(seed)
    ranges = [(10, 200), (40, 130), (90, 255)]
    return np.stack(
        [random.integers(*each, (height, width), dtype=np.uint8) for each in ranges], axis=-1
    )


def views(image, augmentation, size, number, *, seed=0, parallel=None):
    """The views 0, 1, ... of row 0 from a `tf.data` pipeline, uint8 (number, *size, 3)."""
    dataset = tf.data.Dataset.range(number).map(
        lambda view: augment(image, view_seed(seed, 0, view), augmentation, size),
        num_parallel_calls=parallel,
    )
    return next(dataset.batch(number).as_numpy_iterator())


# The same again.


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_same_seed_gives_the_same_pixels_eagerly_in_a_graph_and_in_parallel(augmentation):
    size = (24, 32)
    image = tf.constant(noise(*source_size(augmentation, size)))
    eager = [augment(image, view_seed(3, 0, view), augmentation, size) for view in range(24)]
    graph = tf.function(lambda seed: augment(image, seed, augmentation, size))
    np.testing.assert_array_equal(eager, [graph(view_seed(3, 0, view)) for view in range(24)])
    for parallel in (1, 8):
        mapped = views(image, augmentation, size, 24, seed=3, parallel=parallel)
        np.testing.assert_array_equal(eager, mapped)


def test_view_depends_on_its_own_seed_and_not_on_what_ran_before():
    image = tf.constant(noise(48, 48))
    alone = augment(image, view_seed(0, 7, 2), "standard", (32, 32)).numpy()
    tf.random.set_seed(99)
    np.random.seed(99)
    augment(image, view_seed(0, 6, 2), "standard", (32, 32))
    again = augment(image, view_seed(0, 7, 2), "standard", (32, 32)).numpy()
    np.testing.assert_array_equal(alone, again)


@pytest.mark.parametrize(
    ("augmentation", "distinct"),
    [("light", 2), ("standard", 60), ("strong", 60), ("grey", 40), ("noise", 60)],
)
def test_other_rows_views_and_training_seeds_give_other_pixels(augmentation, distinct):
    image = tf.constant(noise(*source_size(augmentation, (20, 20))))
    grid = [(seed, row, view) for seed in (0, 1, 2) for row in range(5) for view in range(4)]
    seen = {augment(image, view_seed(*at), augmentation, (20, 20)).numpy().tobytes() for at in grid}
    # Of grey, neighbouring strengths round to the same pixels.
    assert len(seen) >= distinct


# Sizes, shapes, types.


def test_only_crops_want_more_pixels_than_the_input_has():
    for augmentation in ("none", "light", *CORRUPTIONS):
        assert source_size(augmentation, (225, 96)) == (225, 96)
    for augmentation in ("standard", "strong"):
        assert source_size(augmentation, (224, 96)) == (336, 144)
    assert source_size("standard", (225, 1)) == (338, 2)  # whole pairs of pixels


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_shape_and_type_are_known_before_the_pixels(augmentation):
    images = tf.data.Dataset.from_generator(
        lambda: iter([noise(30, 20), noise(18, 27)]),
        output_signature=tf.TensorSpec((None, None, 3), tf.uint8),
    )
    mapped = images.map(lambda image: augment(image, view_seed(0, 0, 0), augmentation, (18, 27)))
    assert mapped.element_spec == tf.TensorSpec((18, 27, 3), tf.uint8)
    assert [image.shape for image in mapped.as_numpy_iterator()] == [(18, 27, 3)] * 2


def test_none_returns_the_image_and_resizes_another_size_as_pillow_does():
    image = noise(30, 40)
    seed = view_seed(0, 0, 0)
    np.testing.assert_array_equal(augment(image, seed, "none", (30, 40)), image)
    resized = Image.fromarray(image).resize((31, 17), Image.Resampling.BILINEAR)
    difference = augment(image, seed, "none", (17, 31)).numpy() - np.asarray(resized, int)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"augmentation": "lite"}, r"unknown augmentation 'lite': did you mean light,"),
        ({"input_size": (8, 0)}, r"input_size must be \(height, width\) in pixels, got \(8, 0\)"),
        ({"input_size": 8}, "input_size must be .* got 8"),
        ({"input_size": (8.5, 8)}, r"input_size must be .* got \(8.5, 8\)"),
        ({"image": np.zeros((8, 8, 3), np.float32)}, r"must be uint8 .* got float32 \(8, 8, 3\)"),
        ({"image": np.zeros((2, 8, 8, 3), np.uint8)}, r"got uint8 \(2, 8, 8, 3\); map over the im"),
        ({"image": np.zeros((8, 8, 1), np.uint8)}, r"got uint8 \(8, 8, 1\)"),
        ({"seed": [1, 2, 3]}, r"a seed must have the shape \(2,\), .* got \(3,\)"),
    ],
)
def test_what_cannot_be_augmented_is_refused(values, message):
    good = {"image": noise(8, 8), "seed": [0, 0], "augmentation": "light", "input_size": (8, 8)}
    with pytest.raises(InputError, match=message):
        augment(**{**good, **values})


def test_source_size_refuses_what_augment_refuses():
    with pytest.raises(InputError, match="unknown augmentation 'gray': did you mean grey"):
        source_size("gray", (8, 8))
    with pytest.raises(InputError, match=r"input_size must be .* got \(-1, 8\)"):
        source_size("light", (-1, 8))


# Flips.


@pytest.mark.parametrize("augmentation", ["light", "standard", "strong"])
def test_half_of_the_views_are_flipped(augmentation):
    # Left dark, right light. Whatever a crop or an operation does to that, a fair flip after it
    # leaves the right side the lighter one in half of the views.
    size = (12, 16)
    height, width = source_size(augmentation, size)
    line = np.linspace(40, 210, width).astype(np.uint8)
    image = tf.constant(np.broadcast_to(line[None, :, None], (height, width, 3)))
    made = views(image, augmentation, size, 2000).astype(float)
    if augmentation == "strong":
        # Movements uncover black, which would drown the slope.
        made = made[(made > 0).all(axis=(1, 2, 3))]
    rising = np.polyfit(np.arange(16), made.mean(axis=(1, 3)).T, 1)[0] > 0
    # Four standard deviations of a fair coin.
    assert abs(rising.mean() - 0.5) < 4 * 0.5 / math.sqrt(len(rising))
    if augmentation == "light":
        original = image.numpy()
        for view, right_way in zip(made, rising, strict=True):
            np.testing.assert_array_equal(view, original if right_way else original[:, ::-1])


# Crops.


def drawn_by_torchvision(height, width, random):
    """RandomResizedCrop.get_params, written out: top, left, height, width."""
    for _ in range(10):
        area = height * width * random.uniform(0.08, 1.0)
        aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return random.integers(height - h + 1), random.integers(width - w + 1), h, w
    w, h = width, height
    if width / height < 3 / 4:
        h = round(width / (3 / 4))
    elif width / height > 4 / 3:
        w = round(height * (4 / 3))
    return (height - h) // 2, (width - w) // 2, h, w


def spans(places):
    """First place and length of what each row shows, from the places of its resized pixels."""
    number = places.shape[1]
    # The outermost pixels have lost a part of the filter that antialiases.
    inner = np.arange(2, number - 2)
    slope, offset = np.polyfit(inner, places[:, inner].T, 1)
    length = np.abs(slope) * number
    return (slope * (number - 1) / 2 + offset) - length / 2 + 0.5, length


def seen_boxes(size, number):
    """The parts that "standard" took, read from pixels that say where they come from."""
    height, width = source_size("standard", size)
    y, x = np.mgrid[:height, :width]
    steps = 250 // height, 250 // width
    image = tf.constant(np.stack([y * steps[0], x * steps[1], 0 * x], axis=-1).astype(np.uint8))
    made = views(image, "standard", size, number).astype(float)
    top, rows = spans(made[..., 0].mean(axis=2) / steps[0])
    left, columns = spans(made[..., 1].mean(axis=1) / steps[1])
    return np.stack([top, left, rows, columns], axis=1), (height, width)


# The last two are so far from the allowed aspects that some crops find no fit.
@pytest.mark.parametrize("size", [(32, 32), (16, 120), (120, 16)])
def test_crops_are_drawn_as_torchvision_draws_them(size):
    boxes, (height, width) = seen_boxes(size, 2000)
    random = np.random.default_rng(1)
    expected = np.array([drawn_by_torchvision(height, width, random) for _ in range(20_000)])
    for name, of in {
        "area": lambda box: box[:, 2] * box[:, 3],
        "aspect": lambda box: np.log(box[:, 3] / box[:, 2]),
        "top": lambda box: box[:, 0],
        "left": lambda box: box[:, 1],
    }.items():
        # Boxes are of whole pixels; what is read from the picture is rounded to them.
        distance = stats.ks_2samp(of(np.round(boxes)), of(expected)).statistic
        # Samples of 2,000 and 20,000 from one distribution are 0.063 apart once in a million times.
        assert distance < 0.063, name
    assert np.abs(boxes - np.round(boxes)).max() < 0.35


@pytest.mark.parametrize(
    ("size", "centre"), [((16, 120), (0, 74, 24, 32)), ((120, 16), (74, 0, 32, 24))]
)
def test_crop_without_a_fit_is_the_largest_centred_one(size, centre):
    boxes, (height, width) = seen_boxes(size, 2000)
    random = np.random.default_rng(2)
    expected = [drawn_by_torchvision(height, width, random) == centre for _ in range(20_000)]
    chance = np.mean(expected)
    assert chance > 0.1
    spread = math.sqrt(chance * (1 - chance) / 2000)
    assert (np.round(boxes) == centre).all(axis=1).mean() == pytest.approx(chance, abs=4 * spread)


def test_crop_is_resized_as_pillow_resizes_it():
    image = noise(48, 60)
    boxes, _ = seen_boxes((32, 40), 30)
    made = views(tf.constant(image), "standard", (32, 40), 30)
    for (top, left, rows, columns), view in zip(np.round(boxes).astype(int), made, strict=True):
        part = Image.fromarray(image[top : top + rows, left : left + columns])
        resized = np.asarray(part.resize((40, 32), Image.Resampling.BILINEAR), int)
        either = [np.abs(view - resized).max(), np.abs(view - resized[:, ::-1]).max()]
        assert min(either) <= 1


# TrivialAugment: the operations.


def affine(*matrix):
    return lambda image, m: image.transform(
        image.size, Image.Transform.AFFINE, [each(m) if callable(each) else each for each in matrix]
    )


PILLOW = {
    "identity": lambda image, m: image,
    "brightness": lambda image, m: ImageEnhance.Brightness(image).enhance(1 + m),
    "colour": lambda image, m: ImageEnhance.Color(image).enhance(1 + m),
    "sharpness": lambda image, m: ImageEnhance.Sharpness(image).enhance(1 + m),
    "contrast": lambda image, m: ImageEnhance.Contrast(image).enhance(1 + m),
    "posterize": lambda image, m: ImageOps.posterize(image, int(m)),
    "solarize": lambda image, m: ImageOps.solarize(image, m),
    "autocontrast": lambda image, m: ImageOps.autocontrast(image),
    "equalize": lambda image, m: ImageOps.equalize(image),
    "shear_x": affine(1, float, 0, 0, 1, 0),
    "shear_y": affine(1, 0, 0, float, 1, 0),
    "translate_x": affine(1, 0, int, 0, 1, 0),
    "translate_y": affine(1, 0, 0, 0, 1, int),
    "rotate": lambda image, m: image.rotate(m),
}
IN_FLOATS = ("brightness", "colour", "contrast", "sharpness", "rotate")
UNSIGNED = ("identity", "posterize", "solarize", "autocontrast", "equalize")

# torchvision 0.12, TrivialAugmentWide._augmentation_space(31).
RANGES = {
    **dict.fromkeys(("identity", "autocontrast", "equalize"), np.zeros(31)),
    **dict.fromkeys(("brightness", "colour", "contrast", "sharpness"), np.linspace(0, 0.99, 31)),
    **dict.fromkeys(("shear_x", "shear_y"), np.linspace(0, 0.99, 31)),
    **dict.fromkeys(("translate_x", "translate_y"), np.linspace(0, 32, 31)),
    "rotate": np.linspace(0, 135, 31),
    "posterize": 8 - (np.arange(31) / 5).round(),
    "solarize": np.linspace(255, 0, 31),
}


def magnitudes(name):
    signs = (1,) if name in UNSIGNED else (1, -1)
    return [sign * each for each in RANGES[name] for sign in signs]


def made_by_both(name, image, magnitude):
    ours = OPERATIONS[name].apply(tf.constant(image), tf.constant(magnitude, tf.float64))
    pillows = PILLOW[name](Image.fromarray(image), magnitude)
    return ours.numpy().astype(int), np.asarray(pillows, int)


def test_operations_and_ranges_are_the_14_of_the_paper():
    assert set(OPERATIONS) == set(RANGES)
    for name, operation in OPERATIONS.items():
        np.testing.assert_allclose(operation.magnitudes, RANGES[name], atol=1e-12)
        assert operation.signed == (name not in UNSIGNED)


@pytest.mark.parametrize("name", PILLOW)
@pytest.mark.parametrize("shape", [(120, 200), (61, 84), (9, 7)])
def test_operation_gives_the_pixels_of_pillow(name, shape):
    for magnitude in magnitudes(name):
        ours, pillows = made_by_both(name, noise(*shape), magnitude)
        # All are equal as measured; room for another processor's rounding, where there is any.
        room = 0.001 if name in IN_FLOATS else 0
        assert (ours != pillows).mean() <= room, magnitude
        if name != "rotate":
            assert np.abs(ours - pillows).max() <= (name in IN_FLOATS), magnitude


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "contrast", "sharpness"])
@pytest.mark.parametrize("level", [0, 77, 255])
def test_image_of_one_level_is_treated_as_by_pillow(name, level):
    image = np.full((6, 5, 3), level, np.uint8)
    np.testing.assert_array_equal(*made_by_both(name, image, 0.66))
    image[2, 3] = 255 - level
    np.testing.assert_array_equal(*made_by_both(name, image, 0.66))


def test_autocontrast_truncates_as_pillow_does_between_any_two_levels():
    random = np.random.default_rng(5)
    for _ in range(60):
        low, high = np.sort(random.integers(0, 256, (2, 3)), axis=0)
        image = np.clip(np.arange(256)[None, :, None], low, high).astype(np.uint8)
        np.testing.assert_array_equal(*made_by_both("autocontrast", image, 0.0))


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_strength_leaves_the_image_as_it_is(name):
    if name in ("autocontrast", "equalize"):
        # Already stretched and equal: each level once.
        image = np.broadcast_to(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), (16, 16, 3))
    else:
        image = noise(16, 12)
    weakest = tf.constant(RANGES[name][0], tf.float64)
    np.testing.assert_array_equal(OPERATIONS[name].apply(tf.constant(image), weakest), image)


def drawn_by_trivial_augment(image, number):
    """TrivialAugment of one image with independent draws, uint8 (number, ...)."""
    draws = np.random.default_rng(11).random((number, TRIVIAL_DRAWS))
    made = tf.data.Dataset.from_tensor_slices(draws).map(lambda each: trivial_augment(image, each))
    return next(made.batch(number).as_numpy_iterator())


def test_trivial_augment_draws_operation_level_and_sign_evenly():
    # Pillow makes every view that can be drawn; several draws may make the same one.
    image = noise(48, 44)
    draws_of = defaultdict(list)
    for name in PILLOW:
        for level, magnitude in enumerate(RANGES[name]):
            for sign in (1, -1):
                signed = magnitude if name in UNSIGNED else sign * magnitude
                view = np.asarray(PILLOW[name](Image.fromarray(image), signed))
                draws_of[view.tobytes()].append((name, level, sign))
    every = sum(len(draws) for draws in draws_of.values())
    assert every == 14 * 31 * 2

    known = np.array([np.frombuffer(view, np.uint8) for view in draws_of])
    seen = []
    for view in drawn_by_trivial_augment(tf.constant(image), 1000):
        # Another processor may round single pixels otherwise; then it is the nearest known view.
        if (nearest := view.tobytes()) not in draws_of:
            differ = (known != view.reshape(-1)).mean(axis=1)
            assert differ.min() < 0.01
            nearest = known[differ.argmin()].tobytes()
        seen.append(draws_of[nearest])

    for place, values in enumerate((PILLOW, range(31), (1, -1))):
        for value in values:
            # Only views that tell this value apart count.
            telling = [d for d in draws_of.values() if {each[place] for each in d} == {value}]
            share = sum(len(draws) for draws in telling) / every
            found = sum({each[place] for each in draws} == {value} for draws in seen)
            # Four standard deviations of so many draws with that chance.
            assert abs(found - 1000 * share) <= 4 * math.sqrt(1000 * share * (1 - share)), value
            assert share > 0 or value in (0, "identity")


# "strong" as a whole, erasing, and what imitates a domain.


def test_strong_is_a_crop_an_operation_and_in_a_tenth_of_the_views_an_erased_rectangle(monkeypatch):
    image = tf.constant(noise(36, 36))
    strong = views(image, "strong", (24, 24), 400)
    monkeypatch.setattr(erasing, "CHANCE", 0.0)
    whole = views(image, "strong", (24, 24), 400)
    changed = (strong != whole).any(axis=(1, 2, 3))
    # Four standard deviations of a chance of a tenth.
    assert abs(changed.mean() - 0.1) < 4 * math.sqrt(0.1 * 0.9 / 400)
    standard = views(image, "standard", (24, 24), 400)
    same = (whole == standard).all(axis=(1, 2, 3)).mean()
    # The same parts and flips; identity is one of 14 operations, and some levels change nothing.
    assert 0.05 < same < 0.3


def test_erased_rectangle_has_the_mean_colour_and_the_rest_stays():
    image = noise(50, 70)
    random = np.random.default_rng(3)
    shares = []
    for draws in random.random((80, erasing.ERASING_DRAWS)):
        made = erasing.erased(tf.constant(image), tf.constant(draws[1:])).numpy()
        changed = (made != image).any(axis=-1)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        box = made[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        np.testing.assert_array_equal(
            box.reshape(-1, 3), [np.round(image.mean((0, 1)))] * box[..., 0].size
        )
        shares.append(box[..., 0].size / image[..., 0].size)
    # A pixel may have the mean colour already, so that a box can be a row too small.
    assert 0.01 < min(shares) < 0.06
    assert 0.28 < max(shares) < 0.34
    assert np.mean(shares) == pytest.approx((0.02 + 0.33) / 2, abs=0.05)


def test_views_without_a_rectangle_that_fits_are_not_erased():
    # One pixel in height: no box of such areas and aspects has a height of one pixel.
    image = noise(1, 400)
    draws = tf.constant(np.random.default_rng(0).random(erasing.ERASING_DRAWS - 1))
    np.testing.assert_array_equal(erasing.erased(tf.constant(image), draws), image)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_imitations_are_the_corruptions_at_strengths_evenly_from_none_to_the_strongest(
    name, monkeypatch
):
    image, strengths, corrupted = tf.constant(noise(9, 9)), [], CORRUPTIONS[name]

    def watched(view, strength, seed):
        strengths.append(float(strength))
        return corrupted(view, strength, seed)

    monkeypatch.setitem(CORRUPTIONS, name, watched)
    for view in range(60):
        seed = view_seed(0, 0, view)
        made = augment(image, seed, name, (9, 9))
        np.testing.assert_array_equal(made, corrupted(image, strengths[-1], seed))
    # 60 even draws are 0.29 off once in ten thousand times.
    assert stats.kstest(strengths, stats.uniform(0, 3).cdf).statistic < 0.29


# Seeds.


def test_view_seeds_do_not_collide_over_a_grid_with_its_extremes():
    values = np.unique([0, 1, 2, 3, 17, 2**15, 2**16, 2**30, 2**31 - 2, 2**31 - 1])
    rows = tf.constant(values, tf.int64)
    seen = {
        tuple(pair)
        for seed in values
        for view in values
        for pair in view_seed(int(seed), rows, view).numpy().tolist()
    }
    assert len(seen) == len(values) ** 3
    assert all(0 <= each < 2**63 for pair in seen for each in pair)


def test_view_seed_takes_vectors_and_numbers_eagerly_and_in_a_graph():
    rows = tf.constant([5, 9, 2], tf.int64)
    single = np.array([[view_seed(4, row, view) for view in (0, 7)] for row in (5, 9, 2)])
    assert single.dtype == np.int64
    for run in (view_seed, tf.function(view_seed)):
        np.testing.assert_array_equal(run(4, rows, 7), single[:, 1])
        np.testing.assert_array_equal(run(4, 9, tf.constant([0, 7])), single[1])
        np.testing.assert_array_equal(run(4, rows[:, None], tf.constant([0, 7])), single)
        np.testing.assert_array_equal(run(4, rows[:2], tf.constant([7, 0])), single[[0, 1], [1, 0]])


def test_view_seed_refuses_a_seed_out_of_range():
    for seed in (-1, 2**31, 1.5, "0"):
        with pytest.raises(InputError, match=rf"from 0, below 2\^31, got {seed!r}"):
            view_seed(seed, 0, 0)


@pytest.mark.parametrize(("row", "view"), [(-1, 0), (2**31, 0), (0, -1), (0, 2**31)])
def test_view_seed_refuses_rows_and_views_out_of_range(row, view):
    message = r"rows and view must be at least 0 and below 2\^31"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        view_seed(0, [3, row], view)
    several = tf.data.Dataset.from_tensors([3, row]).map(lambda rows: view_seed(0, rows, view))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        list(several)


def test_neighbouring_seeds_give_unrelated_flips():
    image = noise(1, 2)
    seeds = tf.reshape(view_seed(0, tf.range(20)[:, None], tf.range(20)), (400, 2))
    made = tf.data.Dataset.from_tensor_slices(seeds).map(
        lambda seed: augment(image, seed, "light", (1, 2))
    )
    flips = np.array([(view != image).any() for view in made.as_numpy_iterator()]).reshape(20, 20)
    # 380 pairs of neighbours: four standard deviations of a fair coin.
    for same in (flips[1:] == flips[:-1], flips[:, 1:] == flips[:, :-1]):
        assert abs(same.mean() - 0.5) < 4 * 0.5 / math.sqrt(380)
