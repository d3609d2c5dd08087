"""How well a linear head would do on some features, estimated in closed form.

A ridge regression on the classes has all its leave-one-out predictions in closed form, for every
strength of its penalty, from one eigendecomposition of an `(images, images)` matrix. So every image
is predicted by a head that has not seen it, in milliseconds where training heads on folds takes
seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ktransfer.metrics import advantage, wilson_interval
from ktransfer.processes.threads import one_blas_thread
from ktransfer.profile.evidence import evidence_scores
from ktransfer.profile.samples import (
    MOST_CLASSES,
    check_samples,
    even_sample,
    judged_sample,
    one_hot,
)

__all__ = [
    "MOST_CLASSES",
    "MOST_IMAGES",
    "PENALTIES",
    "Probe",
    "choose_simplest",
    "even_sample",
    "evidence_scores",
    "probe",
    "ridge_head",
]

#: Strengths of the penalty that are tried, of features whose squares sum to 1 on average.
PENALTIES = tuple(10.0 ** np.arange(-4.0, 2.5, 0.5))

#: The eigendecomposition takes (images)^3: more of them are not needed to tell heads apart, either.
MOST_IMAGES = 600

#: A feature that hardly varies is magnified as if it had this share of the usual deviation, and no
#: further: what it varies by is mostly chance, and where blocks train it may wake up. On six sets
#: (48 and 240 images of each) heads were right more often by 1 to 3 points than without.
LEAST_DEVIATION = 0.3

#: Features that are looked at together.
_COLUMNS_AT_ONCE = 4_096

#: What makes logits of the outputs of a regression on 0 and 1.
_FACTORS = tuple(2.0 ** np.arange(-1.0, 6.5, 0.5))

_TINY = 1e-6


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear head, judged by leaving out one image after the other.

    Attributes:
        correct: bool `(images,)`: whether each image was predicted right by the head of the others.
        errors: float64 `(images,)`: the squared distance of what that head said from the truth.
        penalty: the strength of the ridge, the one with the least squared error.
    """

    correct: np.ndarray
    errors: np.ndarray
    penalty: float

    @property
    def accuracy(self) -> float:
        """The share of images predicted right."""
        return float(self.correct.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy."""
        return wilson_interval(int(self.correct.sum()), len(self.correct))

    def advantage(self, other: Probe) -> tuple[float, float]:
        """Say how much smaller its squared errors are than another's on the same images.

        Returns:
            As `metrics.advantage`.
        """
        return advantage(self.errors, other.errors)


def probe(features: np.ndarray, labels: np.ndarray) -> Probe:
    """Judge a linear head on features.

    Args:
        features: `(images, features)`. Each is brought to mean 0 and deviation 1, those that hardly
            vary to less (`LEAST_DEVIATION`); constant ones count as 0.
        labels: integers `(images,)`, of at least two classes.

    Returns:
        A `Probe`; with over `MOST_IMAGES` images, of as many of them, evenly drawn by class, yet
        at least two of each, of at most `MOST_CLASSES` classes.

    Raises:
        InputError: there are fewer than 3 images or 2 classes, the lengths differ, or a feature is
            not finite.

    Example:
        >>> features = np.array([[0.0], [0.1], [0.2], [1.0], [1.1], [1.2]])
        >>> probe(features, np.array([0, 0, 0, 1, 1, 1])).accuracy
        1.0

    Source: leave-one-out of a ridge regression in closed form: Allen 1974, The relationship between
        variable selection and data augmentation and a method for prediction (PRESS), Technometrics
        16; of its kernel form Cawley and Talbot 2004, Fast exact leave-one-out cross-validation,
        Neural Networks 17.
    """
    labels = np.asarray(labels)
    check_samples(features, labels)
    rows = judged_sample(labels, MOST_IMAGES)
    penalty, left_out = _left_out(features[rows], labels[rows])
    targets, classes = one_hot(labels[rows]), np.unique(labels[rows])
    correct = classes[left_out.argmax(axis=1)] == labels[rows]
    return Probe(correct, np.sum((left_out - targets) ** 2, axis=1), penalty)


def ridge_head(
    features: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the head that `probe` judges, of all images, in closed form.

    Its outputs are logits: the regression times the factor at which the left-out predictions have
    the lowest cross entropy.

    Args:
        features: `(images, features)`, of at most a few thousand images.
        labels: integers `(images,)`, from 0, each class with an image.
        weights: of the images, above 0 with mean 1; None: all 1. The penalty is chosen without.

    Returns:
        The kernel `(features, classes)` and the bias `(classes,)`, float32.

    Raises:
        InputError: as `probe`.
    """
    labels = np.asarray(labels)
    check_samples(features, labels)
    rows = judged_sample(labels, MOST_IMAGES)
    penalty, left_out = _left_out(features[rows], labels[rows])
    factor = min(_FACTORS, key=lambda each: _cross_entropy(each * left_out, one_hot(labels[rows])))
    share = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    targets = one_hot(labels)
    bias = np.average(targets, 0, share)
    with one_blas_thread():
        gram, alive = _gram(features, share)
        gram[np.diag_indices_from(gram)] += penalty / share
        solved = np.linalg.solve(gram, targets - bias)
        kernel = np.zeros((features.shape[1], targets.shape[1]))
        for columns, standard, offset, scale in _standard_pieces(features, share):
            piece = standard.T @ solved / alive
            kernel[columns] = scale[:, np.newaxis] * piece
            bias = bias - offset @ piece
    return (factor * kernel).astype(np.float32), (factor * bias).astype(np.float32)


def _left_out(features: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the best penalty, and what the head of all other images says of each."""
    targets = one_hot(labels)
    with one_blas_thread():
        values, vectors = np.linalg.eigh(_gram(features, np.ones(len(labels)))[0])
    values = np.maximum(values, 0.0)
    best: tuple[float, float, np.ndarray] | None = None
    for penalty in PENALTIES:
        left_out = targets - _left_out_errors(values, vectors, targets, penalty)
        error = float(np.mean((left_out - targets) ** 2))
        if best is None or error < best[0]:
            best = (error, penalty, left_out)
    assert best is not None
    return best[1], best[2]


def _cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logarithms = np.log(np.exp(shifted).sum(axis=1)) - np.sum(shifted * targets, axis=1)
    return float(logarithms.mean())


def _gram(features: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, int]:
    """Products of the standardised images, by how many features have something to say, and these.

    With equal shares its rows sum to 0.
    """
    gram, alive = np.zeros((len(features), len(features))), 0
    for _, standard, _, scale in _standard_pieces(features, share):
        gram += standard @ standard.T
        alive += int(np.count_nonzero(scale))
    alive = max(1, alive)
    return gram / alive, alive


def _standard_pieces(
    features: np.ndarray, share: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the features brought to deviation 1 and weighted mean 0, some columns at a time.

    Large backbones say more than 100,000 numbers of an image, which as float64 are not to be held
    several times over.

    Yields:
        Which columns, the standardised ones, and the offset and the scale that made them: they are
        `features * scale - offset`. The scale of constant columns is 0.
    """
    deviations = np.concatenate([_deviations(piece) for _, piece in _pieces(features)])
    alive = deviations > 0.0
    least = LEAST_DEVIATION * np.median(deviations[alive]) if alive.any() else 1.0
    scales = np.where(alive, 1.0 / np.maximum(deviations, least), 0.0)
    for columns, piece in _pieces(features):
        scale = scales[columns]
        offset = np.average(piece, 0, share) * scale
        yield columns, piece * scale - offset, offset, scale


def _pieces(features: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, features.shape[1], _COLUMNS_AT_ONCE):
        columns = slice(start, start + _COLUMNS_AT_ONCE)
        yield columns, np.asarray(features[:, columns], np.float64)


def _deviations(piece: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each feature; 0 where it is constant but for rounding."""
    largest, found = np.abs(piece).max(axis=0), piece.std(axis=0)
    deviations: np.ndarray = np.where(found > _TINY * (1.0 + largest), found, 0.0)
    return deviations


def _left_out_errors(
    values: np.ndarray, vectors: np.ndarray, targets: np.ndarray, penalty: float
) -> np.ndarray:
    """Say what the ridge of all other images is off by at each, with an intercept of its own."""
    number = len(targets)
    weights = 1.0 / (values + penalty)
    residuals = vectors @ (weights[:, np.newaxis] * (vectors.T @ (targets - targets.mean(axis=0))))
    # The intercept is not penalised: the constant direction is taken out of the inverse.
    inverse = (vectors**2) @ weights - 1.0 / (number * penalty)
    return np.asarray(residuals / np.maximum(inverse, _TINY)[:, np.newaxis])


def choose_simplest(probes: Sequence[Probe], tolerance: float = 1.0) -> int:
    """Return the simplest probe that is hardly worse than the best.

    They are compared by their squared errors: the accuracies of a few dozen images have ties and
    lucky jumps. On six sets with 60 and 300 images, choosing by the squared errors cost half as
    much accuracy as choosing by the accuracies of the same probes.

    Args:
        probes: at least one, all on the same images, ordered from simple to costly.
        tolerance: how many standard errors of the difference count as hardly; with 0 it is the
            best.

    Returns:
        Its position.

    Source: the one-standard-error rule of Breiman et al. 1984, Classification and Regression Trees,
        with the error of the paired difference.
    """
    best = min(probes, key=lambda each: float(each.errors.mean()))
    for position, each in enumerate(probes):
        difference, error = best.advantage(each)
        if difference <= tolerance * error + _TINY:
            return position
    raise AssertionError("the best is within its own error")
