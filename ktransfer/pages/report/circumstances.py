"""What is wrong with the data, what the training cost, and how to repeat it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shlex
from collections.abc import Iterator

from ktransfer._version import __version__
from ktransfer.backbones.model_file import is_model_file
from ktransfer.classifier import Classifier, FitResult
from ktransfer.pages.parts import (
    Code,
    Facts,
    Part,
    Points,
    Section,
    Table,
    Text,
    cells,
    count,
    percent,
)
from ktransfer.pages.report.judging import Judged

_MOST_FILES = 50
_PACKAGES = ("keras", "tensorflow", "numpy")
#: Adam keeps two numbers for each that it trains, and the gradient is one more; 4 bytes each.
_TRAINING_BYTES = 12
#: What took less was found in the cache.
_LEAST_S = 0.1
#: What a command is not typed with where it is so.
_DEFAULTS = {"pooling": "avg", "dropout": 0.0, "seed": 0}
_PHASES = {
    "scan": "looking at the headers of the files",
    "backbone": "loading the backbone",
    "check": "looking for faults of the images",
    "prepare": "fingerprints, measuring, deciding",
    "decode_and_extract": "decoding, and the frozen blocks, once",
    "train": "training",
    "score": "judging",
    "save": "saving",
}


def problems(result: FitResult | None, judged: Judged) -> Section:
    """Say what was found in the images, the most severe first, and what was left out."""
    parts: list[Part] = []
    findings = result.findings if result else ()
    worth = [each for each in findings if each.severity != "info"]
    if worth:
        rows = [
            (f"{each.severity}: {each.kind.replace('_', ' ')}", f"{each.message}. {each.advice}")
            for each in worth
        ]
        parts.append(Facts(tuple(rows)))
    else:
        parts.append(Text(("No fault of the images is known.",)))
    remarks = tuple(each.message for each in findings if each.severity == "info")
    if remarks:
        parts.append(Points(remarks, "Worth knowing"))
    if result and result.notes:
        parts.append(Points(tuple(dict.fromkeys(result.notes)), "Remarks of the training"))
    left = (*(result.skipped if result else ()), *judged.skipped)
    skipped = {each.path: each.reason for each in left}
    if skipped:
        files = [cells(path, reason) for path, reason in list(skipped.items())[:_MOST_FILES]]
        more = f", the first {_MOST_FILES}" if len(skipped) > _MOST_FILES else ""
        parts.append(
            Table(
                f"{count(len(skipped), 'file')} left out{more}",
                ("File", "Why"),
                tuple(files),
                frozenset({0, 1}),
                folded=True,
            )
        )
    return Section("problems", "Problems of the data", tuple(parts))


def costs(result: FitResult) -> Section:
    """Time and memory, and what freezing saved of both."""
    rows = [
        cells(name.replace("_", " "), _PHASES.get(name, ""), (value, f"{value:.1f} s"))
        for name, value in result.seconds.items()
    ]
    rows.append(cells("in all", "", f"{sum(result.seconds.values()):.1f} s"))
    table = Table(
        "Wall time of the training by phase",
        ("Phase", "What is done", "Time"),
        tuple(rows),
        words=frozenset({0, 1}),
        folded=True,
    )
    reasons = tuple(f"{stage.name}: {stage.cache_reason}" for stage in result.stages)
    parts = (Facts(tuple(_saved(result))), table, Points(reasons, "What was computed once"))
    return Section("costs", "Time, memory, and what freezing saved", parts)


def _saved(result: FitResult) -> list[tuple[str, str]]:
    facts = [("Training took", f"{sum(result.seconds.values()):.1f} s in all")]
    expected = result.advice.expected
    if expected:
        facts.append(
            ("Memory", f"about {expected.memory_mb:,.0f} MB beside the network (estimate)")
        )
    frozen = result.total_parameters - result.trainable_parameters
    facts.append(
        (
            "Not trained",
            f"{frozen:,} of {result.total_parameters:,} numbers "
            f"({percent(frozen / max(result.total_parameters, 1))}): about "
            f"{frozen * _TRAINING_BYTES / 2**20:,.1f} MB less for gradients and Adam's moments",
        )
    )
    return [*facts, *_passes(result)]


def _passes(result: FitResult) -> Iterator[tuple[str, str]]:
    """Say how often the frozen blocks did not run, and the time of that where it was measured."""
    cached = [stage for stage in result.stages if stage.cached]
    epochs = sum(len(stage.history) for stage in cached)
    images = result.part_sizes["train"] + result.part_sizes["validation"]
    if not cached:
        return
    said = f"ran once over {count(images, 'image')}"
    if epochs > 1:
        said += f", and not in each of {epochs} epochs"
    # With several cuts the passes to each cannot be told apart.
    once = result.seconds.get("decode_and_extract", 0.0)
    if len(cached) == 1 and not cached[0].unfreeze and epochs > 1 and once >= _LEAST_S:
        said += f": {once:.1f} s instead of about {epochs * once:,.0f} s"
    yield "Frozen blocks", said


def reproduce(classifier: Classifier, written_on: str) -> Section:
    """Versions, seed, digests, the command and the plan.

    Args:
        classifier: what was trained.
        written_on: when the page was written.
    """
    made = ", ".join(f"{name} {version}" for name, version in classifier.versions.items())
    here = {"ktransfer": __version__, "Python": platform.python_version()}
    here |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    backbone, (height, width) = classifier.backbone, classifier.input_size
    options = "".join(f", {name}={value}" for name, value in backbone.options.items())
    facts = [
        ("Trained with", made or "versions that are not known"),
        ("Page written", f"{written_on} with {', '.join(f'{n} {v}' for n, v in here.items())}"),
        ("Backbone", f"{backbone.name}{options}, weights: {backbone.weights or 'random'}"),
        ("Image size", f"{height} x {width} pixels"),
        ("Seed", f"{classifier.seed}"),
        ("Images", str(classifier.data.get("source") or "in memory")),
        ("SHA-256 of the images", str(classifier.data_sha256 or "not known")),
    ]
    settings = classifier.request.get("settings", {})
    kept = ("precision", "balance", "cache_dtype", "jit_compile")
    facts += [(name.replace("_", " "), f"{settings[name]}") for name in kept if name in settings]
    parts: list[Part] = [Facts(tuple(facts)), _command(classifier)]
    if classifier.result:
        plan = json.dumps(classifier.result.plan.to_dict(), indent=2)
        parts.append(
            Code("plan.json, the plan as it was carried out", tuple(plan.split("\n")), True)
        )
    return Section("reproduce", "How to repeat it", tuple(parts))


def _command(classifier: Classifier) -> Part:
    from_file = is_model_file(classifier.backbone.name)
    if classifier.backbone.weights == "own" and not from_file:
        said = (
            f"{classifier.backbone.name} is a model of your own: build it again, give it to "
            "FineTuner(...), and give fit the plan below, Plan.from_json(...)."
        )
        return Text((said,))
    # An option a line: long commands are read so, and break in no odd place.
    *others, last = command(classifier)
    where = f", beside {classifier.backbone.name}" if from_file else ""
    return Code(f"Command{where}", (*(f"{each} \\" for each in others), last))


def command(classifier: Classifier) -> list[str]:
    """Say what is typed to train the same again, its plan in a file: a line for each option."""
    backbone = classifier.backbone
    options = [("backbone", backbone.name)]
    # A model in a file has its own.
    options += [("weights", backbone.weights or "none")] * (not is_model_file(backbone.name))
    options += [("backbone-option", f"{name}={each}") for name, each in backbone.options.items()]
    height, width = backbone.input_size
    options += [("input-size", f"{height}")] if height == width else []
    options += [("plan", "plan.json"), *_more_options(classifier), ("out", "RUN")]
    lines = [shlex.join(["ktransfer", "train", str(classifier.data.get("source") or "DATA")])]
    return [*lines, *(f"  --{name} {shlex.quote(value)}" for name, value in options)]


def _more_options(classifier: Classifier) -> Iterator[tuple[str, str]]:
    for name, usual in _DEFAULTS.items():
        if (value := getattr(classifier, name)) != usual:
            yield name, f"{value}"
    if classifier.value_range:
        yield "value-range", ",".join(f"{each:g}" for each in classifier.value_range)
