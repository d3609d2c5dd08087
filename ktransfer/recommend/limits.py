"""What a backbone may cost at most, and which one comes nearest where none is cheap enough."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ktransfer.errors import InputError

_COSTS = {
    "max_latency_ms": ("latency_ms", "ms"),
    "max_size_mb": ("size_mb", "MB"),
    "max_memory_mb": ("memory_mb", "MB of memory"),
}


@dataclass(frozen=True)
class Limits:
    """What a backbone may cost at most; None is no limit.

    Raises:
        InputError: a limit is not a number above 0.
    """

    max_latency_ms: float | None = None
    max_size_mb: float | None = None
    max_memory_mb: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is None:
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < value < math.inf:  # also refuses NaN
                raise InputError(f"{name} must be a number above 0, got {value!r}")

    def given(self) -> dict[str, float]:
        """Return those that are limits, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def missed(self, costs: Mapping[str, float]) -> dict[str, float]:
        """Return the limits that these costs exceed, by name, and how many times each one."""
        times = {name: costs[_COSTS[name][0]] / limit for name, limit in self.given().items()}
        return {name: value for name, value in times.items() if value > 1}

    def check_one_meets(self, costs: Mapping[str, Mapping[str, float]]) -> None:
        """Refuse limits that nothing meets.

        Args:
            costs: by label of the candidate: `latency_ms`, `size_mb` and `memory_mb`.

        Raises:
            InputError: none meets them; says which one comes nearest and what it misses. Nearest is
                the one whose worst excess is the smallest, as a multiple of the limit.
        """
        excess = {
            label: max(self.missed(each).values(), default=0) for label, each in costs.items()
        }
        label = min(excess, key=lambda each: excess[each])
        if excess[label] == 0:
            return
        wanted = ", ".join(f"{name}={value:g}" for name, value in self.given().items())
        misses = ", ".join(self._miss(name, costs[label]) for name in self.missed(costs[label]))
        raise InputError(
            f"no candidate meets {wanted}. {label} comes nearest: {misses}. Raise the limit or "
            "name other candidates"
        )

    def _miss(self, name: str, costs: Mapping[str, float]) -> str:
        """For example "12.5 MB, 2.5 over max_size_mb"."""
        cost, unit = _COSTS[name]
        return f"{costs[cost]:.3g} {unit}, {costs[cost] - self.given()[name]:.3g} over {name}"
