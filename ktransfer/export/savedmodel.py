"""The SavedModel format: a folder that TensorFlow Serving takes as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from ktransfer.export.servable import servable

#: Where TensorFlow leaves room for files of one's own.
METADATA_NAME = "assets.extra/ktransfer.json"


def write_savedmodel(
    model: keras.Model,
    input_size: tuple[int, int],
    path: Path,
    *,
    class_names: Sequence[str],
    metadata: str | None,
) -> None:
    """Save a model as a folder.

    Its signature `serving_default` takes `images`, uint8 `(batch, height, width, 3)` of any size,
    and gives `probabilities`; `class_names` takes nothing and gives `class_names`.

    Args:
        model: images `(batch, height, width, 3)` in [0, 255] to probabilities.
        input_size: `(height, width)` that the network sees.
        path: a new folder.
        class_names: one for each column of the probabilities.
        metadata: JSON, kept as a file of its own; None: none.
    """
    names = [name.encode("utf-8", "surrogateescape") for name in class_names]

    @tf.function(input_signature=[], autograph=False)
    def said() -> dict[str, tf.Tensor]:
        return {"class_names": tf.constant(names)}

    module = tf.Module()
    module.model = model  # its variables are saved with what can be reached from the module
    module.serve, module.names = servable(model, input_size), said
    tf.saved_model.save(
        module, str(path), signatures={"serving_default": module.serve, "class_names": said}
    )
    if metadata is not None:
        place = path / METADATA_NAME
        place.parent.mkdir()
        place.write_text(metadata, encoding="utf-8")
