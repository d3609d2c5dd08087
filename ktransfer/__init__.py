"""Transfer learning for a few hundred images, on Keras 3 and TensorFlow.

    from ktransfer import FineTuner
    finetuner = FineTuner("MobileNetV2", weights="imagenet")
    finetuner.fit("photos/")

The names load on first use (PEP 562): `import ktransfer` imports neither Keras nor TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import find_moved_modules, lazy_names
from ktransfer._version import __version__ as __version__

if TYPE_CHECKING:
    from ktransfer.advisor import Advice, textbook_rule
    from ktransfer.backbones import Backbone, Block, load_backbone
    from ktransfer.classifier import Classifier, Evaluation, FitResult
    from ktransfer.doctor import examine
    from ktransfer.errors import InputError, RunError
    from ktransfer.export import ExportResult
    from ktransfer.finetuner import FineTuner
    from ktransfer.optimizers import LearningRateMultiplier, auto_rgn, grouped, layer_decay
    from ktransfer.plan import Plan, Stage
    from ktransfer.recommend import recommend_backbones
    from ktransfer.serving import OnnxClassifier, Predictions

_HOME = {
    "Advice": "advisor",
    "Backbone": "backbones",
    "Block": "backbones",
    "Classifier": "classifier",
    "Evaluation": "classifier.evaluation",
    "ExportResult": "export",
    "FineTuner": "finetuner",
    "FitResult": "classifier.results",
    "InputError": "errors",
    "LearningRateMultiplier": "optimizers",
    "OnnxClassifier": "serving",
    "Plan": "plan",
    "Predictions": "serving",
    "RunError": "errors",
    "Stage": "plan",
    "auto_rgn": "optimizers",
    "examine": "doctor",
    "grouped": "optimizers",
    "layer_decay": "optimizers",
    "load_backbone": "backbones",
    "recommend_backbones": "recommend",
    "textbook_rule": "advisor",
}

__all__ = [
    "Advice",
    "Backbone",
    "Block",
    "Classifier",
    "Evaluation",
    "ExportResult",
    "FineTuner",
    "FitResult",
    "InputError",
    "LearningRateMultiplier",
    "OnnxClassifier",
    "Plan",
    "Predictions",
    "RunError",
    "Stage",
    "auto_rgn",
    "examine",
    "grouped",
    "layer_decay",
    "load_backbone",
    "recommend_backbones",
    "textbook_rule",
]

__getattr__, __dir__ = lazy_names(
    __name__, _HOME, ("__version__",), moved={"advise": "ktransfer:textbook_rule"}
)
find_moved_modules()
