"""Every backbone there is, built small: what of ktransfer works with it?

    python benchmarks/every_backbone.py

Each backbone that has a name and each image backbone of KerasHub is built as small as it can be,
with random weights (`small_backbones.py`). A probe and its last 2 blocks are trained on
12 noisy images, each model is saved, and read back by another process, which must predict the same
and write an ONNX file that predicts the same. The slow tests run the same, in pieces, of one
network of every module of keras.applications and of all of KerasHub. It takes
about 20 minutes on 2 cores and writes benchmarks/results/every_backbone.json and docs/backbones.md;
with `--only NAME` a part of it, what was measured before stays.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import small_backbones
from reporting import table

from ktransfer.backbones.families import TORCHVISION_OF

RESULTS = Path(__file__).with_name("results") / "every_backbone.json"
PAGE = Path(__file__).parents[1] / "docs" / "backbones.md"
PACKAGES = ("tensorflow", "keras", "keras-hub", "onnxruntime")
PIECE = 4
PLANS = {"probe": 0, "last_blocks": 2}
#: Two processes add up in another order.
BOUND = 1e-5


def images_of(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """12 noisy images of 2 classes, and their labels."""
    random = np.random.default_rng(3)
    labels = np.arange(12) % 2
    noise = random.normal(0, 40, (12, *size, 3))
    colours = np.array([(200, 60, 40), (40, 60, 200)])[labels][:, None, None]
    return np.clip(colours + noise, 0, 255).astype("uint8"), labels


def trained(names: Sequence[str], folder: Path) -> dict[str, dict[str, Any]]:
    """Fit each of the backbones with each plan, and save the runs.

    Args:
        names: of `small_backbones.names`.
        folder: for the runs, and beside each what it predicts.

    Returns:
        For each name the words for the table: "yes", or why not.
    """
    import keras

    found = {}
    for name in names:
        found[name] = _trained(name, folder)
        keras.utils.clear_session()
    return found


def _trained(name: str, folder: Path) -> dict[str, Any]:
    reason = small_backbones.OTHERS.get(name.removeprefix(small_backbones.HUB))
    if reason:
        return {"refused": reason}
    from ktransfer import FineTuner, InputError

    backbone, options = small_backbones.arguments(name)
    try:
        with small_backbones.shallow():
            tuner = FineTuner(backbone, verbose=False, **options)
    except InputError as error:
        return {"refused": str(error)}
    row: dict[str, Any] = {
        "blocks": len(tuner.backbone.blocks),
        "features": list(tuner.backbone.model.output_shape[1:]),
        "notes": list(tuner.backbone.notes),
    }
    images, labels = images_of(tuner.backbone.input_size)
    for plan, unfreeze in PLANS.items():
        run = folder / f"{name}-{plan}"
        # Saved by fit, as a training of hours would be: with `out`, nothing is trained in vain.
        try:
            tuner.fit(
                (images, labels), unfreeze=min(unfreeze, row["blocks"]), epochs=1, batch_size=4,
                out=run, cache="off", similarity="similar", check="off", validation_fraction=0.34,
            )  # fmt: skip
            np.save(f"{run}.npy", tuner.predict(images).probabilities)
            row[plan] = "yes"
        except Exception as error:  # of whatever library: it goes into the table
            row[plan] = f"{type(error).__name__}: {error}"
    return row


def in_a_process(*arguments: str) -> dict[str, dict[str, Any]]:
    """Say what a new process of this script says: its memory goes with it, which is gigabytes.

    Keras' and KerasHub's own warnings on the way are not what is asked here.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", __file__, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-4_000:])
    return json.loads(done.stdout.splitlines()[-1])


def loaded(folder: Path) -> dict[str, dict[str, str]]:
    """Load the runs of a folder: do they predict what they did, also as ONNX files?

    Returns:
        For each run "load" and "onnx": "yes", or why not.
    """
    found = {}
    for run in sorted(each.parent for each in folder.glob("*/run.json")):
        found[run.name] = _loaded(run)
    return found


def _loaded(run: Path) -> dict[str, str]:
    import keras

    from ktransfer import FineTuner, InputError

    keras.utils.clear_session()
    try:
        tuner = FineTuner.load(run, verbose=False)
        images, labels = images_of(tuner.backbone.input_size)
        off = np.abs(tuner.predict(images).probabilities - np.load(f"{run}.npy")).max()
    except InputError as error:
        return {"load": str(error), "onnx": ""}
    row = {"load": "yes" if off < BOUND else f"predicts otherwise, by {off:.2g}", "onnx": ""}
    if run.name.endswith("last_blocks"):
        try:
            tuner.export(f"{run}.onnx", validation=(images, labels))
            row["onnx"] = "yes"
        except InputError as error:
            row["onnx"] = str(error)
    return row


