"""One training, from images to a classifier: read, examine, decide, train, judge, keep."""

from __future__ import annotations

import dataclasses
import functools
import time
from dataclasses import dataclass, field
from typing import Any

from ktransfer.advisor import Advice, choose_plan, textbook_rule
from ktransfer.advisor.adviser import Adviser, Seen
from ktransfer.advisor.trying import seconds_of
from ktransfer.backbones import Backbone
from ktransfer.cache import Store
from ktransfer.classifier import Classifier
from ktransfer.data import Splits, read_data
from ktransfer.data.batches.balance import choose_balance
from ktransfer.doctor import preflight
from ktransfer.errors import InputError, RunError
from ktransfer.features import RowSource, randomize
from ktransfer.finetuner.judging import values_by_variable
from ktransfer.finetuner.made import Circumstances, Decided, request_of, with_tries
from ktransfer.finetuner.options import FitOptions
from ktransfer.finetuner.pretrained import Pretrained
from ktransfer.finetuner.tries import Outcome, Tries
from ktransfer.plan import Plan, augmentation_notes
from ktransfer.runs.record import read_record
from ktransfer.runs.seen import record_of
from ktransfer.show.progress import say
from ktransfer.show.timing import timed
from ktransfer.training import Checkpoints, Settings, Training, check_same

