"""What one stage of a plan did, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ktransfer.files.records import with_tuples
from ktransfer.freezing import FrozenProof


@dataclass(frozen=True, eq=False)
class StageResult:
    """What one stage of a plan did.

    Attributes:
        name: of the stage.
        unfreeze: how many last blocks trained.
        cached: whether it read what the frozen blocks said once, and not the images.
        cache_reason: why, with the estimate of time and space.
        batch_size: images a step; smaller than asked for where memory ran out.
        history: a dict for each epoch: `epoch`, `loss`, `calibrated_loss` and `accuracy` of the
            training images, the same with `val_` of the validation images, `learning_rate` (the
            head's, at the end of the epoch), `seconds`.
        best_epoch: whose weights were kept, from 1; 0: those from before the stage.
        val_loss: cross entropy of the kept weights on the validation images; None where no epoch
            was any good.
        val_calibrated_loss: the same at the temperature that suits these images best; the weights
            of the epoch where it is lowest are kept.
        val_accuracy: the share of the validation images that they get right, in [0, 1].
        groups: for each block that trained and the head: `tensors`, `parameters`, `multiplier` and
            the peak `learning_rate`.
        proof: that what was frozen did not move; None where nothing was frozen.
        notes: remarks that are no errors.
        diverged: whether the loss became NaN or infinite, which ended the training.
        interrupted: whether Ctrl-C ended the training in this stage.
        seconds: wall time, in this process.
        solved: whether the head began as a ridge regression in closed form, which counts as
            trained.
    """

    name: str
    unfreeze: int
    cached: bool
    cache_reason: str
    batch_size: int
    history: tuple[dict[str, float], ...]
    best_epoch: int
    val_loss: float | None
    val_calibrated_loss: float | None
    val_accuracy: float | None
    groups: tuple[dict[str, Any], ...]
    proof: FrozenProof | None
    notes: tuple[str, ...]
    diverged: bool
    interrupted: bool
    seconds: float
    solved: bool = False

    @property
    def kept(self) -> bool:
        """Whether the model is the work of this stage, too."""
        return bool(self.best_epoch) or self.solved

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, ready for JSON."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**own, "proof": self.proof.to_dict() if self.proof else None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StageResult:
        """The reverse of `to_dict`."""
        proof = FrozenProof.from_dict(data["proof"]) if data["proof"] else None
        return cls(**{**with_tuples(data), "proof": proof})
