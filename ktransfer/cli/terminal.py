"""Results on the terminal: summaries for people, one line of JSON for programs."""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import math
import os
import shlex
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from ktransfer.files.writing import aside
from ktransfer.show.formulas import cell_of, path_cell
from ktransfer.show.printable import printable

if TYPE_CHECKING:
    from ktransfer.advisor import Advice
    from ktransfer.augment.samples import Look
    from ktransfer.backbones.catalog import BackboneInfo
    from ktransfer.classifier.results import Evaluation, FitResult
    from ktransfer.data import Skipped
    from ktransfer.demo import Demo
    from ktransfer.export import ExportResult
    from ktransfer.metrics import Score
    from ktransfer.recommend import Default, Recommendation
    from ktransfer.serving import Predictions
    from ktransfer.training.diagnosis import Diagnosis
    from ktransfer.training.stage_result import StageResult

_LABEL_WIDTH = 14
_MAX_WIDTH = 110
_INDENT = " " * _LABEL_WIDTH
_MOST_SKIPPED = 20
_MOST_CLASSES = 20


def print_json(data: Mapping[str, Any]) -> None:
    """One line of ASCII: bytes of file names that are not UTF-8 are escaped, NaN is null."""
    click.echo(json.dumps(_finite(data), allow_nan=False))


class Styled(str):
    """Text that is safe already, with the codes of its colour."""


def styled(text: str, **style: Any) -> Styled:
    """Text in bold or in colour, as of `click.style`."""
    return Styled(click.style(printable(text), **style))


def echo(*parts: str, err: bool = False) -> None:
    """Print one line. All that is written on the terminal comes through here, and is made safe."""
    safe = (each if isinstance(each, Styled) else printable(each) for each in parts)
    click.echo("".join(safe), err=err)


def print_fit(result: FitResult, backbone: str) -> None:
    """What was decided, why, and how well it went."""
    advice = result.advice
    _accuracy("Accuracy", result.validation, "validation images")
    if result.test:
        _accuracy("", result.test, "test images")
    _balanced(result.validation, "validation")
    if result.test:
        _balanced(result.test, "test")
    _decision(advice)
    widest = result.unfrozen
    what = f"the head and the last {widest} of {result.plan.num_blocks} blocks"
    _row(
        "Carried out",
        f"{result.carried_out} on {backbone}: {result.trainable_parameters:,} of "
        f"{result.total_parameters:,} parameters trained, {what if widest else 'the head only'}",
    )
    for index, stage in enumerate(result.stages):
        _row("" if index else "Stages", *_stage_lines(stage), bullet="- ")
    if result.diagnosis:
        _row("Diagnosis", *_diagnosis_lines(result.diagnosis))
    _row("Overfitting", result.overfitting_risk)
    _row("Hindsight", *result.hindsight, bullet="- ")
    sizes = ", ".join(f"{size:,} {name}" for name, size in result.part_sizes.items())
    classes = ", ".join(result.classes[:_MOST_CLASSES])
    more = ", ..." if len(result.classes) > _MOST_CLASSES else ""
    _row("Images", f"{sum(result.part_sizes.values()):,} used: {sizes}")
    _row("Classes", f"{len(result.classes)}: {classes}{more}")
    print_skipped(result.skipped)
    worth = [each for each in result.findings if each.severity != "info"]
    _row(
        "Findings", *[f"{each.severity} {each.kind}: {each.message}" for each in worth], bullet="- "
    )
    _row("Notes", *result.notes, bullet="- ")
    if result.interrupted:
        _row("Interrupted", "by Ctrl-C; the model has the best weights until then")


