"""The points that the page learns from: a curve, and what was measured of it, with noise."""

from __future__ import annotations

from typing import Any

import numpy as np

#: The numbers of points to learn from, at most, and to validate on.
TRAINING, VALIDATION = 60, 40

#: Of the noise: one that shows underfitting, overfitting, and what impatience misses.
_SEED = 12


def points() -> dict[str, Any]:
    """Point in [-1, 1], what is true of them, and noise of deviation 1 to be added to it.

    Returns:
        Plain data: `training` and `validation`, each with `x`, `truth` and `noise`, and `curve`,
        the truth to be drawn.
    """
    random = np.random.default_rng(_SEED)
    training = random.uniform(-1, 1, TRAINING)
    validation = random.uniform(-1, 1, VALIDATION)
    grid = np.linspace(-1, 1, 121)
    return {
        "training": _measured(training, random),
        "validation": _measured(validation, random),
        "curve": {"x": _plain(grid), "truth": _plain(truth(grid))},
    }


def truth(x: np.ndarray) -> np.ndarray:
    """Return the curve to be learned."""
    return np.sin(2.2 * x) + 0.5 * np.cos(4 * x)


def _measured(x: np.ndarray, random: np.random.Generator) -> dict[str, list[float]]:
    return {"x": _plain(x), "truth": _plain(truth(x)), "noise": _plain(random.normal(size=len(x)))}


def _plain(values: np.ndarray) -> list[float]:
    return [round(float(each), 4) for each in values]
