"""How a photo becomes a square: what each way costs a linear probe.

    python benchmarks/resizing.py

Cross-validated logistic regressions on the pooled features of MobileNetV2 1.0 (ImageNet weights),
on training photos only: the ants and bees, and 250 chest X-rays. Compared: the whole image squeezed
into the square, and its centre cut out, each with antialiased bilinear resizing, with plain
bilinear resizing, and (the centre) as `ktransfer.data.images.resizing` does it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from reporting import shared_folder, table, write_results
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import RepeatedStratifiedKFold

from ktransfer.backbones import load_backbone
from ktransfer.data import decode_image, read_folder
from ktransfer.data.images.resizing import crop_and_resize
from ktransfer.features import compile_forward, pool

SIZE = (224, 224)
WEIGHTS = "weights/mobilenetv2_1.0_224_notop.weights.h5"
INVERSE_REGULARISATION = 0.05


def centre(image: np.ndarray) -> np.ndarray:
    """Return the largest centred square."""
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return image[top : top + side, left : left + side]


def bilinear(antialias: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Bilinear resizing to the square."""
    return lambda image: np.rint(tf.image.resize(image, SIZE, antialias=antialias).numpy())


WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "squeezed, antialiased": bilinear(True),
    "squeezed, plain": bilinear(False),
    "centre, antialiased": lambda image: bilinear(True)(centre(image)),
    "centre, plain": lambda image: bilinear(False)(centre(image)),
    "centre, ktransfer": lambda image: crop_and_resize(tf.constant(image), *SIZE).numpy(),
}


def probe(features: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean accuracy and log loss over 3 times 5 folds."""
    scores = []
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=3, random_state=0)
    for train, test in folds.split(features, labels):
        scale = np.sqrt(np.mean(features[train] ** 2))
        model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=300)
        model.fit(features[train] / scale, labels[train])
        predicted = model.predict_proba(features[test] / scale)
        right = np.mean(predicted.argmax(axis=1) == labels[test])
        scores.append((right, log_loss(labels[test], predicted, labels=model.classes_)))
    accuracy, loss = np.mean(scores, axis=0)
    return float(accuracy), float(loss)


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    shared = shared_folder()
    backbone = load_backbone("MobileNetV2", shared / WEIGHTS).model
    forward = compile_forward(keras.Model(backbone.inputs, pool(backbone.output, "avg")))
    figures = []
    for name, limit in (("ants_bees", 245), ("chest_xray", 250)):
        train = read_folder(shared / "data" / name).train
        train = train.select(np.random.default_rng(0).permutation(len(train))[:limit])
        images = [decode_image(file) for file in train.files]
        for way, resize in WAYS.items():
            pixels = np.stack([resize(image) for image in images])
            batches = [forward(pixels[at : at + 32]) for at in range(0, len(pixels), 32)]
            accuracy, loss = probe(np.concatenate(batches), train.labels)
            figures.append(
                {"data": name, "way": way, "images": limit, "accuracy": accuracy, "log_loss": loss}
            )
    rows = [
        [f["data"], str(f["images"]), f["way"], f"{f['accuracy']:.4f}", f"{f['log_loss']:.4f}"]
        for f in figures
    ]
    body = table(["data", "training images", "way", "accuracy", "log loss"], rows)
    write_results(arguments.out, "resizing", f"{body}\n", figures)


if __name__ == "__main__":
    main()
