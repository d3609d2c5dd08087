"""The drawings of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ktransfer.pages.report.reliability import Reliability
    from ktransfer.pages.report.stages import Span


def draw_confusion(confusion: np.ndarray, class_names: Sequence[str]) -> str:
    return ""


def draw_reliability(found: Mapping[str, Reliability]) -> str:
    return ""


def draw_history(history: Sequence[Mapping[str, Any]], spans: Sequence[Span], best_epoch: int) -> str:
    return ""


def draw_rates(groups: Mapping[str, Sequence[tuple[int, float]]], spans: Sequence[Span]) -> str:
    return ""


def draw_depths(points: Sequence[tuple[int, float, tuple[float, float]]]) -> str:
    return ""


def draw_gap(values: Sequence[float]) -> str:
    return ""
