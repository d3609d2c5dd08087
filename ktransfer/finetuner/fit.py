"""One training, from images to a classifier: read, examine, decide, train, judge, keep."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktransfer.advisor import Advice, choose_plan, textbook_rule
from ktransfer.advisor.adviser import Adviser, Seen
from ktransfer.backbones import Backbone
from ktransfer.cache import Store
from ktransfer.classifier import BackboneRecord, Classifier, FitResult, versions_here
from ktransfer.data import Splits, read_data
from ktransfer.data.batches.balance import Balance, choose_balance
from ktransfer.data.learnt import Learnt
from ktransfer.doctor import preflight
from ktransfer.errors import InputError, RunError
from ktransfer.features import RowSource, randomize
from ktransfer.finetuner.judging import (
    diagnosis_of,
    familiarity_learnt,
    hindsight_of,
    judge,
    movement_of,
    values_by_variable,
)
from ktransfer.finetuner.options import FitOptions
from ktransfer.finetuner.pretrained import Pretrained
from ktransfer.freezing import prefix_digest
from ktransfer.plan import Plan, augmentation_notes
from ktransfer.runs.record import read_record
from ktransfer.runs.seen import record_of
from ktransfer.show.timing import timed
from ktransfer.training import (
    Checkpoints,
    Settings,
    Training,
    check_same,
)

Similarity = float | str | None


@dataclass(frozen=True, eq=False)
class Decided:
    """A training before its first step.

    Attributes:
        splits: the images, as they were read.
        advice: what was measured and decided, or what the 2x2 rule says by itself.
        plan: resolved for the backbone.
        source: of the images and of what the network says of them.
        balance: what is done about classes of unequal size.
        request: what the training is made of, as plain data.
    """

    splits: Splits
    advice: Advice
    plan: Plan
    source: RowSource
    balance: Balance
    request: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Fit:
    """One training.

    Attributes:
        pretrained: the backbone; training changes its weights.
        pooling: as in `features.pool`.
        settings: how the plan is carried out.
        options: the arguments of the user.
        gap_backbone: measures the domain gap where the backbone cannot; None: what is at hand.
        verbose: show progress.
    """

    pretrained: Pretrained
    pooling: str
    settings: Settings
    options: FitOptions
    gap_backbone: Backbone | None = None
    verbose: int = True

    def run(self, data: Any) -> Classifier:
        """Read the images, examine them, decide, train and judge; `keep` saves what was made.

        Args:
            data: the source of the images.

        Raises:
            InputError: the images cannot be used, or the plan does not fit the backbone.
            RunError: what is to be resumed was started with something else.
        """
        options, seconds = self.options, dict[str, float]()
        with timed(seconds, "scan"):
            splits = self.read(data)
        with timed(seconds, "backbone"):  # downloaded now, that the data is known to be there
            _ = self.pretrained.backbone
        with timed(seconds, "check"):
            findings = preflight(splits, options.check, verbose=self.verbose)
        unkept = self._why_unkept()
        with timed(seconds, "prepare"):
            decided = self.decide(splits)
        seconds["prepare"] -= decided.source.seconds
        if options.complete:
            return self._taken_over(decided)
        training, before = self._trained(decided, seconds)
        with timed(seconds, "score"):
            scores, temperature, mistakes = judge(training)
            familiarity = familiarity_learnt(training)
        classifier = self._classifier(decided, training, record_of(data, splits), temperature)
        result = FitResult(
            validation=scores["validation"],
            test=scores.get("test"),
            classes=classifier.class_names,
            part_sizes={part.name: len(part) for part in decided.source.splits.parts},
            skipped=decided.source.splits.skipped,
            notes=(*self._notes(decided, training), *unkept),
            advice=decided.advice,
            hindsight=hindsight_of(decided.advice, training),
            plan=decided.plan,
            stages=tuple(training.results),
            movement=movement_of(decided.source.network, before, classifier.blocks),
            diagnosis=diagnosis_of(training),
            temperature=temperature,
            trainable_parameters=classifier.summary().trainable_parameters,
            total_parameters=int(classifier.model.count_params()),
            seconds=seconds,
            findings=findings,
            mistakes=mistakes,
        )
        return dataclasses.replace(classifier, result=result, familiarity=familiarity)

    def keep(self, classifier: Classifier) -> None:
        """Save what `run` made where the options say so, unless it lies there already.

        Raises:
            RunError: the disk is full, say; the classifier is not lost by that.
        """
        out, result = self.options.out, classifier.result
        if out is None or result is None or self.options.complete:
            return
        with timed(result.seconds, "save"):
            classifier.save(out, overwrite=True)
        if not result.interrupted:  # then it can still be resumed
            Checkpoints(out).remove()

    def read(self, data: Any) -> Splits:
        """Return the images, divided; a search has divided them once for all of its trials."""
        if isinstance(data, Splits):
            return data
        return read_data(
            data,
            validation_fraction=self.options.validation_fraction,
            seed=self.settings.seed,
            class_names=self.options.class_names,
            value_range=self.options.value_range,
        )

    def rule(self, num_images: int, num_classes: int, similarity: Similarity = None) -> Advice:
        """Say what the 2x2 rule says for the backbone."""
        return textbook_rule(
            num_images,
            num_classes,
            similarity,
            num_features=self.pretrained.num_features,
            block_parameters=[block.parameters for block in self.backbone.blocks],
        )

    def profile_images(self, splits: Splits, *, depths: bool = False) -> Seen:
        """Look at the images and decide, without training; `depths`: also block by block."""
        asked = self.options.similarity, self.options.fine_tuning
        return self._adviser.profile_images(splits, *asked, depths=depths)

    def decide(self, splits: Splits) -> Decided:
        """Decide on a plan, and look at what the training is made of.

        Raises:
            InputError: the plan does not fit the backbone.
        """
        options, blocks = self.options, len(self.backbone.blocks)
        self.pretrained.begin()
        seen = self.profile_images(splits) if options.decides else None
        if seen:
            advice = seen.advice
        else:
            counts = len(splits.train), len(splits.class_names)
            advice = self.rule(*counts, options.similarity)
        plan = choose_plan(
            self._begun_with() or options.plan,
            advice,
            blocks,
            unfreeze=options.unfreeze,
            epochs=options.epochs,
            batch_size=options.batch_size,
            patience=options.patience,
            augmentation=options.augmentation,
        )
        per_class = len(splits.train) / len(splits.class_names)
        notes = augmentation_notes(plan, blocks, per_class)
        plan = plan.resolve(blocks, per_class)
        source = self._source(plan, splits, seen)
        source.notes.extend(notes)
        balance = choose_balance(options.balance, splits.train.labels, splits.class_names)
        request = self._request(plan, source, balance)
        return Decided(splits, advice, plan, source, balance, request)

    def training(self, decided: Decided, checkpoints: Checkpoints | None = None) -> Training:
        """Return the training before its first step; without checkpoints nothing of it is saved."""
        if not decided.plan.pretrained:
            randomize(self.backbone, self.settings.seed)
        settings = dataclasses.replace(self.settings, balance=decided.balance.method)
        source = decided.source
        return Training(decided.plan, source.network, source, settings, checkpoints)

    def _trained(
        self, decided: Decided, seconds: dict[str, float]
    ) -> tuple[Training, dict[int, np.ndarray]]:
        """Return the training, carried out, and the weights of before."""
        started, source = time.perf_counter(), decided.source
        looked_s = source.seconds
        training = self.training(decided, self._checkpoints(decided))
        before = values_by_variable(self.backbone)
        training.run()
        seconds["decode_and_extract"] = source.seconds
        seconds["train"] = time.perf_counter() - started - (source.seconds - looked_s)
        return training, before

    def _classifier(
        self, decided: Decided, training: Training, data: dict[str, Any], temperature: float
    ) -> Classifier:
        """Return the model at a temperature, and all that is known of it but for the result."""
        network, splits = decided.source.network, decided.splits
        network.divide_logits(temperature)
        model = network.joined()
        training.freeze_as_trained()
        return Classifier(
            model=model,
            class_names=splits.class_names,
            backbone=BackboneRecord(
                self.backbone.name,
                self.backbone.blocks[network.num_blocks - 1].name,
                self.backbone.weights,
                self.backbone.input_size,
                dict(self.backbone.options),
            ),
            blocks=training.count_by_block(),
            pooling=self.pooling,
            dropout=self.settings.dropout,
            seed=self.settings.seed,
            data=data,
            learnt=Learnt.of(splits).joined(self.pretrained.learnt),
            request=decided.request,
            train=splits.train,
            validation=splits.validation,
            verbose=bool(self.verbose),
            test=splits.test,
            versions=versions_here(),
        )

    def _taken_over(self, decided: Decided) -> Classifier:
        """Say what lies in a run that was complete when it was to be resumed."""
        out, splits = str(self.options.out), decided.splits
        found = Classifier.load(out, verbose=bool(self.verbose))
        check_same(dict(found.request), decided.request, out)
        if found.result is None:
            raise RunError(
                f"the run {out} is complete and has no result: was it saved without one?"
            )
        self.pretrained.go_on_with(found)
        train, validation, test = splits.train, splits.validation, splits.test
        return dataclasses.replace(found, train=train, validation=validation, test=test)

    def _why_unkept(self) -> tuple[str, ...]:
        """Before anything is trained that cannot be kept; a note where nothing is to be kept."""
        try:
            self.backbone.check_keeping()
        except InputError as error:
            if self.options.out is not None:
                raise
            return (str(error),)
        return ()

    def _notes(self, decided: Decided, training: Training) -> tuple[str, ...]:
        return (
            *self.backbone.notes,
            *decided.source.splits.notes,
            *([decided.balance.reason] if decided.balance.reason else []),
            *decided.source.notes,
            *(self._store.remarks if self._store else ()),
            *(note for result in training.results for note in result.notes),
        )

    @property
    def backbone(self) -> Backbone:
        """The backbone of the training."""
        return self.pretrained.backbone

    @functools.cached_property
    def _store(self) -> Store | None:
        return None if self.options.cache == "off" else Store()

    @functools.cached_property
    def _adviser(self) -> Adviser:
        return Adviser(
            self.backbone,
            self.pooling,
            self.settings.seed,
            store=self._store,
            budget_mb=self.options.memory_budget_mb,
            dtype=self.options.cache_dtype,
            kept=() if isinstance(self.options.cache, str) else tuple(self.options.cache),
            gap_backbone=self.gap_backbone,
            verbose=bool(self.verbose),
        )

    def _source(self, plan: Plan, splits: Splits, seen: Seen | None) -> RowSource:
        """Return the rows for a plan; what was computed for the decision is not computed again."""
        adviser = self._adviser
        if seen and seen.source and plan.num_blocks == len(self.backbone.blocks):
            return seen.source.narrowed(adviser.network(splits, plan.features))
        return adviser.source(splits, plan.features, plan.num_blocks)

    def _begun_with(self) -> Plan | None:
        """Return the plan of the training to resume, complete or not.

        A decision rests on estimates of time, which may come out otherwise.
        """
        if not (self.options.decides and self.options.resume and self.options.out):
            return None
        request = Checkpoints(self.options.out).read_request()
        if request is None and self.options.complete:
            request = read_record(self.options.out)["request"]
        if request is None:
            return None
        try:
            return Plan.from_dict(request.get("plan"))
        except InputError as error:
            raise RunError(f"cannot resume {self.options.out}: its request says {error}") from error

    def _checkpoints(self, decided: Decided) -> Checkpoints | None:
        """Say where checkpoints go; what is resumed is compared with what it was started with."""
        if self.options.out is None:
            return None
        checkpoints = Checkpoints(self.options.out)
        then = checkpoints.read_request() if self.options.resume else None
        if then is None:
            checkpoints.forget()
            checkpoints.write_request(decided.request)
        else:
            check_same(then, decided.request, str(self.options.out))
        return checkpoints

    def _request(self, plan: Plan, source: RowSource, balance: Balance) -> dict[str, Any]:
        request = {
            "data": {
                part.name: {"images": len(part), "contents": source.contents[part.name]}
                for part in source.splits.parts
            },
            "classes": list(source.splits.class_names),
            "backbone": {
                "name": self.backbone.name,
                "input_size": list(self.backbone.input_size),
                "options": dict(self.backbone.options),
                "weights": prefix_digest(self.backbone, len(self.backbone.blocks)),
            },
            "plan": plan.to_dict(),
            # None in a run of before there was such a choice: what it means is the same.
            "value_range": source.splits.value_range,
            "settings": {
                "seed": self.settings.seed,
                "dropout": self.settings.dropout,
                "pooling": self.pooling,
                "precision": self.settings.precision,
                "jit_compile": self.settings.jit_compile,
                "cache_dtype": self.options.cache_dtype,
                "balance": balance.method,
            },
        }
        # As it will be read back: JSON knows no tuples.
        as_json: dict[str, Any] = json.loads(json.dumps(request, default=str))
        return as_json
