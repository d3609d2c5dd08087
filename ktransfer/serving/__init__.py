"""Predictions from an exported file, with onnxruntime alone: neither TensorFlow nor Keras.

    classifier = OnnxClassifier("flowers.onnx")
    classifier.predict("photos/").labels

Names load on first use (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.serving.classifier import OnnxClassifier
    from ktransfer.serving.metadata import ModelMetadata
    from ktransfer.serving.predictions import Prediction, Predictions

__all__ = ["ModelMetadata", "OnnxClassifier", "Prediction", "Predictions"]

_HOME = {
    "ModelMetadata": "metadata",
    "OnnxClassifier": "classifier",
    "Prediction": "predictions",
    "Predictions": "predictions",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
