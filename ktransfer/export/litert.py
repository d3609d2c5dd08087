"""The LiteRT (TensorFlow Lite) format: one `.tflite` file for phones and small machines."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

#: Names inside the zip archive that is appended to the file, as TensorFlow Lite's own tools do it.
METADATA_NAME, LABELS_NAME = "ktransfer.json", "labels.txt"

_LAST_LINES = 5


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
        path: ends in `.tflite`; beside it the model is saved for the converter.
        class_names: one for each column of the probabilities.
        metadata: JSON.

    Raises:
        RunError: the converter failed; the message has its last words.
    """
    from ktransfer.export.savedmodel import write_savedmodel

    saved = path.with_suffix(".saved")
    write_savedmodel(model, input_size, saved, class_names=class_names, metadata=None)
    # -P: beside this file lies a package `onnx` that is not the one TensorFlow may look for.
    command = [sys.executable, "-P", __file__, str(saved), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        from ktransfer._checks import RunError

        words = "\n".join(done.stderr.strip().splitlines()[-_LAST_LINES:])
        raise RunError(f"LiteRT's converter failed (exit code {done.returncode}): {words}")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA_NAME, metadata)
        labels = "\n".join(name.replace("\n", " ") for name in class_names)
        archive.writestr(LABELS_NAME, labels.encode("utf-8", "surrogateescape"))


def _convert(saved: str, path: str) -> None:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    loaded = tf.saved_model.load(saved)  # owns the variables that its functions only point to
    # The converter by itself leaves weights out of the file, and the network says NaN (TensorFlow
    # 2.21). Saved once more, its inputs and outputs keep their names.
    frozen = convert_variables_to_constants_v2(loaded.signatures["serving_default"])
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="images")])
    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": frozen(images)[0]}

    module.serve = serve
    constant = f"{saved}.constant"
    tf.saved_model.save(module, constant, signatures=serve)
    converter = tf.lite.TFLiteConverter.from_saved_model(constant)
    Path(path).write_bytes(converter.convert())


if __name__ == "__main__":
    _convert(*sys.argv[1:])
