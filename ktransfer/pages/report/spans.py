"""Where the stages of a training lie among its epochs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """Where a stage lies among the epochs of a training.

    Attributes:
        name: of the stage.
        start: epochs that were done before it.
        stop: epochs that were done after it.
        frozen: what was frozen in it, in words; and the same in few letters.
    """

    name: str
    start: int
    stop: int
    frozen: tuple[str, str]
