"""What a stage trains on, and with which model: made ready before its first step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ktransfer.backbones import Block
from ktransfer.data.batches.balance import class_weights
from ktransfer.data.batches.rows import Rows, num_batches, ordered_batches, shuffled_batches
from ktransfer.features import Network, RowSource, Views
from ktransfer.features.views import mix_classes, render_views, with_shares
from ktransfer.plan import Stage
from ktransfer.training.caching import CacheDecision
from ktransfer.training.devices import prefix_in_pipeline
from ktransfer.training.low_rank import low_rank_of, with_factors, with_their_factors
from ktransfer.training.settings import Settings

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True, eq=False)
class StageData:
    """What a stage is trained and judged on.

    Attributes:
        train: makes endless epochs of batches, given the batch size and the epoch to begin with.
        validation: one pass of batches.
        num_train: training images in an epoch.
        shares: whether labels are shares of classes, `(batch, classes)`, and not classes.
        majority_share: of the validation images, the share that the largest class has: guessing
            gets no more right.
    """

    train: Callable[[int, int], tf.data.Dataset]
    validation: tf.data.Dataset
    num_train: int
    shares: bool = False
    majority_share: float = 0.0


@dataclass(frozen=True, eq=False)
class Prepared:
    """A stage made ready: what trains on what.

    Attributes:
        stage: the stage, resolved.
        network: frozen as the stage wants it.
        trainee: the model that is trained, of `Network.trainee`.
        decision: whether it reads rows at its cut, and why.
        data: what it is trained on.
        batch_size: images a step.
        settings: of the training.
        solved: whether the head begins as a ridge regression in closed form.
        judge_start: whether what the network knows before the stage counts: it is then judged
            first, and kept where no epoch is better.
        notes: remarks on what it begins with.
    """

    stage: Stage
    network: Network
    trainee: keras.Model
    decision: CacheDecision
    data: StageData
    batch_size: int
    settings: Settings
    solved: bool = False
    judge_start: bool = False
    notes: tuple[str, ...] = ()

    @property
    def cut(self) -> int:
        """How many first blocks are frozen."""
        return cut_of(self.stage, self.network)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks of the network, with the factors that train beside their kernels."""
        return with_their_factors(self.trainee, self.network.blocks)

    @property
    def variables(self) -> list[Any]:
        """Every weight that the stage may move, and what is frozen in its blocks."""
        found = low_rank_of(self.trainee)
        factors = [weight for each in found.factors for weight in each.weights] if found else []
        return [*self.network.variables_from(self.cut), *factors]

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return num_batches(self.data.num_train, self.batch_size)


def cut_of(stage: Stage, network: Network) -> int:
    """Say how many first blocks of a network a stage leaves frozen."""
    return network.cut_of(stage.num_trainable_blocks(network.num_blocks))


def default_batch_size(num_images: int) -> int:
    """Return an eighth of the images, from 4 to 32.

    Batches of 32 of a few dozen leave too few steps.
    """
    return min(32, max(4, num_images // 8))


def stage_model(
    stage: Stage, network: Network, decision: CacheDecision, dropout: float
) -> keras.Model:
    """Return the model that a stage trains: from what `stage_data` gives to logits.

    Args:
        stage: resolved.
        network: frozen as the stage wants it.
        decision: whether the stage reads rows at its cut.
        dropout: where the stage does not say its own.
    """
    cut = cut_of(stage, network)
    trainee = network.trainee(
        cut,
        dropout=dropout if stage.dropout is None else stage.dropout,
        cached=decision.cached or prefix_in_pipeline(),
        start=decision.start,
    )
    if stage.rank is None or cut == network.num_blocks:
        return trainee
    return with_factors(trainee, network.blocks[cut:], stage.rank, seed=network.seed)


def stage_data(
    stage: Stage, source: RowSource, decision: CacheDecision, settings: Settings, position: int
) -> StageData:
    """Return the batches of a stage.

    Args:
        stage: resolved.
        source: of the images.
        decision: whether the stage reads rows at its cut.
        settings: of the training.
        position: of the stage in its plan, from 0: every stage has orders of its own.
    """
    cut = read_cut(stage, source.network, decision)
    # The validation rows first: where something is wrong with them, little is lost.
    validation = source.rows("validation", cut)
    train = _train_batches(stage, source, cut, settings, position)
    splits = source.splits
    labels = splits.validation.labels
    batches = ordered_batches(validation, labels, batch_size=_validation_batch(validation))
    if stage.mixes:
        batches = with_shares(batches, len(splits.class_names))
    return StageData(
        lambda batch_size, first_epoch: _past_frozen(
            train(batch_size, first_epoch), stage, source, decision
        ),
        _past_frozen(batches, stage, source, decision),
        len(splits.train),
        shares=stage.mixes,
        majority_share=float(np.bincount(labels).max() / len(labels)),
    )


def read_cut(stage: Stage, network: Network, decision: CacheDecision) -> int:
    """Return the cut of the rows that a stage reads."""
    return cut_of(stage, network) if decision.cached else decision.start


def _train_batches(
    stage: Stage, source: RowSource, cut: int, settings: Settings, position: int
) -> Callable[[int, int], Any]:
    """Make batches of the rows at a cut, given the batch size and the epoch to begin with."""
    seed = settings.seed
    views: int | None = stage.views or 1
    render = None
    if stage.augmentation == "none":
        values = source.rows("train", cut)
    elif cut:
        values = source.rows("train", cut, Views(stage.augmentation, stage.views or 1, seed))
    else:
        values = source.sources("train", stage.augmentation)
        render = render_views(stage.augmentation, seed, source.network.backbone.input_size)
        views = stage.views
    labels, num_classes = source.splits.train.labels, len(source.splits.class_names)
    return lambda batch_size, first_epoch: shuffled_batches(
        values,
        labels,
        batch_size=batch_size,
        seed=seed + position * 2**32,
        first_epoch=first_epoch,
        views=views,
        render=render,
        weights=class_weights(labels) if settings.balance == "class_weights" else None,
        evenly=settings.balance == "sampling",
        mix=mix_classes(num_classes) if stage.mixes else None,
    )


def _past_frozen(batches: Any, stage: Stage, source: RowSource, decision: CacheDecision) -> Any:
    """Return the batches as the model reads them: what is not cached may run on the way to it."""
    cut = cut_of(stage, source.network)
    if decision.cached or cut == 0 or not prefix_in_pipeline():
        return batches
    return source.behind(batches, cut, start=decision.start)


def _validation_batch(rows: Rows) -> int:
    """Many small rows a step, few large ones: about 16 MB."""
    return int(np.clip(2**24 // max(1, rows[:1].nbytes), 32, 1_024))
