"""Batch-norm statistics that follow a short training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from ktransfer.backbones import Backbone
from ktransfer.freezing.layers import layers_of, walk

#: The moving statistics of the last ten batches or so, as in PyTorch.
MOMENTUM = 0.9


@contextmanager
def quick_statistics(backbone: Backbone) -> Iterator[None]:
    """Let batch norm that trains follow the last ten batches, for the time of a `with` block.

    MobileNetV2 of Keras has a momentum of 0.999, for ImageNet's 40,000 steps an epoch. In 300 steps
    three quarters of the statistics would still be those of before, while the weights have moved
    away from them: from random weights it learned its images and guessed all others.
    """
    layers = [layer for layer in _batch_norms(backbone) if layer.trainable]
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = min(layer.momentum, MOMENTUM)
    try:
        yield
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum


def _batch_norms(backbone: Backbone) -> list[Any]:
    layers = (part for layer in layers_of(backbone.blocks) for part in walk(layer))
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