def tried(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Train, save, load elsewhere and export some backbones.

    Returns:
        A row of the table for each name.
    """
    with tempfile.TemporaryDirectory(prefix="ktransfer-every-") as folder:
        rows = in_a_process("--trained", folder, "--only", *names)
        elsewhere = in_a_process("--loaded", folder)
    for name, row in rows.items():
        for plan in PLANS:
            if row.get(plan) == "yes":
                said = elsewhere[f"{name}-{plan}"]
                row[f"{plan}_loaded"] = said["load"]
                row["onnx"] = said["onnx"] or row.get("onnx", "")
    return rows


COLUMNS = (
    "backbone",
    "blocks",
    "features",
    "probe",
    "last blocks",
    "save, load",
    "ONNX",
    "why not",
)


def as_row(name: str, found: dict[str, Any]) -> list[str]:
    """Return a row of the table, of what `tried` found."""
    shown = name.removeprefix("keras_hub.")
    if "refused" in found:
        return [shown, "", "", "no", "no", "", "", _short(found["refused"])]
    features = " x ".join(map(str, found["features"]))
    loads = [found.get(f"{plan}_loaded", "was not trained") for plan in PLANS]
    words = [found[plan] for plan in PLANS] + [
        next((each for each in loads if each != "yes"), "yes"),
        found.get("onnx", "was not trained"),
    ]
    answers = ["yes" if each == "yes" else "no" for each in words]
    reasons = [_short(each) for each in words if each != "yes"]
    notes = [each.split(": ", 1)[1] for each in found["notes"]]
    return [shown, str(found["blocks"]), features, *answers, "; ".join(reasons or notes)]


def _short(reason: str) -> str:
    """Return the first clause of a message, without what changes from run to run."""
    return (reason or "not tried").splitlines()[0].replace("|", "/")[:_LONGEST]


_LONGEST = 140


def page(results: dict[str, Any]) -> str:
    """docs/backbones.md, of the results."""
    found = results["backbones"]
    ours = [each for each in found if each in TORCHVISION_OF]
    groups = {
        "keras.applications": [
            each for each in found if each not in ours and not each.startswith("keras_hub.")
        ],
        "torchvision": ours,
        "KerasHub": [each for each in found if each.startswith("keras_hub.")],
    }
    lines = [
        "# What works with which backbone",
        "",
        "Every backbone that has a name and every image backbone of KerasHub, built small "
        "with random weights: a head trained on all blocks frozen (probe), the last 2 blocks "
        "trained, both saved and loaded by another process, which predicted the same, and written "
        "as an ONNX file, which predicted the same. Blocks and features are those of the small "
        "network.",
        "",
        f"Made by `{results['command']}`, {results['date']}, with "
        + ", ".join(f"{each} {version}" for each, version in results["versions"].items())
        + ".",
    ]
    for title, names in groups.items():
        rows = [as_row(name, found[name]) for name in names]
        lines += ["", f"## {title}", "", *table(COLUMNS, rows).splitlines()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Try them all, a piece at a time, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trained", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--loaded", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="+", help="names; what was measured of others stays")
    given = parser.parse_args()
    if given.trained:
        print(json.dumps(trained(given.only, given.trained)))
        return
    if given.loaded:
        print(json.dumps(loaded(given.loaded)))
        return
    everything = small_backbones.names()
    kept = json.loads(RESULTS.read_text())["backbones"] if RESULTS.exists() else {}
    for piece in pieces(given.only or everything):
        kept |= tried(piece)
        ordered = {name: kept[name] for name in everything if name in kept}
        results = {
            "command": "python benchmarks/every_backbone.py",
            "date": datetime.date.today().isoformat(),
            "versions": {each: importlib.metadata.version(each) for each in PACKAGES},
            "backbones": ordered,
        }
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        PAGE.write_text(page(results))
        print(*piece, flush=True)


def pieces(names: Sequence[str]) -> list[list[str]]:
    """Return the names, a few at a time, that share the processes."""
    return [list(names[at : at + PIECE]) for at in range(0, len(names), PIECE)]


if __name__ == "__main__":
    main()
