"""The decision: the 2x2 rule is the prior, what was measured on the images decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ktransfer.advisor.advice import Advice, head_name
from ktransfer.advisor.candidates import candidates_of
from ktransfer.advisor.rule import cell_of, overfitting_risk, rule_alone, size_reason
from ktransfer.advisor.situation import Situation
from ktransfer.advisor.trying import tries_of
from ktransfer.errors import InputError
from ktransfer.features import FEATURE_SETS
from ktransfer.plan import linear_probe
from ktransfer.profile import SIMILAR_BELOW, Profile
from ktransfer.profile.learning_curve import LearningCurve, learning_curve
from ktransfer.profile.probes import Probe, choose_simplest, probe

#: Classes with a single image cannot be judged by leaving it out.
_LEAST_OF_A_CLASS = 2

#: With fewer training images the simplest head within one standard error is taken on any domain.
FEW_IMAGES = 100


def decide(profile: Profile, situation: Situation, *, seed: int = 0) -> Advice:
    """Decide what the head reads and whether fine-tuning is worth a try.

    Heads on three fixed feature sets are judged by leaving out one training image after the other.
    Where the images are like the backbone's own, nobody knows, or there are few of them, the
    simplest within one standard error of the best is taken; where they differ, the best: there the
    wider sets are what the 2x2 rule hopes to find in earlier blocks. Fine-tuning is tried by `fit`
    where sets like this one gained by it, and kept only where it is better by more than chance.

    Args:
        profile: of the training images, or of as many of them, evenly by class.
        situation: what else is known.
        seed: of the parts that the learning curve draws.

    Source: the rule: Stanford CS231n; heads on all depths: Evci et al. 2021, Head2Toe
        (arXiv 2201.03529). Changed: three fixed sets instead of a search, since the best of many
        taps is often only the luckiest.
    """
    rule = _prior(profile, situation)
    probes, excuse = _probes(profile)
    chosen = _chosen(probes, rule.similar, len(profile))
    mistakes = 1.0 - probes[chosen].accuracy if probes else None
    tries = tries_of(situation, mistakes, profile.gap.value if profile.gap else None)
    plan = replace(linear_probe(features=chosen), name=head_name(chosen))
    unfreeze = max((int(each.stages[-1].unfreeze) for each in tries.plans), default=0)
    head = (profile.widths[chosen] + 1) * situation.num_classes
    trainable = head + sum(situation.costs.parameters[situation.num_blocks - unfreeze :])
    risk = overfitting_risk(trainable, situation.num_images, head_only=unfreeze == 0)
    return replace(
        rule,
        strategy=plan.name,
        reasons=(*rule.reasons, *_head_reasons(probes, chosen, rule, excuse), tries.why),
        trainable_parameters=trainable,
        num_blocks=situation.num_blocks,
        num_trainable_blocks=unfreeze,
        overfitting_risk=risk,
        candidates=candidates_of(profile, probes, situation, tries),
        plan=plan.resolve(situation.num_blocks),
        tries=tries.plans,
        more_data=_more_data(profile, chosen, seed),
    )


def _prior(profile: Profile, situation: Situation) -> Advice:
    """Return the cell of the rule, and how similar the images are by what was said or measured."""
    said, gap = situation.similarity, profile.gap
    measured = gap.similar if gap else None
    given = said if said is not None or measured is None else float(measured)
    rule = rule_alone(
        situation.num_images,
        situation.num_classes,
        given,
        profile.widths["last"],
        situation.costs.parameters,
    )
    sentences = [size_reason(situation.num_images, situation.num_classes)]
    if gap:
        sentences.append(_gap_reason(profile))
    else:
        sentences.append(profile.gap_source)
    if said is not None or not gap:
        sentences.append(rule.reasons[1])
    if said is not None and gap and rule.similar != gap.similar:
        sentences.append("What you said contradicts what was measured; yours is taken.")
    similar = rule.similar if said is not None else measured
    # Unknown counts as similar in the cell, and the sentence of the rule says that it does.
    cell = cell_of(rule.size, similar is not False)
    return replace(rule, reasons=tuple(sentences), similar=similar, gap=gap, cell=cell)


def _gap_reason(profile: Profile) -> str:
    gap = profile.gap
    assert gap is not None
    word, bound = ("similar", "under") if gap.similar else ("different", "not under")
    early, middle, late = gap.thirds
    return (
        f"The domain gap is {gap.value:.3f} ({gap.interval[0]:.3f} to {gap.interval[1]:.3f}), "
        f"{bound} {SIMILAR_BELOW:g}: {word}; {profile.gap_source}; {early:.3f} in the early, "
        f"{middle:.3f} in the middle and {late:.3f} in the late layers."
    )


def _probes(profile: Profile) -> tuple[dict[str, Probe], str]:
    """Return a probe of each feature set, or none and why."""
    counts = np.bincount(profile.labels)
    counts = counts[counts > 0]
    if len(profile) < 3 or len(counts) < 2 or counts.max() < _LEAST_OF_A_CLASS:
        return {}, (
            f"No head can be judged on {len(profile)} training images of {len(counts)} classes, of "
            "which none has 2: leaving one image out needs another of its class. What can still be "
            "measured are the domain gap and the validation images."
        )
    excuse = ""
    lonely = int(np.sum(counts < _LEAST_OF_A_CLASS))
    if lonely:
        excuse = (
            f"{lonely} of {len(counts)} classes have a single training image: of these the "
            "estimates say nothing."
        )
    found = {name: probe(profile.features_of(name), profile.labels) for name in FEATURE_SETS}
    if np.ptp(profile.features, axis=0).max(initial=0.0) == 0.0:
        excuse = "The backbone says the same of every image: its features are constant."
    return found, excuse


def _chosen(probes: Mapping[str, Probe], similar: bool | None, num_images: int) -> str:
    if not probes:
        return "last"
    names = list(probes)
    # On domains that differ, the simplest within one standard error cost 1 to 3 points; on photos
    # the widest sets did. Of few images the smallest error is too often luck.
    tolerance = 0.0 if similar is False and num_images >= FEW_IMAGES else 1.0
    return names[choose_simplest(list(probes.values()), tolerance)]


def _head_reasons(
    probes: Mapping[str, Probe], chosen: str, rule: Advice, excuse: str
) -> Sequence[str]:
    if not probes:
        return (excuse,)
    figures = ", ".join(
        f"{each.accuracy:.1%} ({each.interval[0]:.1%} to {each.interval[1]:.1%}) on {_WORDS[name]}"
        for name, each in probes.items()
    )
    sentence = (
        f"By leaving out one training image after the other, a linear head gets {figures} right. "
        f"It will read {_WORDS[chosen]}: {_criterion(probes, chosen, rule.similar)}."
    )
    return (sentence, excuse) if excuse else (sentence,)


def _criterion(probes: Mapping[str, Probe], chosen: str, similar: bool | None) -> str:
    """Say what decided: not the shares that are right, which of few images are luck in part."""
    errors = {name: float(each.errors.mean()) for name, each in probes.items()}
    domain = {True: ", in a familiar domain", False: ", in an unfamiliar domain", None: ""}[similar]
    if errors[chosen] > min(errors.values()):
        return (
            "its squared errors are within one standard error of the smallest, and it is the "
            f"simplest of these{domain}"
        )
    if similar is False or chosen == next(iter(probes)):
        return f"its squared errors are the smallest{domain}"
    return f"its squared errors are the smallest, by more than one standard error{domain}"


_WORDS = {
    "last": "the last features",
    "all_blocks": "those of all blocks",
    "all_blocks_and_inner": "those of all blocks and inside them",
}


def _more_data(profile: Profile, chosen: str, seed: int) -> LearningCurve | None:
    try:
        return learning_curve(profile.features_of(chosen), profile.labels, seed=seed)
    except InputError:
        return None  # too few images for a curve
