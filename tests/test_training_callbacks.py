"""What watches a stage: its progress."""

import keras
import numpy as np

from ktransfer.training.callbacks import ShowSteps


def test_progress_counts_every_step_of_every_epoch():
    seen = []
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    shows = ShowSteps(lambda done, of: seen.append((done, of)), steps_per_epoch=3)
    model.fit(np.zeros((6, 2)), np.zeros(6), 2, epochs=4, initial_epoch=2, callbacks=[shows])
    assert seen == [(step, 12) for step in range(7, 13)]
