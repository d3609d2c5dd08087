"""Heads made anew at the end: on blocks that were tuned, and on all images."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from ktransfer.data import ImageFiles, joined
from ktransfer.features import Network, RowSource
from ktransfer.training.calibration import calibrated_losses, is_lower
from ktransfer.training.head_start import solve
from ktransfer.training.stage_result import StageResult
from ktransfer.training.training import Training

_NOT_ALONE = (
    "refit: the head was trained together with blocks or on views of the images, and was left as "
    "it is: only a head on frozen blocks learns from the validation images as well"
)
_OF_TWO_KINDS = (
    "refit: one part is files and the other is held in memory, so that the head was left as it is"
)
_TOO_MANY = "refit: there are too many images to solve a head in closed form; it was left as it is"

REFIT = "head, solved"


def refitted(training: Training) -> Training | None:
    """Solve the head anew on the trained blocks, as `Plan.refit` says.

    Blocks are tuned under a head on the last features, which leaves them room to learn; what the
    other blocks say of the images is then read by a wide head in closed form.

    Args:
        training: carried out; it stays as it is.

    Returns:
        The same training with that head; None where its validation loss is higher by more than
        chance, something ended the training early, or there are too many images to solve a head.
    """
    plan = training.plan
    if plan.refit is None or any(result.ended_early for result in training.results):
        return None
    started = time.perf_counter()
    network = training.network.with_new_head(plan.refit)
    other = Training(
        plan, network, training.source.beside(network, trained=True), training.settings
    )
    with other.source.faults_named():
        if not solve(network, other.source, weighted=training.settings.balance != "none"):
            return None
    other.results = [*training.results, StageResult.solved_head(REFIT, 0.0)]
    logits, labels = other.logits("validation"), other.labels("validation")
    losses, loss = calibrated_losses(logits, labels)
    before, _ = calibrated_losses(training.logits("validation"), labels)
    if is_lower(before, losses):
        return None
    other.results[-1] = dataclasses.replace(
        other.results[-1],
        val_loss=loss,
        val_calibrated_loss=float(losses.mean()),
        val_accuracy=float((logits.argmax(axis=1) == labels).mean()),
        seconds=time.perf_counter() - started,
    )
    return other


def _of_all_images(training: Training, network: Network) -> RowSource:
    splits, cut = training.source.splits, network.num_blocks
    rows = {name: training.source.rows(name, cut) for name in ("train", "validation")}
    both = dataclasses.replace(joined([splits.train, splits.validation]), name="train")
    rows["train"] = np.concatenate(list(rows.values()))
    source = RowSource(network, dataclasses.replace(splits, train=both), store=None, verbose=False)
    for name, known in rows.items():
        source.hold(name, cut, known)
    return source


def learning_from_all(training: Training) -> tuple[Training, str]:
    """Train the head that was chosen anew, on training and validation images together.

    Nothing is left to judge it by: it takes as many epochs as were chosen, or is solved in closed
    form with the penalty that suits all the images. Blocks stay as they are.

    Args:
        training: carried out; it stays as it is.

    Returns:
        The training of that head, and what is to be said of it; the training itself where its head
        does not stand alone.
    """
    kept = training.kept[-1]
    stages = {each.name: each for each in training.plan.stages}
    stage = stages.get(kept.name)
    if kept.unfreeze or not kept.cached or (stage and stage.augmentation != "none"):
        return training, _NOT_ALONE
    held = [isinstance(part.images, ImageFiles) for part in training.source.splits.parts[:2]]
    if held[0] != held[1]:
        return training, _OF_TWO_KINDS
    features = training.network.features
    network = training.network.with_new_head(features)
    source = _of_all_images(training, network)
    if stage is None or not kept.best_epoch:
        other = Training(training.plan, network, source, training.settings)
        if not solve(network, source, weighted=training.settings.balance != "none"):
            return training, _TOO_MANY
        other.results = list(training.results)
    else:
        warmup = min(stage.warmup_epochs, kept.best_epoch - 1)
        whole = dataclasses.replace(
            stage, epochs=kept.best_epoch, warmup_epochs=warmup, patience=None, keep="end"
        )
        plan = dataclasses.replace(training.plan, stages=(whole,), features=features, refit=None)
        other = Training(plan, network, source, training.settings)
        other.run()
    number = len(source.splits.train)
    return other, (
        f"the head then learnt from all {number:,} training and validation images; the scores are "
        "those of the head before, which had not seen the latter"
    )
