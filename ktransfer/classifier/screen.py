"""The few lines that a person reads after a training or an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ktransfer.advisor import Advice
from ktransfer.advisor.afterwards import NO_BETTER, UNFINISHED, Tried
from ktransfer.advisor.trying import TRIED_FROM_GAIN
from ktransfer.classifier.mistakes import Mistake
from ktransfer.data import Skipped
from ktransfer.doctor import Finding
from ktransfer.metrics import Score, confused_pairs, largest_class
from ktransfer.plan import Plan
from ktransfer.show.results import Row
from ktransfer.training.diagnosis import Diagnosis
from ktransfer.training.stage_result import StageResult

_MOST_PAIRS, _MOST_MISTAKES = 2, 3
_MOST_OF_A_NAME, _MOST_OF_A_LINE = 20, 66

_SIZES = {"small": "few", "between": "some", "large": "many"}


def accuracy_row(label: str, found: Score, images: str) -> Row:
    """Say the accuracy on some images, and its interval."""
    low, high = found.interval
    said = f" on {found.num_images:,} {images} (95 % interval {low:.1%} to {high:.1%})"
    return Row(label, (said,), figure=f"{found.accuracy:.1%}", verbatim=True)


def balanced_row(found: Score, part: str = "") -> Row:
    """Say the figures that count every class alike."""
    on = f" on {part} images" if part else ""
    figures = f"{found.balanced_accuracy:.1%} mean over classes, {found.macro_f1:.1%} macro F1"
    return Row("Balanced", (figures + on,))


def baseline_row(found: Score) -> Row:
    """Say what is right of always naming the largest class, and whether the model is better."""
    largest, share = largest_class(found.confusion)
    naming = f"always saying {_short(list(found.per_class)[largest])}: {share:.1%}"
    if found.accuracy <= share:
        naming += ", which is no worse"
    elif found.interval[0] <= share:
        naming += "; so few images do not tell these apart"
    return Row("", (naming,))


def confused_row(found: Score) -> Iterator[Row]:
    """Name the classes that are taken for each other most often."""
    counts, names = found.confusion, list(found.per_class)
    images = counts.sum(axis=1)
    said = [
        f"{_short(names[row])} as {_short(names[at])} {counts[row, at]:,} of {images[row]:,}"
        for row, at in confused_pairs(counts)[:_MOST_PAIRS]
    ]
    # Two that fit a line, or the first.
    line = ", ".join(said) if len(", ".join(said)) <= _MOST_OF_A_LINE else said[0]
    if line:
        yield Row("Confused", (line,))


def mistakes_row(mistakes: Sequence[Mistake]) -> Iterator[Row]:
    """Name the images that the model is wrong about, and what it takes them for."""
    lines = []
    for each in mistakes[:_MOST_MISTAKES]:
        taken = f"  {_short(each.predicted)}, {each.probability:.1%} sure"
        lines.append(_end(each.image, _MOST_OF_A_LINE - len(taken)) + taken)
    if lines:
        yield Row("Wrong", tuple(lines), verbatim=True)


def trained_words(unfrozen: int, plan: Plan) -> str:
    """Say what trained, in a practitioner's words."""
    if not unfrozen:
        return "all layers frozen, head trained"
    if unfrozen >= (plan.num_blocks or 0):
        return "all layers trained"
    return f"last {unfrozen} of {plan.num_blocks} blocks and head trained"


def reason_row(advice: Advice, plan: Plan, num_train: int) -> Row:
    """Say in a line why this was done."""
    if not advice.candidates and plan.name != advice.strategy:
        return Row("Because", (f"the plan was given: {plan.name}",))
    gap = f" (domain gap {advice.gap.value:.3f})" if advice.gap else ""
    known = {
        True: f"similar to the backbone's own{gap}",
        False: f"unlike the backbone's own{gap}",
        None: "how similar to the backbone's own is not known",
    }
    return Row(
        "Because", (f"{_SIZES[advice.size]} images ({num_train:,}), {known[advice.similar]}",)
    )


