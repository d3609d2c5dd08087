"""The candidates, each with what is known of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ktransfer.advisor.advice import Candidate, head_name
from ktransfer.advisor.rule import earlier_block
from ktransfer.advisor.situation import Situation
from ktransfer.advisor.trying import Tries, every_try, seconds_of
from ktransfer.errors import InputError
from ktransfer.features import FEATURE_SETS
from ktransfer.plan import Plan, from_scratch
from ktransfer.profile import Profile
from ktransfer.profile.probes import Probe, evidence_scores, probe


def candidates_of(
    profile: Profile,
    probes: Mapping[str, Probe],
    situation: Situation,
    tries: Tries,
) -> tuple[Candidate, ...]:
    """Return all of them, from simple to costly.

    Args:
        profile: of the training images.
        probes: of the feature sets; empty where none can be judged.
        situation: what else is known.
        tries: what is tried besides the head.
    """
    heads = [
        _head(
            head_name(name), profile.features_of(name), profile.labels, probes.get(name), situation
        )
        for name in FEATURE_SETS
    ]
    earlier = _earlier(profile, situation, judged=bool(probes))
    depths: dict[int, list[Plan]] = {}
    for each in every_try(situation.num_blocks):
        depths.setdefault(int(each.stages[1].unfreeze), []).append(each)
    tuned = [_tuned(unfreeze, plans, situation, tries) for unfreeze, plans in depths.items()]
    return (*heads[:1], *earlier, *heads[1:], *tuned, _scratch(situation))


def _head(
    name: str,
    features: np.ndarray,
    labels: np.ndarray,
    judged: Probe | None,
    situation: Situation,
    note: str = "",
) -> Candidate:
    seconds, memory_mb = situation.costs.head(situation.num_images, features.shape[1])
    return Candidate(
        name=name,
        accuracy=judged.accuracy if judged else None,
        interval=judged.interval if judged else None,
        seconds=seconds,
        memory_mb=memory_mb,
        trainable_parameters=(features.shape[1] + 1) * situation.num_classes,
        scores=evidence_scores(features, labels) if judged else {},
        note=note,
    )


def _earlier(profile: Profile, situation: Situation, *, judged: bool) -> list[Candidate]:
    """Return the textbook's head on an earlier block: shown, and not chosen."""
    kept = earlier_block(situation.num_blocks)
    try:
        features = profile.features_of_block(kept - 1)
    except InputError:
        return []  # its output is no map that could be averaged
    found = probe(features, profile.labels) if judged else None
    note = f"behind block {kept} of {situation.num_blocks}, for comparison: seldom the best"
    return [_head("earlier_linear_probe", features, profile.labels, found, situation, note)]


def _tuned(unfreeze: int, plans: Iterable[Plan], situation: Situation, tries: Tries) -> Candidate:
    """Return training of so many last blocks: the first stage of each rate, the best goes on."""
    known = situation.costs, situation.num_images
    first = [seconds_of(each, *known, last=2) for each in plans]
    rest = max(seconds_of(each, *known) for each in plans) - max(first)
    parameters = sum(situation.costs.parameters[situation.num_blocks - unfreeze :])
    tried = any(each in tries.plans for each in plans)
    return Candidate(
        name="lp_ft" if unfreeze == situation.num_blocks else "last_blocks",
        accuracy=None,
        interval=None,
        seconds=sum(first) + rest,
        memory_mb=situation.costs.tuning(situation.num_images, unfreeze, 1)[1],
        trainable_parameters=parameters,
        note="tried by `fit` on the validation images" if tried else tries.why,
        gain=tries.gain.mean if tries.gain else None,
        gain_interval=tries.gain.interval if tries.gain else None,
    )


def _scratch(situation: Situation) -> Candidate:
    epochs = from_scratch().epochs
    seconds, memory_mb = situation.costs.tuning(situation.num_images, situation.num_blocks, epochs)
    note = "not tried: pretrained weights are seldom worse, and never slower"
    parameters = sum(situation.costs.parameters)
    return Candidate("from_scratch", None, None, seconds, memory_mb, parameters, note=note)
