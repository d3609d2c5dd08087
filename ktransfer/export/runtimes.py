"""An export loaded again as its user would load it: in its own runtime, by its own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ktransfer.errors import RunError
from ktransfer.export.agreement import Predict
from ktransfer.serving.reading import read_model
from ktransfer.serving.session import Session


def load_export(path: Path, name: str) -> Predict:
    """Load a function from uint8 `(batch, height, width, 3)` to float32 `(batch, classes)`.

    Args:
        path: of the export.
        name: of its format.

    Raises:
        RunError: its runtime cannot load it.
    """
    readers = {"onnx": _onnx, "litert": _litert, "savedmodel": _savedmodel, "keras": _keras}
    try:
        return readers[name](path)
    # Every runtime has errors of its own, and none of them shares a base with another.
    except Exception as error:
        raise RunError(
            f"the {name} file was written, but its own runtime cannot load it: {error}; nothing "
            "of it is left"
        ) from error


def _onnx(path: Path) -> Predict:
    content, metadata = read_model(path)
    # As `ktransfer predict` runs it.
    return Session(path.name, content, len(metadata.class_names)).run


def _litert(path: Path) -> Predict:
    interpreter = litert_interpreter(path)
    (given,), (found,) = interpreter.get_input_details(), interpreter.get_output_details()
    shape: list[tuple[int, ...]] = []

    def predict(images: np.ndarray) -> np.ndarray:
        if [images.shape] != shape:
            interpreter.resize_tensor_input(given["index"], images.shape)
            interpreter.allocate_tensors()
            shape[:] = [images.shape]
        interpreter.set_tensor(given["index"], images)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(found["index"]))

    return predict


def litert_interpreter(path: Path) -> Any:
    """LiteRT's own interpreter where `ai-edge-litert` is installed, else TensorFlow's."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import warnings

        import tensorflow as tf

        with warnings.catch_warnings():  # that it will move to ai-edge-litert
            warnings.simplefilter("ignore")
            return tf.lite.Interpreter(model_path=str(path))
    return Interpreter(model_path=str(path))


def _savedmodel(path: Path) -> Predict:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]
    return lambda images: serve(images=tf.constant(images))["probabilities"].numpy()


def _keras(path: Path) -> Predict:
    import keras

    model = keras.models.load_model(path, compile=False, safe_mode=True)
    return lambda images: np.asarray(model.predict_on_batch(images))
