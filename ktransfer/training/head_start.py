"""What a head starts from: features of one size, and where it can be had at once, a solution."""

from __future__ import annotations

import math

import numpy as np

from ktransfer.data.batches.balance import class_weights
from ktransfer.data.batches.rows import Rows, in_pieces
from ktransfer.errors import InputError
from ktransfer.features import FORWARD_BATCH_SIZE, Network, RowSource
from ktransfer.plan import Stage
from ktransfer.profile.probes import LEAST_DEVIATION, even_sample, ridge_head
from ktransfer.training.stage_input import cut_of

#: The learning rates of the plans are those of heads of so many features.
USUAL_WIDTH = 1_280

#: A head is solved in closed form for at most so many images: it takes (images)^3, and of more of
#: them an epoch has steps enough.
MOST_SOLVED_IMAGES = 4_000

#: Images that the scale of the features is measured on where no stage asks for all features.
_SCALE_SAMPLE = 256


def solve_head(stage: Stage, source: RowSource, *, weighted: bool) -> bool:
    """Begin a head on other features than the last ones as a ridge regression, where that pays.

    Adam's few hundred steps leave such heads far behind it, where on the last features, which
    are sparse and alike in size, they do as well: 300 flowers, those of all blocks and inside
    them, 80 % right against 85 %.

    Args:
        stage: the first of its plan, resolved.
        source: of the images.
        weighted: whether the classes are balanced.

    Returns:
        Whether the head is that regression now.
    """
    network = source.network
    usual = network.features == "last" and network.num_blocks == len(network.backbone.blocks)
    if usual or stage.augmentation != "none" or cut_of(stage, network) != network.num_blocks:
        return False
    if np.any(network.head.get_weights()[0]):
        return False
    return solve(network, source, weighted=weighted)


def solve(network: Network, source: RowSource, *, weighted: bool) -> bool:
    """Make the head a ridge regression on what it reads; tells whether there are few enough images.

    Args:
        network: with the head.
        source: of the images, as this network reads them.
        weighted: as in `solve_head`.
    """
    rows, labels = source.rows("train", network.num_blocks), source.splits.train.labels
    if len(rows) > MOST_SOLVED_IMAGES:
        return False
    assert isinstance(rows, np.ndarray)  # only images are streamed
    weights = class_weights(labels) if weighted else None
    network.head.set_weights(list(ridge_head(rows, labels, weights)))
    return True


def some_features(source: RowSource, cut: int) -> np.ndarray:
    """Return the training features: all where they are the rows at the cut, else some."""
    blocks = source.network.num_blocks
    rows = source.rows("train", cut)
    if cut == blocks:
        assert isinstance(rows, np.ndarray)  # only images are streamed
        return rows
    sample = even_sample(source.splits.train.labels, _SCALE_SAMPLE, least=1)
    forward = source.forward(cut, blocks)
    pieces = np.array_split(sample, len(sample) // FORWARD_BATCH_SIZE + 1)
    return np.concatenate([forward(rows[piece]) for piece in pieces])


def scale_to_one(network: Network, features: np.ndarray) -> None:
    """Have the head read the training features at a size of 1; it says the same as before.

    Raises:
        InputError: they are not finite.
    """
    if network.features == "last":
        network.scale_features(1.0 / root_mean_square(features))
    else:
        network.scale_features(*standardizing(features))


def root_mean_square(values: Rows, rows_at_once: int = 8_192) -> float:
    """Return the root mean square of all values, read in pieces; 1 where all are zero.

    Raises:
        InputError: they are not finite.
    """
    pieces = in_pieces(values, rows_at_once)
    squares = sum(float(np.sum(np.square(piece, dtype=np.float64))) for piece in pieces)
    if not np.isfinite(squares):
        raise InputError(
            "the backbone's features are not finite (NaN or infinite): its weights may be damaged, "
            "or do not belong to it"
        )
    return float(np.sqrt(squares / math.prod(values.shape))) or 1.0


def standardizing(values: np.ndarray, rows_at_once: int = 4_096) -> tuple[np.ndarray, np.ndarray]:
    """Return the scale and the offset that give each feature mean 0 and one deviation, float32.

    The deviation is 1, or less where there are more than `USUAL_WIDTH` features: the steps of Adam
    have the same size for each weight, so that of many features the head would jump. Features that
    are constant are left without a scale, and those that nearly are come out with less.

    Raises:
        InputError: they are not finite.
    """
    root_mean_square(values)  # an error where they are not finite
    deviation, alive, mean = deviations(values, rows_at_once)
    least = LEAST_DEVIATION * np.median(deviation[alive]) if alive.any() else 1.0
    scale = min(1.0, USUAL_WIDTH / len(mean)) / np.where(alive, np.maximum(deviation, least), 1.0)
    return scale.astype(np.float32), (-mean * scale).astype(np.float32)


def deviations(
    values: np.ndarray, rows_at_once: int = 4_096
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the standard deviation of each feature, whether it varies at all, and its mean."""
    sums = (piece.sum(axis=0, dtype=np.float64) for piece in in_pieces(values, rows_at_once))
    mean = sum(sums) / len(values)
    squares = (((piece - mean) ** 2).sum(axis=0) for piece in in_pieces(values, rows_at_once))
    deviation = np.sqrt(sum(squares) / len(values))
    # What is left of rounding is no variation.
    return deviation, deviation > 1e-6 * (1.0 + np.abs(mean)), mean