def print_advice(advice: Advice, backbone: str) -> None:
    """What is advised and why, what else could be done, and whether more images would help."""
    _decision(advice)
    assert advice.plan is not None
    depth = f"the last {advice.num_trainable_blocks} of {advice.num_blocks} blocks"
    what = f"tries {depth}" if advice.num_trainable_blocks else "trains the head only"
    stages = " then ".join(each.name for each in advice.plan.stages)
    _row("Plan", f"{advice.strategy} on {backbone}: {stages}; {what}")
    _row("Candidates", "* is the head that is advised; seconds and memory are estimates")
    for line in advice.table().splitlines():
        # Not wrapped, which would close up the columns.
        echo(_INDENT, line)
    for at, each in enumerate(advice.depths):
        figures = f"{each.accuracy:6.1%}  ({each.interval[0]:.1%} to {each.interval[1]:.1%})"
        echo(_label("" if at else "By depth"), f"{each.block + 1:>3}  {figures}  {each.name}")
    if advice.more_data:
        _row("More images", advice.more_data.advice)
    _row("Overfitting", advice.overfitting_risk)


def _decision(advice: Advice) -> None:
    _row("Decision", f"{advice.strategy} ({advice.cell}), because:")
    _row("", *advice.reasons, bullet="- ")


def _stage_lines(stage: StageResult) -> list[str]:
    """A stage in two sentences: how it went, and the proof that what was frozen stayed."""
    right = f", {stage.val_accuracy:.1%} right" if stage.val_accuracy is not None else ""
    before = "the ridge regression" if stage.solved else "the weights of before"
    kept = f"epoch {stage.best_epoch}" if stage.best_epoch else before
    return [
        f"{stage.name}: {len(stage.history)} epochs of batch {stage.batch_size} in "
        f"{stage.seconds:.1f} s{'' if stage.cached else ' (not cached)'}; kept {kept}{right}",
        f"{stage.name}: {stage.proof or 'nothing was frozen'}",
    ]


def _diagnosis_lines(diagnosis: Diagnosis) -> list[str]:
    verdict = diagnosis.verdict.replace("_", " ")
    tries = [f"try: {each}" for each in diagnosis.suggestions[:2]]
    return [f"{verdict}: {' '.join(diagnosis.reasons)}", *tries]


def print_resumable(run: str) -> None:
    """How to go on with a training that Ctrl-C ended."""
    print_next(["ktransfer", "train", "--resume", run])


def print_evaluation(evaluation: Evaluation, data: str) -> None:
    """Accuracy with its interval, and the share found of each class, the worst first.

    Args:
        evaluation: what was found.
        data: what it was measured on, as the user calls it.
    """
    found = evaluation.score
    whole = evaluation.part == "all"
    _accuracy("Accuracy", found, f"images of {data}" if whole else f"{evaluation.part} images")
    _apart(evaluation)
    _balanced(found)
    names = sorted((share, name) for name, share in found.per_class.items() if share is not None)
    _row("Per class", " found  precise     F1")
    for share, name in names[:_MOST_CLASSES]:
        # Not wrapped, which would close up the columns.
        figures = f"{share:6.1%}  {found.precision[name]:7.1%} {found.f1[name]:6.1%}"
        echo(_INDENT, f"{figures}  {name}")
    if len(names) > _MOST_CLASSES:
        _row("", f"and {len(names) - _MOST_CLASSES} better ones")
    if evaluation.corruptions:
        _corruptions(evaluation)
    print_skipped(evaluation.skipped)
    _row("Notes", *evaluation.notes, bullet="- ")


def print_predictions(predictions: Predictions) -> None:
    """A line for each image: probability, class, path."""
    # The width of all names, so that one batch of a stream looks like the other.
    width = max(len(printable(each)) for each in predictions.classes)
    for each in predictions:
        label = printable(each.label)
        echo(f"{each.probability:6.1%}  {label:<{width}}  {each.path or ''}")


