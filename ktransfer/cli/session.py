"""How commands load a saved run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer.show.timing import timed

if TYPE_CHECKING:
    from ktransfer.finetuner import FineTuner


def loaded(run: str, seconds: dict[str, float]) -> FineTuner:
    """A saved run."""
    from ktransfer.finetuner import FineTuner

    with timed(seconds, "load"):
        return FineTuner.load(run)
