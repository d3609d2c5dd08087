"""A candidate and what was measured of it, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

MEASURED = "measured"

#: Names of files can be long, and the table has ten columns; its numbers tell candidates apart.
WIDEST_LABEL = 36


@dataclass(frozen=True)
class RatedBackbone:
    """A candidate and what was measured of it; None where it could not be had.

    Attributes:
        label: what tells it from the other candidates.
        name: the constructor, the preset, or the model's own name.
        options: of the constructor.
        weights: "imagenet", "mini", a path, "own" or None (random).
        status: `"measured"`, or `"not available: "` and the reason.
        input_size: `(height, width)` of its images in pixels.
        accuracy: of a linear head, by leaving out one image after the other.
        interval: 95 % interval of it.
        features: the feature set that the head reads: the simplest within one standard error of the
            best of `feature_sets`.
        feature_sets: the accuracy with each.
        logme: LogME of the features of the last block.
        h_score: H-score of the same.
        latency_ms: of one image up to those features, in milliseconds; the median of several.
        size_mb: of its weights as float32, without a head, in MB of 2^20 bytes.
        memory_mb: that one image needs, weights and activations, estimated from the graph.
        imagenet_top1: the published accuracy on ImageNet of the constructor with its ImageNet
            weights; of weights from a file it is taken to be the same.
        on_front: whether no other one is as accurate and as fast, and better in one of the two.
        meets_limits: whether it costs no more than asked for.
        seconds: that loading and measuring took.
    """

    label: str
    name: str
    options: Mapping[str, Any]
    weights: str | None
    status: str
    input_size: tuple[int, int] | None = None
    accuracy: float | None = None
    interval: tuple[float, float] | None = None
    features: str | None = None
    feature_sets: Mapping[str, float] | None = None
    logme: float | None = None
    h_score: float | None = None
    latency_ms: float | None = None
    size_mb: float | None = None
    memory_mb: float | None = None
    imagenet_top1: float | None = None
    on_front: bool = False
    meets_limits: bool = False
    seconds: float = 0.0

    @property
    def short_label(self) -> str:
        """The label for a table or a legend."""
        kept = self.label[: WIDEST_LABEL - 1] + "…"
        return self.label if len(self.label) <= WIDEST_LABEL else kept

    @property
    def measured(self) -> bool:
        """Whether it could be had."""
        return self.status == MEASURED

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        return {
            **asdict(self),
            "options": {name: _plain(value) for name, value in self.options.items()},
            "input_size": list(self.input_size) if self.input_size else None,
            "interval": list(self.interval) if self.interval else None,
        }


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str | None) else str(value)
