"""The decision: the 2x2 rule is the prior, what was measured on the images decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ktransfer._checks import InputError, unknown_name
from ktransfer.advisor.advice import Advice, Candidate, head_name
from ktransfer.advisor.costs import Costs
from ktransfer.advisor.rule import (
    advise,
    cell_of,
    earlier_block,
    overfitting_risk,
    size_reason,
)
from ktransfer.learning_curve import LearningCurve, learning_curve
from ktransfer.plan import Plan, Stage, from_scratch, linear_probe, lp_ft
from ktransfer.probes import Probe, choose_simplest, evidence_scores, probe
from ktransfer.profile import FEATURE_SETS, SIMILAR_BELOW, Profile

FINE_TUNING = ("auto", "on", "off")

#: Fine-tuning is tried from so many training images on: with fewer, the validation images that have
#: to tell whether it helped are a dozen or two.
TRIED_FROM_IMAGES = 100

#: And where the head is wrong at least so often: else there is next to nothing to gain.
TRIED_FROM_MISTAKES = 0.05

#: A try that would take longer here is left out; the reasons say so.
LONGEST_TRY_S = 30 * 60

#: Classes with a single image cannot be judged by leaving it out.
_LEAST_OF_A_CLASS = 2


@dataclass(frozen=True)
class Situation:
    """What is known beside the profile.

    Attributes:
        num_images: training images.
        num_classes: at least 2.
        similarity: what the user says of it, as in `advise`; None: nothing.
        fine_tuning: whether it is tried: `"auto"`, `"on"` or `"off"`.
        costs: of the backbone.
    """

    num_images: int
    num_classes: int
    similarity: float | str | None
    fine_tuning: str
    costs: Costs

    @property
    def num_blocks(self) -> int:
        """How many blocks the backbone has."""
        return len(self.costs.parameters)


def check_fine_tuning(fine_tuning: str) -> None:
    """Raise an `InputError` if it is none of `FINE_TUNING`."""
    if fine_tuning not in FINE_TUNING:
        raise unknown_name("fine_tuning", str(fine_tuning), FINE_TUNING)


def decide(profile: Profile, situation: Situation, *, seed: int = 0) -> Advice:
    """Decide what the head reads and whether fine-tuning is worth a try.

    Heads on three fixed feature sets are judged by leaving out one training image after the other.
    Where the images are like the backbone's own, or nobody knows, the simplest within one standard
    error of the best is taken; where they differ, the best: there the wider sets are what the 2x2
    rule hopes to find in earlier blocks. Fine-tuning is tried by `fit` on the validation images,
    and kept only where it is better.

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
    chosen = _chosen(probes, rule.similar)
    mistakes = 1.0 - probes[chosen].accuracy if probes else None
    tries, why_tried = _fine_tuning(situation, mistakes)
    plan = _plan(chosen, tries, situation.num_blocks)
    unfreeze = max(int(stage.unfreeze) for stage in plan.stages)
    head = (profile.widths[chosen] + 1) * situation.num_classes
    trainable = head + sum(situation.costs.parameters[situation.num_blocks - unfreeze :])
    risk = overfitting_risk(trainable, situation.num_images, head_only=unfreeze == 0)
    return replace(
        rule,
        strategy=plan.name,
        reasons=(*rule.reasons, *_head_reasons(probes, chosen, rule, excuse), why_tried),
        trainable_parameters=trainable,
        num_blocks=situation.num_blocks,
        num_trainable_blocks=unfreeze,
        overfitting_risk=risk,
        candidates=_candidates(profile, probes, situation, tries, why_tried),
        plan=plan,
        more_data=_more_data(profile, chosen, seed),
    )


