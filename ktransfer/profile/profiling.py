"""Making a profile of the images of a part."""

from __future__ import annotations

import keras

from ktransfer.backbones import Backbone
from ktransfer.data import Part, Skipped
from ktransfer.features import OnProgress, compile_forward, concatenated, extract_part, taps_of
from ktransfer.processes.keras_settings import own_settings
from ktransfer.profile.measuring import gap_or_reason
from ktransfer.profile.profile import WIDEST, Profile, columns_of


@own_settings()
def profile_part(
    backbone: Backbone,
    part: Part,
    *,
    pooling: str = "avg",
    seed: int = 0,
    reference: Backbone | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Profile, tuple[Skipped, ...]]:
    """Run a backbone once over the images of a part, and measure their domain gap.

    `FineTuner` does the same through its cache; this is for looking at images by themselves.

    Args:
        backbone: any.
        part: labelled images.
        pooling: of the end of the backbone, as in `features.pool`.
        seed: of the images that the gap is measured on.
        reference: as in `gap_or_reason`.
        on_progress: called with (images done, images in all).

    Returns:
        The profile, and the images that could not be decoded, each with its reason.
    """
    taps = taps_of(backbone, WIDEST, pooling)
    forward = compile_forward(keras.Model(backbone.model.inputs[0], concatenated(taps)))
    features, read, failed = extract_part(
        forward, part, backbone.input_size, on_progress=on_progress
    )
    gap, source = gap_or_reason(backbone, read, seed=seed, reference=reference)
    columns, widths = columns_of(backbone, pooling)
    return Profile(features.values, read.labels, columns, widths, gap, source), failed
