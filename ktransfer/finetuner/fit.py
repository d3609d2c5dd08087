"""One call of `FineTuner.fit`: look, decide, train, judge."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ktransfer.advisor import Advice, Tried, choose_plan, hindsight
from ktransfer.backbones import Backbone
from ktransfer.cache import Store
from ktransfer.classifier.results import FitResult
from ktransfer.data import Splits
from ktransfer.data.batches.balance import Balance, choose_balance
from ktransfer.errors import InputError, RunError
from ktransfer.features import Network, RowSource, randomize
from ktransfer.finetuner.advising import Adviser, Look
from ktransfer.finetuner.options import FitOptions
from ktransfer.freezing import count_by_block, prefix_digest
from ktransfer.metrics import Score, score
from ktransfer.optimizers.report import movement
from ktransfer.plan import Plan, augmentation_notes
from ktransfer.runs.record import read_record
from ktransfer.show.timing import timed
from ktransfer.training import (
    Checkpoints,
    Settings,
    Training,
    best_temperature,
    check_same,
    values_of,
)
from ktransfer.training.diagnosis import Diagnosis, diagnose
from ktransfer.training.stage_result import StageResult


@dataclass(frozen=True, eq=False)
class Begun:
    """A training before its first step.

    Attributes:
        advice: what was measured and decided, or what the 2x2 rule says by itself.
        plan: resolved for the backbone.
        source: of the images and of what the network says of them.
        balance: what is done about classes of unequal size.
        request: what the training is made of, as plain data.
    """

    advice: Advice
    plan: Plan
    source: RowSource
    balance: Balance
    request: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a training made.

    Attributes:
        model: images to class probabilities.
        result: how it went.
        blocks: for each block of the model its name, and how many of its numbers were frozen and
            trained.
    """

    model: keras.Model
    result: FitResult
    blocks: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, eq=False)