def _prior(profile: Profile, situation: Situation) -> Advice:
    """The cell of the rule, and how similar the images are by what was said or measured."""
    said, gap = situation.similarity, profile.gap
    measured = gap.similar if gap else None
    given = said if said is not None or measured is None else float(measured)
    rule = advise(
        situation.num_images,
        situation.num_classes,
        given,
        num_features=profile.widths["last"],
        block_parameters=situation.costs.parameters,
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
    """A probe of each feature set, or none and why."""
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


def _chosen(probes: Mapping[str, Probe], similar: bool | None) -> str:
    if not probes:
        return "last"
    names = list(probes)
    # On domains that differ, the simplest within one standard error cost 1 to 3 points; on photos
    # the widest sets did.
    tolerance = 0.0 if similar is False else 1.0
    return names[choose_simplest(list(probes.values()), tolerance)]


def _fine_tuning(situation: Situation, mistakes: float | None) -> tuple[tuple[Stage, ...], str]:
    """The stages that are tried, and why these, in a sentence."""
    every = _every(situation)
    if situation.fine_tuning == "off":
        return (), "Fine-tuning is not tried: it was switched off."
    if situation.fine_tuning == "on":
        return every, "Fine-tuning is tried on the validation images, as asked for."
    if situation.num_images < TRIED_FROM_IMAGES or mistakes is None:
        return (), (
            f"Fine-tuning is not tried with under {TRIED_FROM_IMAGES} training images: too few "
            "are held back to tell whether it helped."
        )
    if mistakes < TRIED_FROM_MISTAKES:
        return (), (
            f"Fine-tuning is not tried: the head is wrong in {mistakes:.1%} of the images only, so "
            "there is little to gain."
        )
    short = tuple(each for each in every if _seconds(each, situation) <= LONGEST_TRY_S)
    left_out = _left_out(every, short, situation)
    return short, (
        f"Fine-tuning is tried, since the head is wrong in {mistakes:.1%} of the images, and kept "
        f"only where the validation images say that it is better.{left_out}"
    )


def _seconds(stage: Stage, situation: Situation) -> float:
    unfreeze = int(stage.unfreeze)
    return situation.costs.tuning(situation.num_images, unfreeze, stage.epochs)[0]


def _left_out(every: Sequence[Stage], short: Sequence[Stage], situation: Situation) -> str:
    long = [each for each in every if each not in short]
    if not long:
        return ""
    names = " and ".join(each.name for each in long)
    hours = sum(_seconds(each, situation) for each in long) / 3_600
    return (
        f" Left out is {names}, which would take about {hours:.1f} hours here: "
        "fine_tuning='on' tries it all the same."
    )


def _every(situation: Situation) -> tuple[Stage, ...]:
    """What may be tried: the last third, from the cache and cheap, then everything."""
    blocks = situation.num_blocks
    return lp_ft(last_first=max(1, blocks // 3)).resolve(blocks).stages[1:]


def _plan(features: str, tries: Sequence[Stage], num_blocks: int) -> Plan:
    head = linear_probe(features=features)
    everything = any(stage.unfreeze == num_blocks for stage in tries)
    tuned = "lp_ft" if everything else "last_blocks"
    name = tuned if tries else head_name(features)
    return replace(head, name=name, stages=(*head.stages, *tries)).resolve(num_blocks)


def _head_reasons(
    probes: Mapping[str, Probe], chosen: str, rule: Advice, excuse: str
) -> Sequence[str]:
    if not probes:
        return (excuse,)
    figures = ", ".join(
        f"{each.accuracy:.1%} ({each.interval[0]:.1%} to {each.interval[1]:.1%}) on {_WORDS[name]}"
        for name, each in probes.items()
    )
    rules = {
        True: "the simplest within one standard error of the best, as for a familiar domain",
        False: "the one with the smallest errors, as for an unfamiliar domain",
        None: "the simplest within one standard error of the best",
    }
    sentence = (
        f"By leaving out one training image after the other, a linear head gets {figures} right. "
        f"It will read {_WORDS[chosen]}: {rules[rule.similar]}."
    )
    return (sentence, excuse) if excuse else (sentence,)


_WORDS = {
    "last": "the last features",
    "all_blocks": "those of all blocks",
    "all_blocks_and_inner": "those of all blocks and inside them",
}


def _candidates(
    profile: Profile,
    probes: Mapping[str, Probe],
    situation: Situation,
    tries: Sequence[Stage],
    why: str,
) -> tuple[Candidate, ...]:
    heads = [
        _head(
            head_name(name), profile.features_of(name), profile.labels, probes.get(name), situation
        )
        for name in FEATURE_SETS
    ]
    earlier = _earlier(profile, situation, judged=bool(probes))
    tuned = [_tuned(stage, situation, why, tried=stage in tries) for stage in _every(situation)]
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
    """The textbook's head on an earlier block: shown, and not chosen."""
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


def _more_data(profile: Profile, chosen: str, seed: int) -> LearningCurve | None:
    try:
        return learning_curve(profile.features_of(chosen), profile.labels, seed=seed)
    except InputError:
        return None  # too few images for a curve
