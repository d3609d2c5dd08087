"""Measuring the domain gap of the images of a part."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from PIL import Image

from ktransfer.backbones import Backbone
from ktransfer.cache import CacheUnavailable, Store, content_key
from ktransfer.data import Part
from ktransfer.data.images.files import ChangedError
from ktransfer.errors import InputError
from ktransfer.features import FORWARD_BATCH_SIZE, OnProgress
from ktransfer.freezing import digest
from ktransfer.processes.keras_settings import own_settings
from ktransfer.profile.batch_norm import (
    Moments,
    NormLayer,
    compile_moments,
    measure_moments,
    norm_layers,
)
from ktransfer.profile.gap import LEAST_IMAGES, MOST_IMAGES, DomainGap, domain_gap
from ktransfer.profile.reference import reference_backbone

#: Weights whose statistics are not those of photos, but of images by formula.
_OF_NO_PHOTOS = ("mini",)

#: Raised when the images are resized or the moments computed differently than before, or when
#: entries of before are not to be trusted: those of 1 might hold files changed meanwhile.
_MEASURING_VERSION = 2

#: A quick measurement looks at so many: of a few hundred images, more of them would take as long as
#: the feature extraction itself, and they tell photos from others as well.
QUICK_IMAGES = 64


@dataclass(frozen=True, eq=False)
class _Draw:
    """The images of a part in an order by a seed, up to a number of them."""

    part: Part
    seed: int
    most_images: int
    on_progress: OnProgress | None


@own_settings()
def measure_gap(
    backbone: Backbone,
    part: Part,
    *,
    seed: int = 0,
    most_images: int = MOST_IMAGES,
    store: Store | None = None,
    on_progress: OnProgress | None = None,
) -> DomainGap:
    """Say how far the images of a part are from those that a backbone was trained on.

    The images are squeezed into the backbone's input as a whole: the crop that training takes
    would widen the gap of photos by more than what lies between photos and cartoons.

    Args:
        backbone: with pretrained weights and batch norm.
        part: the images; at most `most_images` of them are looked at, drawn by the seed.
        seed: of the images and of the interval.
        most_images: at least `LEAST_IMAGES`.
        store: where what was measured is kept for later runs; None: nowhere.
        on_progress: called with (images read, images in all) after each image.

    Raises:
        InputError: the backbone remembers nothing of its own images, or fewer than `LEAST_IMAGES`
            can be decoded. Say then how similar the images are (`similarity=`).
    """
    layers = norm_layers(backbone)
    if not remembers_photos(backbone):
        raise InputError(
            f"{backbone.name} with weights={backbone.weights!r} remembers no photos: it has "
            f"{len(layers)} batch-norm layers with statistics. Measure with a backbone that has "
            "them, or say similarity= yourself"
        )
    draw = _Draw(part, seed, most_images, on_progress)
    moments = _moments(backbone, layers, draw, store)
    if len(moments) < LEAST_IMAGES:
        raise InputError(
            f"a domain gap needs at least {LEAST_IMAGES} images that can be decoded, got "
            f"{len(moments)}: say similarity= yourself"
        )
    return domain_gap(layers, moments, seed=seed)


def remembers_photos(backbone: Backbone) -> bool:
    """Tell whether its batch norm has statistics, and not those of images by formula."""
    return backbone.weights not in _OF_NO_PHOTOS and bool(norm_layers(backbone))


@own_settings()
def gap_or_reason(
    backbone: Backbone,
    part: Part,
    *,
    seed: int = 0,
    reference: Backbone | None = None,
    store: Store | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[DomainGap | None, str]:
    """Measure the gap of a part quickly; also say with what, or why it is unknown.

    A backbone without batch norm, or whose weights carry no statistics, has none of its own: then
    the gap to what another one was trained on is measured, whose weights are at hand.

    Args:
        backbone: any.
        part: the images; at most `QUICK_IMAGES` of them are looked at.
        seed: as in `measure_gap`.
        reference: measures in place of a backbone that cannot; None: `reference_backbone()`.
        store: as in `measure_gap`.
        on_progress: as in `measure_gap`.
    """
    measuring: Backbone | None = backbone
    if not remembers_photos(backbone):
        measuring = reference or reference_backbone()
    if measuring is None:
        return None, (
            f"The domain gap is unknown: {backbone.name} with weights={backbone.weights!r} "
            "remembers nothing of photos, and no ImageNet weights with batch norm are at hand to "
            "measure with. Say similarity='similar' or 'different'."
        )
    try:
        gap = measure_gap(
            measuring,
            part,
            seed=seed,
            most_images=QUICK_IMAGES,
            store=store,
            on_progress=on_progress,
        )
    except InputError as error:
        return None, f"The domain gap is unknown: {error}."
    with_what = "its own batch norm" if measuring is backbone else f"that of {measuring.name}"
    return gap, f"measured on {gap.num_images} images with {with_what}"


def _moments(
    backbone: Backbone, layers: Sequence[NormLayer], draw: _Draw, store: Store | None
) -> Moments:
    """Measured, or found in the store."""
    key = _key(backbone, draw) if store else ""
    entry = store.load(key, budget_mb=1_024) if store else None
    if entry is not None:
        half = entry.values.shape[1] // 2
        return Moments(entry.values[:, :half], entry.values[:, half:])
    failed: list[int] = []
    batches = _batches(draw, backbone.input_size, failed)
    moments = measure_moments(compile_moments(backbone, layers), batches)
    # What failed and can be read now would be missing in every later run.
    if store and all(draw.part.images.fault(row) for row in failed):
        _keep(store, key, moments)
    return moments


def _key(backbone: Backbone, draw: _Draw) -> str:
    return content_key(
        moments=_MEASURING_VERSION,
        files=draw.part.content_digest(),
        backbone=backbone.name,
        options={name: str(value) for name, value in backbone.options.items()},
        weights=list(digest(backbone.model.weights).values()),
        input_size=list(backbone.input_size),
        draw=[draw.seed, draw.most_images],
        versions=[keras.__version__],
    )


def _keep(store: Store, key: str, moments: Moments) -> None:
    values = np.concatenate([moments.shifts, moments.squares], axis=1)
    try:
        with store.create(key, values.shape, "float32", {"moments": list(values.shape)}) as draft:
            draft.values[:] = values
            draft.commit(len(values), np.arange(len(values)), budget_mb=1_024)
    except CacheUnavailable:
        return  # measured anew next time; where features are kept nowhere, that is said there


def _batches(draw: _Draw, input_size: tuple[int, int], failed: list[int]) -> Iterator[np.ndarray]:
    whole = _whole_images(draw.part, input_size, draw.seed, failed)
    images = _counted(itertools.islice(whole, draw.most_images), draw)
    while batch := list(itertools.islice(images, FORWARD_BATCH_SIZE)):
        yield np.stack(batch)


def _counted(images: Iterator[np.ndarray], draw: _Draw) -> Iterator[np.ndarray]:
    """Yield the images, and tell how many there were."""
    of = min(draw.most_images, len(draw.part))
    for done, image in enumerate(images, 1):
        if draw.on_progress:
            draw.on_progress(done, of)
        yield image


def _whole_images(
    part: Part, input_size: tuple[int, int], seed: int, failed: list[int]
) -> Iterator[np.ndarray]:
    """Yield the images that can be decoded, in an order by the seed, uint8 `(*input_size, 3)`.

    Those that cannot are added to `failed`.
    """
    height, width = input_size
    for row in np.random.default_rng(seed).permutation(len(part)):
        try:
            pixels = Image.fromarray(part.images.full_size(int(row)))
        except ChangedError as error:
            raise InputError(
                f"{part.images.name(int(row))!r} changed while the images were read ({error}): run "
                "it again when nothing is at work in the folder"
            ) from error
        # Damaged images make Pillow raise nearly anything; the pipeline names them.
        except Exception:
            failed.append(int(row))
            continue
        yield np.asarray(pixels.resize((width, height), Image.Resampling.BILINEAR))
