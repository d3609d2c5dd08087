"""Measuring the domain gap of the images of a part."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from PIL import Image

from ktransfer._checks import InputError
from ktransfer.backbones import Backbone
from ktransfer.data import Part
from ktransfer.features import FORWARD_BATCH_SIZE
from ktransfer.profile.batch_norm import compile_moments, measure_moments, norm_layers
from ktransfer.profile.gap import LEAST_IMAGES, MOST_IMAGES, DomainGap, domain_gap

#: Weights whose statistics are not those of photos: of images by formula, or of nothing.
_OF_NO_PHOTOS = ("mini", None)


def measure_gap(backbone: Backbone, part: Part, *, seed: int = 0) -> DomainGap:
    """How far the images of a part are from those that a backbone was trained on.

    The images are squeezed into the backbone's input as a whole: the crop that training takes
    would widen the gap of photos by more than what lies between photos and cartoons.

    Args:
        backbone: with pretrained weights and batch norm.
        part: the images; at most `MOST_IMAGES` of them are looked at, drawn by the seed.
        seed: of the images and of the interval.

    Raises:
        InputError: the backbone remembers nothing of its own images, or fewer than `LEAST_IMAGES`
            can be decoded. Say then how similar the images are (`similarity=`).
    """
    layers = norm_layers(backbone)
    if not layers or backbone.weights in _OF_NO_PHOTOS:
        raise InputError(
            f"{backbone.name} with weights={backbone.weights!r} remembers no photos: it has "
            f"{len(layers)} batch-norm layers with statistics. Measure with a backbone that has "
            "them, or say similarity= yourself"
        )
    moments = measure_moments(compile_moments(backbone, layers), _batches(backbone, part, seed))
    if len(moments) < LEAST_IMAGES:
        raise InputError(
            f"a domain gap needs at least {LEAST_IMAGES} images that can be decoded, got "
            f"{len(moments)}: say similarity= yourself"
        )
    return domain_gap(layers, moments, seed=seed)


def _batches(backbone: Backbone, part: Part, seed: int) -> Iterator[np.ndarray]:
    images = itertools.islice(_whole_images(part, backbone.input_size, seed), MOST_IMAGES)
    while batch := list(itertools.islice(images, FORWARD_BATCH_SIZE)):
        yield np.stack(batch)


def _whole_images(part: Part, input_size: tuple[int, int], seed: int) -> Iterator[np.ndarray]:
    """The images that can be decoded, in an order by the seed, uint8 `(*input_size, 3)`."""
    height, width = input_size
    for row in np.random.default_rng(seed).permutation(len(part)):
        try:
            pixels = Image.fromarray(part.images.full_size(int(row)))
        # Damaged images make Pillow raise nearly anything; the pipeline names them.
        except Exception:
            continue
        yield np.asarray(pixels.resize((width, height), Image.Resampling.BILINEAR))
