"""The arguments of `FineTuner.fit`, checked before any work is done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import keras

from ktransfer.advisor import check_fine_tuning
from ktransfer.data.batches.balance import check_balance
from ktransfer.data.images.value_range import AUTO, ValueRange, check_value_range
from ktransfer.errors import InputError, RunError, unknown_name
from ktransfer.features import CACHE_DTYPES, DEFAULT_BUDGET_MB
from ktransfer.plan import Plan
from ktransfer.plan.fields import whole
from ktransfer.runs.saving import RECORD_NAME, check_output_folder
from ktransfer.training import CacheMode, Checkpoints, check_cache_mode


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """The arguments of `FineTuner.fit`, which describes them."""

    plan: Plan | str = "auto"
    unfreeze: int | None = None
    similarity: float | str | None = None
    fine_tuning: str = "auto"
    augmentation: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    patience: int | None = None
    validation_fraction: float = 0.2
    class_names: Sequence[str] | None = None
    value_range: str | ValueRange | None = AUTO
    out: str | os.PathLike[str] | None = None
    resume: bool = False
    overwrite: bool = False
    cache: CacheMode = "auto"
    cache_dtype: str = "float32"
    memory_budget_mb: float = DEFAULT_BUDGET_MB
    balance: str = "auto"
    callbacks: Sequence[keras.callbacks.Callback] = ()

    def check(self) -> None:
        """Raise before any work is done if the options cannot be carried out.

        Raises:
            InputError: one is out of range or contradicts another.
            RunError: a run could not be saved in `out`, or there is nothing to resume.
        """
        for name in ("epochs", "batch_size", "patience"):
            value = getattr(self, name)
            if value is not None:
                whole("fit", name, value, 1)
        check_cache_mode(self.cache)
        check_balance(self.balance)
        check_value_range(self.value_range)
        check_fine_tuning(self.fine_tuning)
        if self.fine_tuning != "auto" and not self.decides:
            raise InputError(
                f"fine_tuning={self.fine_tuning!r} is for plan='auto' without unfreeze=; the plan "
                "that you give says itself what trains: leave one of them out"
            )
        if self.cache_dtype not in CACHE_DTYPES:
            raise unknown_name("cache_dtype", str(self.cache_dtype), CACHE_DTYPES)
        if self.out is None:
            if self.resume:
                raise InputError("resume=True needs out=, the folder of the run to go on with")
            return
        unfinished = Checkpoints(self.out).read_request() is not None
        if unfinished and not (self.resume or self.overwrite):
            raise RunError(
                f"{self.out} holds a training that was not finished: resume=True (--resume) goes "
                "on with it, overwrite=True (--overwrite) starts anew"
            )
        check_output_folder(self.out, overwrite=self.overwrite or self.resume)

    @property
    def decides(self) -> bool:
        """Whether what trains is decided by looking at the images."""
        return self.plan == "auto" and self.unfreeze is None

    @property
    def complete(self) -> bool:
        """Whether the run to resume is complete already."""
        if self.out is None or not self.resume or Checkpoints(self.out).read_request() is not None:
            return False
        return os.path.exists(os.path.join(self.out, RECORD_NAME))
