"""A training that is killed where one likes, and what says that two trainings are the same."""

import keras
import numpy as np
import pytest
from training_networks import make_plan, make_stage, three_blocks, without_seconds

from ktransfer import FineTuner
from ktransfer.features import RowSource
from ktransfer.training import checkpoint as checkpoint_module

#: All that has a state: dropout, batch norm, fresh views, stages, and callbacks of the user.
PLAN = make_plan(
    make_stage(name="head", epochs=3, dropout=0.3),
    make_stage(name="last", unfreeze=1, epochs=3, batch_norm="train", learning_rate=0.05),
    make_stage(name="again", unfreeze=1, epochs=3, batch_norm="train", augmentation="standard"),
)


class Killed(BaseException):
    """Not caught by anything on its way, like the end of the process."""


class KillAt(keras.callbacks.Callback):
    """Raises at the batch (counted over all stages) or the end of the epoch asked for."""

    def __init__(self, *, batch=None, epoch=None, error=Killed):
        super().__init__()
        # No plain values: they are not resumed.
        self.at, self.error = {"batch": batch, "epoch": epoch}, error
        self.counted = {"batches": 0, "epochs": 0}

    def on_train_batch_end(self, batch, logs=None):
        self.counted["batches"] += 1
        if self.counted["batches"] == self.at["batch"]:
            raise self.error

    def on_epoch_begin(self, epoch, logs=None):
        # What ended before is saved by now.
        if self.counted["epochs"] == self.at["epoch"]:
            raise self.error
        self.counted["epochs"] += 1


def make_alike(set_attribute):
    """Save after every epoch; and let no estimate of time decide what is cached."""
    set_attribute(checkpoint_module, "MOST_SHARE", 1e9)
    set_attribute(RowSource, "seconds_per_image", lambda source, cut: 1.0)


def user_callbacks():
    return [
        keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_delta=0.2),
        keras.callbacks.EarlyStopping(monitor="loss", patience=2, min_delta=0.1),
    ]


def tuner_of(model=None, **options):
    return FineTuner(model or three_blocks(dropout=0.2), verbose=False, **options)


def fit(folder, *, out=None, plan=PLAN, more=(), tuner=None, **options):
    tuner = tuner or tuner_of(dropout=0.1)
    tuner.fit(folder, plan=plan, out=out, callbacks=[*user_callbacks(), *more], **options)
    return tuner


def stages_of(result):
    """All that a training says of its stages, but for wall times and estimates of them."""
    stages = [each.to_dict() for each in result.stages]
    for each in stages:
        each["history"] = without_seconds(each["history"])
        del each["seconds"], each["cache_reason"]
    return stages


def check_same(tuner, expected):
    for one, two in zip(tuner.model.get_weights(), expected.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert stages_of(tuner.result) == stages_of(expected.result)
    assert tuner.result.movement == expected.result.movement
    assert tuner.result.validation.to_dict() == expected.result.validation.to_dict()


def kill(folder, out, **where):
    with pytest.raises(Killed):
        fit(folder, out=out, more=[KillAt(**where)])
