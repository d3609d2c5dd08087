"""A backbone and one head, as the models that the stages of a training train.

All of them share the backbone's layers and the one head: what one stage has learned, the next one
goes on from. There is one model for each cut, since tracing a new one costs seconds.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from ktransfer.backbones import Backbone, Block
from ktransfer.features.heads import attach, build_classifier, pool
from ktransfer.features.taps import Tap, concatenated, taps_of
from ktransfer.freezing import digest

#: In the models that are trained; a layer of the user's own network will hardly have this name.
_HEAD_NAME = "ktransfer_head"


class Network:
    """The first blocks of a backbone with a head on them.

    Images enter as RGB `(batch, height, width, 3)` in [0, 255]. A *row* is what a stage reads of
    one image: the image itself (cut 0), one flat or image-shaped array at a later cut, or the
    pooled features where all blocks are frozen. Where the head reads all blocks, a row at a cut
    also holds what it reads of the blocks in front of that cut.

    Args:
        backbone: the backbone; training changes its weights.
        num_blocks: how many of its blocks are kept.
        num_classes: outputs of the head.
        pooling: as in `features.pool`.
        seed: of the dropout.
        features: what the head reads, of `FEATURE_SETS`; other than "last" they need all blocks.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_blocks: int,
        num_classes: int,
        pooling: str,
        seed: int,
        *,
        features: str = "last",
    ) -> None:
        self.backbone = backbone
        self.num_blocks = num_blocks
        self.pooling = pooling
        self.features = features
        self.seed = seed
        self._taps = () if features == "last" else taps_of(backbone, features, pooling)
        self.body = _reading(backbone, self._taps) if self._taps else body(backbone, num_blocks)
        self._pooled = pool(self.body.output, pooling)
        self.head = keras.layers.Dense(num_classes, kernel_initializer="zeros", name=_HEAD_NAME)
        self.head.build(self._pooled.shape)
        #: What the head multiplies its features by, and adds; see `Stage.scale_features`.
        self.feature_scale: np.ndarray | float = 1.0
        self.feature_offset: np.ndarray | float = 0.0
        self._trainees: dict[tuple[Any, ...], keras.Model] = {}
        self._prefixes: dict[int, tuple[keras.Model, str]] = {}

    def with_new_head(self, features: str) -> Network:
        """Return the same blocks under another head, which reads a feature set."""
        classes = self.head.units
        return Network(
            self.backbone, self.num_blocks, classes, self.pooling, self.seed, features=features
        )

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks that are kept."""
        return self.backbone.blocks[: self.num_blocks]

    def cut_of(self, unfreeze: int) -> int:
        """Say how many first blocks are frozen where `unfreeze` last ones train."""
        return self.num_blocks - unfreeze

    def prefix(self, cut: int) -> keras.Model:
        """From images to rows at a cut, 1 or more; behind all blocks these are pooled features."""
        return keras.Model(self.backbone.model.inputs[0], self._row_at(cut))

    def between(self, cut: int, later_cut: int) -> keras.Model:
        """From rows at a cut to rows at a later one, so that what is held is not run again."""
        if cut == 0:
            return self.prefix(later_cut)
        rows, tensors = self._rows_as_input(cut)
        bridge = keras.Model(tensors, self._row_at(later_cut))
        return keras.Model(rows, bridge(_unpacked(rows, tensors)))

    def row_shape(self, cut: int) -> tuple[int, ...]:
        """Return the shape of a row at a cut, without the batch."""
        tensors = self._tensors_at(cut)
        if len(tensors) == 1:
            return tuple(tensors[0].shape[1:])
        return (sum(math.prod(each.shape[1:]) for each in tensors),)

    def trainee(self, cut: int, *, dropout: float, cached: bool, start: int = 0) -> keras.Model:
        """Return the model of a stage.

        From rows at a cut to logits, or from images past a frozen prefix.

        Args:
            cut: how many first blocks the stage leaves frozen.
            dropout: share of the features dropped before the head.
            cached: whether it reads rows; else it reads images, and the frozen prefix runs in every
                step, in inference mode.
            start: it reads rows at this earlier cut instead of images.
        """
        key = (cut, dropout, cached, start, *map(_bits, (self.feature_scale, self.feature_offset)))
        if key not in self._trainees:
            suffix = self._suffix(cut, dropout)
            through = suffix if cached or cut == 0 else self._behind_prefix(start, cut, suffix)
            self._trainees[key] = through
        return self._trainees[key]

    def joined(self, temperature: float = 1.0) -> keras.Model:
        """Images to class probabilities, as one ordinary model that shares the body's layers.

        Args:
            temperature: what its logits are divided by: the same classes with another certainty.
        """
        classifier = build_classifier(self._pooled.shape[-1], self.head.units)
        weights = [each / np.float32(temperature) for each in self._weights_on_features()]
        classifier.get_layer("head").set_weights(weights)
        return attach(self.body, classifier, pooling=self.pooling)

    def scale_features(self, scale: np.ndarray | float, offset: np.ndarray | float = 0.0) -> None:
        """Have the head read its features times `scale`, plus `offset`; it says the same as before.

        Args:
            scale: above 0, one number or one for each feature, float32.
            offset: likewise.
        """
        kernel, bias = self._weights_on_features()
        kernel = kernel / _column(scale)
        self.head.set_weights([kernel, bias - _sum_of(offset, kernel)])
        self.feature_scale, self.feature_offset = scale, offset

    def _weights_on_features(self) -> list[np.ndarray]:
        """Return the head's kernel and bias for features as they are."""
        kernel, bias = self.head.get_weights()
        return [kernel * _column(self.feature_scale), bias + _sum_of(self.feature_offset, kernel)]

    def take_head_of(self, other: Network) -> None:
        """Take over the weights of a head on the same features, and how it reads them."""
        self.head.set_weights(other.head.get_weights())
        self.feature_scale, self.feature_offset = other.feature_scale, other.feature_offset

    def variables_from(self, cut: int) -> list[Any]:
        """Return the weights of the blocks behind a cut, then those of the head."""
        layers = [layer for block in self.blocks[cut:] for layer in block.layers]
        return [weight for layer in (*layers, self.head) for weight in layer.weights]

    def rows_digest(self, cut: int, known: dict[int, str] | None = None) -> str:
        """Tell whether rows at a cut would be the same: the structure, and the weights now.

        Args:
            cut: as in `row_shape`.
            known: digests of weights as they are now, by the identity of the variable; the others
                that are needed are added.
        """
        if cut == 0:
            return "images"
        if cut not in self._prefixes:
            # Kept, since both take a tenth of a second of a hundred layers; weights do not stay.
            prefix = self.prefix(cut)
            structure = json.dumps(_nameless(prefix.get_config()), sort_keys=True, default=str)
            self._prefixes[cut] = (prefix, structure)
        prefix, structure = self._prefixes[cut]
        known = {} if known is None else known
        new = [each for each in prefix.weights if id(each) not in known]
        known.update(zip(map(id, new), digest(new).values(), strict=True))
        parts = (structure, *(known[id(each)] for each in prefix.weights))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _row_at(self, cut: int) -> Any:
        return _packed(self._tensors_at(cut))

    def _tensors_at(self, cut: int) -> list[Any]:
        """Return the tensors of the graph that rows at a cut are.

        All that is needed to go on from it.
        """
        if cut == 0:
            return [self.backbone.model.inputs[0]]
        if cut == self.num_blocks:
            return [self._pooled]
        # What the head reads of a frozen block is a constant of the image, as the cut itself is.
        read = [tap.tensor for tap in self._taps if tap.block < cut]
        # Each once: flat features need no pooling, so a cut may be what the head reads of it.
        tensors = {id(each): each for each in (*self.backbone.blocks[cut - 1].outputs, *read)}
        return list(tensors.values())

    def _rows_as_input(self, cut: int) -> tuple[Any, list[Any]]:
        """Return a new input of rows, and the tensors of the graph that these rows are."""
        return keras.Input(self.row_shape(cut), name="rows"), self._tensors_at(cut)

    def _suffix(self, cut: int, dropout: float) -> keras.Model:
        rows, tensors = self._rows_as_input(cut)
        unpacked = _unpacked(rows, tensors)
        if cut == self.num_blocks:
            features = unpacked
        else:
            features = keras.Model(_one_or_list(tensors), self._pooled)(unpacked)
        if np.any(self.feature_scale != 1.0):
            scaled = keras.layers.Rescaling(self.feature_scale, self.feature_offset)
            features = scaled(features)
        if dropout:
            features = keras.layers.Dropout(dropout, seed=self.seed)(features)
        return keras.Model(rows, self.head(features), name=f"from_cut_{cut}")

    def _behind_prefix(self, start: int, cut: int, suffix: keras.Model) -> keras.Model:
        rows = keras.Input(self.row_shape(start), name="rows" if start else "images")
        frozen = _Frozen(self.between(start, cut))
        return keras.Model(rows, suffix(frozen(rows)), name=suffix.name)


