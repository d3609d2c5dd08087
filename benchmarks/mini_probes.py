"""Measures what ``weights="mini"`` is worth: linear probes, against random weights.

Command: ``python benchmarks/mini_probes.py`` (about three minutes on two CPU cores). It writes
``benchmarks/results/mini_probes.md`` and ``.json``. Photos come from the folder that the
environment variable ``KTRANSFER_SHARED`` names, by default ``../shared`` beside the project's
root; without it only scikit-learn's digits are measured, and the table says so.

Protocol, the same for both: the whole image is resized to 96 px with antialiasing, the frozen
backbone's output is averaged over space, features are standardised on the training part, and a
multinomial logistic regression is fitted with C from one grid by 3-fold cross-validation on the
training part. Random means Keras' default initialisation, redrawn for every repetition. Pixels
means the same probe on the image averaged down to 8 x 8 RGB, without a network, for comparison.

Of the photos, flowers and ants_bees took no part in choosing the weights; only these
final weights were ever measured on flowers, twice: the second time to add the pixels. Digits did
take part: the recipe was changed once after a look at their figure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
import sklearn
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "ktransfer" / "backbones" / "mini" / "mobilenetv2_0.35_96_mini.weights.h5"
SIZE_PX = 96
GRID = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
DATE = "2026-11-21"
MACHINE = "2-core CPU"
# Student's t at 97.5 %, by degrees of freedom, for the interval of a mean over a few seeds.
T_975 = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}

Images = np.ndarray
Split = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Task:
    """One data set: uint8 images, labels, and the training and test rows of each repetition."""

    name: str
    images: Images
    labels: np.ndarray
    splits: list[Split]


@dataclass(frozen=True)
class Row:
    """One line of the table; accuracies in percent, one per repetition."""

    task: str
    train_images: int
    test_images: int
    mini: list[float]
    random: list[float]
    pixels: list[float]
    target: float | None


# --- data ---------------------------------------------------------------------------------------


def digits_task(seeds: int, per_class: int = 10) -> Task:
    """scikit-learn's 8 x 8 digits, upscaled to 96 px RGB; 10 images of each class train."""
    bunch = load_digits()
    grey = np.clip(bunch.images * (255 / 16), 0, 255).astype(np.uint8)
    images = np.stack([_to_array(Image.fromarray(one)) for one in grey])
    return Task("digits", images, bunch.target, _splits(bunch.target, 10 * per_class, seeds))


def folder_task(name: str, folder: Path, train: int, seeds: int) -> Task:
    """Return a folder of class folders, split anew by every seed, each class in its share."""
    images, labels = _read_classes(folder)
    return Task(name, images, labels, _splits(labels, train, seeds))


def divided_task(name: str, folder: Path, repetitions: int) -> Task:
    """Return a folder with its own train/ and val/.

    One split, repeated for the random weights' sake.
    """
    parts = [_read_classes(folder / part) for part in ("train", "val")]
    images, labels = (np.concatenate([part[i] for part in parts]) for i in range(2))
    rows = np.arange(len(labels))
    split = (rows[: len(parts[0][1])], rows[len(parts[0][1]) :])
    return Task(name, images, labels, [split] * repetitions)


def _splits(labels: np.ndarray, train: int, seeds: int) -> list[Split]:
    rows = np.arange(len(labels))
    return [
        tuple(train_test_split(rows, train_size=train, stratify=labels, random_state=seed))
        for seed in range(seeds)
    ]


def _read_classes(folder: Path) -> tuple[Images, np.ndarray]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    images, labels = [], []
    for label, name in enumerate(names):
        for image in _readable(folder / name):
            images.append(image)
            labels.append(label)
    return np.stack(images), np.array(labels)


def _readable(folder: Path) -> Iterator[Images]:
    """Yield the folder's images, without those files that are none (the sets come with faults)."""
    for path in sorted(folder.iterdir()):
        try:
            with Image.open(path) as image:
                yield _to_array(image)
        except OSError:
            print(f"left out, unreadable: {path}")


def _to_array(image: Image.Image) -> Images:
    size = (SIZE_PX, SIZE_PX)
    return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC), np.uint8)


def tasks(seeds: int) -> list[Task]:
    """Return the data sets at hand."""
    shared = Path(os.environ.get("KTRANSFER_SHARED", ROOT.parent / "shared")) / "data"
    found = [digits_task(seeds)]
    if shared.is_dir():
        found.append(divided_task("flowers", shared / "flowers", seeds))
        bees = divided_task("ants_bees", shared / "ants_bees", 1)
        splits = _splits(bees.labels, 100, seeds)
        found.append(Task("ants_bees", bees.images, bees.labels, splits))
        found.append(folder_task("steel_defects", shared / "steel_defects", 100, seeds))
    return found


# --- probes -------------------------------------------------------------------------------------


def backbone(weights: Path | None, seed: int) -> keras.Model:
    """Return the network with the given weights, or with Keras' random ones."""
    keras.utils.set_random_seed(seed)
    return keras.applications.MobileNetV2(
        alpha=0.35,
        input_shape=(SIZE_PX, SIZE_PX, 3),
        include_top=False,
        weights=weights and str(weights),
    )


def pooled(network: keras.Model, images: Images) -> np.ndarray:
    """Features of all images, averaged over space."""
    run = tf.function(lambda batch: keras.ops.mean(network(batch, training=False), axis=(1, 2)))
    batches = tf.data.Dataset.from_tensor_slices(images).batch(128)
    return np.concatenate([run(tf.cast(one, tf.float32) / 127.5 - 1).numpy() for one in batches])


