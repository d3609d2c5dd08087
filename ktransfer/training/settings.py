"""How a plan is carried out, apart from what it says itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from ktransfer.training.caching import CacheMode


@dataclass(frozen=True)
class Settings:
    """How a plan is carried out, apart from what it says itself.

    Attributes:
        seed: of the order of the images, their views and the dropout.
        dropout: for stages that do not say their own.
        cache: as in `training.caching.decide`.
        precision: a dtype policy of Keras.
        jit_compile: whether XLA compiles the steps.
        balance: "none", "class_weights" or "sampling", as in `data.batches.balance`.
        callbacks: Keras callbacks, given to every stage.
        deadline: when the training ends, wherever it is, as `time.perf_counter` counts; None:
            never.
        verbose: whether to say on standard error what is decided, and to show progress.
    """

    seed: int = 0
    dropout: float = 0.0
    cache: CacheMode = "auto"
    precision: str = "float32"
    jit_compile: bool = False
    balance: str = "none"
    callbacks: Sequence[keras.callbacks.Callback] = ()
    deadline: float | None = None
    verbose: int = False
