"""The classic exercise: ants against bees, MobileNetV2 1.0, on a CPU.

    python benchmarks/ants_bees.py [--seeds 3] [--out benchmarks/results]

Each contestant runs in a process of its own, with an empty cache; total wall time is taken from
outside, imports and decoding counted. The contestants take turns, so that a slow minute of the
machine hits all of them.

- guide: the workflow of the Keras guide "Transfer learning & fine-tuning" (frozen model inside the
  training model, forward pass in every epoch, flips and small rotations, dropout 0.2, Adam), at the
  backbone's 224 px and with its preprocessing.
- ktransfer: `FineTuner.fit` with early stopping off, so that it trains as many epochs as the guide.
- ktransfer default: as a user gets it, without any argument (30 epochs at most, early stopping).

Photos and weights: see CONTRIBUTING.md, "Real photos and real weights".
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()

from reporting import in_own_process, shared_folder, table, write_results  # noqa: E402

WEIGHTS = "weights/mobilenetv2_1.0_224_notop.weights.h5"
ROUNDS = (
    ("guide", 5),
    ("ktransfer", 5),
    ("guide", 20),
    ("ktransfer", 20),
    ("ktransfer default", None),
)


def run_guide(shared: Path, epochs: int | None, seed: int) -> dict[str, Any]:
    """Return the Keras guide's workflow; returns accuracy and seconds by phase."""
    import keras

    imported = time.perf_counter()
    keras.utils.set_random_seed(seed)
    size, data = (224, 224), shared / "data" / "ants_bees"
    load = keras.utils.image_dataset_from_directory
    train = load(data / "train", image_size=size, batch_size=32, seed=seed).prefetch(-1)
    validation = load(data / "val", image_size=size, batch_size=32, shuffle=False).prefetch(-1)
    model = _guide_model(shared / WEIGHTS)
    clock = _EpochClock()
    history = model.fit(
        train,
        validation_data=validation,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[clock.callback(keras)],
    )
    return {
        "val_accuracy": history.history["val_accuracy"][-1],
        "import": imported - STARTED,
        "first_epoch": clock.seconds[0],
        "later_epoch": statistics.median(clock.seconds[1:]),
    }


def _guide_model(weights: Path) -> Any:
    import keras

    layers = keras.layers
    base = keras.applications.MobileNetV2(
        include_top=False, weights=str(weights), input_shape=(224, 224, 3)
    )
    base.trainable = False
    images = keras.Input((224, 224, 3))
    x = layers.RandomRotation(0.1)(layers.RandomFlip("horizontal")(images))
    x = base(layers.Rescaling(1 / 127.5, offset=-1)(x), training=False)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(images, layers.Dense(2, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class _EpochClock:
    """Wall seconds of every epoch of a Keras training."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def callback(self, keras: Any) -> Any:
        started = []
        return keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: started.append(time.perf_counter()),
            on_epoch_end=lambda epoch, logs: self.seconds.append(time.perf_counter() - started[-1]),
        )


def run_ktransfer(shared: Path, epochs: int | None, seed: int) -> dict[str, Any]:
    """`FineTuner.fit` and save, as a user would; returns accuracy and seconds by phase."""
    from ktransfer import FineTuner

    imported = time.perf_counter()
    tuner = FineTuner("MobileNetV2", shared / WEIGHTS, seed=seed, verbose=False)
    built = time.perf_counter()
    arguments = {} if epochs is None else {"epochs": epochs, "patience": None}
    result = tuner.fit(shared / "data" / "ants_bees", **arguments)
    later = [epoch["seconds"] for epoch in result.history[1:]]
    return {
        "val_accuracy": result.val_accuracy,
        "import": imported - STARTED,
        "build": built - imported,
        **result.seconds,
        "first_epoch": result.history[0]["seconds"],
        "later_epoch": statistics.median(later),
        "epochs": len(result.history),
    }


def contest(name: str, epochs: int | None, seed: int) -> dict[str, Any]:
    """Run one contestant in a fresh interpreter; its figures and its total wall time."""
    asked = [] if epochs is None else ["--epochs", epochs]
    figures, total = in_own_process(__file__, "--contestant", name, "--seed", seed, *asked)
    return {"contestant": name, "asked": epochs, "seed": seed, "total": total, **figures}


def _median(runs: list[dict[str, Any]], field: str) -> float:
    return statistics.median(run[field] for run in runs)


def report(runs: list[dict[str, Any]]) -> str:
    """Return the table of medians, and the figures that the project asks for."""
    groups = {
        key: [run for run in runs if (run["contestant"], run["asked"]) == key] for key in ROUNDS
    }
    rows = [
        [
            name,
            str(epochs or f"{_median(group, 'epochs'):.0f} (stopped early)"),
            f"{_median(group, 'total'):.1f}",
            f"{_median(group, 'import'):.1f}",
            f"{_median(group, 'decode_and_extract'):.2f}"
            if "decode_and_extract" in group[0]
            else "in each epoch",
            f"{_median(group, 'later_epoch'):.3f}",
            f"{_median(group, 'val_accuracy'):.4f}",
            ", ".join(f"{run['val_accuracy']:.4f}" for run in group),
        ]
        for (name, epochs), group in groups.items()
    ]
    header = (
        "contestant|epochs|total s|import s|decode and extract s|later epoch s|val accuracy|by seed"
    )
    ours = groups[("ktransfer", 20)]
    shares = [run["later_epoch"] / run["decode_and_extract"] for run in ours]
    ratios = []
    for epochs in (5, 20):
        guide, mine = (_median(groups[(name, epochs)], "total") for name in ("guide", "ktransfer"))
        ratios.append(
            f"{epochs} epochs: whole process {guide / mine:.1f} times faster than the guide"
        )
    share = (
        f"an epoch after the first costs {100 * statistics.median(shares):.2f} % of the one pass"
    )
    figures = "\n".join(f"- {line}" for line in (*ratios, share))
    return f"{table(header.split('|'), rows)}\n\n{figures}\n"


def main() -> None:
    """Run all contestants, or one of them for the parent process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--contestant")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    shared = shared_folder()
    if arguments.contestant:
        run = run_guide if arguments.contestant == "guide" else run_ktransfer
        print(json.dumps(run(shared, arguments.epochs, arguments.seed)))
        return
    runs = []
    for seed in range(arguments.seeds):
        for name, epochs in ROUNDS:
            runs.append(contest(name, epochs, seed))
            print(json.dumps(runs[-1]), file=sys.stderr)
    intro = (
        f"Ants and bees, 245 training and 153 validation photos, MobileNetV2 1.0; medians of "
        f"{arguments.seeds} seeds."
    )
    write_results(arguments.out, "ants_bees", f"{intro}\n\n{report(runs)}", runs)


if __name__ == "__main__":
    main()
