"""Features of a million images do not need their size in memory.

    python benchmarks/feature_memory.py [--images 1000000] [--features 1280] [--budget-mb 1024]

Writes features of so many images through `ktransfer.features.extract`, trains a head on them for
one epoch, and records the peak of the process's own memory. The images are random numbers and the
network is a random projection: what is measured is where the features are kept. Own memory is
RssAnon of /proc/self/status: pages of the memory-mapped file are the system's to drop and do not
count. Needs 4 bytes of disk per number.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from reporting import own_memory_mb, peak_memory, table, write_results

from ktransfer.data.batches.rows import num_batches, ordered_batches, shuffled_batches
from ktransfer.features import Features, build_classifier, extract

BATCH_SIZE = 1_024


def random_features(num_images: int, width: int, budget_mb: float) -> Features:
    """Features of images that are 8 random numbers each, behind a random projection."""
    projection = np.random.default_rng(0).normal(size=(8, width)).astype(np.float32)
    indices = tf.data.Dataset.range(num_images, output_type=tf.int32).batch(BATCH_SIZE)
    dataset = indices.map(lambda each: (tf.random.normal((tf.size(each), 8)), each))
    return extract(
        lambda images: np.maximum(images.numpy() @ projection, 0),
        dataset,
        num_images,
        budget_mb=budget_mb,
    )


def train_head(features: Features) -> float:
    """Return one epoch of a head on all but the last batch; its accuracy on that one."""
    labels = (features.values[:, 0] > np.median(features.values[:, 0])).astype(np.int32)
    train, held_back = slice(None, -BATCH_SIZE), slice(-BATCH_SIZE, None)
    head = build_classifier(features.values.shape[1], 2)
    head.compile(
        keras.optimizers.Adam(2e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = head.fit(
        shuffled_batches(features.values[train], labels[train], batch_size=BATCH_SIZE, seed=0),
        steps_per_epoch=num_batches(len(labels[train]), BATCH_SIZE),
        validation_data=ordered_batches(
            features.values[held_back], labels[held_back], batch_size=BATCH_SIZE
        ),
        shuffle=False,
        verbose=0,
    )
    return float(history.history["val_accuracy"][-1])


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=1_280)
    parser.add_argument("--budget-mb", type=float, default=1_024)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    before, started = own_memory_mb(), time.perf_counter()
    with peak_memory() as samples:
        features = random_features(arguments.images, arguments.features, arguments.budget_mb)
        written = time.perf_counter()
        val_accuracy = train_head(features)
    figures = {
        "images": arguments.images,
        "features": arguments.features,
        "size_mb": features.values.nbytes / 2**20,
        "in_memory": features.in_memory,
        "memory_before_mb": before,
        "peak_memory_mb": max(samples),
        "extract_s": written - started,
        "train_s": time.perf_counter() - written,
        "val_accuracy": val_accuracy,
    }
    rows = [
        [name, f"{value:,.3g}" if isinstance(value, float) else str(value)]
        for name, value in figures.items()
    ]
    growth = figures["peak_memory_mb"] - before
    body = (
        f"{table(['figure', 'value'], rows)}\n\nOf {figures['size_mb']:,.0f} MB of features, the "
        f"process's own memory grew by {growth:,.0f} MB at its peak.\n"
    )
    write_results(arguments.out, "feature_memory", body, figures)


if __name__ == "__main__":
    main()
