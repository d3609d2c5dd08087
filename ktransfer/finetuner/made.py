"""What a training made: the classifier, its result, and what it is recorded as made of."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktransfer.advisor import Advice
from ktransfer.advisor.afterwards import Found, Tried, hindsight
from ktransfer.advisor.costs import Costs
from ktransfer.backbones import Backbone
from ktransfer.cache import Store
from ktransfer.classifier import BackboneRecord, Classifier, FitResult, versions_here
from ktransfer.data import Splits
from ktransfer.data.batches.balance import Balance
from ktransfer.data.learnt import Learnt
from ktransfer.doctor import Finding
from ktransfer.features import RowSource
from ktransfer.finetuner.judging import (
    diagnosis_of,
    familiarity_learnt,
    judge,
    movement_of,
)
from ktransfer.finetuner.tries import Outcome
from ktransfer.freezing import prefix_digest
from ktransfer.plan import Plan
from ktransfer.show.timing import timed
from ktransfer.training import Settings, Training
from ktransfer.training.refit import learning_from_all


@dataclass(frozen=True, eq=False)
class Decided:
    """A training before its first step.

    Attributes:
        splits: the images, as they were read.
        advice: what was measured and decided, or what the 2x2 rule says by itself.
        plan: resolved for the backbone.
        tries: plans that are tried after it, each by itself, resolved.
        source: of the images and of what the network says of them.
        balance: what is done about classes of unequal size.
        request: what the training is made of, as plain data.
        costs: of the backbone; None where nothing was measured.
    """

    splits: Splits
    advice: Advice
    plan: Plan
    tries: tuple[Plan, ...]
    source: RowSource
    balance: Balance
    request: dict[str, Any]
    costs: Costs | None


@dataclass(frozen=True, eq=False)
class Circumstances:
    """What a classifier and its result are told besides the training.

    Attributes:
        decided: the training before its first step.
        backbone: what was trained.
        pooling: as in `features.pool`.
        settings: how.
        data: the record of the images.
        learnt_before: what the backbone had learnt from.
        before: its weights at the beginning, by the identity of the variable.
        findings: what is wrong with the images.
        notes: remarks that are no errors.
        store: the cache, which makes remarks of its own; None: there is none.
        refit: whether the head learns from the validation images as well, at the end.
        seconds: wall time by phase; what is done here is added.
    """

    decided: Decided
    backbone: Backbone
    pooling: str
    settings: Settings
    data: dict[str, Any]
    learnt_before: Learnt | None
    before: dict[int, np.ndarray]
    findings: Sequence[Finding]
    notes: Sequence[str]
    store: Store | None
    refit: bool
    seconds: dict[str, float]

    def classifier(
        self, outcome: Outcome, tried: Sequence[Tried] = (), head_accuracy: float | None = None
    ) -> Classifier:
        """Return the classifier of a training, judged, with its result.

        Args:
            outcome: the training; the backbone has its weights.
            tried: what came of the tries.
            head_accuracy: of the head that they went on from, on the validation images; None: it is
                what the training was.
        """
        training = outcome.training
        with timed(self.seconds, "score"):
            scores, temperature, mistakes = judge(training, outcome.logits)
            familiarity = familiarity_learnt(training)
        final, said = learning_from_all(training) if self.refit else (training, "")
        classifier = self._without_result(final, temperature, all_images=final is not training)
        splits = training.source.splits
        result = FitResult(
            validation=scores["validation"],
            test=scores.get("test"),
            classes=classifier.class_names,
            part_sizes={part.name: len(part) for part in splits.parts},
            skipped=splits.skipped,
            notes=(*self._notes(outcome), *([said] if said else [])),
            advice=self.decided.advice,
            plan=outcome.plan,
            stages=tuple(training.results),
            movement=movement_of(training.network, self.before, classifier.blocks),
            diagnosis=None,
            temperature=temperature,
            trainable_parameters=classifier.summary().trainable_parameters,
            total_parameters=int(classifier.model.count_params()),
            seconds=self.seconds,
            findings=tuple(self.findings),
            mistakes=mistakes,
        )
        accuracy = outcome.accuracy if head_accuracy is None else head_accuracy
        result = with_tries(result, training, tried, accuracy)
        return dataclasses.replace(classifier, result=result, familiarity=familiarity)

    def _notes(self, outcome: Outcome) -> list[str]:
        training, balance = outcome.training, self.decided.balance
        source = self.decided.source
        return list(
            dict.fromkeys(
                (
                    *self.backbone.notes,
                    *training.source.splits.notes,
                    *([balance.reason] if balance.reason else []),
                    *source.notes,
                    *training.source.notes,
                    *(self.store.remarks if self.store else ()),
                    *self.notes,
                    *(note for result in training.results for note in result.notes),
                )
            )
        )

    def _without_result(
        self, training: Training, temperature: float, *, all_images: bool
    ) -> Classifier:
        """Return the model at a temperature, and all that is known of it but for the result."""
        splits = self.decided.splits
        learnt = Learnt.of(splits, trained_on_all=all_images)
        network = training.network
        model = network.joined(temperature)
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
            data=self.data,
            learnt=learnt.joined(self.learnt_before),
            request=self.decided.request,
            train=splits.train,
            validation=splits.validation,
            verbose=bool(self.settings.verbose),
            test=splits.test,
            versions=versions_here(),
        )


def with_tries(
    result: FitResult, training: Training, tried: Sequence[Tried], head_accuracy: float
) -> FitResult:
    """Return a result that also tells of the tries, of the diagnosis, and how the advice did."""
    found = Found(head_accuracy, result.validation, result.test)
    return dataclasses.replace(
        result,
        tries=tuple(tried),
        hindsight=hindsight(result.advice, tried, found),
        diagnosis=diagnosis_of(training, tried),
    )


def request_of(
    plan: Plan,
    tries: Sequence[Plan],
    source: RowSource,
    balance: Balance,
    backbone: Backbone,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Return what a training is made of, as plain data: what a resume is compared with."""
    request = {
        "data": {
            part.name: {"images": len(part), "contents": source.contents[part.name]}
            for part in source.splits.parts
        },
        "classes": list(source.splits.class_names),
        "backbone": {
            "name": backbone.name,
            "input_size": list(backbone.input_size),
            "options": dict(backbone.options),
            "weights": prefix_digest(backbone, len(backbone.blocks)),
        },
        "plan": plan.to_dict(),
        # Runs of before there were tries have none.
        **({"tries": [each.to_dict() for each in tries]} if tries else {}),
        # None in a run of before there was such a choice: what it means is the same.
        "value_range": source.splits.value_range,
        "settings": {**settings, "balance": balance.method},
    }
    # As it will be read back: JSON knows no tuples.
    as_json: dict[str, Any] = json.loads(json.dumps(request, default=str))
    return as_json
