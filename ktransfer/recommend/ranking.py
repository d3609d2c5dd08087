"""Rankings of backbones: the front of accuracy and latency, the choice, and how rankings agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ktransfer.probes import Probe, choose_simplest

#: With fewer the agreement of two rankings is chance: of 4 candidates one order in 24 is perfect.
LEAST_COMPARED = 5


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
    """Which are not beaten: no other is as accurate and as fast, and better in one of the two."""
    points = list(zip(accuracies, latencies, strict=True))
    return [not any(_beats(other, point) for other in points) for point in points]


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] >= other[0] and one[1] <= other[1] and one != other


def choose(probes: Sequence[Probe], latencies: Sequence[float]) -> int:
    """The fastest within one standard error of the most accurate, all on the same images."""
    order = np.argsort(latencies, kind="stable")
    return int(order[choose_simplest([probes[at] for at in order])])


def aligned(probes: Sequence[Probe], rows: Sequence[np.ndarray]) -> list[Probe]:
    """The probes on the images that all of them judged.

    Args:
        probes: of each backbone.
        rows: which images each one judged, ascending: an image may be readable at one size only.
    """
    common = rows[0]
    for each in rows[1:]:
        common = np.intersect1d(common, each)
    return [
        Probe(each.correct[np.isin(judged, common)], each.penalty)
        for each, judged in zip(probes, rows, strict=True)
    ]


def agreements(
    accuracies: Sequence[float], rankings: Mapping[str, Sequence[float | None]]
) -> dict[str, Agreement]:
    """How well each ranking agrees with the measured accuracies.

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
        pairs = [
            pair for pair in zip(figures, accuracies, strict=True) if pair[0] is not None
        ]
        if len(pairs) < LEAST_COMPARED or any(len(set(each)) < 2 for each in zip(*pairs, strict=True)):
            continue
        ranked, measured = zip(*pairs, strict=True)
        spearman = float(stats.spearmanr(ranked, measured).statistic)
        kendall = float(stats.kendalltau(ranked, measured).statistic)
        found[name] = Agreement(spearman, kendall, len(pairs))
    return found