@contextlib.contextmanager
def csv_writer(
    name: str | None, *, overwrite: bool = False
) -> Iterator[Callable[[Predictions], None]]:
    """A file with path, label, probability and a column for each class; whole or not at all.

    Args:
        name: of the file; None: nothing is written.
        overwrite: whether it may take the place of a file.

    Yields:
        A function that appends predictions, to be called at least once.
    """
    if name is None:
        yield lambda predictions: None
        return
    with (
        aside(Path(name), "--csv", overwrite=overwrite) as partial,
        # Paths keep the very bytes that the system knows them by.
        partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        yield functools.partial(_append_csv, stream)


def _append_csv(stream: TextIO, predictions: Predictions) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    if not stream.tell():
        writer.writerow(["path", "label", "probability", *map(cell_of, predictions.classes)])
    for each, row in zip(predictions, predictions.probabilities, strict=True):
        # Nine digits give a float32 back exactly.
        shares = [f"{share:.9g}" for share in (each.probability, *row)]
        writer.writerow([path_cell(each.path or ""), cell_of(each.label), *shares])


def print_skipped(skipped: Sequence[Skipped]) -> None:
    """The first files that were left out, each with its reason, and how many there are."""
    if not skipped:
        return
    _row("Skipped", f"{len(skipped):,} file{'s' if len(skipped) > 1 else ''}")
    for each in skipped[:_MOST_SKIPPED]:
        # Not wrapped: a path is to be copied.
        echo(_INDENT, f"{each.path}: {each.reason}")
    if len(skipped) > _MOST_SKIPPED:
        _row("", f"and {len(skipped) - _MOST_SKIPPED:,} more; --json lists them all")


def print_seconds(seconds: Mapping[str, float]) -> None:
    """Wall time by phase."""
    phases = [f"{name.replace('_', ' ')} {value:.1f}" for name, value in seconds.items()]
    _row("Seconds", ", ".join(phases))


def print_saved(out: str, data: str) -> None:
    """Where the run lies, and what to type next."""
    _row("Saved", out)
    print_next(
        ["ktransfer", "evaluate", out, data],
        ["ktransfer", "predict", out, "photo.jpg", "--csv", "predictions.csv"],
    )


def print_demo(demo: Demo) -> None:
    """What the demonstration decided, and how well it does on pictures that it never saw."""
    print_note(
        'The pictures are generated by formula, and the weights "mini" are for demonstrations '
        'only: for photos take weights="imagenet".'
    )
    echo()
    print_fit(demo.result, demo.tuner.backbone.name)
    _heading("On 50 held-back pictures")
    print_evaluation(demo.evaluation, "the demonstration")
    _heading("Some of them")
    print_predictions(demo.examples)
    echo()


def print_demo_end(out: str | None) -> None:
    """Where the pictures are, or that they are gone, and what to type next."""
    if out is None:
        print_note("The pictures and the model were removed; ktransfer demo --out DIR keeps them.")
        print_next(["ktransfer", "train", "photos/", "--out", "runs/photos"])
        return
    run, photos = os.path.join(out, "run"), os.path.join(out, "photos")
    _row("Pictures", photos)
    _row("Saved", run)
    print_next(
        ["ktransfer", "predict", run, os.path.join(photos, "test")],
        ["ktransfer", "train", "photos/", "--out", "runs/photos"],
    )


def print_next(*commands: Sequence[str]) -> None:
    """Commands to type next."""
    _heading("Next")
    for command in commands:
        echo("  ", shlex.join(command))


def print_export(result: ExportResult) -> None:
    """Where the export lies, and how it was proven."""
    for label, text in result.rows():
        _row(label, text)


def print_after_export(result: ExportResult) -> None:
    """What to type next."""
    if result.format == "onnx":
        print_next(["ktransfer", "predict", str(result.path), "photo.jpg"])


def print_look(page: Look) -> None:
    """Where the page lies and what is on it."""
    _row("Page", f"{page.path}, {page.width:,} x {page.height:,} pixels")
    _row("Policies", ", ".join(page.augmentations))
    _row("Images", f"{len(page.images)} of {page.num_images:,}:")
    _row("", *[f"{label}: {path}" for path, label in page.images], bullet="- ")
    print_skipped(page.skipped)
    _row("Notes", *page.notes, bullet="- ")


def print_backbones(rows: Iterable[BackboneInfo], defaults: Iterable[Default]) -> None:
    """A table of names, sizes and blocks, and which of them to begin with."""
    echo(styled(f"{'name':<20}{'parameters':>13}{'blocks':>8}{'input px':>10}", bold=True))
    for row in rows:
        echo(f"{row.name:<20}{row.parameters:>13,}{row.blocks:>8}{row.input_size[0]:>10}")
    echo()
    echo('Parameters without a classifier. KerasHub presets: "hub:NAME", with ktransfer[hub].')
    _heading("To begin with (--data DATA compares them on your images)")
    for each in defaults:
        options = "".join(f" {name}={value}" for name, value in each.options.items())
        _row(each.role, f"{each.name}{options}: {each.reason}")


def print_recommendation(found: Recommendation, data: str) -> None:
    """The table, the heads of its columns in bold, and what to type next."""
    from ktransfer.backbones import list_backbones

    for line in str(found).splitlines():
        echo(styled(line, bold=line.startswith(("best:", "     backbone"))))
    print_seconds(found.seconds)
    best = found.best
    command = ["ktransfer", "train", data, "--backbone", best.name]
    for name, value in best.options.items():
        command += ["--backbone-option", f"{name}={value}"]
    if best.weights != "imagenet":
        command += ["--weights", best.weights or "none"]
    usual = {each.name: each.input_size for each in list_backbones()}.get(best.name)
    if best.weights != "mini" and best.input_size and best.input_size != usual:
        command += ["--input-size", str(best.input_size[0])]
    print_next([*command, "--out", "runs/mine"])


def print_note(text: str) -> None:
    """A paragraph."""
    for line in textwrap.wrap(printable(text), width()):
        echo(line)


def _accuracy(label: str, found: Score, images: str) -> None:
    low, high = found.interval
    figure = styled(f"{found.accuracy:.1%}", bold=True, fg="green")
    interval = f"(95 % interval {low:.1%} to {high:.1%})"
    # Not wrapped: colour codes would be counted as width.
    echo(_label(label), figure, f" on {found.num_images:,} {images} {interval}")


def _apart(evaluation: Evaluation) -> None:
    """What the training never saw, where that is not everything."""
    apart, every = evaluation.apart, evaluation.score.num_images
    if apart.unseen and apart.unseen.num_images < every:
        _accuracy("", apart.unseen, "that the training never saw")
    if apart.held_back and apart.held_back.num_images < every:
        _accuracy("", apart.held_back, "that it held back to validate")


def _balanced(found: Score, part: str = "") -> None:
    on = f" on {part} images" if part else ""
    _row(
        "Balanced",
        f"{found.balanced_accuracy:.1%} mean over classes, {found.macro_f1:.1%} macro F1{on}",
    )


def _corruptions(evaluation: Evaluation) -> None:
    """Accuracy under each corruption, from the weakest to the strongest."""
    rows = evaluation.corruptions or {}
    echo(_label("Under shift"), f"{'strength':<14}{'1':>6}{'2':>8}{'3':>8}")
    for name, scores in rows.items():
        figures = "".join(f"{each.accuracy:8.1%}" for each in scores)
        echo(_INDENT, f"{name.replace('_', ' '):<12}{figures}")
    mean = evaluation.mean_corruption_accuracy
    _row("", f"{mean:.1%} on average, {evaluation.accuracy:.1%} as they are")


def _heading(text: str) -> None:
    echo()
    echo(styled(text, bold=True))


def _label(text: str) -> Styled:
    return styled(f"{text:<{_LABEL_WIDTH}}", bold=True)


def _row(label: str, *lines: str, bullet: str = "") -> None:
    """Paragraphs behind a label, each wrapped and indented, with a bullet if there is one."""
    indent = _LABEL_WIDTH + len(bullet)
    for index, line in enumerate(lines):
        wrapped = textwrap.wrap(
            printable(line), width() - indent, break_long_words=False, break_on_hyphens=False
        )
        for number, part in enumerate(wrapped or [""]):
            begin = _label(label if index == 0 and not number else "")
            echo(begin, " " * len(bullet) if number else bullet, part)


def width() -> int:
    """Columns to wrap text at."""
    return max(40, min(_MAX_WIDTH, shutil.get_terminal_size((100, 24)).columns))


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {name: _finite(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(each) for each in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
