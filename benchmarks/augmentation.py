"""How fast the policies make views in `tf.data`, beside Keras' own layers.

    python benchmarks/augmentation.py

Photos of ants and bees, decoded beforehand to the size at which each policy begins, become views of
224 px in a pipeline with one thread. Keras' layers run as its documentation has them in `tf.data`:
on single images, MixUp and CutMix on batches of 32. All take turns, three times; reported are
medians. It takes about 2 minutes and writes benchmarks/results/augmentation.md and .json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from reporting import results_folder, shared_folder, table, write_results

from ktransfer.augment import AUGMENTATIONS, augment, mix, source_size, view_seed
from ktransfer.data import image_dataset, read_folder

SIZE = (224, 224)
BATCH, ROUNDS = 32, 3
NOTE = "The machine may do other work at the same time: compare within a run only."


def sources(number: int, size: tuple[int, int]) -> np.ndarray:
    """Photos of that size, uint8."""
    train = read_folder(shared_folder() / "data" / "ants_bees").train
    return next(iter(image_dataset(train, size, batch_size=number)))[0].numpy()


def on_one_thread(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return the same, with a pool of one thread for all of its work."""
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    return dataset.with_options(options)


def policy(augmentation: str, images: np.ndarray) -> tf.data.Dataset:
    """View of a policy, one after the other."""
    each = tf.data.Dataset.from_tensor_slices(images).repeat().enumerate()
    return each.map(lambda at, image: augment(image, view_seed(0, at, 0), augmentation, SIZE))


def keras_layer(layer: keras.layers.Layer, images: np.ndarray) -> tf.data.Dataset:
    """Say what a layer of Keras makes of single images."""
    each = tf.data.Dataset.from_tensor_slices(images).repeat()
    return each.map(lambda image: layer(tf.cast(image, tf.float32), training=True))


def batches(images: np.ndarray, mixed: Callable[..., Any]) -> tf.data.Dataset:
    """Batches of images and shares, mixed."""
    labels = np.eye(10, dtype=np.float32)[np.arange(len(images)) % 10]
    pairs = tf.data.Dataset.from_tensor_slices((images, labels)).repeat()
    return pairs.batch(BATCH, drop_remainder=True).enumerate().map(mixed)


def ours(number: tf.Tensor, batch: Any) -> Any:
    """Our MixUp and CutMix."""
    return mix(*batch, tf.stack([tf.constant(0, tf.int64), number]))


def keras_mixing(layer: keras.layers.Layer) -> Callable[..., Any]:
    """Return those of Keras."""
    return lambda _, batch: layer(
        {"images": tf.cast(batch[0], tf.float32), "labels": batch[1]}, training=True
    )


def candidates(number: int) -> dict[str, tuple[tf.data.Dataset, int]]:
    """Pipelines by name, with the images of an element."""
    plain = sources(number, SIZE)
    layers = keras.layers
    made = {
        name: (policy(name, sources(number, source_size(name, SIZE))), 1) for name in AUGMENTATIONS
    }
    made["mix, batches of 32"] = (batches(plain, ours), BATCH)
    singles = {
        "RandomFlip": layers.RandomFlip("horizontal"),
        "RandomErasing": layers.RandomErasing(),
        "RandomColorJitter": layers.RandomColorJitter(
            brightness_factor=0.4, contrast_factor=0.4, saturation_factor=0.4, hue_factor=0.1
        ),
        "RandAugment": layers.RandAugment(),
        "RandomGaussianBlur": layers.RandomGaussianBlur(kernel_size=9, sigma=1.0),
    }
    made |= {
        f"keras.layers.{name}": (keras_layer(layer, plain), 1) for name, layer in singles.items()
    }
    for layer in (layers.MixUp(), layers.CutMix()):
        name = f"keras.layers.{type(layer).__name__}, batches of 32"
        made[name] = (batches(plain, keras_mixing(layer)), BATCH)
    return {name: (on_one_thread(dataset), size) for name, (dataset, size) in made.items()}


def views_per_second(dataset: tf.data.Dataset, in_one: int, seconds: float) -> float:
    """Say how many views come out in so many seconds, tracing and the first ones not counted."""
    elements = iter(dataset)
    for _ in range(3):
        next(elements)
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        next(elements)
        done += in_one
    return done / (time.perf_counter() - started)


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="few images, an instant each")
    parser.add_argument("--out", type=Path, help="default benchmarks/results")
    arguments = parser.parse_args()
    seconds = 0.05 if arguments.smoke else 1.5
    pipelines = candidates(BATCH if arguments.smoke else 128)
    measured: dict[str, list[float]] = {name: [] for name in pipelines}
    for _ in range(1 if arguments.smoke else ROUNDS):
        for name, (dataset, in_one) in pipelines.items():
            measured[name].append(views_per_second(dataset, in_one, seconds))
    rows = [[name, f"{statistics.median(rates):,.0f}"] for name, rates in measured.items()]
    body = table(["policy or layer", "views a second, one thread"], rows)
    folder = results_folder(arguments.out, smoke=arguments.smoke)
    write_results(folder, "augmentation", f"{body}\n\n{NOTE}\n", measured)


if __name__ == "__main__":
    main()
