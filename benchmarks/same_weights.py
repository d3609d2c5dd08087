"""Whether a change of the code leaves every bit of a training's weights as it was.

    python benchmarks/same_weights.py [--out FILE.npz] [--against COMMIT]

A network of three blocks is trained on generated pictures in three stages: the head, the last
block, and all blocks at learning rates that fall with the depth; with dropout, batch norm, views
and cached rows. It runs in a process of its own with one thread, so that nothing but the code and
the machine decides how sums are rounded. The SHA-256 of all weights is printed; `--out` writes the
weights. `--against` checks a commit out into a temporary worktree, does the same with its code, and
exits with 1 where a bit differs. It uses public names only, those of old code and new.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SIZE_PX = 16
PER_CLASS = 12
COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (210, 50, 40)}

#: One order of all sums, and nothing that differs from one start of the interpreter to the next.
ALIKE = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
    "PYTHONHASHSEED": "0",
}


def draw_pictures(folder: Path) -> Path:
    """Return class folders of noisy pictures whose mean colour tells the class."""
    from PIL import Image

    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(PER_CLASS):
            pixels = np.array(colour) + random.normal(0, 60, (20, 24, 3))
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(folder / name / f"{number:03}.bmp")
    return folder


def network():
    """Three blocks of convolution and batch norm, their weights drawn by NumPy."""
    import keras

    layers = keras.layers
    images = keras.Input((SIZE_PX, SIZE_PX, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    for at, filters in enumerate((4, 5, 6), 1):
        x = layers.Conv2D(filters, 3, 2, "same", use_bias=False, name=f"conv_{at}")(x)
        x = layers.BatchNormalization(name=f"bn_{at}")(x)
        x = layers.ReLU(name=f"relu_{at}")(x)
    model = keras.Model(images, x, name="three_blocks")
    # Not by Keras, whose initialisers may come to draw otherwise.
    random = np.random.default_rng(3)
    ranges = {"gamma": (0.8, 1.2), "moving_variance": (0.3, 1.0)}
    for weight in model.weights:
        name = weight.path.rpartition("/")[2]
        low, high = ranges.get(name, (-0.2, 0.2))
        if name == "kernel":
            high = (6 / np.prod(weight.shape[:-1])) ** 0.5
            low = -high
        weight.assign(random.uniform(low, high, weight.shape))
    return model


def plan():
    """Return the head, the last block, all blocks.

    With multipliers, batch norm in training, and views.
    """
    from ktransfer import Plan, Stage

    return Plan(
        "three_stages",
        (
            Stage(name="head", unfreeze=0, epochs=2, learning_rate=0.02, dropout=0.2),
            Stage(
                name="last",
                unfreeze=1,
                epochs=2,
                learning_rate=0.01,
                block_multiplier=0.5,
                optimizer="sgd",
                momentum=0.9,
                batch_norm="affine_only",
            ),
            Stage(
                name="all",
                unfreeze="all",
                epochs=2,
                learning_rate=0.005,
                layer_decay=0.5,
                optimizer="adamw",
                weight_decay=0.01,
                schedule="cosine",
                batch_norm="train",
                augmentation="standard",
            ),
        ),
    )


def train(pictures: Path, **options: Any) -> list[np.ndarray]:
    """Return the weights that the training ends with, in the order of the model.

    Args:
        pictures: of `draw_pictures`.
        **options: of `FineTuner.fit`, besides.
    """
    from ktransfer import FineTuner

    finetuner = FineTuner(network(), None, seed=4, verbose=False)
    # Which rows are kept is said here: "auto" would decide it by an estimate of time.
    finetuner.fit(pictures, plan=plan(), batch_size=6, cache=(2,), check="off", **options)
    return [np.asarray(each, np.float32) for each in finetuner.model.get_weights()]


def digest(weights: Sequence[np.ndarray]) -> str:
    """Return the SHA-256 of all weights, with their shapes."""
    found = hashlib.sha256()
    for each in weights:
        found.update(f"{each.dtype.str}{each.shape}".encode())
        found.update(each.tobytes())
    return found.hexdigest()


def read(file: Path) -> list[np.ndarray]:
    """Return the weights that `--out` wrote."""
    with np.load(file) as arrays:
        return [arrays[name] for name in arrays.files]


def trained_by(root: Path) -> list[np.ndarray]:
    """Say what the code in a folder trains, in a process of its own.

    Args:
        root: the folder that `ktransfer` lies in.
    """
    with tempfile.TemporaryDirectory(prefix="same-weights-") as name:
        file = Path(name) / "weights.npz"
        own = {"PYTHONPATH": str(root), "KTRANSFER_CACHE": str(Path(name) / "cache")}
        command = [sys.executable, __file__, "--train-here", file]
        subprocess.run(command, check=True, env={**os.environ, **ALIKE, **own})
        return read(file)


def _train_here(file: Path) -> None:
    import ktransfer

    root = Path(os.environ["PYTHONPATH"]).resolve()
    found = Path(ktransfer.__file__).resolve()
    assert found.is_relative_to(root), f"{found} is not the code in {root}"
    with tempfile.TemporaryDirectory(prefix="same-weights-") as folder:
        np.savez(file, *train(draw_pictures(Path(folder) / "pictures")))


@contextlib.contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Check out a worktree of a commit for as long as the `with` lasts."""
    with tempfile.TemporaryDirectory(prefix="same-weights-") as name:
        folder = Path(name) / "code"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(folder), commit], check=True)
        try:
            yield folder
        finally:
            subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def _compared(now: Sequence[np.ndarray], then: Sequence[np.ndarray], commit: str) -> int:
    if digest(now) == digest(then):
        print(f"the same as those of {commit}, bit for bit")
        return 0
    if [each.shape for each in now] != [each.shape for each in then]:
        print(f"other shapes than those of {commit}")
        return 1
    furthest = max(float(np.abs(a - b).max()) for a, b in zip(now, then, strict=True))
    print(f"not those of {commit}: they differ by up to {furthest:.3g}")
    return 1


def main() -> int:
    """Train, print the digest, write and compare as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="where to write the weights (.npz)")
    parser.add_argument("--against", metavar="COMMIT", help="whose weights to compare with")
    parser.add_argument("--train-here", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train_here:
        _train_here(given.train_here)
        return 0
    weights = trained_by(ROOT)
    print(digest(weights))
    if given.out:
        np.savez(given.out, *weights)
    if not given.against:
        return 0
    with checked_out(given.against) as code:
        return _compared(weights, trained_by(code), given.against)


if __name__ == "__main__":
    sys.exit(main())
