"""The Keras format: one `.keras` file of stock layers, which loads without any code of ours."""

from __future__ import annotations

from pathlib import Path

import keras

from ktransfer.files.archiving import append_members, save_model

#: The metadata's name inside the file, which is a zip archive.
METADATA_NAME = "ktransfer.json"


def write_keras(
    model: keras.Model, input_size: tuple[int, int], path: Path, *, metadata: str
) -> None:
    """Save a model of uint8 images of the network's size.

    Keras has no layer that resizes as the training does, and a Lambda layer would be code in the
    file, so that images are brought to `input_size` before. The metadata is a member of the
    archive; Keras passes over what it does not know.

    Args:
        model: images `(batch, height, width, 3)` in [0, 255] to probabilities.
        input_size: `(height, width)`.
        path: ends in `.keras`.
        metadata: JSON.
    """
    images = keras.Input((*input_size, 3), dtype="uint8", name="images")
    # Only makes floats of them: 1.0 times a number is that number.
    pixels = keras.layers.Rescaling(1.0, dtype="float32", name="as_floats")(images)
    outputs = keras.layers.Identity(dtype="float32", name="probabilities")(model(pixels))
    save_model(keras.Model(images, outputs, name="classifier"), path)
    append_members(path, {METADATA_NAME: metadata})
