"""The backbone: a network as an ordered row of blocks with its preprocessing inside."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from ktransfer.backbones.blocks import Block, find_blocks
from ktransfer.backbones.graph import Span, count_parameters, find_spans
from ktransfer.backbones.serialization import check_keeping, mend_saving
from ktransfer.backbones.shapes import trace_truly
from ktransfer.errors import InputError


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network from RGB images in [0, 255] to features, as a row of blocks.

    Attributes:
        name: the constructor of keras.applications, the preset of KerasHub ("hub:..."), or the
            model's own name.
        model: images `(batch, height, width, 3)`, RGB in [0, 255], uint8 or float, to features:
            `(batch, height, width, channels)`, or `(batch, tokens, channels)` for a vision
            transformer.
        blocks: the blocks in order. All weights of the model are in them, but for the statistics of
            a `keras.layers.Normalization` that belongs to the preprocessing (EfficientNet).
        input_size: height and width of the images.
        weights: where the weights came from: "imagenet", "mini", the name of a file, "own" for a
            model of your own, or None for
            random ones.
        options: the options that the constructor was given.
        preprocessed: the cut before the first block: the images behind the preprocessing.
        notes: what was decided when it was loaded and is not evident from its name.
    """

    name: str
    model: keras.Model
    blocks: tuple[Block, ...]
    input_size: tuple[int, int]
    weights: str | None
    options: Mapping[str, Any]
    preprocessed: tuple[Any, ...] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """How many numbers the weights hold, batch-norm statistics counted."""
        return int(self.model.count_params())

    def check_keeping(self) -> None:
        """Prove that models of this backbone can be saved and loaded again.

        Raises:
            InputError: They cannot: a layer of one's own is not registered with Keras, say.
        """
        check_keeping(self.model, self.name)

    def prefix(self, num_blocks: int) -> keras.Model:
        """Make a model of the preprocessing and the first blocks, sharing the weights.

        Args:
            num_blocks: how many blocks, from 0 (only the preprocessing) to all.

        Returns:
            A model from images `(batch, height, width, 3)` to the cut: one tensor, or a list of two
            (NASNet).

        Raises:
            InputError: There are not so many blocks.
        """
        return keras.Model(
            self.model.inputs[0],
            _structure(self._cut(num_blocks)),
            name=f"{self.model.name}_first_{num_blocks}",
        )

    def suffix(self, num_blocks: int) -> keras.Model:
        """Say what follows `prefix(num_blocks)`, as a model that shares this backbone's weights.

        Training it changes the backbone, and with it every prefix that shares a layer.

        Args:
            num_blocks: how many blocks are left out at the start, from 0 to all.

        Returns:
            A model from the cut to the features: `suffix(n)(prefix(n)(images))` equals
            `model(images)`.

        Raises:
            InputError: There are not so many blocks.
        """
        cut = self._cut(num_blocks)
        name = f"{self.model.name}_from_{num_blocks}"
        if num_blocks == len(self.blocks):
            # Keras refuses a model whose output is its own intermediate input; the identity starts
            # anew.
            features = keras.Input(batch_shape=cut[0].shape, dtype=cut[0].dtype)
            return keras.Model(features, features, name=name)
        return keras.Model(_structure(cut), self.model.outputs[0], name=name)

    def _cut(self, num_blocks: int) -> tuple[Any, ...]:
        if not 0 <= num_blocks <= len(self.blocks):
            raise InputError(
                f"num_blocks must be from 0 to {len(self.blocks)} for {self.name}, got {num_blocks}"
            )
        return self.blocks[num_blocks - 1].outputs if num_blocks else self.preprocessed


#: How class tokens are called in KerasHub, timm and Hugging Face's libraries.
_CLASS_TOKEN = re.compile(r"cls|class_?(token|embed)")


def has_class_token(backbone: Backbone) -> bool:
    """Tell whether a transformer's first token stands for the whole image.

    Args:
        backbone: from images to `(batch, tokens, channels)`.

    Returns:
        False where no weight is called so and the tokens are a whole grid of patches.
    """
    if any(_CLASS_TOKEN.search(weight.path.lower()) for weight in backbone.model.weights):
        return True
    height, width = backbone.input_size
    grids = {(height // px) * (width // px) for px in range(1, min(height, width) + 1)}
    return backbone.model.output.shape[1] not in grids


def _structure(tensors: tuple[Any, ...]) -> Any:
    return tensors[0] if len(tensors) == 1 else list(tensors)


def build_backbone(
    network: keras.Model,
    *,
    name: str,
    weights: str | None,
    options: Mapping[str, Any] | None = None,
    notes: tuple[str, ...] = (),
) -> Backbone:
    """Divide a network that contains its preprocessing into blocks.

    Args:
        network: the functional network from images of a fixed size, without its head. Its layers
            are shared, not copied; nested models are taken apart.
        name: the backbone's name.
        weights: the description of the weights.
        options: the options that the constructor was given.
        notes: as in `Backbone`.

    Returns:
        The backbone.

    Raises:
        InputError: A weight is NaN, or there are none.
    """
    check_no_nan(network, name)
    images, calls, outputs = trace_truly(network, network.inputs[0])
    spans = find_spans(calls, outputs[0])
    front = count_preprocessing(spans)
    if not any(count_parameters(span.calls) for span in spans[front:]):
        raise InputError(
            f"{name} has no weights behind its preprocessing: there are no blocks to freeze or to "
            "train. Give the network itself"
        )
    preprocessed = spans[front - 1].outputs if front else (images,)
    model = keras.Model(images, outputs[0], name=network.name)
    mend_saving(model.layers)
    return Backbone(
        name=name,
        model=model,
        blocks=find_blocks(spans[front:]),
        input_size=tuple(images.shape[1:3]),
        weights=weights,
        options=dict(options or {}),
        preprocessed=preprocessed,
        notes=notes,
    )


def check_no_nan(model: keras.Model, name: str) -> None:
    """Raise an `InputError` that names the layer where a weight is NaN: nothing can be learned.

    Infinite ones are let through: masks of attention may be so.

    Args:
        model: the model.
        name: what it is called.
    """
    for weight in model.weights:
        values = np.asarray(keras.ops.convert_to_numpy(weight))
        # NaN is the only number that is not itself.
        if count := int(np.count_nonzero(values != values)):
            layer, _, kind = weight.path.rpartition("/")
            raise InputError(
                f"{count:,} of {values.size:,} weights are NaN in layer {layer!r} ({kind}) of "
                f"{name}: what it was trained by or saved with has damaged it; load other weights"
            )


def count_preprocessing(spans: Sequence[Span]) -> int:
    """Say how many spans at the start only scale or augment the images."""
    return next((at for at, span in enumerate(spans) if not _prepares(span)), len(spans))


def _prepares(span: Span) -> bool:
    if len(span.calls) > 1:
        return False
    if not isinstance(
        span.last, keras.Layer
    ):  # arithmetic of keras.ops, as preprocess_input() leaves it
        return True
    # All random layers (RandomFlip, ...) are augmentation: they do nothing when the features are
    # computed.
    scales = isinstance(span.last, keras.layers.Rescaling | keras.layers.Normalization)
    return scales or type(span.last).__name__.startswith("Random")