def tuning_row(
    stages: Sequence[StageResult], tries: Sequence[Tried], num_blocks: int
) -> Iterator[Row]:
    """Say what came of fine-tuning, where it was tried after a head alone."""
    if tries:
        yield Row("Fine-tuning", (_of_tries(tries, num_blocks),))
        return
    if not stages or stages[0].unfreeze:
        return
    before, said = stages[0].val_accuracy, []
    for each in stages[1:]:
        if not each.unfreeze:
            continue  # the head, solved anew
        what = _blocks(each.unfreeze, num_blocks)
        if each.kept and each.val_accuracy is not None:
            was = "" if before is None else f"{before:.1%} to "
            lower = before is not None and each.val_accuracy <= before
            why = " for the lower loss" if lower else ""
            said.append(f"{what} kept{why}, {was}{each.val_accuracy:.1%}")
            before = each.val_accuracy
        else:
            said.append(f"{what} no better, dropped")
    line = "; ".join(said)
    if len(line) > _MOST_OF_A_LINE:
        line = f"{len(said)} stages, {sum(each.kept for each in stages[1:])} kept (-v has each)"
    if line:
        yield Row("Fine-tuning", (line,))


def untried_row(advice: Advice) -> Iterator[Row]:
    """Say that fine-tuning was not tried where sets like this one hardly gained by it."""
    for each in advice.candidates:
        interval = each.gain_interval
        if each.gain is not None and interval and interval[1] < TRIED_FROM_GAIN:
            low, high = (100 * end for end in interval)
            said = f"sets like this one gained {100 * each.gain:+.1f} points"
            yield Row("Fine-tuning", (f"not tried: {said} ({low:+.1f} to {high:+.1f})",))
            return


def _blocks(unfreeze: int, num_blocks: int) -> str:
    if unfreeze >= num_blocks:
        return "all blocks"
    return "last block" if unfreeze == 1 else f"last {unfreeze} blocks"


def _of_tries(tries: Sequence[Tried], num_blocks: int) -> str:
    kept = [each for each in tries if each.kept]
    if kept:
        what, rate = _blocks(kept[0].unfreeze, num_blocks), kept[0].learning_rate
        return f"{what} at {rate:g} kept for the lower loss, of {len(tries)} tried"
    done = [each for each in tries if each.outcome == NO_BETTER]
    if len(done) < len(tries):
        why = next(each.note for each in tries if each.outcome == UNFINISHED)
        return f"{len(done)} of {len(tries)} ways tried to an end, none kept ({why})"
    if len(tries) == 1:
        return f"{_blocks(tries[0].unfreeze, num_blocks)} no better by more than chance, dropped"
    return f"{len(tries)} ways tried, none better by more than chance (-v has each)"


def diagnosis_row(diagnosis: Diagnosis | None) -> Iterator[Row]:
    """Say what is wrong with the training, if something is."""
    if diagnosis is None or diagnosis.verdict == "good_fit":
        return
    said = diagnosis.verdict.replace("_", " ")
    if diagnosis.train_accuracy is not None and diagnosis.val_accuracy is not None:
        said += (
            f": {diagnosis.train_accuracy:.1%} of training, "
            f"{diagnosis.val_accuracy:.1%} of validation right"
        )
    yield Row("Diagnosis", (said,))


def remarks_row(
    skipped: Sequence[Skipped], findings: Sequence[Finding], notes: Sequence[str]
) -> Iterator[Row]:
    """Say how much there is to look at."""
    severity = [each.severity for each in findings]
    counts = {
        ("file left out", "files left out"): len(skipped),
        ("error", "errors"): severity.count("error"),
        ("warning", "warnings"): severity.count("warning"),
        ("note", "notes"): len(notes),
    }
    said = ", ".join(
        f"{count:,} {one if count == 1 else several}"
        for (one, several), count in counts.items()
        if count
    )
    if said:
        yield Row("To look at", (f"{said}: -v shows them",))


def _short(name: str) -> str:
    return name if len(name) <= _MOST_OF_A_NAME else name[: _MOST_OF_A_NAME - 3] + "..."


def _end(path: str, most: int) -> str:
    return path if len(path) <= most else "..." + path[3 - most :]
