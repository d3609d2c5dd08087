"""What training few numbers costs and gives: affine, low-rank, the last third, and everything.

    python benchmarks/cheap_tuning.py [--seeds 2] [--smoke]

MobileNetV2 0.35 at 96 pixels, 300 flowers, and the same photos drawn as their edges, which are far
from ImageNet. `FineTuner.fit` with each plan in turn: the head alone; then, behind the same head,
12 epochs at the plan's own rate. Test images are 300 others, which nothing chooses by. Costs are
processor seconds of the whole call, which other processes on the machine change less than the
clock; a plan's share of "everything" is the mean over runs of what both took behind the head.

It takes about 15 minutes on 2 CPU cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regret_sets import draw, read_set, write_edges
from reporting import results_folder, shared_folder, table, write_results

from ktransfer import FineTuner
from ktransfer.plan import Plan, affine, last_blocks, linear_probe, low_rank, lp_ft

WEIGHTS = "weights/mobilenetv2_0.35_224_notop.weights.h5"
INPUT_SIZE, NUM_IMAGES, BLOCKS = 96, 300, 19
HEAD, EVERYTHING = "head", "everything, 5e-4"
Run = dict[str, Any]


def plans(epochs: int) -> dict[str, Plan]:
    """Return the contestants by name."""
    return {
        HEAD: linear_probe(),
        "affine, 2e-3": affine(epochs=epochs),
        "low rank 4, 2e-3": low_rank(rank=4, epochs=epochs),
        "low rank 8, 2e-3": low_rank(rank=8, epochs=epochs),
        "last third, 3e-4": last_blocks(BLOCKS // 3, epochs=epochs),
        EVERYTHING: lp_ft(epochs=epochs),
    }


def run_fit(weights: Path, images: Path, plan: Plan, seed: int) -> Run:
    """Return the figures of one call of `fit`."""
    finetuner = FineTuner(
        "MobileNetV2", weights, alpha=0.35, input_size=INPUT_SIZE, seed=seed, verbose=False
    )
    cpu, wall = time.process_time(), time.perf_counter()
    result = finetuner.fit(images, plan=plan, check="off")
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert result.test is not None
    last = result.stages[-1]
    return {
        "test_accuracy": result.test.accuracy,
        "val_accuracy": result.val_accuracy,
        "cpu_s": cpu,
        "wall_s": wall,
        "best_epoch": last.best_epoch,
        "epochs": len(last.history),
        "trained": sum(row["parameters"] for row in last.groups if row["group"] != "head"),
        "notes": result.notes,
    }


def measure(
    shared: Path, sets: dict[str, Path], seeds: list[int], epochs: int
) -> Iterator[list[Run]]:
    """Yield the runs so far after each set and seed, of which all plans run in turn."""
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["KTRANSFER_CACHE"] = str(Path(scratch) / "cache")
        for seed in seeds:
            for name, folder in sets.items():
                images = draw(read_set(folder), NUM_IMAGES, seed, Path(scratch) / f"{name}.csv")
                for plan_name, plan in plans(epochs).items():
                    figures = run_fit(shared / WEIGHTS, images, plan, seed)
                    runs.append({"set": name, "seed": seed, "plan": plan_name, **figures})
                    print(runs[-1], file=sys.stderr, flush=True)
                yield runs


def report(runs: list[Run]) -> str:
    """Return the plans as a table: accuracy of each run, and what they cost."""
    cases = list(dict.fromkeys((run["set"], run["seed"]) for run in runs))
    by_case = {(run["set"], run["seed"], run["plan"]): run for run in runs}
    rows = []
    for name in dict.fromkeys(run["plan"] for run in runs):
        own = [by_case[(*case, name)] for case in cases]
        rows.append(
            [
                name,
                f"{own[0]['trained']:,}",
                *(f"{run['test_accuracy']:.1%}" for run in own),
                f"{statistics.mean(run['test_accuracy'] for run in own):.1%}",
                f"{statistics.mean(run['cpu_s'] for run in own):.0f}",
                f"{statistics.mean(_share(by_case, case, name) for case in cases):.2f}",
            ]
        )
    columns = [f"{images}, seed {seed}" for images, seed in cases]
    header = ["plan", "numbers behind the head", *columns, "mean", "CPU s", "of everything"]
    return f"Test accuracy of 300 images.\n\n{table(header, rows)}\n"


def _share(by_case: dict[tuple[str, int, str], Run], case: tuple[str, int], name: str) -> float:
    head, own, all_ = (by_case[(*case, each)]["cpu_s"] for each in (HEAD, name, EVERYTHING))
    return float((own - head) / (all_ - head))


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--smoke", action="store_true", help="one seed, one epoch, flowers alone")
    arguments = parser.parse_args()
    shared, smoke = shared_folder(), arguments.smoke
    flowers = shared / "data" / "flowers"
    with tempfile.TemporaryDirectory() as scratch:
        sets = {"flowers": flowers}
        if not smoke:
            sets["edges"] = write_edges(flowers, Path(scratch) / "edges")
        seeds = list(range(1 if smoke else arguments.seeds))
        results = results_folder(arguments.out, smoke=smoke)
        for runs in measure(shared, sets, seeds, 1 if smoke else 12):
            write_results(results, "cheap_tuning", report(runs), runs)


if __name__ == "__main__":
    main()
