"""How good a classifier is, what was decided and why, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ktransfer.classifier import Classifier, FitResult
from ktransfer.metrics import Score, largest_class
from ktransfer.pages.parts import Facts, Part, Points, Section, Text, Verdict, count, percent
from ktransfer.pages.report.judging import Judged
from ktransfer.profile import SIMILAR_BELOW

#: Images below which an interval is too wide to compare two models by.
_FEW = 100

_PART = {
    "test": "test images, which played no part in the training",
    "validation": "validation images",
    "all": "images that were given for this report",
}
_OPTIMISTIC = (
    "The epoch, and perhaps the plan, was chosen on the validation images, so this is a little "
    "optimistic; images that were kept aside (a test part) would not be."
)


def how_good(classifier: Classifier, judged: Judged) -> Section:
    """Return the accuracy, its interval, and what it is to be compared with."""
    found, notes = judged.score, list(map(_sentence, judged.notes))
    if judged.part == "validation":
        notes.insert(0, _OPTIMISTIC)
    largest, baseline = largest_class(found.confusion)
    others = [
        (
            "Balanced accuracy",
            percent(found.balanced_accuracy),
            "the mean over the classes, each counting the same",
        ),
        ("Macro F1", percent(found.macro_f1), "of precision and recall, likewise"),
        (
            "Without looking",
            percent(baseline),
            f"always saying {classifier.class_names[largest]}, the largest class",
        ),
    ]
    verdict = Verdict(
        share=found.accuracy,
        of_what=f"of {found.num_images:,} {_PART[judged.part]} are classified right",
        interval=found.interval,
        baseline=baseline,
        baseline_words=f"always saying {classifier.class_names[largest]}",
        others=tuple(others),
        sentence=_worth(found, baseline),
    )
    parts: list[Part] = [verdict, *([Points(tuple(notes))] if notes else [])]
    return Section("how-good", "How good it is", tuple(parts))


def _worth(found: Score, baseline: float) -> str:
    low, high = found.interval
    width = (
        f"Judged by {count(found.num_images, 'image')}, of all images of this kind it gets between "
        f"{percent(low)} and {percent(high)} right (95 % interval)"
    )
    if low > baseline:
        told = "well above" if low > (1 + baseline) / 2 else "above"
        compared = f", {told} what is reached without looking."
    elif high < baseline:
        compared = ", which is less than is reached without looking: something is wrong."
    else:
        compared = ". What is reached without looking lies in there: it may have learnt nothing."
    few = f" With {found.num_images} images no more can be said." if found.num_images < _FEW else ""
    return width + compared + few


def decided(classifier: Classifier) -> Section:
    """Say what was done, why, and whether it was right."""
    title, result = "What was decided, and why", classifier.result
    if result is None:
        said = "The run was saved without the record of its training."
        return Section("decided", title, (Text((said,)),))
    facts = [
        ("Decision", _decision(result)),
        ("Stages", _stages(result)),
        ("Images", _images(result)),
        ("Like the backbone's own?", _likeness(result)),
        ("Risk of overfitting", result.overfitting_risk),
    ]
    if result.diagnosis:
        facts.insert(4, ("How it went", result.diagnosis.verdict.replace("_", " ")))
    parts: list[Part] = [Facts(tuple(facts)), Points(result.advice.reasons, "Why")]
    if result.diagnosis:
        parts.append(Points(result.diagnosis.reasons, "What the training shows"))
    if result.tries:
        parts.append(Points(tuple(map(str, result.tries)), "Tried besides the head"))
    if result.hindsight:
        parts.append(Points(result.hindsight, "In hindsight"))
    return Section("decided", title, tuple(parts))


def _decision(result: FitResult) -> str:
    share = result.trainable_parameters / max(result.total_parameters, 1)
    blocks = count(result.plan.num_blocks or 0, "block")
    trained = f"{result.trainable_parameters:,} of {result.total_parameters:,} numbers"
    if not result.plan.pretrained:
        return f"{result.carried_out}: all {blocks} were trained from random weights ({trained})."
    if result.unfrozen:
        return (
            f"{result.carried_out}: the head and the last {result.unfrozen} of {blocks} were "
            f"trained ({trained}, {percent(share)})."
        )
    return (
        f"{result.carried_out}: all {blocks} of the backbone stayed as they were, and only a new "
        f"head was trained ({trained}, {percent(share)})."
    )


def _stages(result: FitResult) -> str:
    """Return the stages in order, and which of them the model is made of."""
    return ", then ".join(
        f"{each.name} ({'kept' if each.kept else 'dropped, since it was no better'})"
        for each in result.stages
    )


def _images(result: FitResult) -> str:
    sizes = ", ".join(f"{size:,} {name}" for name, size in result.part_sizes.items())
    return f"{sizes}, in {count(len(result.classes), 'class', 'classes')}"


def _likeness(result: FitResult) -> str:
    gap = result.advice.gap
    if gap is None:
        known = {True: "taken to be", False: "taken to be different", None: "not known"}
        return f"{known[result.advice.similar]}; the domain gap was not measured"
    low, high = gap.interval
    said = "yes" if gap.similar else "no, different"
    return (
        f"{said}: a domain gap of {gap.value:.3f} ({low:.3f} to {high:.3f}), on {gap.num_images} "
        f"images; below {SIMILAR_BELOW} counts as similar"
    )


def next_steps(classifier: Classifier, judged: Judged) -> Section:
    """Say what to try, the most promising first."""
    steps = tuple(dict.fromkeys(_steps(classifier, judged)))
    return Section("next", "What to do next", (Points(steps),))


def _steps(classifier: Classifier, judged: Judged) -> Iterator[str]:
    result = classifier.result
    if result is not None:
        serious = [each for each in result.findings if each.severity == "error"]
        yield from (f"Mend the data first. {each.message}: {each.advice}" for each in serious[:2])
        if result.diagnosis:
            yield from (_sentence(each) for each in result.diagnosis.suggestions[:2])
        if result.advice.more_data:
            yield _sentence(result.advice.more_data.advice)
    wrong = judged.score.num_images - int(np.trace(judged.score.confusion))
    if wrong:
        yield (
            f"Look at the {count(wrong, 'photo')} that it gets wrong, below: a wrong label there "
            "costs more than any setting."
        )
    if judged.part == "validation":
        yield (
            "Keep some images aside, in a folder test beside train, and judge it on these once, at "
            "the end: what it was chosen by flatters it."
        )
    yield (
        "To use it elsewhere: `ktransfer export RUN --out model.onnx` writes a file that is proven "
        "to predict the same."
    )


def _sentence(words: str) -> str:
    text = words[:1].upper() + words[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."
