"""Pretrains the backbone of ``weights="mini"``, MobileNetV2 0.35 at 96 px, on formula images only.

Three heads on the averaged output learn together: which form, which palette, and an 8 x 8 thumbnail
of the view. No photo takes part. The committed weights were made by one run (Python 3.11.7,
TensorFlow 2.21.0, Keras 3.15.1, seed 0) on 2026-11-21:

    python benchmarks/pretrain_mini.py --images 32400 --classes 270 --epochs 8 --last-epochs 2 \
        --learning-rate 0.002 --seed 0 --bank /tmp/mini --out mobilenetv2_0.35_96_mini.weights.h5

The bank had been rendered by the same script (171 s), in a run stopped soon after. Training took
1558 s on two CPU cores shared with other work, at the lowest priority: 8 epochs at 64 px (79 to
167 s each) and 2 at 96 px (258 and 277 s), 324,000 views in all. With the machine to itself, a step
at 64 px (batch 128, two heads) ran at 590 views a second. On 2,160 held-out images: form 19.7 % of
270, palette 52.1 % of 96, thumbnail error 0.026. The file has 961,851 bytes. Threads make a second
run differ a little. Losses still fell when it ended: more epochs should pay. Linear probes:
``results/mini_probes.md``.

Tried before, and dropped: 540 forms, batches of 128, no thumbnail, 4 epochs at 64 px: digits 76.7 %
(random weights 73.3 %, three seeds), where a probe on the raw pixels had 88.2 %. The thumbnail head
and gentler glyphs were the answer to that digits figure; flowers took no part in any choice.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import h5py
import keras
import numpy as np
import tensorflow as tf
from formula_images import PALETTES, SIZE_PX, Bank, make_bank

BATCH = 64
VALIDATION = 2160
PARTS = 2
THUMB_PX = 8
SIZE_LIMIT = 2_000_000


def load_bank(folder: Path | None, images: int, classes: int, seed: int) -> Bank:
    """Render the bank, or reads it back where an earlier run with the same arguments left it."""
    names = ("images", "forms", "palettes")
    place = folder and folder / f"bank-{images}-{classes}-{seed}"
    if place and (place / "palettes.npy").exists():
        return Bank(*(np.load(place / f"{name}.npy") for name in names))
    share = -(-images // PARTS)
    starts = range(0, images, share)
    counts = [min(share, images - start) for start in starts]
    jobs = (counts, [classes] * len(counts), [seed] * len(counts), starts)
    with ProcessPoolExecutor(PARTS, get_context("spawn")) as pool:
        parts = list(pool.map(make_bank, *jobs))
    bank = Bank(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    if place:
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            np.save(place / f"{name}.npy", getattr(bank, name))
    return bank


def build(classes: int) -> tuple[keras.Model, keras.Model]:
    """Return the backbone and the training model: three heads on its averaged output."""
    # Without a fixed size, the same variables train at 64 px and at 96 px.
    backbone = keras.applications.MobileNetV2(
        alpha=0.35, input_shape=(None, None, 3), include_top=False, weights=None
    )
    features = keras.layers.GlobalAveragePooling2D()(backbone.output)
    heads = {
        "form": keras.layers.Dense(classes, name="form")(features),
        "palette": keras.layers.Dense(PALETTES, name="palette")(features),
        "thumb": keras.layers.Dense(THUMB_PX**2 * 3, name="thumb")(features),
    }
    return backbone, keras.Model(backbone.input, heads)


def random_view(images: tf.Tensor, size_px: int) -> tf.Tensor:
    """Crop each image at random, sometimes seen through 12 to 32 pixels, its light changed."""
    images = tf.cast(images, tf.float32)
    count = tf.shape(images)[0]
    area, ratio = tf.random.uniform([count], 0.55, 1.0), tf.random.uniform([count], -0.25, 0.25)
    sides = tf.minimum(tf.sqrt(area)[:, None] * tf.exp(tf.stack([ratio, -ratio], -1)), 1.0)
    corner = tf.random.uniform([count, 2]) * (1 - sides)
    boxes = tf.concat([corner, corner + sides], axis=1)
    views = tf.image.crop_and_resize(images, boxes, tf.range(count), (size_px, size_px))
    small = tf.image.resize(views, [tf.random.uniform([], 12, 33, tf.int32)] * 2, "area")
    coarse = tf.image.resize(small, (size_px, size_px), "bilinear")
    views = tf.where(tf.random.uniform([count, 1, 1, 1]) < 0.12, coarse, views)
    gain = tf.random.uniform([count, 1, 1, 1], 0.8, 1.2)
    tint = tf.random.normal([count, 1, 1, 3], 0, 6.0)
    return tf.clip_by_value(views * gain + tint, 0, 255) / 127.5 - 1


def targets(
    views: tf.Tensor, forms: tf.Tensor, palettes: tf.Tensor, classes: int
) -> dict[str, tf.Tensor]:
    """Say what the heads are to say.

    The form, the palette, and where in the view which colour lies.

    The thumbnail is what a short run lives on: 192 numbers to learn from in every image instead of
    two labels, and it keeps layout in the averaged features, which class labels alone do not.
    """
    thumbs = tf.image.resize(views, (THUMB_PX, THUMB_PX), "area")
    return {
        "form": tf.one_hot(forms, classes),
        "palette": tf.one_hot(palettes, PALETTES),
        "thumb": tf.reshape(thumbs, (-1, THUMB_PX**2 * 3)),
    }


def training_views(bank: Bank, classes: int, size_px: int) -> tf.data.Dataset:
    """Batches of random views with one-hot labels, in a new order every epoch."""
    images = tf.constant(bank.images)
    forms, palettes = tf.constant(bank.forms), tf.constant(bank.palettes)

    def fetch(rows: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        views = random_view(tf.gather(images, rows), size_px)
        return views, targets(views, tf.gather(forms, rows), tf.gather(palettes, rows), classes)

    rows = tf.data.Dataset.range(len(bank.forms)).shuffle(len(bank.forms))
    return rows.batch(BATCH, drop_remainder=True).map(fetch, 2).prefetch(4)


def validation_views(bank: Bank, classes: int) -> tf.data.Dataset:
    """Batches of whole images that were not trained on, at full size."""
    whole = tf.cast(bank.images, tf.float32) / 127.5 - 1
    labels = targets(whole, bank.forms, bank.palettes, classes)
    return tf.data.Dataset.from_tensor_slices((whole, labels)).batch(BATCH)


def compile_model(model: keras.Model, learning_rate: float, steps: int, warmup: int) -> None:
    """AdamW under a cosine; label smoothing on both heads; no decay on norms and biases."""
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else learning_rate,
        max(steps - warmup, 1),
        alpha=0.05,
        warmup_target=learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=0.02)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    model.compile(
        optimizer,
        {"form": loss, "palette": loss, "thumb": "mean_squared_error"},
        loss_weights={"form": 1.0, "palette": 0.5, "thumb": 10.0},
        metrics={"form": ["accuracy"], "palette": ["accuracy"]},
        # XLA makes this network several times slower on a CPU.
        jit_compile=False,
    )


def restate_batch_norm(backbone: keras.Model, views: tf.data.Dataset, batches: int) -> None:
    """Set every running mean and variance to the plain average over `batches` batches.

    Keras' MobileNetV2 averages with momentum 0.999, far behind the weights when training ends, and
    what it saw last may have had another size. Momentum k / (k + 1) at step k gives the plain mean.
    """
    norms = [
        layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    for step, (images, _) in enumerate(views.take(batches)):
        for norm in norms:
            norm.momentum = step / (step + 1)
        backbone(images, training=True)
    for norm in norms:
        norm.momentum = 0.999


def save_half(backbone: keras.Model, path: Path) -> None:
    """Save in Keras' own layout with float16 data: float32 would be 2.4 MB, over the limit."""
    backbone.save_weights(path)
    with h5py.File(path, "r") as file:
        data: dict[str, np.ndarray] = {}
        attributes: dict[str, dict] = {}

        def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
            attributes[name] = dict(item.attrs)
            if isinstance(item, h5py.Dataset):
                data[name] = item[()]

        file.visititems(visit)
    with h5py.File(path, "w", libver="latest") as file:
        for name, attrs in attributes.items():
            if name in data:
                file.create_dataset(name, data=data[name].astype(np.float16))
            else:
                file.require_group(name)
            file[name].attrs.update(attrs)