Similarity = float | str | None


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
        deadline: as `Settings.deadline`: the time budget counts from here.
    """

    pretrained: Pretrained
    pooling: str
    settings: Settings
    options: FitOptions
    gap_backbone: Backbone | None = None
    verbose: int = True
    deadline: float | None = field(init=False)

    def __post_init__(self) -> None:
        budget = self.options.time_budget
        deadline = None if budget is None else time.perf_counter() + budget
        object.__setattr__(self, "deadline", deadline)

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
        told = Circumstances(
            decided,
            self.backbone,
            self.pooling,
            self.settings,
            record_of(data, splits),
            self.pretrained.learnt,
            values_by_variable(self.backbone),
            findings,
            unkept,
            self._store,
            self.options.refit,
            seconds,
        )
        head = Outcome.of(self._trained(decided, seconds))
        if not decided.tries or head.training.interrupted:
            return told.classifier(head)
        first = self._head_first(told, head)
        with timed(seconds, "tries"):
            best, tried = self._tries(decided, head).run(decided.tries)
        best.put_back()
        if best is not head or first is None or first.result is None:
            return told.classifier(best, tried, head.accuracy)
        head.training.freeze_as_trained()
        result = with_tries(first.result, head.training, tried, head.accuracy)
        return dataclasses.replace(first, result=result)

    def _head_first(self, told: Circumstances, head: Outcome) -> Classifier | None:
        """Save the head before anything is tried, so that no kill takes it away, and say so."""
        classifier = None
        if self.options.out is not None:
            classifier = told.classifier(head)
            classifier.save(self.options.out, overwrite=True)
        saved = f", saved in {self.options.out}" if classifier else ""
        self._say(
            f"the head alone: {head.accuracy:.1%} of {len(head.losses):,} validation images "
            f"right{saved}; Ctrl-C from here on keeps the best so far"
        )
        return classifier

    def _tries(self, decided: Decided, head: Outcome) -> Tries:
        """Return what carries out the tries of a training."""
        behind = self._head_on_last(decided, head.training)
        sources = [behind.source]

        def begin(plan: Plan, number: int) -> Training:
            self.pretrained.begin()
            network = behind.network.with_new_head(plan.features)
            sources.append(sources[-1].beside(network))
            checkpoints = None
            if self.options.out is not None:
                checkpoints = Checkpoints(self.options.out, number + 1)
            settings = self._settings_of(decided, self.deadline)
            training = Training(plan, network, sources[-1], settings, checkpoints)
            training.begin_behind(behind)
            return training

        def takes(plan: Plan, first: int, last: int) -> float:
            assert decided.costs is not None  # only what was decided by measuring has tries
            return seconds_of(plan, decided.costs, len(decided.splits.train), first, last)

        return Tries(head, begin, takes, self.deadline, self._say)

    def _head_on_last(self, decided: Decided, done: Training) -> Training:
        """Return a head on the last features, trained: tuning begins under none other."""
        stage = decided.tries[0].stages[0]
        if done.plan.features == "last" and done.plan.stages[0] == stage:
            return done
        self.pretrained.begin()
        plan = dataclasses.replace(decided.tries[0], stages=(stage,), refit=None)
        network = done.network.with_new_head("last")
        training = Training(
            plan, network, decided.source.beside(network), self._settings_of(decided)
        )
        training.run()
        return training

    def _say(self, sentence: str) -> None:
        if self.verbose:
            say(sentence)

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
        options, blocks = self.options.numbered(self.backbone), len(self.backbone.blocks)
        self.pretrained.begin()
        seen = self.profile_images(splits) if options.decides else None
        counts = len(splits.train), len(splits.class_names)
        advice = seen.advice if seen else self.rule(*counts, options.similarity)
        begun = self._begun_with()
        tries = begun[1] if begun else advice.tries if seen else ()
        # Where blocks are tuned besides, the rate that the user gave is theirs, not the head's.
        own = {"learning_rate": None} if tries else {}
        chosen = self._chosen(begun[0] if begun else options.plan, advice, **own)
        # A try ends with its last epoch. At one rate, two that differed by it are one.
        per_class = counts[0] / counts[1]
        same = [self._chosen(each, advice, patience=None) for each in tries]
        tries = tuple(dict.fromkeys(each.resolve(blocks, per_class) for each in same))
        plan = chosen.resolve(blocks, per_class)
        source = self._source(plan, splits, seen)
        source.notes.extend(augmentation_notes(chosen, blocks, per_class))
        balance = choose_balance(options.balance, splits.train.labels, splits.class_names)
        asked = {
            "seed": self.settings.seed,
            "dropout": self.settings.dropout,
            "pooling": self.pooling,
            "precision": self.settings.precision,
            "jit_compile": self.settings.jit_compile,
            "cache_dtype": options.cache_dtype,
        }
        request = request_of(plan, tries, source, balance, self.backbone, asked)
        costs = seen.costs if seen else None
        return Decided(splits, advice, plan, tries, source, balance, request, costs)

    def _chosen(self, plan: Plan | str, advice: Advice, **changed: Any) -> Plan:
        """Return a plan with the settings that the user gave."""
        options, blocks = self.options.numbered(self.backbone), len(self.backbone.blocks)
        settings = {
            "unfreeze": options.unfreeze,
            "learning_rate": options.learning_rate,
            "epochs": options.epochs,
            "batch_size": options.batch_size,
            "patience": options.patience,
            "augmentation": options.augmentation,
        }
        return choose_plan(plan, advice, blocks, **{**settings, **changed})

    def training(self, decided: Decided, checkpoints: Checkpoints | None = None) -> Training:
        """Return the training before its first step; without checkpoints nothing of it is saved."""
        if not decided.plan.pretrained:
            randomize(self.backbone, self.settings.seed)
        # A head that was decided on trains to its end: without it there is no model.
        deadline = None if self.options.decides else self.deadline
        source, settings = decided.source, self._settings_of(decided, deadline)
        return Training(decided.plan, source.network, source, settings, checkpoints)

    def _settings_of(self, decided: Decided, deadline: float | None = None) -> Settings:
        return dataclasses.replace(self.settings, balance=decided.balance.method, deadline=deadline)

    def _trained(self, decided: Decided, seconds: dict[str, float]) -> Training:
        """Return the training, carried out."""
        started, source = time.perf_counter(), decided.source
        looked_s = source.seconds
        training = self.training(decided, self._checkpoints(decided))
        training.run()
        seconds["decode_and_extract"] = source.seconds
        seconds["train"] = time.perf_counter() - started - (source.seconds - looked_s)
        return training

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
            deadline=self.deadline,
        )

    def _source(self, plan: Plan, splits: Splits, seen: Seen | None) -> RowSource:
        """Return the rows for a plan; what was computed for the decision is not computed again."""
        adviser = self._adviser
        if seen and seen.source and plan.num_blocks == len(self.backbone.blocks):
            return seen.source.narrowed(adviser.network(splits, plan.features))
        return adviser.source(splits, plan.features, plan.num_blocks)

    def _begun_with(self) -> tuple[Plan, tuple[Plan, ...]] | None:
        """Return the plan of the training to resume, complete or not, and what it tries.

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
            tries = tuple(map(Plan.from_dict, request.get("tries", ())))
            return Plan.from_dict(request.get("plan")), tries
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
