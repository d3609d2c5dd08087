"""Comparing backbones on the caller's own images."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ktransfer.backbones import Backbone
from ktransfer.data import read_data
from ktransfer.errors import DownloadError, InputError
from ktransfer.features import Forward, taps_of
from ktransfer.processes.keras_settings import own_settings
from ktransfer.recommend.candidates import Candidate, read_candidates
from ktransfer.recommend.costs import compile_taps, latency_ms, memory_mb, size_mb
from ktransfer.recommend.judgement import Judgement, Pixels, decode, judge, sampled
from ktransfer.recommend.limits import Limits
from ktransfer.recommend.published import imagenet_top1
from ktransfer.recommend.ranking import agreements, choose, on_front
from ktransfer.recommend.rated import MEASURED, RatedBackbone
from ktransfer.recommend.recommendation import Recommendation
from ktransfer.show.progress import say
from ktransfer.show.timing import timed

_WITHOUT_PHOTOS = ("mini", "own", None)


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A candidate that could be had, and what it costs with the features of its last block."""

    candidate: Candidate
    backbone: Backbone
    costs: dict[str, float]
    seconds: float


@dataclass(frozen=True, eq=False)
class _Judged:
    rated: RatedBackbone
    judgement: Judgement


@own_settings()
def recommend_backbones(
    data: Any,
    candidates: Iterable[Any] | None = None,
    *,
    max_latency_ms: float | None = None,
    max_size_mb: float | None = None,
    max_memory_mb: float | None = None,
    weights: Any = "imagenet",
    class_names: Sequence[str] | None = None,
    verbose: bool = True,
) -> Recommendation:
    """Compare backbones on your images, and recommend one.

    Every candidate runs once over the same images, at most 500 of the training part, evenly by
    class. Linear heads on its last block and on all of its blocks are judged by leaving out one
    image after the other, so that no validation image is used. Of those within the limits the
    fastest is recommended that is within one standard error of the most accurate.

    Args:
        data: as `FineTuner.fit` takes it; at least 2 training images of each class.
        candidates: a list of names, pairs `("MobileNetV2", {"alpha": 0.35})`, dicts such as
            `{"name": "MobileNetV2", "weights": "w.weights.h5", "options": {"alpha": 0.35}}`,
            `Backbone`s and functional models. None: `ktransfer.recommend.DEFAULTS`.
        max_latency_ms: the longest that one image may take on this machine, in milliseconds.
        max_size_mb: the most that the weights may take as float32, in MB of 2^20 bytes.
        max_memory_mb: the most memory that one image may need, weights and activations, as
            estimated from the graph (`ktransfer.recommend.costs.memory_mb`).
        weights: of the names that say nothing of their own. A candidate whose weights cannot be
            downloaded is listed as not available.
        class_names: as in `FineTuner.fit`.
        verbose: show progress on standard error.

    Returns:
        A `Recommendation`: print it, `plot` it.

    Raises:
        InputError: a candidate does not exist or cannot be built, no weights at all can be
            downloaded, no candidate meets the limits (the message names the nearest), a limit is
            not above 0, or the images are too few.

    Source: choosing by probes on the target instead of by ImageNet accuracy: Renggli et al. 2022,
        Which Model to Transfer? Finding the Needle in the Growing Haystack (arXiv 2010.06402).
    """
    limits = Limits(max_latency_ms, max_size_mb, max_memory_mb)
    named = read_candidates(candidates, weights)
    say = _teller(verbose)
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    with timed(seconds, "scan"):
        splits = read_data(data, class_names=class_names)
        part = sampled(splits.train, splits.class_names)
    with timed(seconds, "load"):
        loaded, missing = _load_all(named, say)
        limits.check_one_meets({each.candidate.label: each.costs for each in loaded})
    with timed(seconds, "decode"):
        pixels = decode(part, [each.backbone.input_size for each in loaded])
    with timed(seconds, "measure"):
        judged = [_judge(each, pixels, limits, say) for each in loaded]
    seconds["total"] = time.perf_counter() - started
    rated = _with_front([each.rated for each in judged])
    best = _best(rated, [each.judgement for each in judged])
    return Recommendation(
        best=best,
        reason=_reason(best, rated),
        candidates=_in_order(named, (*rated, *missing)),
        agreements=_agreements(rated),
        limits=limits.given(),
        num_images=len(pixels.labels),
        num_classes=len(splits.class_names),
        skipped=(*splits.skipped, *pixels.skipped),
        seconds=seconds,
        notes=splits.notes,
    )


def _teller(verbose: bool) -> Any:
    return say if verbose else lambda _: None


