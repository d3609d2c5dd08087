"""The domain gap of four sets of images, with every backbone whose weights are at hand.

    python benchmarks/domain_gap.py [--seeds 3] [--smoke]

Two sets are photos, two are not: steel surfaces and chest X-rays. Each is measured with 128 and
with 64 images, by each seed others; `SIMILAR_BELOW` should lie between the photos and the others in
every row. The training parts are measured where there are parts.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from reporting import results_folder, shared_folder, table, write_results

DATA = {"ants_bees": True, "flowers": True, "steel_defects": False, "chest_xray": False}
BACKBONES: dict[str, tuple[str, dict[str, Any], str]] = {
    "MobileNetV2 0.35": ("MobileNetV2", {"alpha": 0.35}, "mobilenetv2_0.35_224_notop"),
    "MobileNetV2 1.0": ("MobileNetV2", {}, "mobilenetv2_1.0_224_notop"),
    "MobileNet 0.25": ("MobileNet", {"alpha": 0.25}, "mobilenet_0.25_224_notop"),
}
NUMBERS = (128, 64)


def measure(shared: Path, seeds: int) -> list[dict[str, Any]]:
    """Return the gap of every backbone, set, number of images and seed."""
    from ktransfer import load_backbone
    from ktransfer.data import read_folder
    from ktransfer.profile import measure_gap

    parts = {name: read_folder(shared / "data" / name).train for name in DATA}
    found = []
    for title, (name, options, file) in BACKBONES.items():
        backbone = load_backbone(name, shared / "weights" / f"{file}.weights.h5", **options)
        for data, part in parts.items():
            for number in NUMBERS:
                for seed in range(seeds):
                    rows = np.random.default_rng(seed).permutation(len(part))[:number]
                    gap = measure_gap(backbone, part.select(rows), seed=seed)
                    asked = {"backbone": title, "data": data, "images": number, "seed": seed}
                    found.append({**asked, **gap.to_dict()})
    return found


def report(runs: list[dict[str, Any]]) -> str:
    """Mean and range over the seeds, and whether the threshold divides photos from others."""
    from ktransfer.profile import SIMILAR_BELOW

    rows, right = [], 0
    for title in BACKBONES:
        for data, photos in DATA.items():
            cells = []
            for number in NUMBERS:
                keys = (title, data, number)
                values = [
                    run["value"]
                    for run in runs
                    if (run["backbone"], run["data"], run["images"]) == keys
                ]
                right += sum((value < SIMILAR_BELOW) == photos for value in values)
                cells.append(f"{np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})")
            rows.append([title, data, "photos" if photos else "no photos", *cells])
    header = ["backbone", "images", "", *(f"gap of {number} images" for number in NUMBERS)]
    return (
        f"{table(header, rows)}\n\n{right} of {len(runs)} measurements lie on the right side of "
        f"{SIMILAR_BELOW}.\n"
    )


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--smoke", action="store_true", help="one seed")
    arguments = parser.parse_args()
    runs = measure(shared_folder(), 1 if arguments.smoke else arguments.seeds)
    folder = results_folder(arguments.out, smoke=arguments.smoke)
    write_results(folder, "domain_gap", report(runs), runs)


if __name__ == "__main__":
    main()
