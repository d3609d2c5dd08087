"""What came of a training: scores, certainty, movement, diagnosis, and whether it was advised."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
from scipy.special import softmax

from ktransfer.advisor.afterwards import NO_BETTER, Tried
from ktransfer.backbones import Backbone
from ktransfer.classifier.mistakes import Mistake, surest_mistakes
from ktransfer.features import Network
from ktransfer.features.familiarity import MOST_IMAGES, Familiarity, familiarity_of
from ktransfer.metrics import Score, score
from ktransfer.optimizers.report import movement
from ktransfer.show.progress import working
from ktransfer.training import Training, best_temperature, values_of
from ktransfer.training.diagnosis import Diagnosis, diagnose
from ktransfer.training.stage_result import StageResult

#: Whether what trainings make is kept.
_kept: ContextVar[bool] = ContextVar("kept", default=True)


@contextmanager
def figures_only() -> Iterator[None]:
    """Leave out what only a model that is kept needs, for the time of a `with` block.

    The trials of a search are judged by their figures.
    """
    token = _kept.set(False)
    try:
        yield
    finally:
        _kept.reset(token)


def judge(
    training: Training, validation: np.ndarray
) -> tuple[dict[str, Score], float, tuple[Mistake, ...]]:
    """Score each part but train.

    Args:
        training: carried out.
        validation: its logits of the validation images.

    Returns:
        The scores, the temperature that suits the validation part, and the surest mistakes on the
        test part, or where there is none on the validation part.
    """
    splits = training.source.splits
    names = [part.name for part in splits.parts if part.name != "train"]
    with working("judging the model", shown=bool(training.settings.verbose)):
        others = {name: training.logits(name) for name in names if name != "validation"}
    logits = {"validation": validation, **others}
    # The splits anew: what cannot be decoded in the test part is known only now.
    parts = {part.name: part for part in training.source.splits.parts}
    scores = {
        name: score(logits[name].argmax(axis=1), parts[name].labels, splits.class_names)
        for name in names
    }
    temperature = best_temperature(logits["validation"], parts["validation"].labels)
    shown = "test" if "test" in parts else "validation"
    sure = softmax(logits[shown] / temperature, axis=1)
    part = parts[shown]
    mistakes = surest_mistakes(sure, part.labels, part.images.name, splits.class_names)
    return scores, temperature, mistakes


def familiarity_learnt(training: Training) -> Familiarity | None:
    """Learn what the features of the training images look like, and which are far from them.

    None where they say nothing, or where the model is not kept.
    """
    if not _kept.get():
        return None
    with working("learning what the images look like", shown=bool(training.settings.verbose)):
        learnt, (held_back, _) = training.features(("train", "validation"), MOST_IMAGES)
        return familiarity_of(*learnt, held_back)


def _best_epoch(stage: StageResult) -> int | None:
    """Return the epoch to judge a stage by: the one kept, or where none was, the best one."""
    finite = [row for row in stage.history if math.isfinite(row["val_loss"] + row["loss"])]
    if stage.best_epoch or not finite:
        return stage.best_epoch or None
    return int(min(finite, key=lambda row: row["val_calibrated_loss"])["epoch"])


def diagnosis_of(training: Training, tried: Sequence[Tried]) -> Diagnosis | None:
    """Of the last stage that was kept: what it ended with is what the model is.

    A head in closed form has no epochs, and those of before it say nothing of it.
    """
    if training.kept[-1].solved and not training.kept[-1].best_epoch:
        return None
    done = [result for result in training.kept if result.history]
    if not done:
        return None
    last, splits = done[-1], training.source.splits
    blocks = training.network.num_blocks
    trained = {0: "head", blocks: "all"}.get(last.unfreeze, "blocks")
    stage = training.plan.stages[training.results.index(last)]
    return diagnose(
        last.history,
        best_epoch=_best_epoch(last),
        num_train=len(splits.train),
        num_validation=len(splits.validation),
        num_classes=len(splits.class_names),
        trained=trained,
        learning_rate=stage.learning_rate,
        majority_share=float(np.bincount(splits.train.labels).max() / len(splits.train)),
        tuning=_tuning(training.results, tried),
    )


def _tuning(stages: Sequence[StageResult], tried: Sequence[Tried]) -> str:
    """Tell what became of training blocks after a head alone, in the same plan or as tries."""
    if any(each.kept for each in tried):
        return "kept"
    if tried:
        return "dropped" if any(each.outcome == NO_BETTER for each in tried) else "untried"
    tuned = [each for each in stages[1:] if each.unfreeze]
    if not tuned or stages[0].unfreeze:
        return "untried"
    return "kept" if any(each.kept for each in tuned) else "dropped"


def values_by_variable(backbone: Backbone) -> dict[int, np.ndarray]:
    """Copy of a backbone's weights, by the identity of the variable."""
    weights = backbone.model.weights
    return dict(zip(map(id, weights), values_of(weights), strict=True))


def movement_of(
    network: Network, before: dict[int, np.ndarray], blocks: Sequence[tuple[str, int, int]]
) -> dict[str, float]:
    """Say how far each block that trained moved, as `FitResult.movement`."""
    moved = {}
    for block, (name, _, trained) in zip(network.blocks, blocks, strict=True):
        if trained:
            weights = [weight for layer in block.layers for weight in layer.weights]
            start = [before[id(weight)] for weight in weights]
            moved[name] = movement(start, values_of(weights))
    return moved
