"""`UnfreezeTuner`: KerasTuner's search over plans, with one cache for all trials."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.errors import FailedTrialError, FatalError

from ktransfer._checks import InputError, RunError
from ktransfer._progress import stderr_console
from ktransfer.data import Splits, read_data
from ktransfer.data.dividing import divide, in_fold
from ktransfer.finetuner import FineTuner
from ktransfer.freezing import prefix_digest
from ktransfer.metrics import Score
from ktransfer.plan import Plan
from ktransfer.plan.fields import whole
from ktransfer.runs import check_output_folder, holds_model
from ktransfer.training import check_same
from ktransfer.tuner.choosing import by_depth, choose
from ktransfer.tuner.crew import Crew
from ktransfer.tuner.naive import measured_costs, naive_seconds
from ktransfer.tuner.oracles import OBJECTIVE, Search
from ktransfer.tuner.records import DONE, FAILED, Journal, Record
from ktransfer.tuner.repeating import Repeating, repeated
from ktransfer.tuner.result import SearchResult
from ktransfer.tuner.sharing import Shared, share
from ktransfer.tuner.space import plan_of, search_space
from ktransfer.tuner.worker import Job, Setup, built

FINAL = "final"

#: The folder of the search that the run of the last training lies in.
BEST = "best"


class UnfreezeTuner(BaseTuner):
    """Searches for how many blocks to unfreeze, and how fast, with an oracle of KerasTuner.

    A trial is one carrying-out of a plan, as `FineTuner.fit` does it, in a process of its own that
    serves several trials. What frozen blocks say is computed once for all of them. Whatever becomes
    of a trial, the search goes on; a search that was killed goes on where it was, if it is made and
    asked again with the same directory.

    Args:
        backbone: a name, or any functional `keras.Model`, as in `FineTuner`.
        weights: as in `FineTuner`.
        directory: a folder for the search, KerasTuner's files among it.
        hyperparameters: take the place of those of `search_space` with the same names; or all of
            them, of `search_space` itself.
        max_unfreeze: the most last blocks that train; None: at most 6.
        oracle: `"bayesian"`, `"random"`, `"grid"` or `"hyperband"`.
        max_trials: most trials.
        epochs: most epochs of the stage that unfreezes.
        repeats: with how many other seeds the plans that may be the best are carried out again;
            None: 2 where there are under 500 validation images, else 0; 0 where there are folds.
        folds: in how many stratified folds of the training and validation images these plans are
            carried out instead; each image is then held back once.
        seed: of the search, the splits and the trials.
        cache_mb: most megabytes that what trials share may take; None: what the library's cache has
            room for.
        verbose: say on standard error how each trial went.
        **options: of `FineTuner`, such as `input_size`, `pooling` or `alpha=0.35`.

    Raises:
        InputError: something of it is unknown or does not fit together, there is nothing to search,
            or the oracle needs more trials.
    """

    def __init__(
        self,
        backbone: str | keras.Model = "MobileNetV2",
        weights: str | os.PathLike[str] | None = "imagenet",
        *,
        directory: str | os.PathLike[str],
        hyperparameters: Any = None,
        max_unfreeze: int | None = None,
        oracle: str = "bayesian",
        max_trials: int = 12,
        epochs: int = 10,
        repeats: int | None = None,
        folds: int | None = None,
        seed: int = 0,
        cache_mb: float | None = None,
        verbose: bool = True,
        **options: Any,
    ) -> None:
        if not isinstance(backbone, str | keras.Model):
            raise InputError(
                f"the processes of a search load the backbone themselves: give a name or a "
                f"keras.Model, got {backbone!r}"
            )
        self.search_seed = whole("a search", "seed", seed, 0)
        self._repeating = Repeating(repeats, folds, seed)
        self._repeating.check()
        self._arguments, self._options = (backbone, weights), options
        self._verbose, self._cache_mb = verbose, cache_mb
        one = built(self._arguments, options, seed)
        self.backbone, self._pooling = one.backbone, one.pooling
        self.num_blocks = len(self.backbone.blocks)
        self.space = search_space(
            self.backbone,
            max_unfreeze=max_unfreeze,
            epochs=epochs,
            hyperparameters=hyperparameters,
        )
        plan_of(self.space, self.num_blocks)  # its errors are raised now
        self._search = Search(oracle, max_trials, epochs, seed)
        self._search.check(self.space)
        self.folder = Path(directory)
        self.journal = Journal(self.folder)
        self.result: SearchResult | None = None
        self._crew: Crew | None = None
        super().__init__(
            self._search.make(self.space, self._known),
            directory=str(self.folder),
            project_name="keras_tuner",
        )

    @property
    def best_plan(self) -> Plan:
        """The plan that was chosen: for `FineTuner.fit(plan=...)` or `train --plan`.

        Raises:
            InputError: before `search`.
        """
        if self.result is None:
            raise InputError("there is no plan yet: call search(data) first")
        return self.result.best_plan

    @property
    def best_run(self) -> Path:
        """Where the best model lies, as `FineTuner.save` writes it; complete after `search`."""
        return self.folder / BEST

    def load_best(self) -> FineTuner:
        """A `FineTuner` with the model of the chosen plan: to predict, evaluate and save with.

        Raises:
            RunError: the search has not ended yet, or the run is damaged.
        """
        return FineTuner.load(self.best_run, verbose=self._verbose)

    def get_best_models(self, num_models: int = 1) -> list[keras.Model]:
        """The model of the chosen plan, from RGB images in [0, 255] to class probabilities.

        Args:
            num_models: 1.

        Raises:
            InputError: more are asked for.
            RunError: as `load_best`.
        """
        if num_models != 1:
            raise InputError(
                f"num_models={num_models}, but only the chosen plan's model is kept: ask for 1; "
                "FineTuner(...).fit(data, plan=each.to_plan()) trains another of result.trials"
            )
        return [self.load_best().model]

    def search(
        self,
        data: Any,
        *,
        validation_fraction: float = 0.2,
        test_fraction: float = 0.2,
        class_names: Sequence[str] | None = None,
    ) -> SearchResult:
        """Carry out the trials that are left, and choose.

        Args:
            data: as in `FineTuner.fit`, or `Splits`.
            validation_fraction: as in `FineTuner.fit`.
            test_fraction: share of each class of the training images that no trial sees, where the
                data has no test part.
            class_names: as in `FineTuner.fit`.

        Returns:
            What was found; it is also kept as `result`.

        Raises:
            InputError: the data or an argument cannot be used.
            RunError: the directory holds another search (each difference is named), cannot be
                written to, or every trial has failed. What was finished before is kept.
        """
        started = time.perf_counter()
        splits = data
        if not isinstance(data, Splits):
            splits = read_data(
                data,
                validation_fraction=validation_fraction,
                seed=self.search_seed,
                class_names=class_names,
            )
        splits = with_test(splits, test_fraction, self.search_seed)
        check_output_folder(self.best_run, overwrite=True)
        if folds := self._repeating.folds:
            in_fold(splits, folds, 0, self.search_seed)  # its errors are raised now
        shared = self._shared(splits)
        self._check_request(splits)
        self._say(str(shared))
        setup = Setup(self._arguments, self._options, splits, self.search_seed, shared.cuts)
        self._crew = Crew(setup, self.folder / "worker.log")
        try:
            super().search(verbose=0)
            self.result = self._chosen(splits, shared, started)
        finally:
            self._crew.close()
        return self.result

    def on_trial_begin(self, trial: Any) -> None:
        """Take the values that a trial had when it first began."""
        record = self.journal.find(trial.trial_id)
        if record is not None:
            trial.hyperparameters.values = dict(record.values)

    def run_trial(self, trial: Any, **options: Any) -> dict[str, float]:
        """Carry a trial out, or say how it went when it was.

        Raises:
            FailedTrialError: it failed, with the reason.
        """
        values = dict(trial.hyperparameters.values)
        plan = plan_of(trial.hyperparameters, self.num_blocks)
        record = self._carried_out(Record(trial.trial_id, values, plan.to_dict(), self.search_seed))
        if not record.metrics:
            raise FailedTrialError(record.reason)
        return record.metrics

    def load_model(self, trial: Any) -> keras.Model:
        """No trial keeps its model.

        Raises:
            InputError: always; it says what to do instead.
        """
        raise InputError(
            f"trial {trial.trial_id} keeps no model, only the chosen plan does: "
            "get_best_models(1), or load_best() for a FineTuner"
        )

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[Any]:
        """Points of the space: of `best_plan` first, once there is one, then by the objective."""
        best = self.oracle.get_best_trials(num_trials)
        if self.result is not None:
            chosen = self.oracle.get_trial(self.result.chosen.name)
            best = [chosen, *(each for each in best if each.trial_id != chosen.trial_id)]
        return [each.hyperparameters for each in best[:num_trials]]

    def results_summary(self, num_trials: int = 10) -> None:
        """Print the depths and what was chosen; before the search ends the best trials."""
        if self.result is None:
            super().results_summary(num_trials)
        else:
            print(self.result)

    def save(self) -> None:
        """Write KerasTuner's files for those who look; the search goes on from the records."""
        self.oracle.save()

    def _known(self, name: str) -> dict[str, Any] | None:
        record = self.journal.find(name)
        return None if record is None else dict(record.values)

    def _carried_out(self, record: Record) -> Record:
        """The record of a training: found, or made."""
        found = self.journal.find(record.name)
        if found is not None and found.finished:
            return found
        fold = self._repeating.fold_of(record)
        job = Job(dict(record.plan), record.seed, self._curves(record), fold=fold)
        return self._trained(record, job)

    def _final(self, best: Record, *, test: bool) -> Record:
        """The last training: the chosen plan once more, its run kept and judged on the test part.

        It is found where it was done, of this plan, and its run is there; else made, also where it
        failed before.

        Raises:
            RunError: it failed, or the run cannot be saved.
        """
        found = self.journal.find(FINAL)
        done = found is not None and found.status == DONE and found.plan == best.plan
        if found is not None and done and holds_model(self.best_run):
            return found
        save = str(self.best_run.absolute())
        job = Job(dict(best.plan), best.seed, test=test, save=save)
        final = self._trained(Record(FINAL, best.values, best.plan, best.seed), job)
        if final.status == FAILED:
            raise RunError(f"the chosen plan could not be trained once more: {final.reason}")
        return final

    def _trained(self, record: Record, job: Job) -> Record:
        try:
            record = self.journal.begin(record)
            assert self._crew is not None  # only within `search`
            record = dataclasses.replace(record, **self._crew.run(job))
            if not record.finished:
                raise RunError(record.reason)
            self.journal.write(record)
        except RunError as error:
            # KerasTuner goes on after any other error: the next trial would meet the same.
            raise _EndedError(str(error)) from error
        self._say(_said(record))
        return record

    def _say(self, sentence: str) -> None:
        if self._verbose:
            stderr_console().print(sentence)

    def _shared(self, splits: Splits) -> Shared:
        """What trials share, within the budget."""
        seeds = 1 + self._repeating.num_seeds(len(splits.validation))
        return share(
            self.backbone,
            self._pooling,
            self.space,
            splits,
            budget_mb=self._cache_mb,
            seeds=seeds,
            copies=1 + (self._repeating.folds or 0),
        )

    def _curves(self, record: Record) -> tuple[tuple[float, ...], ...]:
        """What the median rule compares a trial with; repeats end in time."""
        if record.repeats:
            return ()
        every = self.journal.all()
        return tuple(each.curve for each in every if each.status == DONE and not each.repeats)

    def _chosen(self, splits: Splits, shared: Shared, started: float) -> SearchResult:
        num_validation = len(splits.validation)
        trials = [each for each in self.journal.all() if not each.repeats and each.name != FINAL]
        if not by_depth(trials, num_validation):
            last = next(each for each in reversed(trials))
            raise RunError(f"none of the {len(trials)} trials was carried out: {last.reason}")
        repeats = repeated(trials, num_validation, self._repeating, self._carried_out)
        depths = by_depth([*trials, *repeats], num_validation)
        chosen = choose(depths)
        best = self._trial(chosen.name)
        final = self._final(best, test=splits.test is not None)
        return SearchResult(
            trials=tuple(trials),
            repeats=tuple(repeats),
            depths=depths,
            chosen=chosen,
            best_plan=best.to_plan(),
            model=str(self.best_run),
            test=Score.from_dict(final.test) if final.test else None,
            part_sizes={part.name: len(part) for part in splits.parts},
            shared=shared,
            naive_seconds=naive_seconds(
                trials,
                measured_costs(self.backbone, self.folder / "costs.json"),
                len(splits.train) + num_validation,
            ),
            seconds=time.perf_counter() - started,
        )

    def _trial(self, name: str) -> Record:
        found = self.journal.find(name)
        assert found is not None
        return found

    def _check_request(self, splits: Splits) -> None:
        """Refuse a folder that holds another search; note what this one is made of."""
        request = {
            "data": {
                part.name: {"images": len(part), "contents": part.content_digest()}
                for part in splits.parts
            },
            "classes": list(splits.class_names),
            "backbone": {
                "name": self.backbone.name,
                "input_size": list(self.backbone.input_size),
                "options": dict(self.backbone.options),
                "weights": prefix_digest(self.backbone, self.num_blocks),
            },
            "search": {
                **dataclasses.asdict(self._search),
                "objective": OBJECTIVE,
                "repeats": self._repeating.repeats,
                "folds": self._repeating.folds,
            },
            "space": {each.name: _described(each) for each in self.space.space},
        }
        then = self.journal.read_request()
        if then is None:
            self.journal.write_request(request)
        else:
            check_same(then, request, str(self.folder))


