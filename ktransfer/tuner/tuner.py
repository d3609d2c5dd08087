"""`UnfreezeTuner`: KerasTuner's search over plans, with one cache for all trials."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
from keras_tuner import HyperParameters
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.errors import FailedTrialError

from ktransfer.backbones import Backbone
from ktransfer.backbones.model_file import is_model_file, located
from ktransfer.data import Splits, read_data
from ktransfer.data.images.value_range import ValueRange
from ktransfer.data.reading.dividing import in_fold, with_test
from ktransfer.errors import InputError
from ktransfer.finetuner import FineTuner
from ktransfer.plan import Plan
from ktransfer.plan.fields import whole
from ktransfer.processes.keras_settings import own_settings
from ktransfer.show.progress import say
from ktransfer.tuner.machines.machine import WORKER, check_free, machine_of, without_variables
from ktransfer.tuner.oracles import Search, without_tracebacks
from ktransfer.tuner.records import Journal, Record
from ktransfer.tuner.repetition import Repetition
from ktransfer.tuner.request import Request, compared, of_a_worker, request_of
from ktransfer.tuner.result import SearchResult
from ktransfer.tuner.shared import Shared, share
from ktransfer.tuner.space import plan_of, search_space
from ktransfer.tuner.trials import Trials
from ktransfer.tuner.worker import Setup, built


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
        role: `"chief"` or `"worker"` of a search over several machines; None: as KerasTuner's
            environment variables say, which is no other machine where they are not set. The chief
            says what is tried, and has the directory; a worker asks it for trials, and needs the
            same data, backbone and weights. What a worker is told of the oracle, the trials, epochs
            and repeats is not used.
        chief: `HOST:PORT` of the chief. What is sent is neither encrypted nor signed: for networks
            that you trust.
        worker_timeout_s: a trial whose worker has said nothing for so many seconds is given to
            another; of the chief.
        chief_timeout_s: for so many seconds a worker waits for a chief that does not answer.
        **options: of `FineTuner`, such as `input_size`, `pooling` or `alpha=0.35`.

    Raises:
        InputError: something of it is unknown or does not fit together, there is nothing to search,
            or the oracle needs more trials.
        RunError: the chief's port is in use, or a record in the directory is damaged.
    """

    @own_settings()
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
        role: str | None = None,
        chief: str | None = None,
        worker_timeout_s: float = 60.0,
        chief_timeout_s: float = 600.0,
        **options: Any,
    ) -> None:
        backbone = located(backbone)
        if not isinstance(backbone, str | keras.Model):
            raise InputError(
                f"the processes of a search load the backbone themselves: give a name or a "
                f"keras.Model, got {backbone!r}"
            )
        self._machine = machine_of(role, chief)
        self._worker_timeout_s = _seconds("worker_timeout_s", worker_timeout_s)
        self._chief_timeout_s = _seconds("chief_timeout_s", chief_timeout_s)
        self.search_seed = whole("a search", "seed", seed, 0)
        self._repetition = Repetition(repeats, folds, seed)
        self._repetition.check()
        self._arguments, self._options = (backbone, weights), options
        self._verbose, self._cache_mb = verbose, cache_mb
        self._finetuner = built(self._arguments, options, seed)
        blocks = self._blocks(backbone, weights, seed, options)
        self.num_blocks = len(blocks.blocks)
        self.space = search_space(
            blocks,
            max_unfreeze=max_unfreeze,
            epochs=epochs,
            hyperparameters=hyperparameters,
        )
        plan_of(self.space, self.num_blocks)  # its errors are raised now
        self._search = Search(oracle, max_trials, epochs, seed)
        self._given = [each.name for each in hyperparameters.space] if hyperparameters else []
        if not self._works:
            self._search.check(self.space)
        if self._machine and not self._works:
            check_free(self._machine)
        self.folder = Path(directory)
        self.journal = Journal(self.folder)
        self.result: SearchResult | None = None
        #: How many trials this process has carried out as a worker.
        self.num_carried_out = 0
        self._trials = Trials(
            self.journal, self._repetition, self._say, most=max_trials, verbose=self._verbose
        )
        with without_variables():
            super().__init__(
                self._search.make(self.space, self._known),
                directory=str(self.folder),
                project_name="keras_tuner",
            )

    @property
    def backbone(self) -> Backbone:
        """What is trained. ImageNet weights are downloaded when it is first needed.

        Raises:
            InputError: they cannot be downloaded.
        """
        return self._finetuner.backbone

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
        return self._trials.best_run

    @own_settings()
    def load_best(self) -> FineTuner:
        """Load the model of the chosen plan as a `FineTuner`, to predict, evaluate and save.

        Raises:
            RunError: the search has not ended yet, or the run is damaged.
        """
        return FineTuner.load(self.best_run, verbose=self._verbose)

    @own_settings()
    def get_best_models(self, num_models: int = 1) -> list[keras.Model]:
        """Return the model of the chosen plan, from RGB images in [0, 255] to class probabilities.

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

    @own_settings()
    def search(
        self,
        data: Any,
        *,
        validation_fraction: float = 0.2,
        test_fraction: float = 0.2,
        class_names: Sequence[str] | None = None,
        value_range: str | ValueRange | None = "auto",
    ) -> SearchResult | None:
        """Carry out the trials that are left, and choose.

        Args:
            data: as in `FineTuner.fit`, or `Splits`.
            validation_fraction: as in `FineTuner.fit`.
            test_fraction: share of each class of the training images that no trial sees, where the
                data has no test part.
            class_names: as in `FineTuner.fit`.
            value_range: as in `FineTuner.fit`.

        Returns:
            What was found; it is also kept as `result`. None of a worker: the chief has it.

        Raises:
            InputError: the data or an argument cannot be used.
            RunError: the directory holds another search (each difference is named), cannot be
                written to, or every trial has failed; or a worker has something else than its
                chief, or the chief is gone. What was finished before is kept.
        """
        started = time.perf_counter()
        splits = data
        if not isinstance(data, Splits):
            splits = read_data(
                data,
                validation_fraction=validation_fraction,
                seed=self.search_seed,
                class_names=class_names,
                value_range=value_range,
            )
        splits = with_test(splits, test_fraction, self.search_seed)
        request = self._request(splits)
        if self._works:
            self._work(splits, request)
            return None
        self._trials.check_place()
        if folds := self._repetition.folds:
            in_fold(splits, folds, 0, self.search_seed)  # its errors are raised now
        seeds = 1 + self._repetition.num_seeds(len(splits.validation))
        shared = self._shared(splits, self.space, seeds, copies=1 + (folds or 0))
        self.journal.check_request(request)
        self._say(str(shared))
        setup = Setup(self._arguments, self._options, splits, self.search_seed, shared.cuts)
        with self._trials.training(setup, self.folder / "worker.log"), self._trials_ended(request):
            notes = self._search.notes(len(self._trials.of_the_oracle))
            self.result = self._trials.result(self.backbone, splits, shared, notes, started)
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
        record = self._trials.carried_out(self._begun(trial))
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
        """Point of the space: of `best_plan` first, once there is one, then by the objective."""
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

    @property
    def _works(self) -> bool:
        return self._machine is not None and self._machine.role == WORKER

    def _blocks(self, backbone: Any, weights: Any, seed: int, options: dict[str, Any]) -> Backbone:
        """Return the backbone, or one with the same blocks while its weights are not there."""
        if isinstance(backbone, str) and weights == "imagenet" and not is_model_file(backbone):
            return FineTuner(backbone, None, seed=seed, verbose=False, **options).backbone
        return self.backbone

    def _begun(self, trial: Any) -> Record:
        values = dict(trial.hyperparameters.values)
        plan = plan_of(trial.hyperparameters, self.num_blocks)
        return Record(trial.trial_id, values, plan.to_dict(), self.search_seed)

    @contextlib.contextmanager
    def _trials_ended(self, request: Request) -> Iterator[None]:
        """Carry the trials out, here or elsewhere; a chief is there until the `with` block ends.

        So are workers that ask once more told that the search is over.
        """
        if self._machine is None:
            with without_tracebacks():
                super().search(verbose=0)
            yield
            return
        # Not at the top: a search by itself needs no gRPC.
        from ktransfer.tuner.machines.chief import Chief

        with Chief(
            self._machine,
            self.oracle,
            self.journal,
            begin=self._begun,
            curves=self._trials.curves,
            request=compared(request, self._options),
            silence_s=self._worker_timeout_s,
            say=self._say,
        ) as chief:
            chief.wait()
            yield

    def _work(self, splits: Splits, request: Request) -> None:
        """Carry out trials of the chief, if it searches the same."""
        from ktransfer.tuner.machines.remote import Remote, check_same_as_chief, work

        assert self._machine is not None
        chief = Remote(self._machine, self._chief_timeout_s, self._say)
        with contextlib.closing(chief):
            message = chief.message()
            own = of_a_worker(compared(request, self._options), self._given)
            check_same_as_chief(message["request"], own, self._machine.address)
            # The cuts that the chief's trials ask for; repeats are the chief's own.
            shared = self._shared(splits, chief.get_space())
            self._say(str(shared))
            setup = Setup(self._arguments, self._options, splits, self.search_seed, shared.cuts)
            with self._trials.training(setup, self.folder / f"{chief.tuner_id}.log") as process:
                for record in work(chief, process, message["silence_s"]):
                    self.num_carried_out += 1
                    self._say(record)
        self._say(f"the search is over: this worker has carried out {self.num_carried_out} trials")

    def _say(self, what: str | Record) -> None:
        if self._verbose:
            say(*str(what).splitlines())

    def _known(self, name: str) -> dict[str, Any] | None:
        record = self.journal.find(name)
        return None if record is None else dict(record.values)

    def _shared(
        self, splits: Splits, space: HyperParameters, seeds: int = 1, copies: int = 1
    ) -> Shared:
        """Say what trials share, within the budget."""
        return share(
            self.backbone,
            self._finetuner.pooling,
            space,
            splits,
            budget_mb=self._cache_mb,
            seeds=seeds,
            copies=copies,
        )

    def _request(self, splits: Splits) -> Request:
        return request_of(self.backbone, splits, self._search, self._repetition, self.space)


def _seconds(name: str, value: float) -> float:
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"{name} must be seconds, above 0, got {value!r}")
    return float(value)
