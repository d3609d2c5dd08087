"""Weights and images by formula, in the names and layouts of torchvision; NumPy is all it needs.

`backbones/make_torch_zoo.py` computes with them what PyTorch makes of them, and the tests what we
make of them: so no weights need be stored.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np


def weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """Return values for the tensors of a state_dict, each drawn by its name alone.

    Args:
        shapes: from name to shape, as PyTorch lays the tensors out.
    """
    return {name: _values(name, tuple(shape)) for name, shape in shapes.items()}


def _values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.array(100)
    if len(shape) > 1:
        # A residual network adds up what its blocks say: half of that keeps 34 layers small.
        deviation = (0.5 if "conv2" in name else 1) * np.sqrt(1 / np.prod(shape[1:]))
        return random.standard_normal(shape, dtype="float32") * np.float32(deviation)
    # Far from 0 and 1, so that exchanging any two of them would be seen.
    if name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
        return random.uniform(0.4, 1.2, shape).astype("float32")
    return random.normal(0, 0.2, shape).astype("float32")


def images(size_px: int) -> np.ndarray:
    """Return 2 images `(2, size_px, size_px, 3)`, RGB, uint8."""
    return np.random.default_rng(size_px).integers(0, 256, (2, size_px, size_px, 3)).astype("uint8")