class _EndedError(FatalError, RunError):
    """Ends a search: KerasTuner lets it pass."""


def with_test(splits: Splits, fraction: float, seed: int) -> Splits:
    """The same with a test part: where the data has none, a share of each class of train.

    Raises:
        InputError: the share does not lie between 0 and 1.
    """
    if splits.test is not None:
        return splits
    if not isinstance(fraction, int | float) or not 0.0 < fraction < 1.0:
        raise InputError(f"test_fraction must lie between 0 and 1, got {fraction!r}")
    train, test = divide(splits.train, splits.class_names, fraction, seed)
    note = f"{len(test)} training images were held back as a test part (seed={seed})"
    return dataclasses.replace(
        splits,
        train=train,
        test=dataclasses.replace(test, name="test"),
        test_held_back=True,
        notes=(*splits.notes, note),
    )


def _described(hyperparameter: Any) -> dict[str, Any]:
    config = hyperparameter.get_config()
    return {key: config[key] for key in config if key not in ("name", "conditions")}


def _said(record: Record) -> str:
    blocks = f"unfreeze {record.unfreeze}, learning rate {record.learning_rate:.2g}"
    if record.val_accuracy is None:
        return f"{record.name}: {blocks}: failed, {record.reason}"
    stopped = f", stopped: {record.reason}" if record.reason else ""
    return f"{record.name}: {blocks}: {record.val_accuracy:.1%} in {record.seconds:.1f} s{stopped}"
