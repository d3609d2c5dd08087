"""What the cached cut saves: epochs with the last blocks trainable, with the cache and without.

    python benchmarks/cached_cut.py [--rounds 3] [--blocks 2 4 6] [--smoke]

Ants and bees, MobileNetV2 1.0 at 224 px, `FineTuner.fit` with one stage of 4 epochs in batches of
32. The modes take turns, each run in a process of its own with an empty cache:

- off: the frozen blocks run in every step.
- on: as the library does it; decoding and running the frozen blocks overlap.
- on, decoding first: the same, but the benchmark has the images decoded before, so that the cost of
  filling the cache shows by itself. The first epoch of the issue is taken from it: everything
  between the end of decoding and the end of epoch 1 that the cache brings with it (the estimate
  whether to cache, filling the cache, epoch 1) against epoch 1 without the cache.

An epoch is timed by the library (`result.history`), its validation counted. The bare loop is
`train_on_batch` over decoded images, and over cached rows, without validation, callbacks and Keras'
`fit`. What is trained with the cache and without is compared after the last epoch. The two compute
the frozen part in different programs, which round differently; Adam makes whole steps of the
rounding of gradients near 0, SGD does not, so both are compared.

It takes about 15 minutes on 2 CPU cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from reporting import in_own_process, results_folder, shared_folder, table, write_results

WEIGHTS = "weights/mobilenetv2_1.0_224_notop.weights.h5"
OFF, ON, DECODED = "off", "on", "on, decoding first"
MODES = (OFF, ON, DECODED)
BATCH = 32
SEED = 0
PHASES = ("decode", "decide", "rows", "scale", "epoch_1", "later_epoch", "to_end_of_epoch_1")
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam", "learning_rate": 1e-3},
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 1e-2},
}
MOST_DIFFERENT = 1e-4
Run = dict[str, Any]


# --- in a process of its own ----------------------------------------------------------------------


def run_library(shared: Path, mode: str, task: argparse.Namespace) -> Run:
    """Return one `FineTuner.fit`.

    Seconds by phase. What it trained is written to `task.weights`.
    """
    from ktransfer import FineTuner
    from ktransfer.plan import Plan, Stage
    from ktransfer.training import Training, training

    blocks, epochs = task.blocks[0], task.epochs
    settings = {"batch_size": BATCH, "block_multiplier": 0.1, **OPTIMIZERS[task.optimizer]}
    stage = Stage(name=f"last {blocks}", unfreeze=blocks, epochs=epochs, **settings)
    seconds = dict.fromkeys(("decode", "decide", "rows", "scale"), 0.0)
    # The innermost first: where the images are decoded before, that is no part of "rows".
    _clock(training, "stage_data", seconds, "rows")
    if mode == DECODED:
        _decode_first(training, seconds)
    _clock(training, "decide", seconds, "decide")
    _clock(Training, "_scale_features", seconds, "scale")
    watch = _watch()
    tuner = FineTuner("MobileNetV2", shared / WEIGHTS, seed=SEED, verbose=False)
    result = tuner.fit(
        shared / "data" / "ants_bees",
        plan=Plan("cached_cut", (stage,)),
        cache=mode.split(",")[0],
        callbacks=[watch],
    )
    if mode == OFF:  # without the cache, rows are decoded images and nothing else
        seconds["decode"], seconds["rows"] = seconds["rows"], 0.0
    epoch_s = [row["seconds"] for row in result.history]
    np.savez(task.weights, *watch.after)
    return {
        **seconds,
        "epoch_1": epoch_s[0],
        "later_epoch": statistics.median(epoch_s[1:]),
        "to_end_of_epoch_1": sum(seconds.values()) + epoch_s[0],
        "epochs": epoch_s,
        "stage": result.stages[0].seconds,
        "val_accuracy": [row["val_accuracy"] for row in result.history],
        "best_epoch": result.best_epoch,
        "largest_move": _largest_difference(watch.before, watch.after),
        "cache_reason": result.stages[0].cache_reason,
    }


def _clock(owner: Any, name: str, seconds: dict[str, float], phase: str) -> None:
    """Have every call of `owner.name` add its wall time to a phase."""
    original = getattr(owner, name)

    def timed(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            return original(*arguments, **options)
        finally:
            seconds[phase] += time.perf_counter() - started

    setattr(owner, name, timed)


def _decode_first(training: Any, seconds: dict[str, float]) -> None:
    """Have the images decoded before the rows are made of them."""
    original = training.stage_data

    def data(stage: Any, source: Any, *arguments: Any) -> Any:
        started = time.perf_counter()
        for part in ("validation", "train"):
            source.rows(part, 0)
        seconds["decode"] += time.perf_counter() - started
        return original(stage, source, *arguments)

    training.stage_data = data


def _watch() -> Any:
    """Return a callback that keeps what trains: as it was, and as the last epoch leaves it.

    The best epoch, which the library puts back after that, may be another one in each run.
    """
    import keras

    class Watch(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.before = [np.array(each) for each in self.model.trainable_variables]

        def on_train_end(self, logs: Any = None) -> None:
            self.after = [np.array(each) for each in self.model.trainable_variables]

    return Watch()


def run_bare(shared: Path, blocks: int, epochs: int) -> Run:
    """Return seconds of an epoch of `train_on_batch`, over decoded images and over cached rows."""
    from ktransfer.backbones import load_backbone
    from ktransfer.data import read_folder
    from ktransfer.features import Network, RowSource
    from ktransfer.freezing import freeze

    backbone = load_backbone("MobileNetV2", shared / WEIGHTS)
    splits = read_folder(shared / "data" / "ants_bees")
    network = Network(backbone, len(backbone.blocks), len(splits.class_names), "avg", SEED)
    freeze(backbone, f"all_but_last:{blocks}")
    cut = network.cut_of(blocks)
    source = RowSource(network, splits, store=None, verbose=False)
    images, rows = (source.rows("train", at) for at in (0, cut))
    labels = source.splits.train.labels
    trained = {"images": (False, images), "rows": (True, rows)}
    return {
        name: _bare_epoch(network.trainee(cut, dropout=0.0, cached=cached), values, labels, epochs)
        for name, (cached, values) in trained.items()
    }


def _bare_epoch(model: Any, values: np.ndarray, labels: np.ndarray, epochs: int) -> float:
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-4), loss, jit_compile=False)
    generator = np.random.default_rng(SEED)
    seconds = []
    for _ in range(epochs):
        order = generator.permutation(len(labels))
        started = time.perf_counter()
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            model.train_on_batch(values[batch], labels[batch])
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])  # the first epoch traces the step


# --- the parent -----------------------------------------------------------------------------------


def measure(blocks: int, rounds: int, epochs: int) -> Run:
    """Return all modes in turn, the check with SGD and the bare loop, for one number of blocks."""
    runs: dict[str, list[Run]] = {mode: [] for mode in MODES}
    adam = []
    options = ("--blocks", blocks, "--epochs", epochs)
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(rounds):
            # Every other round the other way round, so that a trend of the machine cancels.
            for mode in MODES if number % 2 == 0 else reversed(MODES):
                runs[mode].append(_run(mode, "adam", Path(scratch), options))
            adam.append(_differ(Path(scratch)))
        moved = [_run(mode, "sgd", Path(scratch), options)["largest_move"] for mode in (OFF, ON)]
        sgd = _differ(Path(scratch))
    bare, _ = in_own_process(__file__, "--run", "bare", *options)
    differences = {"adam": max(adam), "sgd": sgd}
    moves = {"adam": max(run["largest_move"] for run in runs[OFF]), "sgd": max(moved)}
    return {
        "blocks": blocks,
        "runs": runs,
        "bare": bare,
        "largest_differences": differences,
        "largest_moves": moves,
    }


def _run(mode: str, optimizer: str, scratch: Path, options: tuple[object, ...]) -> Run:
    weights = ("--weights", scratch / f"{mode}.npz")
    run, total = in_own_process(
        __file__, "--run", mode, "--optimizer", optimizer, *options, *weights
    )
    print(json.dumps({"mode": mode, "optimizer": optimizer, **run}), file=sys.stderr)
    return {"total": total, **run}


def _differ(scratch: Path) -> float:
    """Return the largest difference of what the newest runs with and without cache trained."""
    with np.load(scratch / f"{OFF}.npz") as off, np.load(scratch / f"{ON}.npz") as on:
        return _largest_difference([off[name] for name in off], [on[name] for name in off])


def _largest_difference(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(first, second, strict=True))


def spread(values: Sequence[float], digits: int = 2, unit: str = "") -> str:
    """Return the median with the range."""
    low, high = (f"{each:.{digits}f}" for each in (min(values), max(values)))
    return f"{statistics.median(values):.{digits}f}{unit} ({low} to {high})"


def ratios(measured: Run) -> dict[str, list[float]]:
    """Return the figures that are asked for, round by round."""
    rounds = list(zip(*(measured["runs"][mode] for mode in MODES), strict=True))
    return {
        "later": [off["later_epoch"] / on["later_epoch"] for off, on, _ in rounds],
        "first": [
            100 * ((apart["decide"] + apart["rows"] + apart["epoch_1"]) / off["epoch_1"] - 1)
            for off, _, apart in rounds
        ],
        "whole": [
            100 * (on["to_end_of_epoch_1"] / off["to_end_of_epoch_1"] - 1) for off, on, _ in rounds
        ],
    }


def report(measurements: list[Run]) -> str:
    """Medians by phase, and the figures that the project asks for."""
    rows = [
        [
            str(measured["blocks"]),
            mode,
            *(f"{statistics.median(run[phase] for run in runs):.2f}" for phase in PHASES),
        ]
        for measured in measurements
        for mode, runs in measured["runs"].items()
    ]
    header = (
        "last blocks|mode|decode s|estimate s|rows s|feature scale s|epoch 1 s|later epoch s|"
        "to the end of epoch 1 s"
    )
    return f"{table(header.split('|'), rows)}\n\n" + "".join(
        f"- {line}\n" for measured in measurements for line in _figures(measured)
    )


def _figures(measured: Run) -> list[str]:
    found, bare = ratios(measured), measured["bare"]
    name = f"last {measured['blocks']} blocks"
    return [
        f"{name}: an epoch after the first is **{spread(found['later'], 1)} times** faster with "
        "the cache (asked for the last 2: at least 4)",
        f"{name}: epoch 1 with estimating and filling takes {spread(found['first'], 1, ' %')} more "
        "than epoch 1 without the cache (asked: at most 15 %)",
        f"{name}: from the beginning of the stage, with decoding and all, to the end of epoch 1: "
        f"{spread(found['whole'], 1, ' %')} more",
        f"{name}: bare loop over decoded images {bare['images']:.2f} s, over cached rows "
        f"{bare['rows']:.2f} s an epoch: {bare['images'] / bare['rows']:.1f} times",
        *(_difference(name, measured, optimizer) for optimizer in OPTIMIZERS),
    ]


def _difference(name: str, measured: Run, optimizer: str) -> str:
    found, moved = (measured[key][optimizer] for key in ("largest_differences", "largest_moves"))
    return (
        f"{name}, {optimizer}: after the last epoch no trained weight differs by more than "
        f"{found:.1e} between cache and no cache, where the largest move was {moved:.1e} (asked: "
        f"{MOST_DIFFERENT:.0e}; {'holds' if found <= MOST_DIFFERENT else 'DOES NOT HOLD'})"
    )


def main() -> None:
    """Run all modes, or one of them for the parent process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--blocks", type=int, nargs="+", default=[2, 4, 6])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--smoke", action="store_true", help="one round of 2 epochs, last 2 blocks")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    shared, epochs = shared_folder(), arguments.epochs
    if arguments.run == "bare":
        print(json.dumps(run_bare(shared, arguments.blocks[0], epochs)))
        return
    if arguments.run:
        print(json.dumps(run_library(shared, arguments.run, arguments)))
        return
    if arguments.smoke:
        arguments.rounds, arguments.blocks, epochs = 1, [2], 2
    measurements = [measure(blocks, arguments.rounds, epochs) for blocks in arguments.blocks]
    intro = (
        "Ants and bees, 245 training and 153 validation photos, MobileNetV2 1.0 at 224 px, "
        f"batches of {BATCH}, {epochs} epochs; medians (ranges) of {arguments.rounds} rounds."
    )
    folder = results_folder(arguments.out, smoke=arguments.smoke)
    write_results(folder, "cached_cut", f"{intro}\n\n{report(measurements)}", measurements)


if __name__ == "__main__":
    main()
