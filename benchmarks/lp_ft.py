"""Head first, then more: what `lp_ft` and `last_blocks` add to their own linear probe.

    python benchmarks/lp_ft.py [--seeds 3] [--smoke]

Ants and bees, MobileNetV2 1.0: `FineTuner.fit(plan="lp_ft")`, and `last_blocks` with the last 4.
The validation photos choose the epoch there, so their accuracy is optimistic, and by its rule a
stage never keeps an epoch with fewer right validation images than before. Hence the honest part:
flowers with MobileNetV2 0.35, of whose training photos each seed draws 300 to train and 100 to
validate; the 550 of `val/` are the test part, which nothing chooses by.

Intervals are 95 % Wilson intervals. Every run has a process and a cache of its own. It takes about
15 minutes on 2 CPU cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from reporting import (
    holds,
    in_own_process,
    results_folder,
    share,
    shared_folder,
    table,
    write_results,
)

ANTS_BEES, FLOWERS = "ants_bees", "flowers"
WEIGHTS = {
    ANTS_BEES: "weights/mobilenetv2_1.0_224_notop.weights.h5",
    FLOWERS: "weights/mobilenetv2_0.35_224_notop.weights.h5",
}
OPTIONS: dict[str, dict[str, Any]] = {ANTS_BEES: {}, FLOWERS: {"alpha": 0.35}}
# Each plan with the number of last blocks, where it leaves it open.
PLANS = {
    ANTS_BEES: (("lp_ft", None), ("last_blocks", 4)),
    FLOWERS: (("linear_probe", None), ("lp_ft", None), ("last_blocks", 4)),
}
ASKED, MOST_LOST = 0.955, 0.01
NUM_TRAIN, NUM_VALIDATION = 300, 100
Run = dict[str, Any]


def draw_flowers(shared: Path, folder: Path, seed: int, train: int, validation: int) -> Path:
    """Link train/ and val/, drawn from the training photos, and test/, those of val/."""
    source = shared / "data" / FLOWERS
    photos = sorted(path for path in (source / "train").glob("*/*") if path.is_file())
    order = np.random.default_rng(seed).permutation(len(photos))[: train + validation]
    for place, row in enumerate(order):
        link_photo(photos[row], folder / ("train" if place < train else "val"))
    for photo in sorted((source / "val").glob("*/*")):
        link_photo(photo, folder / "test")
    return folder


def link_photo(photo: Path, part: Path) -> None:
    """Return a link to a photo in the folder of its class."""
    (part / photo.parent.name).mkdir(parents=True, exist_ok=True)
    (part / photo.parent.name / photo.name).symlink_to(photo)


def run_fit(shared: Path, task: dict[str, Any]) -> Run:
    """Return one `FineTuner.fit`; what came of each stage, and of all."""
    from ktransfer import FineTuner
    from ktransfer.metrics import wilson_interval

    data = task["data"]
    backbone = {"weights": shared / WEIGHTS[data], **OPTIONS[data]}
    tuner = FineTuner("MobileNetV2", seed=task["seed"], verbose=False, **backbone)
    result = tuner.fit(
        task["folder"], plan=task["plan"], unfreeze=task["unfreeze"], epochs=task["epochs"]
    )
    stages = []
    for stage in result.stages:
        right = round((stage.val_accuracy or 0.0) * result.validation.num_images)
        stages.append(
            {
                "name": stage.name,
                "val_accuracy": stage.val_accuracy,
                "val_interval": wilson_interval(right, result.validation.num_images),
                "val_loss": stage.val_loss,
                "epochs": len(stage.history),
                "best_epoch": stage.best_epoch,
                "cached": stage.cached,
                "seconds": stage.seconds,
            }
        )
    return {
        "stages": stages,
        "val_accuracy": result.val_accuracy,
        "val_interval": result.validation.interval,
        "test_accuracy": result.test.accuracy if result.test else None,
        "test_interval": result.test.interval if result.test else None,
        "part_sizes": result.part_sizes,
        "skipped": len(result.skipped),
        "notes": result.notes,
        "seconds": result.seconds,
    }


def measure(data: str, folder: Path, seed: int, epochs: int | None) -> list[Run]:
    """Return all plans of a data set with one seed."""
    runs = []
    for plan, unfreeze in PLANS[data]:
        asked = {"plan": plan, "unfreeze": unfreeze, "seed": seed, "data": data}
        task = {**asked, "folder": str(folder), "epochs": epochs}
        figures, total = in_own_process(__file__, "--task", json.dumps(task))
        runs.append({**asked, "total": total, **figures})
        print(json.dumps(runs[-1]), file=sys.stderr)
    return runs


def _name(run: Run) -> str:
    return run["plan"] + (f" {run['unfreeze']}" if run["unfreeze"] else "")


def ants_bees_report(runs: list[Run]) -> str:
    """Return each run against its own probe, and the figures that the project asks for."""
    rows = [
        [
            _name(run),
            str(run["seed"]),
            share(run["stages"][0]["val_accuracy"], run["stages"][0]["val_interval"]),
            share(run["val_accuracy"], run["val_interval"]),
            f"{run['stages'][-1]['best_epoch']} of {run['stages'][-1]['epochs']}",
            f"{run['total']:.0f}",
        ]
        for run in runs
    ]
    header = "plan|seed|val after the probe|val at the end|best epoch of the last stage|total s"
    lines = [table(header.split("|"), rows), ""]
    for name in dict.fromkeys(_name(run) for run in runs):
        of_plan = [run for run in runs if _name(run) == name]
        ends = [run["val_accuracy"] for run in of_plan]
        gains = [run["val_accuracy"] - run["stages"][0]["val_accuracy"] for run in of_plan]
        lines.append(
            f"- {name}: mean {statistics.mean(ends):.4f}, lowest **{min(ends):.4f}** (asked of "
            f"lp_ft: at least {ASKED}{holds(min(ends) >= ASKED)}); against its own probe "
            f"{min(gains):+.4f} to {max(gains):+.4f} (asked: not below -{MOST_LOST}"
            f"{holds(min(gains) >= -MOST_LOST)})"
        )
    return "\n".join(lines) + "\n"


def flowers_report(runs: list[Run]) -> str:
    """Test accuracy of each plan by seed, and its difference from the linear probe."""
    probes = {run["seed"]: run["test_accuracy"] for run in runs if run["plan"] == "linear_probe"}
    rows, lines = [], []
    for name in dict.fromkeys(_name(run) for run in runs):
        of_plan = [run for run in runs if _name(run) == name]
        tests = [run["test_accuracy"] for run in of_plan]
        rows += [
            [
                name,
                str(run["seed"]),
                share(run["val_accuracy"], run["val_interval"]),
                share(run["test_accuracy"], run["test_interval"]),
                f"{run['test_accuracy'] - probes[run['seed']]:+.4f}",
                f"{run['total']:.0f}",
            ]
            for run in of_plan
        ]
        gains = [run["test_accuracy"] - probes[run["seed"]] for run in of_plan]
        lines.append(
            f"- {name}: mean test accuracy **{statistics.mean(tests):.4f}**, against the linear "
            f"probe {statistics.mean(gains):+.4f} ({min(gains):+.4f} to {max(gains):+.4f}"
            f"{'' if min(gains) >= -MOST_LOST else '; WORSE by more than one image in a hundred'})"
        )
    header = "plan|seed|val|test|test against the probe|total s"
    return "\n".join([table(header.split("|"), rows), "", *lines]) + "\n"


def sizes(runs: list[Run]) -> str:
    """Say how many images took part, by part."""
    found = dict.fromkeys(
        ", ".join(f"{count} {part}" for part, count in run["part_sizes"].items()) for run in runs
    )
    return " / ".join(found)


def main() -> None:
    """Run everything, or one training for the parent process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--smoke", action="store_true", help="one seed and epoch, few flowers, no ants and bees"
    )
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    shared = shared_folder()
    if arguments.task:
        print(json.dumps(run_fit(shared, arguments.task)))
        return
    smoke = arguments.smoke
    epochs, parts = (1, (40, 20)) if smoke else (None, (NUM_TRAIN, NUM_VALIDATION))
    ants_bees: list[Run] = []
    flowers: list[Run] = []
    for seed in range(1 if smoke else arguments.seeds):
        if not smoke:
            ants_bees += measure(ANTS_BEES, shared / "data" / ANTS_BEES, seed, epochs)
        with tempfile.TemporaryDirectory() as scratch:
            folder = draw_flowers(shared, Path(scratch), seed, *parts)
            flowers += measure(FLOWERS, folder, seed, epochs)
    sections = []
    if ants_bees:
        title = f"## Ants and bees, MobileNetV2 1.0 ({sizes(ants_bees)})"
        sections.append(f"{title}\n\n{ants_bees_report(ants_bees)}")
    title = f"## Flowers, MobileNetV2 0.35 ({sizes(flowers)})"
    sections.append(f"{title}\n\n{flowers_report(flowers)}")
    folder = results_folder(arguments.out, smoke=smoke)
    write_results(folder, "lp_ft", "\n".join(sections), [*ants_bees, *flowers])


if __name__ == "__main__":
    main()
