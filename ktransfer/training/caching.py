"""Whether to keep what the frozen blocks say, decided by an estimate of time and space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ktransfer.errors import InputError, unknown_name
from ktransfer.features import Network, RowSource
from ktransfer.plan import Stage

CACHE_MODES = ("auto", "on", "off")

#: One of `CACHE_MODES`, or the only cuts whose rows may be kept.
CacheMode = str | Sequence[int]

#: How fast rows are read back in an estimate: from memory, and from a memory-mapped file. Both are
#: on the low side, so that the estimate does not promise too much.
_MEMORY_MB_S, _DISK_MB_S = 2_000, 300

#: The parts whose rows a stage reads.
_READ = ("train", "validation")


@dataclass(frozen=True)
class CacheDecision:
    """Whether a stage reads rows at its cut, and why, in a sentence.

    Attributes:
        cached: whether it does.
        reason: why, or why not.
        start: the cut of the rows that it reads where it does not: images, or rows at an earlier
            cut, from which the frozen blocks in between run in every epoch.
    """

    cached: bool
    reason: str
    start: int = 0


def check_cache_mode(cache: CacheMode, num_blocks: int | None = None) -> None:
    """Raise an `InputError` if it is none of `CACHE_MODES`, nor cuts of a backbone.

    Args:
        cache: what was given.
        num_blocks: of the backbone; None: not known.
    """
    if isinstance(cache, list | tuple):
        most = math.inf if num_blocks is None else num_blocks
        for cut in cache:
            if not isinstance(cut, int) or isinstance(cut, bool) or not 1 <= cut <= most:
                raise InputError(
                    f"the cuts in cache={cache!r} are numbers of first blocks, from 1 to "
                    f"{'that of all' if num_blocks is None else num_blocks}, got {cut!r}"
                )
    elif cache not in CACHE_MODES:
        raise unknown_name("cache", str(cache), CACHE_MODES)


def decide(stage: Stage, network: Network, source: RowSource, mode: CacheMode) -> CacheDecision:
    """Decide whether a stage reads what its frozen blocks said once, or runs them in every step.

    Args:
        stage: the stage, resolved.
        network: with the stage's blocks frozen.
        source: of the images.
        mode: "auto" caches where it is sound, fits, and saves time; "on" wherever it is sound and
            fits; "off" never. Or the only cuts whose rows may be kept, those of features aside: a
            stage with another cut runs its blocks from the last of these before it.

    Raises:
        InputError: the mode is "on" where caching would be unsound, or does not fit; or it names a
            cut that there is not.
    """
    cut = network.cut_of(stage.num_trainable_blocks(network.num_blocks))
    unsound = _why_unsound(stage, cut)
    if unsound or mode == "off":
        if mode == "on" and unsound:
            raise InputError(f'cache="on", but stage {stage.name!r} cannot be cached: {unsound}')
        return CacheDecision(False, unsound or 'not cached: cache="off"')
    if not isinstance(mode, str):
        check_cache_mode(mode, network.num_blocks)
        return _by_cuts(cut, network.num_blocks, mode)
    if stage.augmentation == "none" and all(source.has(each, cut) for each in _READ):
        # Nothing is to be weighed; the trial of the estimate would take longer than reading them.
        reason = f"cached: what block {cut} of {network.num_blocks} says was computed before"
        return CacheDecision(True, reason)
    estimate = _estimate(stage, network, source, cut)
    if estimate.size_mb > estimate.free_mb:
        if mode == "on":
            raise InputError(f'cache="on", but stage {stage.name!r} does not fit: {estimate}')
        return CacheDecision(False, f"not cached, for want of space: {estimate}")
    if mode == "auto" and estimate.saved_s <= 0 and cut < network.num_blocks:
        return CacheDecision(False, f"not cached, since it would not pay: {estimate}")
    return CacheDecision(True, f"cached: {estimate}")


def _by_cuts(cut: int, num_blocks: int, kept: Sequence[int]) -> CacheDecision:
    if cut == num_blocks or cut in kept:
        return CacheDecision(True, f"cached: block {cut} of {num_blocks} is among those to keep")
    start = max((each for each in kept if each < cut), default=0)
    from_where = f"block {start}" if start else "the images"
    return CacheDecision(
        False,
        f"not cached: block {cut} of {num_blocks} is not among those to keep, so that the frozen "
        f"blocks from {from_where} on run in every epoch",
        start,
    )


@dataclass(frozen=True)
class _Estimate:
    cut: int
    num_blocks: int
    rows: int
    shape: tuple[int, ...]
    size_mb: float
    free_mb: float
    fill_s: float
    epoch_s: float
    saved_s: float

    def __str__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        return (
            f"{self.rows:,} rows of {shape} behind block {self.cut} of {self.num_blocks} take "
            f"{self.size_mb:,.1f} MB ({self.free_mb:,.0f} free) and about {self.fill_s:.1f} s; "
            f"each epoch then saves about {self.epoch_s:.1f} s, {self.saved_s:+.1f} s in all"
        )


def _why_unsound(stage: Stage, cut: int) -> str:
    if cut == 0:
        return "nothing is frozen: only the decoded images are kept"
    if stage.mixes:
        return (
            f"{stage.augmentation} mixes the images of each batch, so the frozen blocks run in "
            "every step"
        )
    if stage.augmentation != "none" and stage.views is None:
        return (
            f"{stage.augmentation} makes a new view of each image in every epoch, so the frozen "
            f"blocks run in every step (views=4 would fix four views of each and cache these)"
        )
    return ""


def _estimate(stage: Stage, network: Network, source: RowSource, cut: int) -> _Estimate:
    sizes = {part.name: len(part) for part in source.splits.parts}
    in_an_epoch = sizes["train"] + sizes["validation"]
    rows = (stage.views or 1) * sizes["train"] + sizes["validation"]
    shape = network.row_shape(cut)
    row_mb = math.prod(shape) * source.itemsize / 2**20
    image_s = source.seconds_per_image(cut)
    speed = _MEMORY_MB_S if rows * row_mb <= source.memory_left_mb() else _DISK_MB_S
    epoch_s = in_an_epoch * (image_s - row_mb / speed)
    return _Estimate(
        cut=cut,
        num_blocks=network.num_blocks,
        rows=rows,
        shape=shape,
        size_mb=rows * row_mb,
        free_mb=source.free_mb(),
        fill_s=rows * image_s,
        epoch_s=epoch_s,
        saved_s=stage.epochs * epoch_s - rows * image_s,
    )