def train_phase(
    model: keras.Model, bank: Bank, held_out: Bank, phase: tuple[int, int, float], classes: int
) -> dict[str, float]:
    """Run one phase (size in px, epochs, learning rate); returns its validation measures."""
    size_px, epochs, learning_rate = phase
    views = training_views(bank, classes, size_px)
    steps = epochs * (len(bank.forms) // BATCH)
    compile_model(model, learning_rate, steps, warmup=min(400, steps // 10))
    model.fit(views, epochs=epochs, shuffle=False, verbose=2)
    # Always at full size, where the weights are used: each phase's file can be used as it is.
    restate_batch_norm(model, training_views(bank, classes, SIZE_PX), 80)
    return model.evaluate(validation_views(held_out, classes), verbose=0, return_dict=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=32_400)
    parser.add_argument("--classes", type=int, default=270)
    parser.add_argument("--epochs", type=int, default=11, help="epochs at 64 px")
    parser.add_argument("--last-epochs", type=int, default=2, help="then epochs at 96 px")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--out", type=Path, default=Path("mobilenetv2_0.35_96_mini.weights.h5"))
    parser.add_argument("--bank", type=Path, help="folder that keeps the rendered images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="a short run on 128 images")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.images, arguments.classes = 128, 28
        arguments.epochs = arguments.last_epochs = 1
    return arguments


def main() -> None:
    """Render the bank, trains at 64 px and then at 96 px, saves after each."""
    arguments = _parse()
    began = time.time()
    classes, seed = arguments.classes, arguments.seed
    bank = load_bank(arguments.bank, arguments.images, classes, seed)
    held_out = make_bank(64 if arguments.smoke else VALIDATION, classes, seed, arguments.images)
    print(f"bank ready after {time.time() - began:.0f} s", flush=True)
    keras.utils.set_random_seed(seed)
    backbone, model = build(classes)
    rate = arguments.learning_rate
    for phase in ((64, arguments.epochs, rate), (SIZE_PX, arguments.last_epochs, rate / 4)):
        print(f"{phase}: {train_phase(model, bank, held_out, phase, classes)}", flush=True)
        save_half(backbone, arguments.out)
    size = arguments.out.stat().st_size
    print(f"{arguments.out}: {size:,} bytes after {time.time() - began:.0f} s")
    if size > SIZE_LIMIT:
        raise SystemExit(f"{size:,} bytes, more than the {SIZE_LIMIT:,} allowed")


if __name__ == "__main__":
    main()
