"""The candidates, each with what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ktransfer.advisor.advice import Candidate, head_name
from ktransfer.advisor.rule import earlier_block
from ktransfer.advisor.situation import Situation
from ktransfer.advisor.trying import every_stage
from ktransfer.errors import InputError
from ktransfer.features import FEATURE_SETS
from ktransfer.plan import Stage, from_scratch
from ktransfer.profile import Profile
from ktransfer.profile.probes import Probe, evidence_scores, probe


def candidates_of(
    profile: Profile,
    probes: Mapping[str, Probe],
    situation: Situation,
    tries: Sequence[Stage],
    why: str,
) -> tuple[Candidate, ...]:
    """Return all of them, from simple to costly.

    Args:
        profile: of the training images.
        probes: of the feature sets; empty where none can be judged.
        situation: what else is known.
        tries: the stages that are tried.
        why: these and no others are.
    """
    heads = [
        _head(
            head_name(name), profile.features_of(name), profile.labels, probes.get(name), situation
        )
        for name in FEATURE_SETS
    ]
    earlier = _earlier(profile, situation, judged=bool(probes))
    tuned = [
        _tuned(stage, situation, why, tried=stage in tries) for stage in every_stage(situation)
    ]
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


def _tuned(stage: Stage, situation: Situation, why: str, *, tried: bool) -> Candidate:
    unfreeze = int(stage.unfreeze)
    seconds, memory_mb = situation.costs.tuning(situation.num_images, unfreeze, stage.epochs)
    parameters = sum(situation.costs.parameters[situation.num_blocks - unfreeze :])
    name = "lp_ft" if unfreeze == situation.num_blocks else "last_blocks"
    note = "tried by `fit` on the validation images" if tried else why
    return Candidate(name, None, None, seconds, memory_mb, parameters, note=note)


def _scratch(situation: Situation) -> Candidate:
    epochs = from_scratch().epochs
    seconds, memory_mb = situation.costs.tuning(situation.num_images, situation.num_blocks, epochs)
    note = "not tried: pretrained weights are seldom worse, and never slower"
    parameters = sum(situation.costs.parameters)
    return Candidate("from_scratch", None, None, seconds, memory_mb, parameters, note=note)
