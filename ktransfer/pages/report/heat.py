"""Where in an image the model found what speaks for a class: Grad-CAM, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from PIL import Image, ImageFilter

from ktransfer.classifier import Classifier

#: What of the heat is framed: the half of its highest value, as weakly supervised localisation
#: has it.
_FRAMED = 0.5
_FRAME = (255, 140, 0)
#: How bright an image stays where nothing speaks for the class.
_DIMMED = 0.35


@dataclass(frozen=True, eq=False)
class Heat:
    """Computes where in an image something speaks for a class.

    The head is linear on the pooled last feature map, so that the gradient which Grad-CAM
    averages over the map is the same for every image: the head's weights of the class, by the
    number of places, for average and for maximum pooling alike. So no gradient is computed.

    Attributes:
        features: from images to the last feature map.
        weights: `(channels, classes)`: by what a class counts each channel.

    Source: Selvaraju et al. 2016, Grad-CAM (arXiv 1610.02391), which for linear heads is the CAM of
        Zhou et al. 2015 (arXiv 1512.04150). Changed: not enlarged here.
    """

    features: keras.Model
    weights: np.ndarray

    def __call__(self, pixels: np.ndarray, classes: np.ndarray) -> list[np.ndarray | None]:
        """Return the heat of images.

        Args:
            pixels: uint8 `(images, height, width, 3)` of the network's size.
            classes: integers `(images,)`, the class that it is to speak for in each.

        Returns:
            For each image float32 `(rows, columns)` of the feature map, from 0 to 1; None where no
            place speaks for the class.
        """
        # Together: of so few images a network is neither compiled nor run one by one.
        maps = keras.ops.convert_to_numpy(self.features(pixels, training=False))
        return [_scaled(maps[at] @ self.weights[:, each]) for at, each in enumerate(classes)]


def _scaled(heat: np.ndarray) -> np.ndarray | None:
    """Say what speaks for a class, not what speaks against it, from 0 to 1."""
    highest = float(heat.max())
    if not highest > 0:
        return None
    return (np.maximum(heat, 0.0) / highest).astype(np.float32)


def heat_of(classifier: Classifier) -> Heat | str:
    """Say what computes the heat of a classifier's images, or why there is none, in a sentence."""
    model, pooling = classifier.model, classifier.pooling
    read = _output_of(model, classifier.backbone.last_operation)
    rank = 0 if read is None else len(read.shape)
    if rank == 3:
        return (
            f"{classifier.backbone.name} is a transformer: it reads tokens that have all looked at "
            "each other, and no map whose places could be told apart, so Grad-CAM does not apply."
        )
    if rank != 4 or pooling not in ("avg", "max", "avgmax"):
        return (
            "The head reads numbers that belong to no place in the image: there is no feature map "
            "before a pooling, so Grad-CAM does not apply."
        )
    rows, columns, channels = read.shape[1:]
    if rows * columns < 2:
        return (
            "The last feature map has a single place, so there is nothing that Grad-CAM could tell "
            "apart: larger images (input_size) would have more."
        )
    kernel = _kernel_of(model)
    parts = 2 if pooling == "avgmax" else 1
    if len(kernel) < parts * channels:
        return "The head does not read the last feature map itself, so Grad-CAM does not apply."
    # A head on all blocks reads the last one first; of both poolings it reads the average first.
    weights = kernel[: parts * channels].reshape(parts, channels, -1).sum(axis=0)
    return Heat(keras.Model(model.inputs[0], read), weights / (rows * columns))


def reads_more(classifier: Classifier) -> bool:
    """Tell whether the head reads earlier blocks, too, of which the heat says nothing."""
    return classifier.result is not None and classifier.result.plan.features != "last"


def _output_of(model: keras.Model, name: str) -> Any:
    found = [each for each in model.operations if each.name == name]
    output = found[-1].output if found else None
    return output[0] if isinstance(output, list | tuple) else output


def _kernel_of(model: keras.Model) -> np.ndarray:
    """Return the weights of the head, `(features, classes)`."""
    head = next(each for each in reversed(model.layers) if each.weights)
    return np.asarray(keras.ops.convert_to_numpy(head.kernel))


def spotlight(picture: Image.Image, heat: np.ndarray) -> Image.Image:
    """Paint a picture dark and grey where nothing speaks for the class, with a frame.

    Brightness is read without a legend, by the colour-blind too, and in print.
    """
    values = Image.fromarray(np.round(255 * heat).astype(np.uint8))
    heights = values.resize(picture.size, Image.Resampling.BICUBIC)
    dark = picture.convert("L").point(lambda level: round(level * _DIMMED)).convert("RGB")
    # All that is framed is fully lit, and what is around it fades.
    mask = heights.point(lambda level: min(255, round(level / _FRAMED)))
    lit = Image.composite(picture, dark, mask)
    inside = heights.point(lambda level: 255 if level >= 255 * _FRAMED else 0)
    frame = Image.composite(
        Image.new("L", picture.size, 0), inside, inside.filter(ImageFilter.MinFilter(5))
    )
    lit.paste(_FRAME, mask=frame)
    return lit
