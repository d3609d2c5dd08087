"""The last step of a plan that asks for it: the head, solved anew on the blocks as they trained."""

from __future__ import annotations

import dataclasses
import time

from ktransfer.training.calibration import calibrated_losses, is_lower
from ktransfer.training.head_start import solve
from ktransfer.training.stage_result import StageResult
from ktransfer.training.training import Training

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
