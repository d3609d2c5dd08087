"""What `fit` and `evaluate` return: plain data that prints and serialises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ktransfer.advisor import Advice, overfitting_risk
from ktransfer.augment import STRENGTHS
from ktransfer.classifier.unseen import Apart
from ktransfer.data import Skipped
from ktransfer.doctor import Finding
from ktransfer.files.records import check_typed, with_tuples
from ktransfer.metrics import Score
from ktransfer.plan import Plan
from ktransfer.show.results import Printed, Row, left_out
from ktransfer.show.tables import aligned
from ktransfer.training.diagnosis import Diagnosis, history_table
from ktransfer.training.stage_result import StageResult

_MOST_CLASSES = 20


def _plain(skipped: tuple[Skipped, ...]) -> list[dict[str, str]]:
    return [{"path": each.path, "reason": each.reason} for each in skipped]


def _rows(corruptions: Mapping[str, tuple[Score, ...]]) -> dict[str, list[dict[str, Any]]]:
    """The figures of each strength, the weakest first, without their confusion matrices."""
    return {
        name: [
            {
                "strength": strength,
                "accuracy": each.accuracy,
                "interval": list(each.interval),
                "balanced_accuracy": each.balanced_accuracy,
                "macro_f1": each.macro_f1,
            }
            for strength, each in zip(STRENGTHS, scores, strict=True)
        ]
        for name, scores in corruptions.items()
    }


def _accuracy(label: str, found: Score, images: str) -> Row:
    low, high = found.interval
    said = f" on {found.num_images:,} {images} (95 % interval {low:.1%} to {high:.1%})"
    return Row(label, (said,), figure=f"{found.accuracy:.1%}", verbatim=True)


def _balanced(found: Score, part: str = "") -> Row:
    on = f" on {part} images" if part else ""
    figures = f"{found.balanced_accuracy:.1%} mean over classes, {found.macro_f1:.1%} macro F1"
    return Row("Balanced", (figures + on,))


@dataclass(frozen=True, eq=False)
class FitResult(Printed):
    """What a training did and how well it did; print it for a report.

    Attributes:
        validation: score on the validation images. The epoch was chosen on these, so it is a little
            optimistic; `test` is not.
        test: score on the test part, None where the folder has none.
        classes: class names; a class index is a position here.
        part_sizes: number of images used, by part: `train`, `validation` and, where there is one,
            `test`.
        skipped: every file left out, with its reason.
        notes: remarks on the data and the training that are no errors.
        advice: what was measured and decided; where a plan was given, what the 2x2 rule says.
        plan: what was carried out, resolved for the backbone.
        stages: what came of each stage.
        movement: how far each block that trained moved: norm(now - before) / norm(before) over its
            weights, where "before" is the beginning of the training; 0 shows one that did not.
        diagnosis: what the history says: underfitting, overfitting or a good fit; None where it
            has no epoch.
        temperature: what the logits were divided by in the end, so that the probabilities suit the
            validation images; above 1 where training made the network too sure of itself.
        trainable_parameters: how many numbers were trained by the stages that were kept.
        total_parameters: how many numbers the model has.
        findings: what is wrong with the images, the most severe first, as `ktransfer doctor` says.
        hindsight: whether the advice was right, in sentences; empty where nothing was measured.
        seconds: wall time by phase: `scan`, `check`, `prepare` (reading the bytes of the files for
            the keys of the cache, building the network, measuring and deciding),
            `decode_and_extract`, `train` (both without the former), `score`.
    """

    validation: Score
    test: Score | None
    classes: tuple[str, ...]
    part_sizes: dict[str, int]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    advice: Advice
    plan: Plan
    stages: tuple[StageResult, ...]
    movement: dict[str, float]
    diagnosis: Diagnosis | None
    temperature: float
    trainable_parameters: int
    total_parameters: int
    seconds: dict[str, float]
    findings: tuple[Finding, ...] = ()
    hindsight: tuple[str, ...] = ()

    @property
    def overfitting_risk(self) -> str:
        """How many numbers the plan that was carried out trains for each image."""
        return overfitting_risk(
            self.trainable_parameters, self.part_sizes["train"], head_only=self.unfrozen == 0
        )

    @property
    def unfrozen(self) -> int:
        """How many last blocks of the model trained; stages that were dropped do not count."""
        kept = [stage for stage in self.stages if stage.kept] or self.stages
        return max((stage.unfreeze for stage in kept), default=0)

    @property
    def carried_out(self) -> str:
        """The name of the plan that was carried out."""
        return self.plan.name

    @property
    def history(self) -> tuple[dict[str, Any], ...]:
        """A dict for each epoch of all stages, as `StageResult.history`, and the `stage`."""
        return tuple({"stage": stage.name, **row} for stage in self.stages for row in stage.history)

    @property
    def best_epoch(self) -> int:
        """The row of `history`, from 1, whose weights the model has; 0 if those of before."""
        done, best = 0, 0
        for stage in self.stages:
            best = done + stage.best_epoch if stage.best_epoch else best
            done += len(stage.history)
        return best

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the training early."""
        return any(stage.interrupted for stage in self.stages)

    def history_table(self, *, every: bool = False) -> str:
        """The history as text, the kept epoch marked; `every` epoch, or a long one thinned."""
        rows = [{**row, "epoch": number} for number, row in enumerate(self.history, 1)]
        return history_table(rows, self.best_epoch or None, every=every)

    @property
    def val_accuracy(self) -> float:
        """Accuracy on the validation images, in [0, 1]."""
        return self.validation.accuracy

    def printed(self, backbone: str = "") -> Iterator[Row]:
        """What was decided, why, and how well it went.

        Args:
            backbone: name of the backbone, which the result does not know.
        """
        scores = {"validation": self.validation, **({"test": self.test} if self.test else {})}
        for part, found in scores.items():
            label = "Accuracy" if part == "validation" else ""
            yield _accuracy(label, found, f"{part} images")
        for part, found in scores.items():
            yield _balanced(found, part)
        yield from self.advice.decision()
        yield Row("Carried out", (self._carried_out(backbone),))
        yield Row("Stages", tuple(each for stage in self.stages for each in stage.sentences), True)
        if self.diagnosis:
            yield Row("Diagnosis", self.diagnosis.sentences)
        yield Row("Overfitting", (self.overfitting_risk,))
        yield Row("Hindsight", self.hindsight, True)
        sizes = ", ".join(f"{size:,} {name}" for name, size in self.part_sizes.items())
        yield Row("Images", (f"{sum(self.part_sizes.values()):,} used: {sizes}",))
        classes = ", ".join(self.classes[:_MOST_CLASSES])
        more = ", ..." if len(self.classes) > _MOST_CLASSES else ""
        yield Row("Classes", (f"{len(self.classes)}: {classes}{more}",))
        yield from left_out(self.skipped)
        worth = [each for each in self.findings if each.severity != "info"]
        found_there = tuple(f"{each.severity} {each.kind}: {each.message}" for each in worth)
        yield Row("Findings", found_there, True)
        yield Row("Notes", self.notes, True)
        if self.interrupted:
            yield Row("Interrupted", ("by Ctrl-C; the model has the best weights until then",))

    def _carried_out(self, backbone: str) -> str:
        widest = self.unfrozen
        what = f"the head and the last {widest} of {self.plan.num_blocks} blocks"
        return (
            f"{self.carried_out}{f' on {backbone}' if backbone else ''}: "
            f"{self.trainable_parameters:,} of {self.total_parameters:,} parameters trained, "
            f"{what if widest else 'the head only'}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, ready for JSON: the fields of `ktransfer train --json`."""
        return {
            "val_accuracy": self.val_accuracy,
            "val_interval": list(self.validation.interval),
            "val_balanced_accuracy": self.validation.balanced_accuracy,
            "val_macro_f1": self.validation.macro_f1,
            "validation": self.validation.to_dict(),
            "test_accuracy": self.test.accuracy if self.test else None,
            "test": self.test.to_dict() if self.test else None,
            "classes": list(self.classes),
            "num_images": sum(self.part_sizes.values()),
            "part_sizes": self.part_sizes,
            "skipped": _plain(self.skipped),
            "notes": list(self.notes),
            "findings": [each.to_dict() for each in self.findings],
            "advice": self.advice.to_dict(),
            "cell": self.advice.cell,
            "strategy": self.advice.strategy,
            "reasons": list(self.advice.reasons),
            "overfitting_risk": self.overfitting_risk,
            "hindsight": list(self.hindsight),
            "carried_out": self.carried_out,
            "plan": self.plan.to_dict(),
            "stages": [stage.to_dict() for stage in self.stages],
            "movement": self.movement,
            "diagnosis": self.diagnosis.to_dict() if self.diagnosis else None,
            "temperature": self.temperature,
            "trainable_parameters": self.trainable_parameters,
            "total_parameters": self.total_parameters,
            "history": list(self.history),
            "best_epoch": self.best_epoch,
            "interrupted": self.interrupted,
            "seconds": self.seconds,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FitResult:
        """The reverse of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: a field is missing, or is not what it should be.
        """
        diagnosis = data["diagnosis"]
        result = cls(
            validation=Score.from_dict(data["validation"]),
            test=Score.from_dict(data["test"]) if data["test"] else None,
            classes=tuple(data["classes"]),
            part_sizes=data["part_sizes"],
            skipped=tuple(Skipped(**each) for each in data["skipped"]),
            notes=tuple(data["notes"]),
            advice=Advice.from_dict(data["advice"]),
            plan=Plan.from_dict(data["plan"]),
            stages=tuple(StageResult.from_dict(each) for each in data["stages"]),
            movement=data["movement"],
            diagnosis=Diagnosis(**with_tuples(diagnosis)) if diagnosis else None,
            temperature=data["temperature"],
            trainable_parameters=data["trainable_parameters"],
            total_parameters=data["total_parameters"],
            seconds=data["seconds"],
            findings=tuple(map(Finding.from_dict, data.get("findings", ()))),
            hindsight=tuple(data.get("hindsight", ())),
        )
        check_typed(result, "result")
        for each in (result.validation, *([result.test] if result.test else [])):
            if each.confusion.shape != (len(result.classes),) * 2:
                raise ValueError(
                    f"a confusion matrix has the shape {each.confusion.shape} for "
                    f"{len(result.classes)} classes"
                )
        _ = result.overfitting_risk  # an error where the number of training images is missing
        if result.history:
            result.history_table()  # or where an epoch lacks a figure
        return result


@dataclass(frozen=True, eq=False)
class Evaluation(Printed):
    """How good a model is on labelled images; print it for a report.

    Attributes:
        score: accuracy with its interval, per class, and the confusion matrix.
        part: which images: `"test"` or `"validation"`, where the data has such a part or it was
            held back of it by the training; `"all"` of data without parts.
        skipped: every file left out, with its reason.
        notes: remarks on the data.
        corruptions: the same images corrupted: for each of `augment.CORRUPTIONS` a score at each of
            `augment.STRENGTHS`, the weakest first; None where it was not asked for.
        apart: how many of the images the training has seen, and the score on those that it has not.
            An image is known again by its bytes, wherever it lies.
    """

    score: Score
    part: str
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    corruptions: dict[str, tuple[Score, ...]] | None = None
    apart: Apart = field(default_factory=Apart)

    @property
    def seen_in_training(self) -> int | None:
        """How many of the images the model was trained on; None where that cannot be told."""
        return self.apart.seen_in_training

    @property
    def unseen(self) -> Score | None:
        """The score on the images that training and validation never saw; None if there are none.

        None, too, where it cannot be told which these are: then `seen_in_training` is None.
        """
        return self.apart.unseen

    @property
    def accuracy(self) -> float:
        """Share of images whose most probable class is their label, in [0, 1]."""
        return self.score.accuracy

    @property
    def mean_corruption_accuracy(self) -> float | None:
        """Mean accuracy over all corruptions and strengths; None where it was not asked for."""
        if self.corruptions is None:
            return None
        return float(np.mean([each.accuracy for row in self.corruptions.values() for each in row]))

    def printed(self, data: str = "") -> Iterator[Row]:
        """Accuracy with its interval, and the share found of each class, the worst first.

        Args:
            data: what it was measured on, as the user calls it; the evaluation does not know.
        """
        whole = f"images of {data}" if data else "images"
        part = whole if self.part == "all" else f"{self.part} images"
        yield _accuracy("Accuracy", self.score, part)
        # What the training never saw, where that is not everything.
        for found, which in (
            (self.apart.unseen, "that the training never saw"),
            (self.apart.held_back, "that it held back to validate"),
        ):
            if found and found.num_images < self.score.num_images:
                yield _accuracy("", found, which)
        yield _balanced(self.score)
        yield from self._per_class()
        if self.corruptions:
            yield from self._under_shift(self.corruptions)
        yield from left_out(self.skipped)
        yield Row("Notes", self.notes, True)

    def _per_class(self) -> Iterator[Row]:
        found = self.score
        shares = found.per_class.items()
        names = sorted((share, name) for name, share in shares if share is not None)
        lines = tuple(
            f"{share:6.1%}  {found.precision[name]:7.1%} {found.f1[name]:6.1%}  {name}"
            for share, name in names[:_MOST_CLASSES]
        )
        yield Row("Per class", (" found  precise     F1", *lines), verbatim=True)
        if len(names) > _MOST_CLASSES:
            yield Row("", (f"and {len(names) - _MOST_CLASSES} better ones",))

    def _under_shift(self, corruptions: Mapping[str, Sequence[Score]]) -> Iterator[Row]:
        """Accuracy under each corruption, from the weakest to the strongest."""
        head = ("strength    ", *(f"{each:>6}" for each in STRENGTHS))
        rows = [
            (name.replace("_", " "), *(f"{each.accuracy:.1%}" for each in scores))
            for name, scores in corruptions.items()
        ]
        yield Row("Under shift", tuple(aligned([head, *rows])), verbatim=True)
        mean = self.mean_corruption_accuracy
        yield Row("", (f"{mean:.1%} on average, {self.accuracy:.1%} as they are",))

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, ready for JSON."""
        return {
            **self.score.to_dict(),
            "part": self.part,
            **self.apart.to_dict(),
            "skipped": _plain(self.skipped),
            "notes": list(self.notes),
            "corruptions": _rows(self.corruptions) if self.corruptions else None,
            "mean_corruption_accuracy": self.mean_corruption_accuracy,
        }
