"""How far an image lies from those that a network learnt from, by what its last features say.

Features are brought to length 1. Each class is a Gaussian among them, all of one shape: the
directions in which the training images of a class differ among themselves, and a noise that is
equal in all others (probabilistic PCA). The distance of an image is that to the nearest class, and
is compared with the distances of the validation images, which the network did not learn from.

Source: Lee et al. 2018 (arXiv 1807.03888), distance to the nearest class; Sun et al. 2022 (arXiv
    2204.06507), features of length 1; Tipping and Bishop 1999, Probabilistic principal component
    analysis, J. R. Stat. Soc. B 61, the shape.
"""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from typing import BinaryIO

import numpy as np

from ktransfer.files.archives import DamageError, read_arrays
from ktransfer.processes.threads import one_blas_thread

#: Images that the shape is learnt from, and directions of it: more change hardly anything.
MOST_IMAGES, MOST_DIRECTIONS = 1_000, 64
#: Share of the validation images that lie within the bound.
WITHIN = 0.99
_LEAST_VARIANCE, _LEAST_LENGTH = 1e-12, 1e-12


@dataclass(frozen=True, eq=False)
class Familiarity:
    """The features of each class, and how far from them is far.

    Attributes:
        means: float32 `(classes, features)`.
        directions: float32 `(directions, features)`, of length 1, across each other.
        variances: float32 `(directions,)`: of the images of a class along each.
        noise: float32 `()`: their variance along any other.
        bound: float32 `()`: the distance within which 99 % of the validation images lie.
    """

    means: np.ndarray
    directions: np.ndarray
    variances: np.ndarray
    noise: np.ndarray
    bound: np.ndarray

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Measure how far images lie from the nearest class, in units of the bound.

        Args:
            features: `(images, features)`.

        Returns:
            float32 `(images,)`; above 1 an image is farther than 99 % of the validation images.
        """
        return (_distances(features, self) / self.bound).astype(np.float32)

    def to_bytes(self) -> bytes:
        """Write it as an uncompressed `.npz` file."""
        contents = io.BytesIO()
        np.savez(contents, **asdict(self))
        return contents.getvalue()

    @classmethod
    def read(cls, file: BinaryIO) -> Familiarity:
        """Read what `to_bytes` wrote.

        Raises:
            DamageError: it is damaged, or no such file.
        """
        arrays = read_arrays(file)
        ranks = {"means": 2, "directions": 2, "variances": 1, "noise": 0, "bound": 0}
        if arrays.keys() != ranks.keys() or any(
            each.dtype != np.float32 or each.ndim != ranks[name] or not np.isfinite(each).all()
            for name, each in arrays.items()
        ):
            raise DamageError("it holds no distances of images")
        found = cls(**arrays)
        directions, width = found.directions.shape
        fits = found.means.shape[1] == width and found.variances.shape == (directions,)
        if not fits or not all(
            (each > 0).all() for each in (found.variances, found.noise, found.bound)
        ):
            raise DamageError("its distances of images do not fit together")
        return found


def familiarity_of(
    features: np.ndarray, labels: np.ndarray, held_back: np.ndarray
) -> Familiarity | None:
    """Learn what the features of the training images look like.

    Args:
        features: `(images, features)`, of training images, at most `MOST_IMAGES` of them.
        labels: int `(images,)`, their classes.
        held_back: `(others, features)`, of validation images.

    Returns:
        None where the features say nothing: all images of a class are alike.
    """
    features = _of_length_1(features)
    present = np.unique(labels)
    means = np.stack([features[labels == each].mean(axis=0) for each in present])
    spread = features - means[np.searchsorted(present, labels)]
    freedom = max(1, len(features) - len(present))
    with one_blas_thread():
        _, sizes, directions = np.linalg.svd(spread, full_matrices=False)
    variances = sizes**2 / freedom
    width, found = features.shape[1], int((variances > _LEAST_VARIANCE).sum())
    kept = min(MOST_DIRECTIONS, freedom // 2, width // 2, found)
    noise = variances[kept:].sum() / max(1, width - kept)
    if not kept or noise <= _LEAST_VARIANCE:
        return None
    arrays = (means, directions[:kept], variances[:kept], np.array(noise), np.array(1.0))
    known = Familiarity(*(each.astype(np.float32) for each in arrays))
    bound = np.quantile(_distances(held_back, known), WITHIN)
    if not np.isfinite(bound) or bound <= 0:
        return None
    return Familiarity(*(each.astype(np.float32) for each in (*arrays[:4], np.array(bound))))


def _of_length_1(features: np.ndarray) -> np.ndarray:
    values = features.astype(np.float64)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), _LEAST_LENGTH)


def _distances(features: np.ndarray, known: Familiarity) -> np.ndarray:
    """Measure the squared distance to the nearest class, float64 `(images,)`."""
    values, means = _of_length_1(features), known.means.astype(np.float64)
    along = known.directions.astype(np.float64).T
    inside, centres = values @ along, means @ along
    nearest = np.full(len(values), np.inf)
    for mean, centre in zip(means, centres, strict=True):
        parts = (inside - centre) ** 2
        rest = np.maximum(((values - mean) ** 2).sum(axis=1) - parts.sum(axis=1), 0.0)
        nearest = np.minimum(nearest, (parts / known.variances).sum(axis=1) + rest / known.noise)
    return nearest
