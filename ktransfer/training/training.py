"""Carrying out a plan: stage after stage, each frozen, fed, trained and proven."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from ktransfer.data.batches.parallel import num_cores
from ktransfer.data.batches.rows import in_pieces
from ktransfer.errors import InputError
from ktransfer.features import FORWARD_BATCH_SIZE, Forward, Network, RowSource, compile_forward
from ktransfer.freezing import count_by_block, freeze, frozen_variables, watch_frozen
from ktransfer.plan import Plan, Stage
from ktransfer.show.progress import say
from ktransfer.training.batch_norm import quick_statistics
from ktransfer.training.caching import CacheDecision, decide
from ktransfer.training.callbacks import assign, values_of
from ktransfer.training.checkpoint import Checkpoints
from ktransfer.training.devices import computing_in, is_out_of_memory
from ktransfer.training.head_start import deviations, scale_to_one, solve_head, some_features
from ktransfer.training.resume import Progress, StageState, damage_named
from ktransfer.training.settings import Settings
from ktransfer.training.stage import check_callbacks, run_stage
from ktransfer.training.stage_input import (
    Prepared,
    cut_of,
    default_batch_size,
    read_cut,
    stage_data,
    stage_model,
)
from ktransfer.training.stage_result import StageResult

_ALL_ALIKE = (
    "the network says the same of every training image, so that a head on it can only guess: are "
    "the images all alike, or are the weights damaged?"
)


class Training:
    """A plan on its way.

    Args:
        plan: the plan, resolved for the backbone.
        network: what is trained.
        source: the images.
        settings: how.
        checkpoints: where the state is saved after every epoch; None: nowhere.

    Raises:
        InputError: a stage unfreezes blocks in which nothing can train, or a callback does not fit
            its schedule.
    """

    def __init__(
        self,
        plan: Plan,
        network: Network,
        source: RowSource,
        settings: Settings,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.plan = plan
        self.network = network
        self.source = source
        self.settings = settings
        self.results: list[StageResult] = []
        self._checkpoints = checkpoints
        self._scaled = False
        self._begun = False
        self._cores = [num_cores()]  # those of the trainings that this one goes on from before it
        self._resumed: Progress | None = None  # in the middle of a stage, until that goes on
        self._decision: CacheDecision | None = None  # of the stage that is running
        for stage in plan.stages:
            check_callbacks(stage, settings.callbacks)
            self._freeze(stage)

    def begin_behind(self, other: Training) -> None:
        """Go on from the first stage of another training, which trained the same head alone."""
        self.network.take_head_of(other.network)
        self.results, self._scaled = other.results[:1], other._scaled

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the training."""
        return any(result.interrupted for result in self.results)

    def run(self, stages: int | None = None) -> list[StageResult]:
        """Carry out the stages that are left.

        Args:
            stages: how many of the plan, counted from the first; None: all. Called again, it goes
                on from there.

        Returns:
            What came of each stage, those before a resume among them.

        Raises:
            FrozenMovedError: what was frozen has moved.
            RunError: an image that is decoded in every epoch can no longer be read.
        """
        if self._checkpoints and not self._begun:
            self._resume(self._checkpoints)
        self._begun = True
        for stage in self.plan.stages[len(self.results) : stages]:
            if any(result.ended_early for result in self.results):
                break
            with self.source.faults_named():
                self.results.append(self._run_stage(stage))
            if not self.interrupted:  # a resume then goes on in the middle of the stage
                self._save()
        return self.results

    def logits(self, part_name: str) -> np.ndarray:
        """Say what the network says of each image of a part, float32 `(images, classes)`."""
        cut = self._cut_read
        rows = self.source.rows(part_name, cut)
        forward = compile_forward(self.network.trainee(cut, dropout=0.0, cached=True))
        with self.source.faults_named():
            pieces = [forward(piece) for piece in in_pieces(rows, FORWARD_BATCH_SIZE)]
        return np.concatenate(pieces)

    def features(self, part_names: Sequence[str], most: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return what the head reads of images of parts, spread evenly over them, and their labels.

        Args:
            part_names: of "train", "validation" and "test".
            most: images of each.

        Returns:
            float32 `(images, features)` and int `(images,)` of each part.
        """
        cut, blocks = self._cut_read, self.network.num_blocks
        # Once for all parts: to compile it takes longer than to run it on a few hundred images.
        forward = compile_forward(self.network.between(cut, blocks)) if cut < blocks else None
        return [self._features(each, cut, forward, most) for each in part_names]

    def _features(
        self, part_name: str, cut: int, forward: Forward | None, most: int
    ) -> tuple[np.ndarray, np.ndarray]:
        rows = self.source.rows(part_name, cut)
        chosen = np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64))
        pieces = []
        with self.source.faults_named():
            for start in range(0, len(chosen), FORWARD_BATCH_SIZE):
                piece = rows[chosen[start : start + FORWARD_BATCH_SIZE]]
                pieces.append(forward(piece) if forward else np.asarray(piece, np.float32))
        return np.concatenate(pieces), self.labels(part_name)[chosen]

    @property
    def _cut_read(self) -> int:
        """The cut of the rows that the last stage read, which are at hand."""
        last = self.results[-1]
        return self.network.cut_of(last.unfreeze) if last.cached else 0

    def labels(self, part_name: str) -> np.ndarray:
        """Return the class of each image of `logits`, int `(images,)`."""
        (part,) = [each for each in self.source.splits.parts if each.name == part_name]
        return part.labels

    @property
    def kept(self) -> list[StageResult]:
        """The stages of which something was kept, since the model is their work; or else all."""
        return [each for each in self.results if each.kept] or self.results

    def freeze_as_trained(self) -> None:
        """Leave trainable what the widest stage that was kept has trained, and freeze the rest."""
        kept = {each.name for each in self.kept}
        stages = [stage for stage in self.plan.stages if stage.name in kept] or [
            self.plan.stages[0]
        ]
        blocks = self.network.num_blocks
        self._freeze(max(stages, key=lambda stage: stage.num_trainable_blocks(blocks)))

    @contextmanager
    def before_last_stage(self, changed: Callable[[Stage], Stage]) -> Iterator[Prepared]:
        """Run all stages but the last, and make that one ready without running it.

        Args:
            changed: makes of the last stage the one that is made ready.

        Yields:
            The last stage, its network frozen, in its precision.
        """
        for stage in self.plan.stages[:-1]:
            self.results.append(self._run_stage(stage))
        stage = changed(self.plan.stages[-1])
        self._freeze(stage)
        decision = decide(stage, self.network, self.source, self.settings.cache)
        prepared = self._prepare(stage, decision)
        with self._as_trained(), self.source.faults_named():
            yield prepared

    # --- a stage --------------------------------------------------------------------------------

    def _run_stage(self, stage: Stage) -> StageResult:
        started = time.perf_counter()
        self._freeze(stage)
        frozen = frozen_variables(self.network.backbone)
        watch = watch_frozen(self.network.backbone, keep_values=False) if frozen else None
        # The rows are those of the very weights that the proof begins with.
        digests = (
            zip(map(id, watch.variables), watch.digests.values(), strict=True) if watch else ()
        )
        with self.source.weights_at_rest(dict(digests)):
            decision = self._decide(stage)
            self._say(f"stage {stage.name!r}: {decision.reason}")
            prepared = self._prepare(stage, decision, may_solve=True)
        with self._as_trained():
            result = self._with_memory(prepared)
        self._decision = None
        self._say(f"stage {stage.name!r}: {result}")
        proof = watch.prove().verify() if watch else None
        self._say(f"stage {stage.name!r}: {proof or 'nothing was frozen'}")
        return dataclasses.replace(result, proof=proof, seconds=time.perf_counter() - started)

    def _prepare(
        self, stage: Stage, decision: CacheDecision, *, may_solve: bool = False
    ) -> Prepared:
        settings, position = self.settings, len(self.results)
        with self.source.weights_at_rest():
            data = stage_data(stage, self.source, decision, settings, position)
            solved = may_solve and self._solve_head(stage)
            notes = self._scale_features(stage, decision)
        with self._as_trained():
            trainee = stage_model(stage, self.network, decision, settings.dropout)
        return Prepared(
            stage=stage,
            network=self.network,
            trainee=trainee,
            decision=decision,
            data=data,
            batch_size=stage.batch_size or default_batch_size(data.num_train),
            settings=settings,
            solved=solved,
            judge_start=solved or bool(self.results),
            notes=tuple(notes),
        )

    @contextmanager
    def _as_trained(self) -> Iterator[None]:
        """Put the backbone into the precision of the training, with statistics that follow it."""
        backbone = self.network.backbone
        with (
            computing_in(backbone.model, self.settings.precision),
            quick_statistics(backbone),
        ):
            yield

    def _decide(self, stage: Stage) -> CacheDecision:
        # Once and for all, also for a resume: the estimate is of times, and may come out otherwise.
        if self._decision is None:
            self._decision = decide(stage, self.network, self.source, self.settings.cache)
            self._save()
        return self._decision

    def _say(self, sentence: str) -> None:
        if self.settings.verbose > 1:
            say(sentence)

    def _freeze(self, stage: Stage) -> None:
        """Freeze what the stage leaves frozen; an error where its blocks hold nothing to train."""
        backbone, kept = self.network.backbone, self.network.num_blocks
        unfreeze = stage.num_trainable_blocks(kept)
        behind = len(backbone.blocks) - kept  # blocks that the model does not have
        policy = f"all_but_last:{behind + unfreeze}" if unfreeze else "all"
        freeze(backbone, policy, batch_norm=stage.batch_norm)
        trainable = count_by_block(backbone)[kept - unfreeze : kept]
        if unfreeze and not any(numbers for _, _, numbers in trainable):
            raise InputError(
                f"stage {stage.name!r} unfreezes the last {unfreeze} of {kept} blocks, and with "
                f"batch_norm={stage.batch_norm!r} there is nothing to train in them: unfreeze more"
            )

    def _solve_head(self, stage: Stage) -> bool:
        """Tell whether the head begins as a ridge regression, which it then is."""
        if self.results:
            return False
        if self._resumed and self._resumed.stage:
            return self._resumed.stage.plain["start"] is not None
        return solve_head(stage, self.source, weighted=self.settings.balance != "none")

    def _scale_features(self, stage: Stage, decision: CacheDecision) -> list[str]:
        """Bring the features to one size, where the stage wants that; returns notes on them."""
        notes: list[str] = []
        if not stage.scale_features:
            self.network.scale_features(1.0)
        elif not (self._scaled and self.results):
            plain = stage.augmentation == "none"
            cut = read_cut(stage, self.network, decision) if plain else 0
            features = some_features(self.source, cut)
            # Also after a resume, which finds them scaled.
            if not self._scaled:
                scale_to_one(self.network, features)
            if not np.any(deviations(features)[1]):
                notes.append(_ALL_ALIKE)
                self._say(_ALL_ALIKE)
        self._scaled = stage.scale_features
        return notes

    def _with_memory(self, prepared: Prepared) -> StageResult:
        """Run a stage; where memory runs out, again from its start with half the batch size."""
        state = None
        if self._resumed:
            prepared = dataclasses.replace(prepared, batch_size=self._resumed.batch_size)
            state, self._resumed = self._resumed.stage, None
        variables = self.network.variables_from(prepared.cut)
        before = values_of(variables)
        while True:
            try:
                return run_stage(prepared, state, functools.partial(self._save, prepared))
            except Exception as error:
                if not is_out_of_memory(error) or prepared.batch_size == 1:
                    raise
            # Outside of the handler: the error holds the memory of the step that failed.
            assign(variables, before)
            state, half = None, prepared.batch_size // 2
            note = f"memory ran out; the stage began again with batch_size={half}"
            notes = (*prepared.notes, note)
            prepared = dataclasses.replace(prepared, batch_size=half, notes=notes)
            self._say(f"stage {prepared.stage.name!r}: {note}")

    # --- checkpoints ----------------------------------------------------------------------------

    def _moved_from(self) -> int:
        """Return the first block that a stage until now has trained."""
        stages = self.plan.stages[: len(self.results) + 1]
        return min(cut_of(stage, self.network) for stage in stages)

    def _save(
        self,
        prepared: Prepared | None = None,
        state: Callable[[], StageState] | None = None,
    ) -> None:
        """Save a checkpoint: between stages, or in one of them where it is time for that."""
        if not self._checkpoints or (state and not self._checkpoints.is_due()):
            return
        cut = self._moved_from()
        progress = Progress(
            results=self.results,
            decision=self._decision,
            batch_size=prepared.batch_size if prepared else 0,
            stage=state() if state else None,
            cut=cut,
            weights=values_of(self.network.variables_from(cut)),
            feature_scale=self.network.feature_scale,
            feature_offset=self.network.feature_offset,
            scaled=self._scaled,
            cores=self._cores,
        )
        progress.save(self._checkpoints)

    def _resume(self, checkpoints: Checkpoints) -> None:
        with damage_named(f"the checkpoints in {checkpoints.folder} are"):
            progress = Progress.load(checkpoints)
            if progress is None:
                return
            assign(self.network.variables_from(progress.cut), progress.weights)
            self.network.feature_scale = progress.feature_scale
            self.network.feature_offset = progress.feature_offset
            self._scaled = progress.scaled
            self.results = list(progress.results)
            self._resumed = progress if progress.stage else None
            self._decision = progress.decision
            self._note_cores(list(progress.cores) or self._cores)

    def _note_cores(self, before: list[int]) -> None:
        """Say where a training goes on on another number of cores: sums are divided otherwise."""
        self._cores = [*before, *(each for each in self._cores if each != before[-1])]
        if len(self._cores) > 1:
            note = (
                f"the training ran on {' then '.join(map(str, self._cores))} cores, between which "
                "it was resumed: in their last bits the weights may differ from those of a "
                "training in one go"
            )
            self.source.notes.append(note)
            self._say(note)