class _Frozen(keras.layers.Layer):
    """Runs a network in inference mode, also in `fit`.

    A layer of its own: Keras 3.15.1 overrides `training=False` of a call in a functional model.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network

    def call(self, images: Any) -> Any:
        """Say what the network says of the images."""
        return self.network(images, training=False)


def body(
    backbone: Backbone, num_blocks: int, *, features: str = "last", pooling: str = "avg"
) -> keras.Model:
    """Return the first blocks, from images to what the head reads of them, before it is pooled.

    Other features than "last" come from all blocks, and pooled: `(batch, features)`.
    """
    if features != "last":
        return _reading(backbone, taps_of(backbone, features, pooling))
    prefix = backbone.prefix(num_blocks)
    if len(prefix.outputs) == 1:
        return prefix
    # A cut of NASNet has two tensors: what the last cell says, and the one before it.
    last = backbone.blocks[num_blocks - 1].calls[-1]
    return keras.Model(prefix.inputs, last.outputs[0], name=prefix.name)


def _reading(backbone: Backbone, taps: Sequence[Tap]) -> keras.Model:
    """From images to what the taps say, side by side."""
    return keras.Model(backbone.model.inputs[0], concatenated(taps))


def randomize(backbone: Backbone, seed: int) -> None:
    """Give the blocks of a backbone new random weights, as its layers draw them.

    The statistics of the pixels that EfficientNet keeps in front of its blocks stay as they are.
    """
    blocks = {
        id(each) for block in backbone.blocks for layer in block.layers for each in layer.weights
    }
    with _python_seed(seed):
        fresh = keras.models.clone_model(backbone.model)
    for old, new in zip(backbone.model.weights, fresh.weights, strict=True):
        if id(old) in blocks:
            old.assign(new)


@contextmanager
def _python_seed(seed: int) -> Iterator[None]:
    """Keras draws the seeds of its initializers from Python's generator, which is put back."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


