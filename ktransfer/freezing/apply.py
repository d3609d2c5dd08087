"""Applying a policy: the flags of layers and variables, what batch norm does, and what came of it.

**Compile after freezing.** Keras reads the flags when it builds the training function. Changing
them after a `fit` without `model.compile(...)` raises nothing and changes nothing: what was just
unfrozen does not train, and what was just frozen trains on. (Keras 3.15.1 has a warning for it that
is never reached: its call stands behind a `raise`.) `watch_frozen` finds the second case.

**Freeze again after loading.** A saved model is an ordinary Keras model and keeps the flag of each
layer, but not of what lies inside a layer (a transformer block) nor of a single variable
(`batch_norm="affine_only"`): load it with `compile=False`, freeze the backbone in it, compile,
build the optimizer, then `model.load_weights` of the same file: it brings the optimizer's state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras

from ktransfer.backbones import Backbone, Block
from ktransfer.errors import InputError, unknown_name
from ktransfer.freezing.layers import choose, layers_of, size, walk
from ktransfer.freezing.policies import Freeze

BATCH_NORM = ("frozen", "affine_only", "train")
TRAINS = ("all", "affine", "low_rank")


@dataclass(frozen=True)
class Freezing:
    """What `freeze` did.

    Attributes:
        policy: the text of the policy.
        batch_norm: what batch norm does in what is not frozen.
        blocks: for each block its name, and how many of its numbers are frozen and trainable.
        frozen_prefix: how many first blocks are frozen whole.
        trains: what of the layers that are not frozen trains, batch norm aside.
    """

    policy: str
    batch_norm: str
    blocks: tuple[tuple[str, int, int], ...]
    frozen_prefix: int
    trains: str = "all"

    @property
    def frozen_parameters(self) -> int:
        """How many numbers do not train; as Keras counts, batch-norm statistics never do."""
        return sum(frozen for _, frozen, _ in self.blocks)

    @property
    def trainable_parameters(self) -> int:
        """How many numbers train."""
        return sum(trainable for _, _, trainable in self.blocks)

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.policy}: the first {self.frozen_prefix} of {len(self.blocks)} blocks are "
            f"frozen; {self.frozen_parameters:,} numbers frozen, "
            f"{self.trainable_parameters:,} trainable (batch norm: {self.batch_norm}"
            f"{'' if self.trains == 'all' else f'; trains: {self.trains}'})"
        )


def freeze(
    backbone: Backbone,
    policy: Freeze | str = "all",
    *,
    batch_norm: str = "frozen",
    trains: str = "all",
    require_trainable: bool = False,
) -> Freezing:
    """Freeze a part of a backbone, and unfreezes the rest, whatever was frozen before.

    Every model that holds the backbone's layers changes with it: compile it afterwards (see above).
    In what is frozen, batch norm runs in inference mode and its statistics do not move; so does the
    preprocessing. Dropout of a frozen block stays at work in `fit`.

    Args:
        backbone: the backbone.
        policy: A `Freeze`, or its text.
        batch_norm: what batch norm does in what is not frozen. "frozen" (the default, for small
            data): it normalises by its moving statistics, and neither these nor gamma and beta
            move. "affine_only": it normalises by its moving statistics, and gamma and beta train.
            "train": it normalises by the batch, and everything moves.
        trains: what of the layers that are not frozen trains, batch norm aside: "all" of it;
            "affine": what is added to or multiplies each channel (biases, and the scale and shift
            of other normalisations), while kernels and embeddings stay; "low_rank": nothing, since
            factors beside the kernels train instead (`training.low_rank`).
        require_trainable: whether it is an error if nothing in the backbone is left to train.

    Returns:
        What is frozen and trainable now.

    Raises:
        InputError: A block that is not there, more blocks than there are, a pattern or a predicate
            that selects nothing, a pattern that fits only a part of a layer, an unknown
            `batch_norm` or `trains`, or nothing to train. The backbone is then as it was.

    Example:
        >>> from ktransfer.backbones import load_backbone
        >>> backbone = load_backbone("MobileNetV2", "mini")
        >>> print(freeze(backbone, "all_but_last:1"))  # doctest: +ELLIPSIS
        all_but_last:1: the first 18 of 19 blocks are frozen; ... (batch norm: frozen)

    Source: The default of `batch_norm` is that of Keras' guide "Transfer learning & fine-tuning"
        (Chollet 2020): batch norm stays in inference mode when a backbone is unfrozen.
    """
    policy = Freeze.parse(policy) if isinstance(policy, str) else policy
    if not isinstance(policy, Freeze):
        raise InputError(f'policy must be a Freeze or its text ("first:3"); received {policy!r}')
    if batch_norm not in BATCH_NORM:
        raise unknown_name("batch_norm", str(batch_norm), BATCH_NORM)
    if trains not in TRAINS:
        raise unknown_name("trains", str(trains), TRAINS)
    frozen = choose(policy, backbone)
    flags = flags_of(backbone.model)
    _apply(backbone, frozen, batch_norm, trains)
    if require_trainable and not backbone.model.trainable_weights:
        set_flags(flags)
        raise InputError(
            f"policy {str(policy)!r} with batch_norm={batch_norm!r} leaves nothing in "
            f"{backbone.name} to train: freeze less"
        )
    prefix = frozen_prefix(backbone)
    return Freezing(str(policy), batch_norm, count_by_block(backbone), prefix, trains)


def count_by_block(backbone: Backbone) -> tuple[tuple[str, int, int], ...]:
    """Say how many numbers of each block are frozen and trainable now, as Keras counts them.

    Returns:
        For each block its name, the frozen numbers (batch-norm statistics always among them), and
        the trainable ones.
    """
    rows = []
    for block in backbone.blocks:
        weights = [weight for layer in block.layers for weight in layer.weights]
        trainable = size(weight for weight in weights if weight.trainable)
        rows.append((block.name, size(weights) - trainable, trainable))
    return tuple(rows)


def frozen_prefix(backbone: Backbone) -> int:
    """Say how many first blocks are frozen whole, their batch norm included.

    What comes out of them in inference does not change while the rest trains, so it may be cached.
    In `fit` their dropout (EfficientNet's) is still at work: cached features are those without it.

    Returns:
        From 0 to the number of blocks.
    """
    whole = len(backbone.blocks)
    return next((at for at, block in enumerate(backbone.blocks) if not _is_frozen(block)), whole)


# --- setting the flags ------------------------------------------------------------------------


def _apply(backbone: Backbone, frozen: Iterable[Any], batch_norm: str, trains: str) -> None:
    _set_trainable(backbone.model, True)
    in_blocks = layers_of(backbone.blocks)
    ids = {id(layer) for layer in in_blocks}
    preprocessing = [each for each in backbone.model.layers if each.weights and id(each) not in ids]
    for layer in (*preprocessing, *frozen):
        _set_trainable(layer, False)
    parts = (part for each in in_blocks for part in walk(each) if part.trainable)
    norms = [part for part in parts if isinstance(part, keras.layers.BatchNormalization)]
    if trains != "all":
        _hold_kernels(in_blocks, norms, affine=trains == "affine")
    for layer in norms:
        _set_batch_norm(layer, batch_norm)


def _hold_kernels(layers: Sequence[Any], norms: Iterable[Any], *, affine: bool) -> None:
    """Freeze all layers but some, with or without what acts on each channel by itself."""
    weights = [weight for layer in layers for weight in layer.weights]
    kept = [each for each in weights if affine and each.trainable and _is_affine(each)]
    # The layer's own flag, too, or its kernel would be left out of the proof: what is not trainable
    # in a layer that is may be a statistic, which moves.
    for layer in layers:
        _set_trainable(layer, False)
    for layer in norms:
        _set_trainable(layer, True)
    for weight in kept:
        weight.trainable = True


def _is_affine(weight: Any) -> bool:
    """Tell biases, scales and shifts from kernels; those of attention have an axis of heads."""
    return len(weight.shape) <= 1 or weight.name == "bias"


def _set_batch_norm(layer: Any, batch_norm: str) -> None:
    if batch_norm == "train":
        return
    # Only the layer's own flag holds in fit(): Keras 3.15.1 overrides `training=False` of a call in
    # a functional model.
    _set_trainable(layer, False)
    if batch_norm == "affine_only":
        # A model trains whatever *variables* are trainable in it, while the layer looks at its own
        # flag to choose between batch and moving statistics.
        for weight in [layer.gamma] * bool(layer.scale) + [layer.beta] * bool(layer.center):
            weight.trainable = True


def _set_trainable(layer: Any, value: bool) -> None:
    """Set the flag of a layer, of all layers inside it, and of all their variables."""
    for each in walk(layer):
        # On the TensorFlow backend, setting a flag to what it is does nothing, also to what lies
        # inside (AutoTrackable.__setattr__ of TensorFlow 2.21). Where a layer and its insides
        # disagree, as after loading, only a change of the flag reaches them.
        each.trainable = not value
        each.trainable = value


def flags_of(model: Any) -> list[tuple[Any, bool]]:
    """Return every flag in a model, what holds something before what it holds."""
    return [(each, each.trainable) for each in (*walk(model), *model.weights)]


def set_flags(flags: Iterable[tuple[Any, bool]]) -> None:
    """Put flags of `flags_of` back."""
    for each, trainable in flags:
        each.trainable = not trainable
        each.trainable = trainable


def _is_frozen(block: Block) -> bool:
    # A layer may be trainable without a trainable variable (batch norm without gamma and beta), and
    # the reverse ("affine_only"): both must be off.
    layers = [part for layer in block.layers for part in walk(layer) if part.weights]
    weights = [weight for layer in block.layers for weight in layer.weights]
    return not any(each.trainable for each in (*layers, *weights))
