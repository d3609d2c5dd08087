"""Where rows are written: an entry of the store, or else memory or a temporary file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ktransfer.cache import Draft
from ktransfer.features.forward import allocate


@dataclass(frozen=True, eq=False)
class RowTarget:
    """An array to be written, and what makes it final: given the rows written, and their images."""

    values: np.ndarray
    finish: Callable[[np.ndarray, np.ndarray], np.ndarray]

    @classmethod
    def of(
        cls, draft: Draft | None, shape: tuple[int, ...], dtype: str, *, budget_mb: float
    ) -> RowTarget:
        """Return the array of an entry of the store.

        None: one that is kept for this process only.
        """
        if draft is None:
            held = allocate(shape, dtype, budget_mb=budget_mb)
            return cls(held, lambda rows, indices: rows)

        def finish(rows: np.ndarray, indices: np.ndarray) -> np.ndarray:
            values: np.ndarray = draft.commit(len(rows), indices, budget_mb=budget_mb).values
            return values

        return cls(draft.values, finish)
