"""What feature extraction will need: time, memory and disk."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np

from ktransfer.data.images.decoding import decode_image
from ktransfer.data.images.files import ImageFiles
from ktransfer.doctor.findings import Finding
from ktransfer.doctor.inspection import BIG_PIXELS
from ktransfer.doctor.subject import Subject

# MobileNetV2 1.0 at 224 pixels, on one core of the machine that the project measures on.
_FORWARD_PER_CORE = 60.0
_FEATURES = 1_280
_SIDE_PX = 224
_SAMPLE = 16


def estimate(subject: Subject, records: np.ndarray) -> Iterator[Finding]:
    """Yield a forecast for MobileNetV2, from decoding some of these images at full size."""
    seen = np.flatnonzero(records["seen"])
    per_image_s = _decoding_s(subject, records, seen)
    if per_image_s is None:
        return
    count, cores = len(seen), len(os.sched_getaffinity(0))
    decode_s = count * per_image_s / cores
    network_s = count / (_FORWARD_PER_CORE * cores)
    features_mb = count * _FEATURES * 4 / 2**20
    pixels_mb = count * _SIDE_PX**2 * 3 / 2**20
    yield Finding(
        "estimate",
        "info",
        count,
        f"extracting features of {count:,} images takes about {_readable(decode_s + network_s)}: "
        f"{_readable(decode_s)} of decoding, {_readable(network_s)} of network; they need "
        f"{features_mb:,.1f} MB on disk and at most as much memory, decoded pixels "
        f"{pixels_mb:,.1f} MB",
        f"assumes MobileNetV2 at {_SIDE_PX} pixels with {_FEATURES:,} float32 numbers an image, "
        f"{cores} cores at {_FORWARD_PER_CORE:g} images/s each, and decoding at the "
        f"{1 / per_image_s:,.0f} images/s a core measured here on {min(_SAMPLE, count)} of them",
        figures={
            "decode_s": decode_s,
            "network_s": network_s,
            "features_mb": features_mb,
            "pixels_mb": pixels_mb,
            "decoded_per_core_s": 1 / per_image_s,
        },
    )


def _decoding_s(subject: Subject, records: np.ndarray, seen: np.ndarray) -> float | None:
    """Return seconds to decode an image at full size, the mean over a sample.

    None without images.
    """
    pixels = records["width"][seen].astype(np.int64) * records["height"][seen]
    usual = seen[pixels <= BIG_PIXELS]
    if not len(usual) or not isinstance(subject.files, ImageFiles):
        return None
    sample = usual[np.linspace(0, len(usual) - 1, min(_SAMPLE, len(usual))).astype(int)]
    files, started = subject.files, time.perf_counter()
    for index in sample:
        decode_image(files[int(index)])
    return (time.perf_counter() - started) / len(sample)


def _readable(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
