"""About how long a strategy takes and how much memory, estimated from one measured pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ktransfer.backbones import Backbone, Block

#: A training step through a block takes about so many times its inference, which is folded and
#: fused where training is not (measured on 2 cores: MobileNetV2 0.35, batches of 30).
STEP_BY_FORWARD = 4.5

#: Tracing and compiling a stage, and a head's own training, in seconds; on 2 cores.
_COMPILING_S, _HEAD_S = 5.0, 2.0

#: What a step holds of each activation: itself and its gradient; and of each weight that trains:
#: its gradient and the two moments of Adam.
PER_ACTIVATION, PER_WEIGHT, FLOAT_BYTES = 2, 3, 4

#: Images in a step.
BATCH = 32


@dataclass(frozen=True)
class Costs:
    """What an image costs at each depth of a backbone.

    Attributes:
        seconds_per_image: of the whole backbone, for inference.
        parameters: of each block.
        activations: numbers that each block makes of an image.
    """

    seconds_per_image: float
    parameters: tuple[int, ...]
    activations: tuple[int, ...]

    @classmethod
    def of(cls, backbone: Backbone, seconds_per_image: float) -> Costs:
        """Return those of a backbone."""
        return cls(
            seconds_per_image,
            tuple(block.parameters for block in backbone.blocks),
            tuple(_activations(block) for block in backbone.blocks),
        )

    def extraction_s(self, num_images: int) -> float:
        """Return seconds of one pass over the images."""
        return num_images * self.seconds_per_image

    def prefix_s(self, num_images: int, cut: int) -> float:
        """Estimate the seconds of the first `cut` blocks, by their share of the activations."""
        share = sum(self.activations[:cut]) / max(1, sum(self.activations))
        return share * self.extraction_s(num_images)

    def head(self, num_images: int, num_features: int) -> tuple[float, float]:
        """Return seconds and megabytes of a head on features: the pass, and what it says, held."""
        held = num_images * num_features * FLOAT_BYTES
        return self.extraction_s(num_images) + _HEAD_S, held / 2**20

    def tuning(self, num_images: int, unfreeze: int, epochs: int) -> tuple[float, float]:
        """Return seconds and megabytes of training the last blocks, those before them cached.

        A block's share of the time is taken to be its share of the activations.
        """
        last = self.activations[len(self.activations) - unfreeze :]
        weights = sum(self.parameters[len(self.parameters) - unfreeze :])
        share = sum(last) / max(1, sum(self.activations))
        step = STEP_BY_FORWARD * share * self.seconds_per_image
        held = PER_ACTIVATION * BATCH * sum(last) + PER_WEIGHT * weights
        seconds = self.extraction_s(num_images) + _COMPILING_S + epochs * num_images * step
        return seconds, held * FLOAT_BYTES / 2**20


def _activations(block: Block) -> int:
    outputs = [each for call in block.calls for each in call.outputs]
    return sum(math.prod(size or 1 for size in each.shape[1:]) for each in outputs)
