"""LogME and H-score: what rankings of backbones without a head would say of some features."""

from __future__ import annotations

import numpy as np

from ktransfer.processes.threads import one_blas_thread
from ktransfer.profile.samples import check_samples, judged_sample, one_hot

#: LogME and the H-score rank backbones and features, and decide nothing: fewer do.
_SCORED_IMAGES = 300

_TINY = 1e-6


def evidence_scores(features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """LogME and H-score of features: rankings without a head, to be printed beside the probe.

    Args:
        features: `(images, features)`.
        labels: integers `(images,)`; of many images a part is looked at, evenly by class.

    Returns:
        `{"logme": ..., "h_score": ...}`, higher is better; not to be compared across data sets.

    Raises:
        InputError: as `probe`.

    Source: You et al. 2021, LogME (arXiv 2102.11005), by the fixed point of its evidence; Bao et
        al. 2019, An Information-Theoretic Approach to Transferability, with the shrinkage of
        Ibrahim et al. 2021, Newer is not always better (arXiv 2110.06893), without which the
        score means nothing where there are more features than images.
    """
    labels = np.asarray(labels)
    check_samples(features, labels)
    rows = judged_sample(labels, _SCORED_IMAGES)
    features, labels = np.asarray(features[rows], np.float64), labels[rows]
    with one_blas_thread():
        return {"logme": _logme(features, labels), "h_score": _h_score(features, labels)}


def _logme(features: np.ndarray, labels: np.ndarray) -> float:
    number, width = features.shape
    squares, left = _components(features)
    evidences = [
        _evidence(squares, (left.T @ column) ** 2, float(column @ column), number, width)
        for column in one_hot(labels).T
    ]
    return float(np.mean(evidences))


def _components(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find squared singular values and left vectors, from the smaller of both products."""
    number, width = features.shape
    if width < number:
        left, singular, _ = np.linalg.svd(features, full_matrices=False)
        return singular**2, left
    values, vectors = np.linalg.eigh(features @ features.T)
    return np.maximum(values, 0.0), vectors


def _evidence(
    squares: np.ndarray, projections: np.ndarray, total: float, number: int, width: int
) -> float:
    """Return the maximal evidence of a Bayesian linear regression, per image."""
    alpha = beta = 1.0
    rest = max(total - projections.sum(), 0.0)  # what no weights can explain
    for _ in range(100):
        ratio = alpha / beta
        effective = float(np.sum(squares / (squares + ratio)))
        norm = float(np.sum(squares * projections / (squares + ratio) ** 2))
        residual = rest + float(np.sum(projections * ratio**2 / (squares + ratio) ** 2))
        # Of constant features nothing is effective; 0 would make the next ratio 0 / 0.
        alpha = max(effective, 1e-12) / max(norm, 1e-12)
        beta = max(number - effective, 1e-12) / max(residual, 1e-12)
        if abs(alpha / beta - ratio) <= 1e-4 * ratio:
            break
    norm = float(np.sum(squares * projections / (squares + alpha / beta) ** 2))
    residual = rest + float(
        np.sum(projections * (alpha / beta) ** 2 / (squares + alpha / beta) ** 2)
    )
    evidence = (
        width * np.log(alpha)
        + number * np.log(beta)
        - np.sum(np.log(alpha + beta * squares))
        - (width - len(squares)) * np.log(alpha)
        - beta * residual
        - alpha * norm
        - number * np.log(2 * np.pi)
    )
    return float(evidence / (2 * number))


def _h_score(features: np.ndarray, labels: np.ndarray) -> float:
    centred = features - features.mean(axis=0)
    squares, left = _components(centred)
    shrinkage, mean_variance = _ledoit_wolf(centred, squares)
    # What the class means spread, seen in the directions of the images: elsewhere they have none.
    averaging = np.stack([labels == each for each in np.unique(labels)]).astype(np.float64)
    averaging /= np.sqrt(averaging.sum(axis=1, keepdims=True))
    between = squares * np.sum((averaging @ left) ** 2, axis=0) / (len(features) - 1)
    within = (1 - shrinkage) * squares / len(features) + shrinkage * mean_variance
    seen = within > _TINY * mean_variance
    return float((1 - shrinkage) * np.sum(between[seen] / within[seen]))


def _ledoit_wolf(centred: np.ndarray, squares: np.ndarray) -> tuple[float, float]:
    """Return the shrinkage of the covariance, and the mean variance that it is shrunk to.

    scikit-learn has the same, from the `(features, features)` matrix: seconds for thousands of
    features, where the squares of the singular values say it at once.

    Source: Ledoit and Wolf 2004, A well-conditioned estimator for large-dimensional covariance
        matrices, Journal of Multivariate Analysis 88.
    """
    number, width = centred.shape
    mean_variance = float(squares.sum()) / (number * width)
    norm = float(np.sum(squares**2)) / number**2
    distance = norm / width - mean_variance**2
    fourth = float(np.sum(np.sum(centred**2, axis=1) ** 2)) / number
    chance = min((fourth - norm) / (number * width), distance)
    return (chance / distance if chance > 0 else 0.0), mean_variance
