"""The LiteRT (TensorFlow Lite) format: one `.tflite` file for phones and small machines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ktransfer.errors import RunError
from ktransfer.export.aside import note_outcome, run_aside
from ktransfer.files.archiving import append_members
from ktransfer.files.scratch import scratch

if TYPE_CHECKING:
    import keras

#: Names inside the zip archive that is appended to the file, as TensorFlow Lite's own tools do it.
METADATA_NAME, LABELS_NAME = "ktransfer.json", "labels.txt"

#: What lies in the folder between the two processes.
_SAVED_NAME, _CONVERTED_NAME = "saved", "converted"


def write_litert(
    model: keras.Model,
    input_size: tuple[int, int],
    path: Path,
    *,
    class_names: Sequence[str],
    metadata: str,
) -> None:
    """Convert a model, in a process of its own: a converter that crashes takes nothing with it.

    Args:
        model: images `(batch, height, width, 3)` in [0, 255] to probabilities.
        input_size: `(height, width)` that the network sees.
        path: ends in `.tflite`.
        class_names: one for each column of the probabilities.
        metadata: JSON.

    Raises:
        RunError: the converter failed; the message has its last words.
    """
    from ktransfer.export.savedmodel import write_savedmodel

    with scratch(path.parent) as folder:
        saved = folder / _SAVED_NAME
        write_savedmodel(model, input_size, saved, class_names=class_names, metadata=None)
        outcome = run_aside(__name__, folder, {}, "converts to LiteRT")
        if "reason" in outcome:
            raise RunError(f"LiteRT's converter failed: {outcome['reason']}")
        (folder / _CONVERTED_NAME).replace(path)
    append_metadata(path, class_names, metadata)


def append_metadata(path: Path, class_names: Sequence[str], metadata: str) -> None:
    """Append what TensorFlow Lite's own tools look for behind a file, a zip archive.

    Args:
        path: of the file.
        class_names: one for each column of the probabilities.
        metadata: JSON.
    """
    labels = "\n".join(name.replace("\n", " ") for name in class_names)
    encoded = labels.encode("utf-8", "surrogateescape")
    append_members(path, {METADATA_NAME: metadata, LABELS_NAME: encoded})


def _converted(folder: Path) -> bytes:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # It owns the variables that its functions only point to.
    loaded = tf.saved_model.load(str(folder / _SAVED_NAME))
    # The converter by itself leaves weights out of the file, and the network says NaN (TensorFlow
    # 2.21). Saved once more, its inputs and outputs keep their names.
    frozen = convert_variables_to_constants_v2(loaded.signatures["serving_default"])
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="images")])
    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": frozen(images)[0]}

    module.serve = serve
    constant = str(folder / "constant")
    tf.saved_model.save(module, constant, signatures=serve)
    return bytes(tf.lite.TFLiteConverter.from_saved_model(constant).convert())


def main(folder: Path) -> None:
    """Convert what lies in a folder, and say there how it went."""
    outcome = {}
    try:
        (folder / _CONVERTED_NAME).write_bytes(_converted(folder))
    except Exception as error:
        outcome["reason"] = f"{type(error).__name__}: {error}"[:2_000]
    note_outcome(folder, outcome)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
