"""A stage: one phase of a training, as plain data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ktransfer.augment.policies import AUGMENTATIONS, POLICIES
from ktransfer.errors import InputError
from ktransfer.plan.fields import (
    FACTOR,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    build,
    number,
    one_of,
    text,
    truth,
    whole,
)
from ktransfer.plan.schedules import PERIODIC, SCHEDULES, scheduled

ALL = "all"
HEAD = "head"

#: Optimizers whose steps a learning-rate multiplier can scale, by the name that
#: `keras.optimizers.get` takes. Keras 3.15 does not take "lamb" there, though it has the class.
OPTIMIZERS = ("adam", "adamw", "adagrad", "adamax", "lion", "nadam", "rmsprop", "sgd")
WITH_MOMENTUM = ("rmsprop", "sgd")
BATCH_NORMS = ("frozen", "affine_only", "train")
KEEPS = ("best", "end")
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One phase of a training: what trains in it, for how long and how fast.

    The head always trains. What is said of blocks has no effect in a stage where none trains.

    Attributes:
        name: unique within its plan.
        unfreeze: how many blocks train, counted from the last: 0 is the head alone, `"all"` every
            block of the model.
        epochs: most passes over the training images, at least 1.
        learning_rate: the peak learning rate of the head, above 0.
        block_multiplier: what scales the learning rate of every block, above 0. 1 is the head's.
        layer_decay: what scales it once more for each block away from the head, above 0, at most 1:
            the last block gets it once, the one before it twice, as in `optimizers.layer_decay`.
        optimizer: `"adam"`, `"adamw"`, `"sgd"` or another of `OPTIMIZERS`, which Keras resolves.
        momentum: in [0, 1), of `"sgd"` and `"rmsprop"` only.
        weight_decay: decoupled from the gradient, as Keras applies it, at least 0.
        schedule: `"constant"`, `"cosine"` or `"linear"` (to 0 at the end of the stage), `"step"` or
            `"exponential"`.
        decay_every_epochs: after how many epochs `"step"` multiplies; `"exponential"` has then
            fallen by the same. None for the other schedules.
        decay_factor: by what they multiply, above 0, at most 1. None for the other schedules.
        warmup_epochs: for how long the rate first rises from 0 in a straight line; fractions count.
            The schedule begins after it.
        batch_norm: what batch norm does in the blocks that train. `"frozen"`: it stays as it is,
            statistics, scale and shift; `"affine_only"`: scale and shift train; `"train"`: these
            and the statistics, which come from each batch. Elsewhere it is always frozen.
        augmentation: `"none"`, `"light"` (mirrored), `"standard"` (a random part, mirrored),
            `"strong"` (that, a random operation, erasing, and MixUp or CutMix of each batch), or
            what imitates a domain: `"grey"`, `"blur"`, `"noise"`, `"colour_shift"`. `"auto"` lets
            `choose_augmentation` say it by the number of images.
        views: how many augmented views of each image there are; what the frozen blocks say of them
            can be cached. None: a new one in every epoch, and the frozen blocks run in every step.
        batch_size: images in a step; None lets the training choose.
        patience: epochs without a better one after which the stage ends; None: never. Better is a
            lower validation loss at its best temperature.
        keep: which weights the stage ends with: `"best"`, those of its best epoch, or `"end"`,
            those of its last one, whose schedule has come to rest. Of many epochs on a few dozen
            validation images the best is in part the luckiest.
        dropout: share of the features dropped before the head, in [0, 1); None: as much as the
            `FineTuner` says.
        scale_features: whether the head reads the features divided by their root mean square over
            the training images, so that one learning rate serves the heads of all backbones; those
            of all blocks, each less its mean and divided by its deviation. Measured before the
            first stage that asks for it; folded into the weights at the end.

    Raises:
        InputError: A field has a wrong type, is out of range or names something unknown.

    Example:
        >>> stage = Stage(name="tune", unfreeze=2, epochs=4, learning_rate=0.01, layer_decay=0.5)
        >>> stage.multipliers()
        {'head': 1.0, 'block -1': 0.5, 'block -2': 0.25}
    """

    name: str
    unfreeze: int | str
    epochs: int
    learning_rate: float
    block_multiplier: float = 1.0
    layer_decay: float = 1.0
    optimizer: str = "adam"
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: str = "constant"
    decay_every_epochs: float | None = None
    decay_factor: float | None = None
    warmup_epochs: float = 0.0
    batch_norm: str = "frozen"
    augmentation: str = "none"
    views: int | None = None
    batch_size: int | None = None
    patience: int | None = None
    keep: str = "best"
    dropout: float | None = None
    scale_features: bool = True

    def __post_init__(self) -> None:
        where = f"stage {text('a stage', 'name', self.name)!r}"
        self._check_numbers(where)
        for field, known in _NAMES.items():
            one_of(where, field, getattr(self, field), known)
        truth(where, "scale_features", self.scale_features)
        self._check_together(where)

    def _check_numbers(self, where: str) -> None:
        if self.unfreeze != ALL:
            self._set("unfreeze", check_unfreeze(where, self.unfreeze))
        for field in _WHOLE:
            value = getattr(self, field)
            if value is not None or field == "epochs":
                self._set(field, whole(where, field, value, 1))
        for field, bounds in _NUMBERS.items():
            value = getattr(self, field)
            if value is not None or field not in _OPTIONAL:
                self._set(field, number(where, field, value, bounds))

    def _set(self, field: str, value: Any) -> None:
        # Whole numbers and NumPy's become floats and ints, so that equal stages compare equal.
        object.__setattr__(self, field, value)

    def _check_together(self, where: str) -> None:
        """Refuse settings that another one leaves without effect."""
        if self.momentum and self.optimizer not in WITH_MOMENTUM:
            raise InputError(
                f"{where}: momentum={self.momentum} is an option of {' and '.join(WITH_MOMENTUM)}; "
                f"{self.optimizer!r} has none: leave it out or take another optimizer"
            )
        for field in _PERIODIC_FIELDS:
            given = getattr(self, field) is not None
            if given != (self.schedule in PERIODIC):
                verb = "has no" if given else "needs"
                raise InputError(
                    f"{where}: the schedule {self.schedule!r} {verb} {field}, "
                    f"got {getattr(self, field)!r}"
                )
        if self.patience is not None and self.keep == "end":
            raise InputError(
                f"{where}: keep='end' takes the last epoch, got patience={self.patience}, which "
                "ends before it: leave one of them out"
            )
        if self.views is not None and self.augmentation == "none":
            raise InputError(
                f"{where}: views={self.views} needs an augmentation, got augmentation='none'"
            )
        if self.views is not None and self.augmentation == AUTO:
            raise InputError(
                f"{where}: augmentation='auto' says itself how many views, got views={self.views}: "
                "leave it out, or name an augmentation"
            )
        if self.views is not None and self.mixes:
            raise InputError(
                f"{where}: views={self.views} keeps what the frozen blocks say of each image, and "
                f"augmentation={self.augmentation!r} mixes the images of a batch, always others: "
                "leave views out, or take 'standard'"
            )
        if self.warmup_epochs >= self.epochs:
            raise InputError(
                f"{where}: warmup_epochs must be fewer than the {self.epochs} epochs, "
                f"got {self.warmup_epochs}"
            )

    @property
    def mixes(self) -> bool:
        """Whether batches are mixed, so that their labels are shares of classes."""
        return self.augmentation != AUTO and POLICIES[self.augmentation].mixes

    def to_dict(self) -> dict[str, Any]:
        """Return the stage as plain data, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Any, where: str = "a stage") -> Stage:
        """Return the reverse of `to_dict`.

        Raises:
            InputError: A field is unknown, missing or wrong; the message names it.
        """
        named = isinstance(data, dict) and isinstance(data.get("name"), str)
        stage: Stage = build(cls, data, f"stage {data['name']!r}" if named else where)
        return stage

    def num_trainable_blocks(self, num_blocks: int | None = None) -> int:
        """Say how many blocks train in a model of `num_blocks` blocks.

        Raises:
            InputError: `unfreeze` is "all" and `num_blocks` is not given.
        """
        if self.unfreeze != ALL:
            return int(self.unfreeze)
        if num_blocks is None:
            raise InputError(
                f"stage {self.name!r}: unfreeze='all' is a number only for a backbone: call "
                "resolve(num_blocks) of the plan first"
            )
        return num_blocks

    def multipliers(self, num_blocks: int | None = None) -> dict[str, float]:
        """Say what scales the learning rate of the head and of each block that trains, last first.

        Blocks are named by their index from the end, as in `backbone.blocks[-1]`.
        """
        depths = range(1, self.num_trainable_blocks(num_blocks) + 1)
        blocks = {
            f"block -{depth}": self.block_multiplier * self.layer_decay**depth for depth in depths
        }
        return {HEAD: 1.0, **blocks}

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        """Return the head's learning rate at a step of the stage; the first is step 0.

        Raises:
            InputError: `step` is under 0 or `steps_per_epoch` under 1.
        """
        where = f"stage {self.name!r}"
        step = whole(where, "step", step, 0)
        per_epoch = whole(where, "steps_per_epoch", steps_per_epoch, 1)
        total = self.epochs * per_epoch
        return self.learning_rate * scheduled(
            self.schedule,
            step,
            total_steps=total,
            # At least one step of the schedule itself is left, however the warm-up is rounded.
            warmup_steps=min(round(self.warmup_epochs * per_epoch), total - 1),
            every_steps=max(1, round((self.decay_every_epochs or 1) * per_epoch)),
            factor=self.decay_factor or 1.0,
        )


def check_unfreeze(where: str, value: Any) -> int:
    """Say how many last blocks train, as a whole number from 0."""
    if isinstance(value, str):
        raise InputError(f"{where}: unfreeze must be a whole number or 'all', got {value!r}")
    return whole(where, "unfreeze", value, 0)


_WHOLE = ("epochs", "views", "batch_size", "patience")
_PERIODIC_FIELDS = ("decay_every_epochs", "decay_factor")
_OPTIONAL = (*_PERIODIC_FIELDS, "dropout")
_NUMBERS = {
    "learning_rate": POSITIVE,
    "block_multiplier": POSITIVE,
    "layer_decay": FACTOR,
    "momentum": SHARE,
    "weight_decay": NOT_NEGATIVE,
    "decay_every_epochs": POSITIVE,
    "decay_factor": FACTOR,
    "warmup_epochs": NOT_NEGATIVE,
    "dropout": SHARE,
}
_NAMES = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "batch_norm": BATCH_NORMS,
    "keep": KEEPS,
    "augmentation": (*AUGMENTATIONS, AUTO),
}