def _load_all(
    candidates: Sequence[Candidate], say: Any
) -> tuple[list[_Loaded], list[RatedBackbone]]:
    """Load those that can be had, with their costs; name those that cannot be downloaded."""
    loaded, missing = [], []
    for each in candidates:
        started = time.perf_counter()
        try:
            backbone = each.load()
        except DownloadError as error:
            missing.append(_unavailable(each, error))
            say(f"{each.label}: {missing[-1].status}")
            continue
        forward = compile_taps(backbone, taps_of(backbone, "last"))
        costs = _costs(backbone, forward)
        loaded.append(_Loaded(each, backbone, costs, time.perf_counter() - started))
        say(f"{each.label}: {costs['latency_ms']:.1f} ms, {costs['size_mb']:.1f} MB")
    if not loaded:
        labels = ", ".join(each.label for each in missing)
        raise InputError(
            f"the weights of no candidate can be had ({labels}): {missing[0].status}. Without "
            "network name files, such as "
            '("MobileNetV2", {"alpha": 0.35, "weights": "path.weights.h5"})'
        )
    return loaded, missing


def _unavailable(candidate: Candidate, error: Exception) -> RatedBackbone:
    return RatedBackbone(
        label=candidate.label,
        name=candidate.name,
        options=candidate.options,
        weights=candidate.weights,
        # The advice for one backbone alone would be repeated for each.
        status=f"not available: {error.__cause__ or error}",
    )


def _costs(backbone: Backbone, forward: Forward) -> dict[str, float]:
    return {
        "latency_ms": latency_ms(forward, backbone.input_size),
        "size_mb": size_mb(backbone),
        "memory_mb": memory_mb(backbone),
    }


def _judge(loaded: _Loaded, pixels: Pixels, limits: Limits, say: Any) -> _Judged:
    """Say what heads reach on it, with the features that the limits leave."""
    started = time.perf_counter()
    backbone, candidate = loaded.backbone, loaded.candidate
    judgement = judge(backbone, pixels)
    features, costs = judgement.features, loaded.costs
    if features != "last":
        # Reading all blocks takes longer, too: 13 to 22 % of it with three MobileNets.
        forward = compile_taps(backbone, taps_of(backbone, features))
        wider = {**costs, "latency_ms": latency_ms(forward, backbone.input_size)}
        if limits.missed(wider) and not limits.missed(costs):
            features = "last"
        else:
            costs = wider
    found = judgement.probes[features]
    say(f"{candidate.label}: {found.accuracy:.1%} on {features}")
    rated = RatedBackbone(
        label=candidate.label,
        name=candidate.name,
        options=candidate.options,
        weights=candidate.weights,
        status=MEASURED,
        input_size=backbone.input_size,
        accuracy=found.accuracy,
        interval=found.interval,
        features=features,
        feature_sets={name: each.accuracy for name, each in judgement.probes.items()},
        imagenet_top1=_published(candidate, backbone),
        logme=judgement.scores["logme"],
        h_score=judgement.scores["h_score"],
        latency_ms=costs["latency_ms"],
        size_mb=costs["size_mb"],
        memory_mb=costs["memory_mb"],
        meets_limits=not limits.missed(costs),
        seconds=loaded.seconds + time.perf_counter() - started,
    )
    return _Judged(rated, judgement)


def _published(candidate: Candidate, backbone: Backbone) -> float | None:
    if candidate.weights in _WITHOUT_PHOTOS:
        return None
    return imagenet_top1(candidate.name, candidate.options, backbone.input_size)


def _with_front(rated: Sequence[RatedBackbone]) -> tuple[RatedBackbone, ...]:
    front = on_front(
        [each.accuracy or 0.0 for each in rated], [each.latency_ms or 0.0 for each in rated]
    )
    return tuple(replace(each, on_front=on) for each, on in zip(rated, front, strict=True))


def _best(rated: Sequence[RatedBackbone], judgements: Sequence[Judgement]) -> RatedBackbone:
    correct = [
        judgement.probes[each.features or "last"].correct
        for each, judgement in zip(rated, judgements, strict=True)
    ]
    within = [at for at, each in enumerate(rated) if each.meets_limits]
    latencies = [rated[at].latency_ms or 0.0 for at in within]
    return rated[within[choose([correct[at] for at in within], latencies)]]


def _reason(best: RatedBackbone, rated: Sequence[RatedBackbone]) -> str:
    among = [each for each in rated if each.meets_limits]
    top = max(among, key=lambda each: each.accuracy or 0.0)
    own = f"{best.accuracy:.1%} right in {best.latency_ms:.1f} ms"
    if len(among) == 1:
        return f"{own}: the only one that can be had within the limits."
    if (top.accuracy or 0.0) <= (best.accuracy or 0.0):
        return f"{own}: the most accurate."
    return (
        f"{own}: the fastest within one standard error of the most accurate, {top.label}, with "
        f"{top.accuracy:.1%} in {top.latency_ms:.1f} ms."
    )


def _agreements(rated: Sequence[RatedBackbone]) -> Any:
    rankings = {
        "imagenet_top1": [each.imagenet_top1 for each in rated],
        "logme": [each.logme for each in rated],
        "h_score": [each.h_score for each in rated],
    }
    return agreements([each.accuracy or 0.0 for each in rated], rankings)


def _in_order(
    named: Sequence[Candidate], rated: Sequence[RatedBackbone]
) -> tuple[RatedBackbone, ...]:
    by_label = {each.label: each for each in rated}
    return tuple(by_label[each.label] for each in named)
