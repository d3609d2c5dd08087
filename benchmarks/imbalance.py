"""Classes of unequal size: what class weights and even sampling do to a linear probe.

    python benchmarks/imbalance.py [--seeds 3] [--smoke]

MobileNetV2 0.35, `FineTuner.fit(plan="linear_probe", balance=...)`. Chest X-rays have 500, 500 and
124 images: 5 folds, each the test part once. Of flowers, 200 training photos of roses, sunflowers
and tulips are drawn, and of daisies and dandelions 2, 4 and 10 times fewer; the 550 photos of
`val/`, about as many of each class, are the test part. The part that chooses the epoch is held back
from the training photos. "Rare" is the mean share found of the classes that have few images.

It takes about 10 minutes on 2 CPU cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from reporting import results_folder, shared_folder, table, write_results

METHODS = ("none", "class_weights", "sampling")
RARE = {"chest_xray": ("Covid-19",), "flowers": ("daisy", "dandelion")}
RATIOS = (2, 4, 10)
FOLDS = 5
WEIGHTS = "weights/mobilenetv2_0.35_224_notop.weights.h5"
Run = dict[str, Any]


def xray_folds(shared: Path, folder: Path, folds: int) -> Iterator[tuple[str, int, Path]]:
    """Yield the name, number and place of each fold: links in `train/` and `test/`."""
    for fold in range(folds):
        place = folder / f"xray-{fold}"
        for of_class in sorted((shared / "data/chest_xray").iterdir()):
            photos = sorted(of_class.iterdir())
            order = np.random.default_rng(0).permutation(len(photos))
            for at, row in enumerate(order):
                _link([photos[row]], place / ("test" if at % FOLDS == fold else "train"))
        yield "chest_xray", fold, place


def flower_draws(
    shared: Path, folder: Path, seeds: int, most: int
) -> Iterator[tuple[str, int, Path]]:
    """Yield the name, seed and place of each draw."""
    source = shared / "data/flowers"
    for ratio in RATIOS:
        for seed in range(seeds):
            place = folder / f"flowers-{ratio}-{seed}"
            for of_class in sorted((source / "train").iterdir()):
                photos = sorted(of_class.iterdir())
                count = most // ratio if of_class.name in RARE["flowers"] else most
                drawn = np.random.default_rng(seed).permutation(len(photos))[:count]
                _link([photos[row] for row in drawn], place / "train")
                _link(sorted((source / "val" / of_class.name).iterdir()), place / "test")
            yield f"flowers {ratio}:1", seed, place


def _link(photos: Iterable[Path], part: Path) -> None:
    for photo in photos:
        (part / photo.parent.name).mkdir(parents=True, exist_ok=True)
        (part / photo.parent.name / photo.name).symlink_to(photo)


def measure(shared: Path, data: str, number: int, place: Path, epochs: int | None) -> list[Run]:
    """Return all methods on one division of a data set."""
    from ktransfer import FineTuner

    tuner = FineTuner("MobileNetV2", shared / WEIGHTS, alpha=0.35, seed=number, verbose=False)
    runs = []
    for method in METHODS:
        result = tuner.fit(place, plan="linear_probe", balance=method, epochs=epochs)
        runs.append(
            {
                "data": data,
                "number": number,
                "method": method,
                "part_sizes": result.part_sizes,
                "best_epoch": result.best_epoch,
                "epochs": len(result.history),
                "val_balanced_accuracy": result.validation.balanced_accuracy,
                "test": result.test.to_dict(),
                "seconds": result.seconds["train"],
            }
        )
        print(data, number, method, f"{result.test.balanced_accuracy:.4f}", file=sys.stderr)
    return runs


def _rare(run: Run) -> float:
    per_class = run["test"]["per_class"]
    return statistics.mean(per_class[name] for name in RARE[run["data"].split()[0]])


FIGURES = {
    "balanced accuracy": lambda run: run["test"]["balanced_accuracy"],
    "macro F1": lambda run: run["test"]["macro_f1"],
    "accuracy": lambda run: run["test"]["accuracy"],
    "rare classes found": _rare,
}


def report(runs: list[Run]) -> str:
    """Means over folds or draws, and the gain of each method in balanced accuracy."""
    rows = []
    for data in dict.fromkeys(run["data"] for run in runs):
        of_data = {m: [r for r in runs if (r["data"], r["method"]) == (data, m)] for m in METHODS}
        for method, of_method in of_data.items():
            means = [statistics.mean(map(figure, of_method)) for figure in FIGURES.values()]
            balanced = FIGURES["balanced accuracy"]
            pairs = zip(of_method, of_data["none"], strict=True)
            gains = [balanced(run) - balanced(plain) for run, plain in pairs]
            gain = f"{statistics.mean(gains):+.4f} ({min(gains):+.4f} to {max(gains):+.4f})"
            rows.append([data, method, *(f"{mean:.4f}" for mean in means), gain])
    header = ["data", "balance", *FIGURES, "balanced accuracy against none (lowest to highest)"]
    return table(header, rows) + "\n"


def main() -> None:
    """Measure, report, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--smoke", action="store_true", help="1 fold, 1 seed, few photos, 1 epoch")
    arguments = parser.parse_args()
    shared, smoke = shared_folder(), arguments.smoke
    runs = []
    with tempfile.TemporaryDirectory(prefix="ktransfer-imbalance-") as folder:
        divisions = [
            *xray_folds(shared, Path(folder), 1 if smoke else FOLDS),
            *flower_draws(
                shared, Path(folder), 1 if smoke else arguments.seeds, 20 if smoke else 200
            ),
        ]
        for data, number, place in divisions:
            runs += measure(shared, data, number, place, 1 if smoke else None)
    write_results(results_folder(arguments.out, smoke=smoke), "imbalance", report(runs), runs)


if __name__ == "__main__":
    main()
