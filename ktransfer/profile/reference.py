"""A backbone to measure the domain gap with, where the one that is tuned cannot."""

from __future__ import annotations

import os
from pathlib import Path

from ktransfer.backbones import Backbone, load_backbone

#: Small and common backbones with batch norm, and the files that Keras keeps of their ImageNet
#: weights once it has downloaded them.
_REFERENCES = (
    ("MobileNetV2", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"),
    ("MobileNet", "mobilenet_1_0_224_tf_no_top.h5"),
    ("EfficientNetB0", "efficientnetb0_notop.h5"),
    ("ResNet50", "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"),
    ("DenseNet121", "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"),
)


def reference_backbone() -> Backbone | None:
    """Return the first backbone with batch norm whose ImageNet weights Keras has downloaded before.

    Nothing is downloaded for it; None where there is none.
    """
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    for name, file in _REFERENCES:
        if (home / "models" / file).is_file():
            return load_backbone(name, home / "models" / file)
    return None
