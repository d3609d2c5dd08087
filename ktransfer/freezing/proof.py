"""Proof: that training left alone what was frozen, by digests of every variable before and after.

A flag says what should happen; a digest says what did. Every bit of a value counts. So the proof
also finds a model that was not compiled after freezing, and layers that move whatever their flag.
The same digests make keys for caches of what comes out of the frozen blocks (`prefix_digest`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np

from ktransfer.backbones import Backbone
from ktransfer.errors import InputError
from ktransfer.freezing.layers import size, walk


class FrozenMovedError(RuntimeError):
    """Variables that were frozen have moved; the message names each and by how much."""


def prefix_digest(backbone: Backbone, num_blocks: int) -> str:
    """Return the SHA-256 of the weights of preprocessing and first blocks, for cache keys.

    Only values, shapes and dtypes enter, in order: names that Keras makes up ("conv2d_7") differ
    from process to process. It does not tell two networks apart that have the same weights.

    Args:
        backbone: the backbone.
        num_blocks: how many blocks, from 0 to all.

    Returns:
        64 hexadecimal digits.

    Raises:
        InputError: There are not so many blocks.
    """
    return _joint(_sha256(_numpy(weight)) for weight in backbone.prefix(num_blocks).weights)


def digest(variables: Iterable[Any]) -> dict[str, str]:
    """Return the SHA-256 of each variable: of its values, shape and dtype.

    Args:
        variables: Keras variables.

    Returns:
        From path to 64 hexadecimal digits, in order. Where variables share a path, the later ones
        get a number behind it.

    Example:
        >>> layer = keras.layers.Dense(1, name="dense")
        >>> layer.build((None, 1))
        >>> list(digest(layer.weights))
        ['dense/kernel', 'dense/bias']
    """
    variables = tuple(variables)
    return _digests(variables, map(_numpy, variables))


def frozen_variables(part: Backbone | keras.Model) -> tuple[Any, ...]:
    """Return the variables of a backbone or a model that training must not move.

    Those are all of its weights that are not trainable, moving statistics included, but for the
    ones in layers that are trainable themselves: batch norm moves these statistics.
    """
    model = part.model if isinstance(part, Backbone) else part
    # Inner layers come after the ones that hold them: the last to claim a variable owns it.
    owners = {id(weight): layer for layer in walk(model) for weight in layer.weights}
    return tuple(
        weight
        for weight in model.weights
        if not weight.trainable and not owners[id(weight)].trainable
    )


@dataclass(frozen=True)
class Moved:
    """How far one variable moved.

    Attributes:
        path: path of the variable.
        size: how many numbers it holds.
        changed: how many of them changed; None if the values were not kept.
        largest: the largest change; None if it is not finite or the values were not kept.
    """

    path: str
    size: int
    changed: int | None = None
    largest: float | None = None

    def __str__(self) -> str:
        if self.changed is None:
            return f"{self.path!r} (by an unknown amount: the values were not kept)"
        amount = "to no finite value" if self.largest is None else f"by up to {self.largest:.3g}"
        return f"{self.path!r} ({self.changed:,} of {self.size:,} numbers, {amount})"


@dataclass(frozen=True)
class FrozenProof:
    """Whether what was frozen stayed as it was, as plain data.

    Attributes:
        variables: how many variables were frozen.
        parameters: how many numbers these hold.
        sha256: the digest of all of them before.
        moved: those that differ afterwards.

    Example:
        >>> print(FrozenProof(2, 1_010, "3f2a77c1d0"))
        2 frozen variables, 1,010 numbers: unchanged (sha256 3f2a77c1…)
    """

    variables: int
    parameters: int
    sha256: str
    moved: tuple[Moved, ...] = ()

    def verify(self) -> FrozenProof:
        """Return this proof, if nothing moved.

        Raises:
            FrozenMovedError: Something did; the message names each variable and by how much.
        """
        if self.moved:
            raise FrozenMovedError(
                f"{len(self.moved)} of {self.variables} frozen variables moved: "
                f"{', '.join(map(str, self.moved))}. Was the model compiled after freezing?"
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON; `FrozenProof.from_dict` is the reverse."""
        return {**asdict(self), "moved": [asdict(each) for each in self.moved]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FrozenProof:
        """Return the proof that `to_dict` wrote."""
        return cls(**{**data, "moved": tuple(Moved(**each) for each in data["moved"])})

    def __str__(self) -> str:
        moved = f"{len(self.moved)} MOVED" if self.moved else "unchanged"
        return (
            f"{self.variables} frozen variables, {self.parameters:,} numbers: {moved} "
            f"(sha256 {self.sha256[:8]}…)"
        )


@dataclass(frozen=True, eq=False)
class FrozenWatch:
    """The frozen variables as they were when `watch_frozen` was called.

    Attributes:
        variables: the variables.
        digests: their digests, by path.
        values: copies of their values; empty if these were not kept.
    """

    variables: tuple[Any, ...] = field(repr=False)
    digests: Mapping[str, str] = field(repr=False)
    values: tuple[np.ndarray, ...] = field(repr=False)

    def prove(self) -> FrozenProof:
        """Compare the variables with what they were."""
        now = digest(self.variables)
        moved = [
            self._moved(position, path)
            for position, path in enumerate(now)
            if now[path] != self.digests[path]
        ]
        total = size(self.variables)
        return FrozenProof(len(now), total, _joint(self.digests.values()), tuple(moved))

    def _moved(self, position: int, path: str) -> Moved:
        if not self.values:
            return Moved(path, size(self.variables[position : position + 1]))
        return _difference(path, self.values[position], _numpy(self.variables[position]))


def watch_frozen(part: Backbone | keras.Model, *, keep_values: bool = True) -> FrozenWatch:
    """Begin the proof that training leaves alone what is frozen.

    Call it after freezing and before `fit`, and `prove()` on the result afterwards. It also finds
    layers that move in spite of `trainable = False` (`keras.layers.SpectralNormalization`).

    Args:
        part: the backbone, or the model that holds it.
        keep_values: whether to copy the values, as much memory as the frozen weights take. Without
            them the proof still names what moved, but not by how much.

    Returns:
        The watch.

    Raises:
        InputError: Nothing is frozen.

    Example:
        >>> from ktransfer.backbones import load_backbone
        >>> from ktransfer.freezing import freeze
        >>> backbone = load_backbone("MobileNetV2", "mini")
        >>> _ = freeze(backbone, "first:2")
        >>> watch = watch_frozen(backbone)
        >>> print(watch.prove().verify())  # doctest: +ELLIPSIS
        211 frozen variables, ... numbers: unchanged (sha256 ...)
    """
    variables = frozen_variables(part)
    if not variables:
        raise InputError(f"nothing in {part.name!r} is frozen, so there is nothing to prove")
    values = tuple(map(_numpy, variables))
    return FrozenWatch(variables, _digests(variables, values), values if keep_values else ())


# --- values and digests ------------------------------------------------------------------------


def _numpy(variable: Any) -> np.ndarray:
    return np.ascontiguousarray(keras.ops.convert_to_numpy(variable))


def _bytes(values: np.ndarray) -> np.ndarray:
    # As bytes: bfloat16 has no buffer that hashlib takes, and NaN equals nothing.
    return values.reshape(-1).view(np.uint8)


def _sha256(values: np.ndarray) -> str:
    sha = hashlib.sha256(f"{values.dtype}{values.shape}".encode())
    sha.update(_bytes(values).data)
    return sha.hexdigest()


def _digests(variables: Sequence[Any], values: Iterable[np.ndarray]) -> dict[str, str]:
    return dict(zip(_unique_paths(variables), map(_sha256, values), strict=True))


def _joint(digests: Iterable[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _unique_paths(variables: Iterable[Any]) -> list[str]:
    seen: dict[str, int] = {}
    paths = []
    for variable in variables:
        count = seen[variable.path] = seen.get(variable.path, 0) + 1
        paths.append(variable.path if count == 1 else f"{variable.path} ({count})")
    return paths


def _difference(path: str, before: np.ndarray, after: np.ndarray) -> Moved:
    unequal = _bytes(before).reshape(before.size, -1) != _bytes(after).reshape(after.size, -1)
    largest = float(np.max(np.abs(after.astype("float64") - before.astype("float64"))))
    changed = int(unequal.any(axis=1).sum())
    return Moved(path, before.size, changed, largest if math.isfinite(largest) else None)
