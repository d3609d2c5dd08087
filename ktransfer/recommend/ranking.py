"""Rankings of backbones: the front of accuracy and latency, the choice, and how rankings agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

#: With fewer the agreement of two rankings is chance: of 4 candidates one order in 24 is perfect.
LEAST_COMPARED = 5

_TINY = 1e-6


@dataclass(frozen=True)
class Agreement:
    """How well a ranking agrees with the measured accuracies.

    Attributes:
        spearman: rank correlation in [-1, 1].
        kendall: tau-b in [-1, 1].
        num_candidates: how many were ranked.
    """

    spearman: float
    kendall: float
    num_candidates: int


def on_front(accuracies: Sequence[float], latencies: Sequence[float]) -> list[bool]:
    """Say which are not beaten: none is as accurate and as fast, and better in one."""
    points = list(zip(accuracies, latencies, strict=True))
    return [not any(_beats(other, point) for other in points) for point in points]


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] >= other[0] and one[1] <= other[1] and one != other


def choose(correct: Sequence[np.ndarray], latencies: Sequence[float]) -> int:
    """Return the fastest within one standard error of the most accurate.

    Args:
        correct: of each backbone bool `(images,)`: which of the same images it got right.
        latencies: of each backbone.

    Returns:
        Its position.

    Source: the one-standard-error rule of Breiman et al. 1984, Classification and Regression Trees,
        with the error of the paired difference.
    """
    top = max(correct, key=lambda each: each.mean())
    within = [at for at, each in enumerate(correct) if _as_good(each, top)]
    return min(within, key=lambda at: latencies[at])


def _as_good(one: np.ndarray, top: np.ndarray) -> bool:
    difference = top.astype(float) - one
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return bool(difference.mean() <= error + _TINY)  # one image more is one standard error


def agreements(
    accuracies: Sequence[float], rankings: Mapping[str, Sequence[float | None]]
) -> dict[str, Agreement]:
    """Say how well each ranking agrees with the measured accuracies.

    Args:
        accuracies: measured.
        rankings: by name, a figure for each backbone, higher being better; None where it is
            unknown.

    Returns:
        By name; a ranking of fewer than `LEAST_COMPARED`, or without any difference, says nothing
        and is left out.
    """
    found = {}
    for name, figures in rankings.items():
        pairs = [pair for pair in zip(figures, accuracies, strict=True) if pair[0] is not None]
        if len(pairs) < LEAST_COMPARED or any(
            len(set(each)) < 2 for each in zip(*pairs, strict=True)
        ):
            continue
        ranked, measured = zip(*pairs, strict=True)
        spearman = float(stats.spearmanr(ranked, measured).statistic)
        kendall = float(stats.kendalltau(ranked, measured).statistic)
        found[name] = Agreement(spearman, kendall, len(pairs))
    return found
