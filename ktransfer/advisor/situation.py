"""What is known of the task beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass

from ktransfer.advisor.costs import Costs


@dataclass(frozen=True)
class Situation:
    """What is known beside the profile.

    Attributes:
        num_images: training images.
        num_classes: at least 2.
        similarity: what the user says of it, as in `textbook_rule`; None: nothing.
        fine_tuning: whether it is tried: `"auto"`, `"on"` or `"off"`.
        costs: of the backbone.
    """

    num_images: int
    num_classes: int
    similarity: float | str | None
    fine_tuning: str
    costs: Costs

    @property
    def num_blocks(self) -> int:
        """How many blocks the backbone has."""
        return len(self.costs.parameters)
