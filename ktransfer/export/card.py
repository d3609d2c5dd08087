"""The model card: what a model is, how good it is and how to call it, in Markdown.

Source: Mitchell et al. 2018, Model Cards for Model Reporting (arXiv 1810.03993); what can be
measured is filled in, what only people know (who may use it for what) is left to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ktransfer.classifier import Classifier, FitResult
from ktransfer.data.images.value_range import ValueRange, in_words
from ktransfer.export.calling import example, packages
from ktransfer.export.markdown import bullets, code, table, text
from ktransfer.export.proven import how_it_agrees, what_it_cost
from ktransfer.export.result import ExportResult
from ktransfer.metrics import Score

_MOST_SKIPPED = 20
_MOST_CONFUSED = 5
_MOST_CLASSES = 12


def write_card(classifier: Classifier, export: ExportResult, metadata: Mapping[str, Any]) -> str:
    """Return the card of an export.

    Args:
        classifier: the model and what is known of it.
        export: what was written, and how it was compared.
        metadata: what travels inside the export.
    """
    sections = [
        [f"# {text(export.path.name)}", "", _summary(classifier, metadata)],
        ["## Call it", "", *_call(export, classifier.value_range)],
        ["## How good it is", "", *_accuracy(classifier)],
        ["## What it learnt from", "", *_data(classifier, metadata)],
        ["## How it was trained", "", *_training(classifier)],
        ["## The export is the model", "", *how_it_agrees(export), *what_it_cost(export)],
        ["## The file", "", *_file(export, metadata)],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _summary(classifier: Classifier, metadata: Mapping[str, Any]) -> str:
    names = [text(each) for each in classifier.class_names]
    shown = ", ".join(names[:_MOST_CLASSES])
    more = f" and {len(names) - _MOST_CLASSES} more" if len(names) > _MOST_CLASSES else ""
    result = classifier.result
    learnt = f" that learnt from {result.part_sizes['train']:,} images" if result else ""
    return (
        f"Tells {len(names)} classes of images apart: {shown}{more}. {_right(result)}A "
        f"{text(classifier.backbone.name)}{learnt}, exported with ktransfer "
        f"{metadata['versions']['ktransfer']} on {metadata['created'][:10]}. It always answers "
        "with one of these classes, whatever the image shows."
    )


def _right(result: FitResult | None) -> str:
    if result is None:
        return ""
    part, found = ("test", result.test) if result.test else ("validation", result.validation)
    low, high = found.interval
    return (
        f"**{found.accuracy:.1%}** of {found.num_images:,} {part} images are classified right "
        f"(95 % interval {low:.1%} to {high:.1%}). "
    )


def _call(export: ExportResult, value_range: ValueRange | None) -> list[str]:
    height, width = export.input_size
    takes = (
        f"any height and width (the network sees {height} x {width}: the largest centred part of "
        "that shape, scaled; the file does this itself)"
        if export.any_size
        else f"{height} x {width} pixels only, which `resize_array` makes as the training did"
    )
    return [
        f"`pip install {packages(export.format)}`, then:",
        "",
        *code(example(export.path.name, export.format, export.input_size), "python"),
        "",
        "It takes `images`, uint8 RGB in [0, 255] of shape `(batch, height, width, 3)`: any number "
        f"of them, of {takes}. It gives `probabilities`, float32 `(batch, classes)`, whose rows "
        "sum to 1. Preprocessing and softmax are inside.",
        *_deep(value_range),
    ]


def _deep(value_range: ValueRange | None) -> list[str]:
    if value_range is None:
        return []
    low, high = value_range
    return [
        "",
        f"It learnt from images of more than 8 bits of which {in_words(value_range)}. Other "
        "programs make them uint8 so, before they call it: "
        f"`np.floor(np.clip((values - {low:.10g}) * (255 / {high - low:.10g}), 0, 255) + 0.5)`. "
        "`OnnxClassifier` does this itself for files and for arrays that are not uint8.",
    ]


def _accuracy(classifier: Classifier) -> list[str]:
    if classifier.result is None:
        return ["The run was saved without its result: how good it is was not measured."]
    result = classifier.result
    scores = {"validation": result.validation, "test": result.test}
    rows = [
        [
            name,
            f"{found.num_images:,}",
            f"{found.accuracy:.1%}",
            f"{found.interval[0]:.1%} to {found.interval[1]:.1%}",
            f"{found.balanced_accuracy:.1%}",
            f"{found.macro_f1:.1%}",
        ]
        for name, found in scores.items()
        if found
    ]
    head = ("part", "images", "accuracy", "95 % interval", "balanced", "macro F1")
    chosen = result.test or result.validation
    part = "test" if result.test else "validation"
    return [
        *table(head, rows, numbers=5),
        "",
        "The epoch, and perhaps the plan, was chosen on the validation images: what is measured on "
        "them is a little optimistic"
        + (", on the test images it is not." if result.test else "; there is no test part."),
        "",
        f"By class, on the {part} images, the worst first:",
        "",
        *_per_class(chosen),
        *_confused(chosen, classifier.class_names),
    ]


def _per_class(found: Score) -> list[str]:
    images = dict(zip(found.per_class, found.confusion.sum(axis=1), strict=True))

    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    by_share = sorted(found.per_class, key=lambda name: _last_if_none(found.per_class[name]))
    rows = [
        [
            name,
            f"{images[name]:,}",
            *(share(each[name]) for each in (found.per_class, found.precision, found.f1)),
        ]
        for name in by_share
    ]
    return table(("class", "images", "found", "precision", "F1"), rows, numbers=4)


def _last_if_none(share: float | None) -> float:
    return 2.0 if share is None else share


def _confused(found: Score, class_names: Sequence[str]) -> list[str]:
    counts = found.confusion.copy()
    np.fill_diagonal(counts, 0)
    most = [divmod(int(at), len(class_names)) for at in counts.ravel().argsort()[::-1]]
    pairs = [(row, column) for row, column in most[:_MOST_CONFUSED] if counts[row, column]]
    said = [
        f"{text(class_names[row])} taken for {text(class_names[column])}: {counts[row, column]:,}"
        for row, column in pairs
    ]
    return ["", "Most often confused:", "", *bullets(said)] if said else []


def _data(classifier: Classifier, metadata: Mapping[str, Any]) -> list[str]:
    result, record = classifier.result, classifier.data
    digest = classifier.data_sha256
    facts = [
        f"Source: {text(record['source'])}" if record.get("source") else "Source: in memory",
        f"SHA-256 of the training and validation images, in any order: `{digest}`"
        if digest
        else "The images were not fingerprinted",
        f"Classes: {', '.join(text(each) for each in classifier.class_names)}",
    ]
    if result is None:
        return bullets(facts)
    if metadata.get("learnt"):
        facts.append(_seen(metadata["learnt"]))
    sizes = ", ".join(f"{count:,} {name}" for name, count in result.part_sizes.items())
    facts.insert(1, f"Images: {sizes}")
    return [*bullets([*facts, _gap(result)]), *_findings(result), *_skipped(result)]


def _seen(learnt: Mapping[str, Any]) -> str:
    """Say which images say nothing about how good it is."""
    seen = f"{learnt['train']:,} trained on, {learnt['validation']:,} chosen by"
    if not learnt["digests"]:
        return (
            f"Different images: {seen}. Their digests are too many for this file, and lie in the "
            "run: `ktransfer evaluate RUN DATA` tells how many of other images are among them"
        )
    return (
        f"Different images: {seen}. The file holds a digest of each, so that "
        "`OnnxClassifier(...).seen_in_training(images)`, or whoever has such an image, can tell "
        "that it is one of them"
    )


def _gap(result: FitResult) -> str:
    gap = result.advice.gap
    if gap is None:
        return "Domain gap to what the backbone was trained on: not measured"
    likeness = "similar" if gap.similar else "different"
    return (
        f"Domain gap to what the backbone was trained on: {gap.value:.3f} (95 % interval "
        f"{gap.interval[0]:.3f} to {gap.interval[1]:.3f}, {gap.num_images} images): {likeness}"
    )


def _findings(result: FitResult) -> list[str]:
    worth = [each for each in result.findings if each.severity != "info"]
    if not worth:
        return ["", "No fault of the data is known."]
    said = [
        f"**{each.severity}, {text(each.kind)}**: {text(each.message)}; {text(each.advice)}"
        for each in worth
    ]
    return ["", "Known faults of the data:", "", *bullets(said)]


def _skipped(result: FitResult) -> list[str]:
    if not result.skipped:
        return []
    shown = [f"{text(each.path)}: {text(each.reason)}" for each in result.skipped[:_MOST_SKIPPED]]
    if len(result.skipped) > _MOST_SKIPPED:
        shown.append(f"and {len(result.skipped) - _MOST_SKIPPED:,} more")
    return ["", f"Left out, {len(result.skipped):,} in all:", "", *bullets(shown)]


def _training(classifier: Classifier) -> list[str]:
    options = "".join(f", {name}={value}" for name, value in classifier.backbone.options.items())
    backbone, (height, width) = classifier.backbone, classifier.input_size
    facts = [
        f"Backbone: {text(f'{backbone.name}{options}')}, weights: "
        f"{text(backbone.weights or 'random')}, {height} x {width} "
        "pixels",
    ]
    result = classifier.result
    if result is None:
        return bullets(facts)
    facts += [
        f"Plan: {text(result.plan.name)}; {result.trainable_parameters:,} of "
        f"{result.total_parameters:,} parameters trained",
        f"Temperature: the logits are divided by {result.temperature:.3g}, inside the network, so "
        "that the probabilities suit the validation images",
    ]
    reasons = ["", "Why so:", "", *bullets(text(each) for each in result.advice.reasons)]
    tried = [] if not result.tries else ["", "Tried besides the head:", ""]
    tried += bullets(text(str(each)) for each in result.tries)
    return [*bullets(facts), "", *_stages(result), *tried, *reasons]


def _stages(result: FitResult) -> list[str]:
    rows = []
    for stage, done in zip(result.plan.stages, result.stages, strict=False):
        blocks = f"head, last {done.unfreeze} blocks" if done.unfreeze else "head"
        kept = f"epoch {done.best_epoch}" if done.best_epoch else "as it began"
        accuracy = "-" if done.val_accuracy is None else f"{done.val_accuracy:.1%}"
        rows.append(
            [
                done.name,
                blocks,
                stage.optimizer,
                stage.augmentation,
                f"{stage.learning_rate:g}",
                f"{done.batch_size}",
                f"{len(done.history)} of {stage.epochs}",
                kept if done.kept else "nothing",
                accuracy,
            ]
        )
    head = ("stage", "trains", "optimizer", "augmentation", "learning rate", "batch")
    return table((*head, "epochs", "kept", "validation"), rows, numbers=5)


def _file(export: ExportResult, metadata: Mapping[str, Any]) -> list[str]:
    opset = f", opset {export.opset}" if export.opset else ""
    versions = ", ".join(f"{name} {version}" for name, version in metadata["versions"].items())
    precision = export.quantisation or "float32"
    of = "" if export.path.suffix else " (of `find . -type f | sort | xargs sha256sum`)"
    return bullets(
        [
            f"Format: {export.format}{opset}, {precision}",
            f"Size: {export.size_bytes:,} bytes",
            f"SHA-256{of}: `{export.sha256}`",
            f"Made: {metadata['created']} with {versions}",
        ]
    )
