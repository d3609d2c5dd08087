"""A process that trains: a trial that crashes it or fills its memory takes nothing else with it.

`crew` starts it with the two ends of pipes; it has no other use.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from ktransfer.tuner.records import DONE, FAILED, STOPPED

if TYPE_CHECKING:
    from ktransfer.data import Splits
    from ktransfer.finetuner import FineTuner

#: What it says when it is ready.
READY = "ready"
_WATCH_S = 1.0


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
    """

    plan: dict[str, Any]
    seed: int
    curves: tuple[tuple[float, ...], ...] = ()
    test: bool = False


def built(arguments: tuple[Any, ...], options: dict[str, Any], seed: int) -> FineTuner:
    """A `FineTuner`, the same in every process, random weights too."""
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
        The fields of a `Record` that tell how it went. What is raised is told, and not raised.
    """
    from ktransfer.plan import Plan
    from ktransfer.training.engine import is_out_of_memory
    from ktransfer.tuner.median import MedianRule

    started = time.perf_counter()
    rule = MedianRule(job.curves)
    tuner.seed = job.seed
    try:
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
        return {"status": FAILED, "reason": reason, "seconds": time.perf_counter() - started}
    outcome: dict[str, Any] = {
        "status": STOPPED if rule.stopped else DONE,
        "reason": f"worse than half of the trials after {len(rule.curve)} epochs"
        if rule.stopped
        else "",
        "val_accuracy": result.val_accuracy,
        "curve": tuple(rule.curve),
        "epochs": tuple(len(stage.history) for stage in result.stages),
    }
    diverged = [stage for stage in result.stages if stage.diverged]
    if diverged:
        reason = next((note for note in diverged[0].notes if "NaN" in note), "the loss became NaN")
        outcome = {"status": FAILED, "reason": reason}
    if job.test and result.test:
        outcome["test"] = result.test.to_dict()
    return {**outcome, "seconds": time.perf_counter() - started}


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
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    asked, answered = Connection(read_end), Connection(write_end)
    setup: Setup = asked.recv()
    tuner = built(setup.arguments, setup.options, setup.seed)
    answered.send(READY)
    while job := asked.recv():
        outcome = carry_out(tuner, setup.splits, job, setup.cuts)
        answered.send({**outcome, "memory_mb": memory_mb()})


def _end_with(parent: int) -> None:
    """Ends the process when the search is gone: what it trains nobody asks for any more."""
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
