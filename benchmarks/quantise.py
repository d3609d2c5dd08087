"""Quantised exports against those in float32: size, accuracy, agreement and speed.

    python benchmarks/quantise.py [--rounds 5] [--smoke]

A linear probe of MobileNetV2 1.0 and 0.35 on ants and bees is exported as ONNX and LiteRT, in
float32, float16 and int8 (calibrated on 128 training photos), whatever it costs, and judged on the
153 validation photos. Speed is measured once all files lie there, the three of a format in turn,
several times: the median of what each takes relative to float32 in the same round.

Needs the photos and weights of CONTRIBUTING.md, and the extras `onnx` and `litert`. `--smoke`: the
small network and 16 photos.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from reporting import results_folder, shared_folder, table, write_results

from ktransfer import FineTuner
from ktransfer.data import read_data
from ktransfer.data.images.host import read_on_host
from ktransfer.export import ExportResult
from ktransfer.export.runtimes import load_export

FORMATS = {"onnx": ".onnx", "litert": ".tflite"}
KINDS = (None, "float16", "int8")
BATCH_SIZE = 32


def trained(shared: Path, alpha: float) -> FineTuner:
    """Return a head on a frozen network."""
    weights = shared / "weights" / f"mobilenetv2_{alpha}_224_notop.weights.h5"
    options = {} if alpha == 1.0 else {"alpha": alpha}
    tuner = FineTuner("MobileNetV2", weights=str(weights), verbose=False, **options)
    tuner.fit(shared / "data" / "ants_bees", plan="linear_probe", check="off")
    return tuner


def exports(tuner: FineTuner, folder: Path, validation: Any) -> dict[tuple[str, str], ExportResult]:
    """Return the files, by format and kind; none is refused for what it loses."""
    found = {}
    for format, ending in FORMATS.items():
        for kind in KINDS:
            name = kind or "float32"
            result = tuner.export(
                folder / f"{name}{ending}", quantise=kind, max_loss=0.99, validation=validation
            )
            print(result, flush=True)
            found[format, name] = result
    return found


def on_all_photos(
    found: Mapping[tuple[str, str], ExportResult], format: str, kind: str
) -> dict[str, Any]:
    """How a file agrees; of float32 as it was judged beside float16, on as many photos as that."""
    if kind == "float32":
        beside = found[format, "float16"].quantised
        assert beside is not None
        return beside.float32.to_dict()
    return found[format, kind].agreement.to_dict()


def seconds_of(files: Mapping[str, Path], format: str, images: np.ndarray, rounds: int) -> Any:
    """Return seconds that each file takes for all images, in each round."""
    runs = {name: load_export(path, format) for name, path in files.items()}
    batches = [images[at : at + BATCH_SIZE] for at in range(0, len(images), BATCH_SIZE)]
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for at in range(rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            for batch in batches:
                run(batch)
            if at:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    return seconds


def measured(shared: Path, alpha: float, rounds: int, *, smoke: bool) -> list[dict[str, Any]]:
    """Return a row for each file."""
    tuner = trained(shared, alpha)
    photos = read_data(shared / "data" / "ants_bees").validation
    if smoke:
        photos = photos.select(np.arange(0, len(photos), len(photos) // 16)[:16])
    given = None if not smoke else [str(each.path) for each in photos.files]
    height, width = tuner.backbone.input_size
    count = min(len(photos), 2 * BATCH_SIZE)
    images = np.stack([read_on_host(photos.images, row, (height, width)) for row in range(count)])
    rows = []
    with tempfile.TemporaryDirectory() as name:
        found = exports(tuner, Path(name), given)
        for format in FORMATS:
            files = {kind: each.path for (of, kind), each in found.items() if of == format}
            seconds = seconds_of(files, format, images, rounds)
            for kind in files:
                result = found[format, kind]
                rows.append(
                    {
                        "network": f"MobileNetV2 {alpha}",
                        "format": format,
                        "kind": kind,
                        "seconds_by_round": seconds[kind],
                        "images_per_round": count,
                        "times_as_fast": float(
                            np.median(np.divide(seconds["float32"], seconds[kind]))
                        ),
                        "times_smaller": found[format, "float32"].size_bytes / result.size_bytes,
                        **result.to_dict(),
                        "path": None,
                        "card": None,
                        "agreement": on_all_photos(found, format, kind),
                    }
                )
    return rows


def line(row: Mapping[str, Any]) -> list[str]:
    """Of the table."""
    found = row["agreement"]
    speed = row["images_per_round"] / float(np.median(row["seconds_by_round"]))
    accuracy = "-" if found["accuracy"] is None else f"{found['accuracy']:.1%}"
    return [
        row["network"],
        row["format"],
        row["kind"],
        f"{row['size_bytes'] / 1e6:.2f}",
        f"{row['times_smaller']:.1f}",
        accuracy,
        f"{found['top1_agreement']:.1%}",
        f"{found['max_difference']:.1e}",
        f"{found['mean_difference']:.1e}",
        f"{speed:.0f}",
        f"{row['times_as_fast']:.2f}",
    ]


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    shared = shared_folder()
    alphas = (0.35,) if arguments.smoke else (1.0, 0.35)
    rows = [
        row
        for alpha in alphas
        for row in measured(shared, alpha, arguments.rounds, smoke=arguments.smoke)
    ]
    head = ["network", "format", "numbers", "MB", "times smaller", "accuracy", "same class",
            "largest difference", "mean difference", "images/s", "times as fast"]  # fmt: skip
    load = os.getloadavg()[0]
    note = (
        f"Judged on {rows[0]['agreement']['num_images']} validation photos, speed on "
        f"{rows[0]['images_per_round']} of them in batches of {BATCH_SIZE}, as each runtime comes "
        "(onnxruntime on all cores, LiteRT on one). Same class and differences are against the "
        f"Keras model. Load average at the end: {load:.1f}: compare the speeds within a format "
        "only."
    )
    body = f"{table(head, [line(row) for row in rows])}\n\n{note}\n"
    data = {"rows": rows, "load_average": os.getloadavg()}
    write_results(results_folder(arguments.out, smoke=arguments.smoke), "quantise", body, data)


if __name__ == "__main__":
    main()