class Fit:
    """One training.

    Attributes:
        backbone: with the weights to begin with; training changes them.
        pooling: as in `heads.pool`.
        settings: how the plan is carried out.
        options: the arguments of the user.
        reference: measures the domain gap where the backbone cannot; None: what is at hand.
        verbose: show progress.
    """

    backbone: Backbone
    pooling: str
    settings: Settings
    options: FitOptions
    reference: Backbone | None = None
    verbose: bool = True

    def look(self, splits: Splits, *, depths: bool = False) -> Look:
        """Look at the images and decide, without training; `depths`: also block by block."""
        asked = self.options.similarity, self.options.fine_tuning
        return self._adviser.look(splits, *asked, depths=depths)

    def begin(self, splits: Splits, advice: Advice) -> Begun:
        """Decide on a plan, and look at what the training is made of.

        Args:
            splits: the images.
            advice: what the 2x2 rule says of them; where the plan is to be decided, more is
                measured.

        Raises:
            InputError: the plan does not fit the backbone.
        """
        options = self.options
        look = self.look(splits) if options.decides else None
        advice = look.advice if look else advice
        plan = choose_plan(
            self._begun_with() or options.plan,
            advice,
            len(self.backbone.blocks),
            unfreeze=options.unfreeze,
            epochs=options.epochs,
            batch_size=options.batch_size,
            patience=options.patience,
            augmentation=options.augmentation,
        )
        blocks, per_class = len(self.backbone.blocks), len(splits.train) / len(splits.class_names)
        notes = augmentation_notes(plan, blocks, per_class)
        plan = plan.resolve(blocks, per_class)
        source = self._source(plan, splits, look)
        source.notes.extend(notes)
        balance = choose_balance(options.balance, splits.train.labels, splits.class_names)
        request = self._request(plan, source, balance)
        return Begun(advice, plan, source, balance, request)

    def training(self, begun: Begun) -> Training:
        """The training, ready to be searched for a learning rate; nothing of it is saved."""
        if not begun.plan.pretrained:
            randomize(self.backbone, self.settings.seed)
        settings = self._settings(begun)
        return Training(begun.plan, begun.source.network, begun.source, settings)

    def run(self, begun: Begun, seconds: dict[str, float]) -> Fitted:
        """Train.

        Args:
            begun: of `begin`.
            seconds: where wall times are noted, by phase.

        Raises:
            RunError: what is to be resumed was started with something else.
        """
        started, source = time.perf_counter(), begun.source
        looked_s = source.seconds
        checkpoints = self._checkpoints(begun)
        if not begun.plan.pretrained:
            randomize(self.backbone, self.settings.seed)
        before = _values(self.backbone)
        settings = self._settings(begun)
        training = Training(begun.plan, source.network, source, settings, checkpoints)
        training.run()
        seconds["decode_and_extract"] = source.seconds
        seconds["train"] = time.perf_counter() - started - (source.seconds - looked_s)
        with timed(seconds, "score"):
            scores, temperature = _judge(training)
        source.network.divide_logits(temperature)
        model = source.network.joined()
        training.freeze_as_trained()
        blocks = count_by_block(self.backbone)[: source.network.num_blocks]
        splits, head = source.splits, source.network.head
        result = FitResult(
            validation=scores["validation"],
            test=scores.get("test"),
            classes=splits.class_names,
            part_sizes={part.name: len(part) for part in splits.parts},
            skipped=splits.skipped,
            notes=(
                *splits.notes,
                *([begun.balance.reason] if begun.balance.reason else []),
                *source.notes,
                *(self._store.remarks if self._store else ()),
                *_stage_notes(training),
            ),
            advice=begun.advice,
            hindsight=_hindsight(begun, training, len(splits.validation)),
            plan=begun.plan,
            stages=tuple(training.results),
            movement=_movement(source.network, before, blocks),
            diagnosis=_diagnosis(training),
            temperature=temperature,
            trainable_parameters=head.count_params() + sum(trained for _, _, trained in blocks),
            total_parameters=int(model.count_params()),
            seconds=seconds,
        )
        return Fitted(model, result, blocks)

    @functools.cached_property
    def _store(self) -> Store | None:
        return None if self.options.cache == "off" else Store()

    @property
    def _adviser(self) -> Adviser:
        return Adviser(
            self.backbone,
            self.pooling,
            self.settings,
            store=self._store,
            budget_mb=self.options.memory_budget_mb,
            dtype=self.options.cache_dtype,
            kept=() if isinstance(self.options.cache, str) else tuple(self.options.cache),
            reference=self.reference,
            verbose=self.verbose,
        )

    def _source(self, plan: Plan, splits: Splits, look: Look | None) -> RowSource:
        """The rows for a plan; what the look has computed is not computed again."""
        adviser = self._adviser
        if look and look.source and plan.num_blocks == len(self.backbone.blocks):
            return look.source.narrowed(adviser.network(splits, plan.features))
        return adviser.source(splits, plan.features, plan.num_blocks)

    def _begun_with(self) -> Plan | None:
        """The plan that was decided on when the training to resume was begun, complete or not.

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

    def _checkpoints(self, begun: Begun) -> Checkpoints | None:
        """Where checkpoints go; what is resumed is compared with what it was started with."""
        if self.options.out is None:
            return None
        checkpoints = Checkpoints(self.options.out)
        then = checkpoints.read_request() if self.options.resume else None
        if then is None:
            checkpoints.forget()
            checkpoints.write_request(begun.request)
        else:
            check_same(then, begun.request, str(self.options.out))
        return checkpoints

    def _settings(self, begun: Begun) -> Settings:
        return dataclasses.replace(self.settings, balance=begun.balance.method)

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


def _judge(training: Training) -> tuple[dict[str, Score], float]:
    """The score of each part but train, and the temperature that suits the validation part."""
    splits = training.source.splits
    parts = [part.name for part in splits.parts if part.name != "train"]
    logits = {name: training.logits(name) for name in parts}
    # The splits anew: what cannot be decoded in the test part is known only now.
    labels = {part.name: part.labels for part in training.source.splits.parts}
    scores = {
        name: score(logits[name].argmax(axis=1), labels[name], splits.class_names) for name in parts
    }
    return scores, best_temperature(logits["validation"], labels["validation"])


def _stage_notes(training: Training) -> list[str]:
    return [note for result in training.results for note in result.notes]


def _hindsight(begun: Begun, training: Training, num_validation: int) -> tuple[str, ...]:
    stages = [Tried(each.unfreeze, each.val_accuracy, each.kept) for each in training.results]
    return hindsight(begun.advice, stages, num_validation)


def _best_epoch(stage: StageResult) -> int | None:
    """The epoch to judge a stage by: the one kept, or where none was, the best one."""
    finite = [row for row in stage.history if math.isfinite(row["val_loss"] + row["loss"])]
    if stage.best_epoch or not finite:
        return stage.best_epoch or None
    return int(min(finite, key=lambda row: row["val_calibrated_loss"])["epoch"])


def _diagnosis(training: Training) -> Diagnosis | None:
    """Of the last stage that was kept: what it ended with is what the model is."""
    done = [result for result in training.kept if result.history]
    if not done:
        return None
    last, splits = done[-1], training.source.splits
    blocks = training.network.num_blocks
    trained = {0: "head", blocks: "all"}.get(last.unfreeze, "blocks")
    stage = training.plan.stages[training.results.index(last)]
    return diagnose(
        last.history,
        best_epoch=_best_epoch(last),
        num_train=len(splits.train),
        num_validation=len(splits.validation),
        num_classes=len(splits.class_names),
        trained=trained,
        learning_rate=stage.learning_rate,
        majority_share=float(np.bincount(splits.train.labels).max() / len(splits.train)),
    )


def _values(backbone: Backbone) -> dict[int, np.ndarray]:
    """Copies of a backbone's weights, by the identity of the variable."""
    weights = backbone.model.weights
    return dict(zip(map(id, weights), values_of(weights), strict=True))


def _movement(
    network: Network, before: dict[int, np.ndarray], blocks: Sequence[tuple[str, int, int]]
) -> dict[str, float]:
    moved = {}
    for block, (name, _, trained) in zip(network.blocks, blocks, strict=True):
        if trained:
            weights = [weight for layer in block.layers for weight in layer.weights]
            start = [before[id(weight)] for weight in weights]
            moved[name] = movement(start, values_of(weights))
    return moved
