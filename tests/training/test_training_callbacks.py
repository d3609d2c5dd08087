"""What watches a stage: its progress."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from training_networks import make_stage

from ktransfer.training.callbacks import KeepBest, ShowSteps, ValidationMetrics
from ktransfer.training.stage_result import StageResult, remarks


def test_progress_counts_every_step_of_every_epoch():
    seen = []
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    shows = ShowSteps(lambda done, of: seen.append((done, of)), steps_per_epoch=3)
    model.fit(np.zeros((6, 2)), np.zeros(6), 2, epochs=4, initial_epoch=2, callbacks=[shows])
    assert seen == [(step, 12) for step in range(7, 13)]


def after(accuracies, *, start=0.9, chance=0.3):
    """What watches a stage after epochs of these validation accuracies, and whether it ended."""
    best = KeepBest((), None, ValidationMetrics(0.5, 0.5, start), chance)
    best.set_model(SimpleNamespace(stop_training=False))
    for epoch, accuracy in enumerate(accuracies):
        logs = {"val_loss": 9.0, "val_calibrated_loss": 9.0, "val_accuracy": accuracy}
        best.on_epoch_end(epoch, logs)
    return best, best.model.stop_training


@pytest.mark.parametrize(
    ("accuracies", "collapsed"),
    [
        ([0.31], False),  # many that end well begin so
        ([0.31, 0.49], True),  # a third of the way from 0.3 to 0.9 is 0.5
        ([0.31, 0.51], False),
        ([0.8, 0.8, 0.31], True),
    ],
)
def test_a_stage_that_lost_most_of_what_was_known_ends_after_two_epochs(accuracies, collapsed):
    best, ended = after(accuracies)
    assert (best.collapsed, ended) == (collapsed, collapsed)
    other = KeepBest((), None, None)
    other.resume(best.state(), [])
    assert other.state() == best.state()


@pytest.mark.parametrize(("loss", "kept"), [(9.0, True), (11.0, False)])
def test_an_epoch_whose_training_loss_flew_apart_is_not_kept(loss, kept):
    start = ValidationMetrics(loss=0.5, calibrated_loss=0.5, accuracy=0.9)
    best = KeepBest((), None, start, 0.3, guessing_loss=1.0)
    best.set_model(SimpleNamespace(stop_training=False))
    lucky = {"val_loss": 0.1, "val_calibrated_loss": 0.1, "val_accuracy": 1.0}
    for epoch in range(2):
        best.on_epoch_end(epoch, {"loss": loss, **lucky})
    assert best.best_epoch == (1 if kept else 0)
    assert best.collapsed == best.model.stop_training == (not kept)


def test_a_first_stage_has_nothing_to_lose():
    best = KeepBest((), None, None, 0.5)
    best.set_model(SimpleNamespace(stop_training=False))
    for epoch in range(3):
        logs = {"val_loss": 9.0, "val_calibrated_loss": 9.0, "val_accuracy": 0.0}
        best.on_epoch_end(epoch, logs)
    assert not best.model.stop_training


def test_a_collapse_is_said_with_the_rate_that_was_too_much():
    row = {"loss": 1.0, "val_loss": 2.0}
    result = StageResult(
        name="wild",
        unfreeze=0,
        cached=True,
        cache_reason="",
        batch_size=4,
        history=(row, row),
        best_epoch=0,
        val_loss=0.5,
        val_calibrated_loss=0.5,
        val_accuracy=0.9,
        groups=(),
        proof=None,
        notes=(),
        diverged=False,
        interrupted=False,
        seconds=0.0,
    )
    stage = make_stage(name="wild", learning_rate=0.5)
    (note,) = remarks(stage, result, np.log(2), collapsed=True)
    assert (
        "ended after epoch 2; the weights of before are kept. learning_rate=0.5 is too much" in note
    )
