"""A process that trains: a trial that crashes it or fills its memory takes nothing else with it.

`trial_process` starts it with the two ends of pipes; it has no other use.
"""

from __future__ import annotations

import gc
import math
import os
import shutil
import signal
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktransfer.errors import RunError
from ktransfer.processes.worker import READY
from ktransfer.runs.saving import check_output_folder
from ktransfer.tuner.records import DONE, FAILED, RUNNING, STOPPED

if TYPE_CHECKING:
    from ktransfer.classifier.results import FitResult
    from ktransfer.data import Splits
    from ktransfer.finetuner import FineTuner
    from ktransfer.training.stage_result import StageResult
    from ktransfer.tuner.median import MedianRule


@dataclass(frozen=True)
class Setup:
    """What all trials share.

    Attributes:
        arguments: of `FineTuner`: the backbone and its weights.
        options: of `FineTuner`, the others.
        splits: the images.
        seed: of random weights, where the backbone has such.
        cuts: behind how many first blocks rows are kept.
    """

    arguments: tuple[Any, ...]
    options: dict[str, Any]
    splits: Splits
    seed: int
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        plan: as plain data.
        seed: of the head, the order and the dropout.
        curves: of finished trials, for the median rule.
        test: whether the test part is judged as well.
        save: a folder for the run; None: nothing is saved.
        fold: of `in_fold`: how many folds, which one is held back, the seed; None: the validation
            part is.
    """

    plan: dict[str, Any]
    seed: int
    curves: tuple[tuple[float, ...], ...] = ()
    test: bool = False
    save: str | None = None
    fold: tuple[int, int, int] | None = None


def built(arguments: tuple[Any, ...], options: dict[str, Any], seed: int) -> FineTuner:
    """Return a `FineTuner`, the same in every process, random weights too."""
    import keras

    from ktransfer.finetuner import FineTuner

    backbone, weights = arguments
    if weights is None and isinstance(backbone, str):
        keras.utils.set_random_seed(seed)
    return FineTuner(backbone, weights, seed=seed, verbose=False, **options)


def carry_out(
    tuner: FineTuner, splits: Splits, job: Job, cuts: tuple[int, ...] = ()
) -> dict[str, Any]:
    """Train a plan from the pretrained weights; rows behind the cuts are kept for the others.

    Returns:
        The fields of a `Record` that tell how it went. What is raised is told, and not raised. A
        run that cannot be saved is still `"running"`.
    """
    from ktransfer.data.reading.dividing import in_fold
    from ktransfer.finetuner.judging import figures_only
    from ktransfer.plan import Plan
    from ktransfer.training.devices import is_out_of_memory
    from ktransfer.tuner.median import MedianRule

    started = time.perf_counter()
    rule = MedianRule(job.curves)
    tuner.seed = job.seed
    try:
        if job.fold:
            splits = in_fold(splits, *job.fold)
        with nullcontext() if job.save else figures_only():
            result = tuner.fit(
                splits if job.test else replace(splits, test=None),
                plan=Plan.from_dict(job.plan),
                callbacks=[rule],
                cache=cuts,
                check="off",
            )
    except Exception as error:
        what = "memory ran out: " if is_out_of_memory(error) else ""
        reason = f"{what}{type(error).__name__}: {error}"[:2_000]
        outcome = {"status": FAILED, "reason": reason}
    else:
        outcome = _outcome(result, rule)
        if job.save and outcome["status"] == DONE:
            outcome |= _saved(tuner, job.save)
    return {**outcome, "seconds": time.perf_counter() - started}


def _outcome(result: FitResult, rule: MedianRule) -> dict[str, Any]:
    """Say how a training went that came to its end."""
    diverged = [stage for stage in result.stages if stage.diverged]
    if diverged:
        reason = next((note for note in diverged[0].notes if "NaN" in note), "the loss became NaN")
        return {"status": FAILED, "reason": reason}
    loss, accuracy = _reached(result.stages[-1])
    outcome = {
        "status": DONE,
        "val_accuracy": result.val_accuracy,
        "val_calibrated_loss": loss,
        "curve": tuple(rule.curve),
        "epochs": tuple(len(each.history) for each in result.stages),
        "num_validation": result.validation.num_images,
        "test": result.test.to_dict() if result.test else None,
    }
    if rule.stopped:
        reason = f"worse than half of the trials after {len(rule.curve)} epochs"
        outcome |= {"status": STOPPED, "reason": reason, "val_accuracy": accuracy}
    return outcome


def _reached(stage: StageResult) -> tuple[float | None, float | None]:
    """Return the calibrated loss and the accuracy of the best epoch of a stage that unfreezes.

    Also where it was not kept, so that a rate that ruins the network is told from one that leaves
    it as it was. A head keeps its best epoch, or the closed form that it began with.
    """
    name = "val_calibrated_loss"
    rows = [row for row in stage.history if math.isfinite(row[name])]
    if not stage.unfreeze or not rows:
        return stage.val_calibrated_loss, stage.val_accuracy
    best = min(rows, key=lambda row: row[name])
    return best[name], best["val_accuracy"]


def _saved(tuner: FineTuner, folder: str) -> dict[str, Any]:
    """Nothing where the run could be saved; else it is not finished."""
    try:
        save_run(tuner, Path(folder))
    except RunError as error:
        return {"status": RUNNING, "reason": str(error)}
    return {}


def save_run(tuner: FineTuner, folder: Path) -> None:
    """Save a run under another name first, so that no kill leaves half of one in the folder.

    Raises:
        RunError: the disk is full, or there is something in the folder that is no run.
    """
    check_output_folder(folder, overwrite=True)
    if folder.is_dir() and any(folder.iterdir()):  # a run, which is whole at every moment
        tuner.save(folder, overwrite=True)
        return
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        tuner.save(partial)
        partial.replace(folder)
    except OSError as error:
        raise RunError(f"the run could not be saved to {folder}: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def memory_mb() -> float:
    """Resident memory of this process, after what is no longer used was given back."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(read_end: int, write_end: int) -> None:
    """Answer every job, until there are no more."""
    # Ctrl-C reaches every process of the terminal; the search itself then ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked, answered = Connection(read_end), Connection(write_end)
    setup: Setup = asked.recv()
    tuner = built(setup.arguments, setup.options, setup.seed)
    answered.send_bytes(READY)
    while job := asked.recv():
        outcome = carry_out(tuner, setup.splits, job, setup.cuts)
        answered.send({**outcome, "memory_mb": memory_mb()})


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
