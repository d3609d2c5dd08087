"""What `fit` returns: plain data that prints and serialises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ktransfer.advisor import Advice, overfitting_risk
from ktransfer.advisor.afterwards import INTERRUPTED, Tried
from ktransfer.classifier.mistakes import Mistake
from ktransfer.classifier.screen import (
    accuracy_row,
    balanced_row,
    baseline_row,
    confused_row,
    diagnosis_row,
    mistakes_row,
    reason_row,
    remarks_row,
    trained_words,
    tuning_row,
    untried_row,
)
from ktransfer.classifier.seeds import Seeds
from ktransfer.data import Skipped
from ktransfer.doctor import Finding
from ktransfer.files.records import check_typed, with_tuples
from ktransfer.metrics import Score
from ktransfer.plan import Plan
from ktransfer.show.results import Printed, Row, left_out
from ktransfer.training.diagnosis import Diagnosis, history_table
from ktransfer.training.stage_result import StageResult

_MOST_CLASSES = 20


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
        tries: what came of each way of fine-tuning that was tried besides; empty where none was.
        mistakes: images that the model is wrong about, the surest first: of the test part, or of
            the validation part where there is no test part. At most 10.
        seconds: wall time by phase: `scan`, `check`, `prepare` (reading the bytes of the files for
            the keys of the cache, building the network, measuring and deciding),
            `decode_and_extract`, `train` (both without the former), `score`; of several seeds
            together.
        seeds: what came of each of several seeds, of which this is the median; None where there was
            one.
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
    mistakes: tuple[Mistake, ...] = ()
    tries: tuple[Tried, ...] = ()
    seeds: Seeds | None = None

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
        stopped = any(each.note == INTERRUPTED for each in self.tries)
        last_seed = self.seeds is not None and self.seeds.interrupted
        return last_seed or stopped or any(stage.interrupted for stage in self.stages)

    def history_table(self, *, every: bool = False) -> str:
        """Write the history as text, the kept epoch marked.

        `every` epoch, or a long one thinned.
        """
        rows = [{**row, "epoch": number} for number, row in enumerate(self.history, 1)]
        return history_table(rows, self.best_epoch or None, every=every)

    @property
    def val_accuracy(self) -> float:
        """Accuracy on the validation images, in [0, 1]."""
        return self.validation.accuracy

    def printed(self) -> Iterator[Row]:
        """Say how good the model is, where it is wrong, what was done and why, in a dozen lines."""
        yield accuracy_row("Accuracy", self.validation, "validation images")
        if self.test:
            yield accuracy_row("", self.test, "test images")
        judged = self.test or self.validation
        yield baseline_row(judged)
        yield from self.seeds.rows() if self.seeds else ()
        yield from confused_row(judged)
        yield from mistakes_row(self.mistakes)
        seconds = self.seconds.get("total", sum(self.seconds.values()))
        trained = trained_words(self.unfrozen, self.plan)
        share = self.trainable_parameters / self.total_parameters
        yield Row("Done", (f"{trained} ({share:.1%} of parameters), {seconds:.1f} s",))
        yield reason_row(self.advice, self.plan, self.part_sizes["train"])
        tuned = tuple(tuning_row(self.stages, self.tries, self.plan.num_blocks or 0))
        yield from tuned or untried_row(self.advice)
        yield from diagnosis_row(self.diagnosis)
        yield from remarks_row(self.skipped, self.findings, self.notes)
        if self.interrupted:
            yield Row("Interrupted", ("by Ctrl-C; the model has the best weights until then",))

    def details(self, backbone: str = "") -> Iterator[Row]:
        """Say the rest: every reason, stage, proof, finding and note.

        Args:
            backbone: name of the backbone, which the result does not know.
        """
        for part, found in self._scores.items():
            yield balanced_row(found, part)
        yield from self.seeds.details() if self.seeds else ()
        yield from self.advice.decision()
        yield Row("Carried out", (self._carried_out(backbone),))
        yield Row("Stages", tuple(each for stage in self.stages for each in stage.sentences), True)
        if self.diagnosis:
            yield Row("Diagnosis", self.diagnosis.sentences)
        yield Row("Overfitting", (self.overfitting_risk,))
        yield Row("Tried", tuple(map(str, self.tries)), True)
        yield Row("Afterwards", self.hindsight, True)
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

    @property
    def _scores(self) -> dict[str, Score]:
        return {"validation": self.validation, **({"test": self.test} if self.test else {})}

    def _carried_out(self, backbone: str) -> str:
        widest = self.unfrozen
        what = f"the head and the last {widest} of {self.plan.num_blocks} blocks"
        return (
            f"{self.carried_out}{f' on {backbone}' if backbone else ''}: "
            f"{self.trainable_parameters:,} of {self.total_parameters:,} parameters trained, "
            f"{what if widest else 'the head only'}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON: the fields of `ktransfer train --json`."""
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
            "skipped": [asdict(each) for each in self.skipped],
            "notes": list(self.notes),
            "findings": [each.to_dict() for each in self.findings],
            "advice": self.advice.to_dict(),
            "cell": self.advice.cell,
            "strategy": self.advice.strategy,
            "reasons": list(self.advice.reasons),
            "overfitting_risk": self.overfitting_risk,
            "hindsight": list(self.hindsight),
            "mistakes": [each.to_dict() for each in self.mistakes],
            "tries": [each.to_dict() for each in self.tries],
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
            "seeds": self.seeds.to_dict() if self.seeds else None,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FitResult:
        """Return the reverse of `to_dict`.

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
            mistakes=tuple(map(Mistake.from_dict, data.get("mistakes", ()))),
            seeds=Seeds.from_dict(data["seeds"]) if data.get("seeds") else None,
            tries=tuple(map(Tried.from_dict, data.get("tries", ()))),
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