def thumbnails(images: Images) -> np.ndarray:
    """Return the images averaged down to 8 x 8, as rows of 192 numbers."""
    side = SIZE_PX // 8
    return images.reshape(len(images), 8, side, 8, side, 3).mean((2, 4)).reshape(len(images), -1)


def probe(features: np.ndarray, labels: np.ndarray, split: Split) -> float:
    """Test accuracy in percent of a linear probe."""
    train, test = split
    scaler = StandardScaler().fit(features[train])
    known, unseen = scaler.transform(features[train]), scaler.transform(features[test])
    if len(train) < features.shape[1]:
        # An L2 penalty does not see a rotation: 100 images span 100 directions, and the fit in
        # those is the same one, ten times faster.
        turn = np.linalg.svd(known, full_matrices=False)[2].T
        known, unseen = known @ turn, unseen @ turn
    search = GridSearchCV(LogisticRegression(max_iter=200, tol=1e-3), {"C": GRID}, cv=3)
    search.fit(known, labels[train])
    return 100 * float(search.score(unseen, labels[test]))


def measure(task: Task, weights: Path) -> Row:
    """Probes one data set with the mini weights and with random ones."""
    features = pooled(backbone(weights, 0), task.images)
    same = all(split is task.splits[0] for split in task.splits)
    mini = [probe(features, task.labels, split) for split in task.splits[: 1 if same else None]]
    random = [
        probe(pooled(backbone(None, seed), task.images), task.labels, split)
        for seed, split in enumerate(task.splits)
    ]
    pixels = [probe(thumbnails(task.images), task.labels, one) for one in task.splits[: len(mini)]]
    train, test = task.splits[0]
    target = {"digits": 10.0, "flowers": 8.0}.get(task.name)
    return Row(task.name, len(train), len(test), mini, random, pixels, target)


def interval(values: list[float], test_images: int) -> float:
    """Half of the 95 % interval: of the mean over repetitions, or of one share of the test part."""
    if len(values) == 1:
        share = values[0] / 100
        return 196 * float(np.sqrt(share * (1 - share) / test_images))
    return T_975[len(values) - 1] * float(np.std(values, ddof=1)) / len(values) ** 0.5


# --- the report ---------------------------------------------------------------------------------


def _cell(values: list[float], test_images: int) -> str:
    return f"{np.mean(values):.1f} ± {interval(values, test_images):.1f} (n = {len(values)})"


def _line(row: Row) -> str:
    gain = np.mean(row.mini) - np.mean(row.random)
    asked = "for information" if row.target is None else f"at least +{row.target:.0f}"
    cells = [row.task, str(row.train_images), str(row.test_images)]
    cells += [_cell(row.mini, row.test_images), _cell(row.random, row.test_images)]
    cells += [f"{gain:+.1f}", asked, _cell(row.pixels, row.test_images)]
    return "| " + " | ".join(cells) + " |"


def versions() -> dict[str, str]:
    """Say what the figures depend on."""
    found = {"python": platform.python_version(), "scikit-learn": sklearn.__version__}
    return found | {one.__name__: one.__version__ for one in (tf, keras, np)}


def report(rows: list[Row], seeds: int, command: str) -> str:
    """Return the Markdown page."""
    notes = __doc__.split("Protocol, ")[1].strip()
    missing = "" if len(rows) > 1 else "\nPhotos were not at hand: only digits is measured.\n"
    columns = ["data", "training images", "test images", "mini", "random weights", "difference"]
    columns += ["asked", "pixels"]
    lines = [
        "# Linear probes on the mini weights",
        f"\nCommand: `{command}`. Date: {DATE}. Machine: {MACHINE}.",
        "Versions: " + ", ".join(f"{name} {one}" for name, one in versions().items()) + ".",
        f"Weights: `{WEIGHTS.relative_to(ROOT)}`, {WEIGHTS.stat().st_size:,} bytes.",
        f"\nProtocol, {notes}",
        f"\nTest accuracy in percent, mean ± half of the 95 % interval, n of {seeds} repetitions",
        "(Student's t; where n = 1, one fixed split and fixed weights: the binomial interval).\n",
        "| " + " | ".join(columns) + " |",
        "| --- " * len(columns) + "|",
        *(_line(row) for row in rows),
    ]
    return "\n".join(lines) + "\n" + missing


def main() -> None:
    """Measures, prints each line, and writes the page and the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="repetitions, 3 to 10")
    parser.add_argument("--only", nargs="*", help="measure these data sets and write nothing")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()
    rows = []
    for task in tasks(arguments.seeds):
        if not arguments.only or task.name in arguments.only:
            rows.append(measure(task, arguments.weights))
            print(_line(rows[-1]), flush=True)
    if arguments.only:
        return
    command = f"python benchmarks/mini_probes.py --seeds {arguments.seeds}"
    out = ROOT / "benchmarks" / "results"
    out.mkdir(parents=True, exist_ok=True)
    (out / "mini_probes.md").write_text(report(rows, arguments.seeds, command), encoding="utf-8")
    facts = {"command": command, "date": DATE, "machine": MACHINE, "versions": versions()}
    facts |= {"rows": [asdict(row) for row in rows]}
    (out / "mini_probes.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
