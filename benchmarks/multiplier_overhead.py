"""What a learning-rate multiplier costs: the time of a training step with the wrapper and without.

    python benchmarks/multiplier_overhead.py

MobileNetV2 1.0 at 224 px with random weights, batches of 32 random images, the last 4 blocks and a
head trained by Adam under `layer_decay`. Both models step in turn, the one that begins alternating,
so that what else the machine does hits both alike. Reported are medians with 95 % bootstrap
intervals, of whole training steps and of the optimizers alone on constant gradients; of these the
difference is far above the noise. It takes about 4 minutes on 2 CPU cores and writes
benchmarks/results/multiplier_overhead.md and .json.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from reporting import table, write_results

from ktransfer.backbones import load_backbone
from ktransfer.optimizers import LearningRateMultiplier, layer_decay

RESULTS = Path(__file__).with_name("results")
BATCH = 32
CLASSES = 10
TIMES = ("without_s", "with_s", "added_s")


def build(size_px: int, num_blocks: int, with_multipliers: bool) -> keras.Model:
    """Return the compiled model, of which the last blocks and a new head are trainable."""
    keras.utils.set_random_seed(1)
    backbone = load_backbone("MobileNetV2", None, size_px)
    for block in backbone.blocks[:-num_blocks]:
        for layer in block.layers:
            layer.trainable = False
    features = keras.layers.GlobalAveragePooling2D()(backbone.model.output)
    outputs = keras.layers.Dense(CLASSES, activation="softmax", name="head")(features)
    model = keras.Model(backbone.model.input, outputs)
    optimizer = keras.optimizers.Adam(1e-3)
    if with_multipliers:
        optimizer = LearningRateMultiplier(optimizer, layer_decay(backbone))
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def measure(steps: Sequence[Callable[[], Any]], rounds: int, warm_up: int = 3) -> np.ndarray:
    """Return the seconds of each step in each round `(rounds, steps)`, in alternating order."""
    times = np.zeros((rounds, len(steps)))
    for number in range(-warm_up, rounds):
        order = range(len(steps)) if number % 2 else reversed(range(len(steps)))
        for index in order:
            start = time.perf_counter()
            steps[index]()
            if number >= 0:
                times[number, index] = time.perf_counter() - start
    return times


def interval(values: np.ndarray, draws: int = 2000) -> list[float]:
    """Return a 95 % bootstrap interval of the median."""
    generator = np.random.default_rng(0)
    samples = generator.choice(values, (draws, len(values)))
    return [float(each) for each in np.quantile(np.median(samples, axis=1), [0.025, 0.975])]


def optimizer_step(model: keras.Model) -> Callable[[], Any]:
    """Return the compiled step of the model's optimizer on constant gradients."""
    variables = model.trainable_variables
    gradients = [tf.random.normal(each.shape, stddev=1e-3) for each in variables]
    return tf.function(lambda: model.optimizer.apply(gradients, variables))


def summarise(times: np.ndarray) -> dict[str, Any]:
    """Medians and intervals of the steps `(rounds, 2)`, first without the wrapper, then with it."""
    ratios = times[:, 1] / times[:, 0]
    added = times[:, 1] - times[:, 0]
    return {
        "rounds": len(times),
        "without_s": float(np.median(times[:, 0])),
        "without_interval_s": interval(times[:, 0]),
        "with_s": float(np.median(times[:, 1])),
        "with_interval_s": interval(times[:, 1]),
        "added_s": float(np.median(added)),
        "added_interval_s": interval(added),
        "added_percent": float(100 * (np.median(ratios) - 1)),
        "added_interval_percent": [100 * (each - 1) for each in interval(ratios)],
    }


def run(rounds: int, size_px: int, num_blocks: int) -> dict[str, Any]:
    """Measure whole steps and the optimizers alone."""
    generator = np.random.default_rng(1)
    images = tf.constant(generator.uniform(0, 255, (BATCH, size_px, size_px, 3)), "float32")
    labels = tf.constant(generator.integers(0, CLASSES, BATCH))
    models = [build(size_px, num_blocks, wrapped) for wrapped in (False, True)]
    steps = [lambda each=each: each.train_on_batch(images, labels) for each in models]
    whole = summarise(measure(steps, rounds))
    alone = summarise(measure([optimizer_step(each) for each in models], 10 * rounds))
    groups = models[1].optimizer.describe().groups
    return {
        "step": whole,
        "optimizer": alone,
        "added_by_optimizer_percent_of_step": 100 * alone["added_s"] / whole["without_s"],
        "scaled_tensors": sum(each.tensors for each in groups),
        "scaled_parameters": sum(each.parameters for each in groups),
        "batch": BATCH,
        "size_px": size_px,
        "trainable_blocks": num_blocks,
        "load_average": os.getloadavg()[0],
    }


def to_markdown(result: dict[str, Any]) -> str:
    """Return the result as a table with what was measured."""
    rows = []
    for kind in ("step", "optimizer"):
        each = result[kind]
        seconds = [(each[key], each[key.replace("_s", "_interval_s")]) for key in TIMES]
        cells = [
            f"{1e3 * s:.2f} ({1e3 * low:.2f} to {1e3 * high:.2f})" for s, (low, high) in seconds
        ]
        rows.append([kind, str(each["rounds"]), *cells])
    low, high = result["step"]["added_interval_percent"]
    return (
        f"MobileNetV2 1.0, {result['size_px']} px, batches of {result['batch']}; the last "
        f"{result['trainable_blocks']} blocks and a head are trained, which are "
        f"{result['scaled_tensors']} scaled tensors of {result['scaled_parameters']:,} "
        "parameters. Milliseconds: median (95 % interval).\n\n"
        + table(["measured", "rounds", "Adam", "with multipliers", "added"], rows)
        + f"\n\nAdded to a step: {result['step']['added_percent']:+.2f} % "
        f"({low:+.2f} to {high:+.2f} %) as measured on whole steps, and "
        f"**{result['added_by_optimizer_percent_of_step']:+.2f} %** as the optimizer's added time "
        f"over that of a step. Load average {result['load_average']:.1f}.\n"
    )


def main() -> None:
    """Parse the command line, measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--size-px", type=int, default=224)
    parser.add_argument("--trainable-blocks", type=int, default=4)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    result = run(arguments.rounds, arguments.size_px, arguments.trainable_blocks)
    write_results(arguments.out, "multiplier_overhead", to_markdown(result), result)


if __name__ == "__main__":
    main()