def _column(scale: np.ndarray | float) -> np.ndarray:
    """Return a factor for each row of a kernel, or one for all."""
    return np.reshape(np.float32(scale), (-1, 1))


def _sum_of(offset: np.ndarray | float, kernel: np.ndarray) -> np.ndarray:
    """Say what an offset of the features adds to the logits."""
    return np.broadcast_to(np.float32(offset), kernel.shape[:1]) @ kernel


def _bits(scale: np.ndarray | float) -> bytes:
    return np.float64(scale).tobytes()


def _one_or_list(tensors: Sequence[Any]) -> Any:
    return tensors[0] if len(tensors) == 1 else list(tensors)


def _packed(tensors: Sequence[Any]) -> Any:
    """Tensors as one; several, such as the two of a cut of NASNet, are laid flat, side by side."""
    if len(tensors) == 1:
        return tensors[0]
    return keras.layers.Concatenate()([keras.layers.Flatten()(each) for each in tensors])


def _unpacked(rows: Any, tensors: Sequence[Any]) -> Any:
    """Return the tensors that rows are made of: the reverse of `_packed`."""
    if len(tensors) == 1:
        return rows
    found, start = [], 0
    for tensor in tensors:
        size = math.prod(tensor.shape[1:])
        found.append(keras.layers.Reshape(tensor.shape[1:])(rows[:, start : start + size]))
        start += size
    return found


#: What a frozen layer says does not depend on its flag, nor on the shape that it was built with.
_NO_STRUCTURE = ("build_config", "trainable")


def _nameless(config: Any) -> Any:
    """Strip a model's configuration of names that Keras makes up: they differ by process."""
    names: dict[str, str] = {}
    for number, layer in enumerate(config["layers"]):
        names[layer["name"]] = f"#{number}"

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(each) for key, each in value.items() if key not in _NO_STRUCTURE}
        if isinstance(value, list | tuple):
            return [clean(each) for each in value]
        return names.get(value, value) if isinstance(value, str) else value

    return {**clean(config), "name": ""}
