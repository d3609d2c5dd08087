"""How far images lie from those that a network learnt from."""

import io

import numpy as np
import pytest

from ktransfer.features.familiarity import WITHIN, Familiarity, familiarity_of
from ktransfer.files.archives import DamageError

RANDOM = np.random.default_rng(3)
CLASSES, WIDTH = 3, 40
CENTRES = 5 * np.abs(RANDOM.normal(size=(CLASSES, WIDTH)))
#: Images of a class differ along these two directions ten times as much as along any other.
STRETCHED = np.linalg.qr(RANDOM.normal(size=(WIDTH, 2)))[0].T


def draw(number, seed, along=1.0):
    random = np.random.default_rng(seed)
    labels = np.arange(number) % CLASSES
    noise = 0.1 * random.normal(size=(number, WIDTH))
    noise += along * random.normal(size=(number, 2)) @ STRETCHED
    return (CENTRES[labels] + noise).astype(np.float32), labels


def learnt():
    features, labels = draw(600, 1)
    return familiarity_of(features, labels, draw(300, 2)[0])


def test_distances_are_those_of_the_nearest_gaussian():
    features, labels = draw(600, 1)
    known, others = learnt(), draw(50, 4)[0]
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (features, others)]
    means = np.stack([unit[0][labels == at].mean(axis=0) for at in range(CLASSES)])
    # The covariance of the model, in full, as its definition has it.
    shape = known.directions.T @ np.diag(known.variances - known.noise) @ known.directions
    inverse = np.linalg.inv(shape + known.noise * np.eye(WIDTH))
    expected = [min((each - mean) @ inverse @ (each - mean) for mean in means) for each in unit[1]]
    np.testing.assert_allclose(known.distances(others) * known.bound, expected, rtol=2e-3)


def test_new_images_of_the_same_kind_are_familiar_and_others_are_not():
    known = learnt()
    same, other = draw(1_000, 5)[0], np.abs(RANDOM.normal(size=(200, WIDTH))) * 5
    assert WITHIN == 0.99
    assert (known.distances(same) > 1).mean() < 0.04
    assert (known.distances(other) > 1).mean() == 1


def test_what_varies_in_training_may_vary_and_what_does_not_may_not():
    known, (same, _) = learnt(), draw(100, 6)
    across = np.linalg.svd(np.vstack([STRETCHED, CENTRES]))[2][-1]
    far = known.distances(same + 2 * across.astype(np.float32))
    near = known.distances(same + 2 * STRETCHED[0].astype(np.float32))
    assert far.min() > near.max()


def test_it_is_read_back_as_it_was_written():
    known = learnt()
    again = Familiarity.read(io.BytesIO(known.to_bytes()))
    others = draw(20, 7)[0]
    np.testing.assert_array_equal(again.distances(others), known.distances(others))


@pytest.mark.parametrize("name", ["means", "directions", "variances", "noise", "bound"])
@pytest.mark.parametrize("spoil", ["missing", "nan", "double", "shape", "negative"])
def test_damage_is_said(name, spoil):
    arrays = dict(np.load(io.BytesIO(learnt().to_bytes())))
    if spoil == "missing":
        del arrays[name]
    elif spoil == "nan":
        arrays[name] = arrays[name] * np.float32("nan")
    elif spoil == "double":
        arrays[name] = arrays[name].astype(np.float64)
    elif spoil == "shape":
        arrays[name] = arrays[name][..., None]
    elif name in ("means", "directions"):
        arrays[name] = arrays[name][:, 1:]
    else:
        arrays[name] = -arrays[name]
    contents = io.BytesIO()
    np.savez(contents, **arrays)
    contents.seek(0)
    with pytest.raises(DamageError, match="distances of images"):
        Familiarity.read(contents)


def test_nothing_is_said_of_features_that_say_nothing():
    features = np.ones((20, 5), np.float32)
    assert familiarity_of(features, np.arange(20) % 2, features) is None
    zeros = np.zeros((20, 5), np.float32)
    assert familiarity_of(zeros, np.arange(20) % 2, zeros) is None
