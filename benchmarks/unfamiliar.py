"""Images of another domain: how well `Predictions.distances` tells them from those of the training.

    python benchmarks/unfamiliar.py [--seeds 2] [--smoke]

MobileNetV2 0.35, `FineTuner.fit(plan="linear_probe")` on 60 drawn images of each class (all, where
there are fewer) of ants and bees, flowers, steel surfaces and chest X-rays; the part that chooses
the epoch is held back from these. Then up to 300 images that were not drawn, and of each other set,
are predicted. The area under the ROC curve is the share of pairs of a familiar image and one of the
other set in which the latter is farther; beside it stands that of the usual reading, how unsure the
model is (1 less the largest probability). "Flagged" are the images beyond the bound.

It takes about 5 minutes on 2 CPU cores.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from reporting import results_folder, shared_folder, table, write_results

SETS = {
    "ants and bees": ("ants_bees/train", "ants_bees/val"),
    "flowers": ("flowers/train", "flowers/val"),
    "steel": ("steel_defects",),
    "chest X-rays": ("chest_xray",),
}
PER_CLASS, MOST_JUDGED = 60, 300
WEIGHTS = "weights/mobilenetv2_0.35_224_notop.weights.h5"


def drawn(shared: Path, name: str, seed: int, per_class: int) -> tuple[Any, list[str]]:
    """Return a table of images to train on, and the paths of others to judge by."""
    random, rows, others = np.random.default_rng(seed), [], []
    files: dict[str, list[Path]] = {}
    for part in SETS[name]:
        for folder in sorted((shared / "data" / part).iterdir()):
            files.setdefault(folder.name, []).extend(sorted(folder.iterdir()))
    for label, paths in files.items():
        order = [str(paths[at]) for at in random.permutation(len(paths))]
        rows += [{"path": path, "label": label} for path in order[:per_class]]
        others += order[per_class:]
    judged = random.permutation(len(others))[:MOST_JUDGED]
    return pandas.DataFrame(rows), [others[at] for at in judged]


def area(near: np.ndarray, far: np.ndarray) -> float:
    """Return the area under the ROC curve, ties counted half."""
    from sklearn.metrics import roc_auc_score

    truth = np.r_[np.zeros(len(near)), np.ones(len(far))]
    return float(roc_auc_score(truth, np.r_[near, far]))


def measured(shared: Path, name: str, seed: int, per_class: int) -> list[dict[str, Any]]:
    """Say what came of one set and seed: a row for each other set."""
    from ktransfer import FineTuner

    photos, held_back = drawn(shared, name, seed, per_class)
    finetuner = FineTuner("MobileNetV2", shared / WEIGHTS, alpha=0.35, seed=seed, verbose=False)
    finetuner.fit(photos, plan="linear_probe", check="off")
    near = finetuner.predict(held_back)
    rows = []
    for other in SETS:
        if other == name:
            continue
        far = finetuner.predict(drawn(shared, other, seed, per_class)[1])
        unsure = [-each.probabilities.max(axis=1) for each in (near, far)]
        rows.append(
            {
                "trained on": name,
                "other": other,
                "seed": seed,
                "images": [len(near), len(far)],
                "area": area(near.distances, far.distances),
                "area_unsure": area(*unsure),
                "flagged": float(far.unfamiliar.mean()),
                "flagged_familiar": float(near.unfamiliar.mean()),
            }
        )
    return rows


def report(rows: list[dict[str, Any]]) -> str:
    """Return the means over the seeds, as Markdown."""
    lines = []
    for (name, other), group in itertools.groupby(
        sorted(rows, key=lambda row: (row["trained on"], row["other"])),
        key=lambda row: (row["trained on"], row["other"]),
    ):
        found = list(group)
        areas = [row["area"] for row in found]
        lines.append(
            [
                name,
                other,
                f"{statistics.mean(areas):.3f} ({min(areas):.3f} to {max(areas):.3f})",
                f"{statistics.mean(row['area_unsure'] for row in found):.3f}",
                f"{statistics.mean(row['flagged'] for row in found):.1%}",
                f"{statistics.mean(row['flagged_familiar'] for row in found):.1%}",
            ]
        )
    head = ["trained on", "other images", "area", "by unsureness", "flagged", "familiar flagged"]
    whole = [statistics.mean(row[name] for row in rows) for name in ("area", "area_unsure")]
    means = f"On average the area is {whole[0]:.3f}, that of unsureness {whole[1]:.3f}."
    return f"{table(head, lines)}\n\n{means} In brackets the least and the largest of the seeds.\n"


def main() -> None:
    """Measure, print and write as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--smoke", action="store_true", help="2 sets, 8 images of each class")
    options = parser.parse_args()
    shared, rows = shared_folder(), list[dict[str, Any]]()
    if options.smoke:
        for name in list(SETS)[2:]:
            del SETS[name]
    for seed, name in itertools.product(range(1 if options.smoke else options.seeds), SETS):
        rows += measured(shared, name, seed, 8 if options.smoke else PER_CLASS)
        print(name, seed, [round(row["area"], 3) for row in rows[-len(SETS) + 1 :]], flush=True)
    out = results_folder(options.out, smoke=options.smoke)
    write_results(out, "unfamiliar", report(rows), {"rows": rows})


if __name__ == "__main__":
    main()
