"""What one stage of a plan did, as plain data and in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ktransfer.files.records import with_tuples
from ktransfer.freezing import FrozenProof
from ktransfer.plan import Stage
from ktransfer.training.diagnosis.training import EXPLODED_TIMES


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
        out_of_time: whether the time budget ended the training in this stage.
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
    out_of_time: bool = False

    @classmethod
    def solved_head(cls, name: str, seconds: float) -> StageResult:
        """Return that of a head solved in closed form, without an epoch."""
        return cls(
            name=name,
            unfreeze=0,
            cached=True,
            cache_reason="solved in closed form from what all blocks say",
            batch_size=0,
            history=(),
            best_epoch=0,
            val_loss=None,
            val_calibrated_loss=None,
            val_accuracy=None,
            groups=(),
            proof=None,
            notes=(),
            diverged=False,
            interrupted=False,
            seconds=seconds,
            solved=True,
        )

    @property
    def ended_early(self) -> bool:
        """Whether the stages behind it were not begun."""
        return self.interrupted or self.diverged or self.out_of_time

    @property
    def kept(self) -> bool:
        """Whether the model is the work of this stage, too."""
        return bool(self.best_epoch) or self.solved

    @property
    def sentences(self) -> tuple[str, ...]:
        """How it went, and the proof that what was frozen stayed."""
        right = f", {self.val_accuracy:.1%} right" if self.val_accuracy is not None else ""
        before = "the ridge regression" if self.solved else "the weights of before"
        kept = f"epoch {self.best_epoch}" if self.best_epoch else before
        if not self.history and self.solved:
            return (f"{self.name}: in closed form in {self.seconds:.1f} s{right}",)
        return (
            f"{self.name}: {len(self.history)} epochs of batch {self.batch_size} in "
            f"{self.seconds:.1f} s{'' if self.cached else ' (not cached)'}; kept {kept}{right}",
            f"{self.name}: {self.proof or 'nothing was frozen'}",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**own, "proof": self.proof.to_dict() if self.proof else None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StageResult:
        """Return the reverse of `to_dict`."""
        proof = FrozenProof.from_dict(data["proof"]) if data["proof"] else None
        return cls(**{**with_tuples(data), "proof": proof})

    def __str__(self) -> str:
        before = "the ridge regression" if self.solved else "the weights of before"
        kept = f"epoch {self.best_epoch}" if self.best_epoch else before
        known = self.val_accuracy is not None
        right = f", {self.val_accuracy:.1%} of validation right" if known else ""
        return f"{len(self.history)} epochs, kept {kept}{right}"


def remarks(
    stage: Stage, result: StageResult, guessing_loss: float, *, collapsed: bool
) -> Iterator[str]:
    """Say what is to be said of how a stage went.

    Args:
        stage: the stage.
        result: of it.
        guessing_loss: the cross entropy of guessing.
        collapsed: whether it was ended because it lost most of what the network knew.
    """
    kept = (
        f"the weights of epoch {result.best_epoch}"
        if result.best_epoch
        else "the weights of before"
    )
    if result.diverged:
        blocks = ", or block_multiplier" if stage.unfreeze else ""
        yield (
            f"the loss of stage {stage.name!r} became NaN in epoch {len(result.history)}, so the "
            f"training stopped and {kept} are kept: lower learning_rate from "
            f"{stage.learning_rate:g} to {stage.learning_rate / 10:g}{blocks}"
        )
    elif result.out_of_time:
        yield (
            f"the time budget ended stage {stage.name!r} after {len(result.history)} of "
            f"{stage.epochs} epochs; {kept} are kept"
        )
    elif result.history and (loss := result.history[-1]["loss"]) > EXPLODED_TIMES * guessing_loss:
        yield (
            f"stage {stage.name!r} diverged: after epoch {len(result.history)} its loss was "
            f"{loss:.3g}, and guessing has {guessing_loss:.3g}; {kept} are kept. "
            f"learning_rate={stage.learning_rate:g} is too much for these images"
        )
    elif collapsed:
        yield (
            f"stage {stage.name!r} lost most of what the network knew and was ended after epoch "
            f"{len(result.history)}; {kept} are kept. learning_rate={stage.learning_rate:g} is "
            "too much for these images"
        )
    elif not result.best_epoch and result.solved:
        yield (
            f"stage {stage.name!r} began with a ridge regression in closed form; no epoch was "
            "better on the validation images, so that is kept"
        )
    elif not result.best_epoch and result.val_loss is not None:
        yield (
            f"no epoch of stage {stage.name!r} was better on the validation images, by their loss, "
            "so the weights of before are kept"
        )
