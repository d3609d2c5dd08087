"""Carrying out a plan: stage after stage, each frozen, fed, trained and proven."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ktransfer.data.batches.balance import class_weights
from ktransfer.data.batches.parallel import num_cores
from ktransfer.data.batches.rows import Rows, in_pieces, ordered_batches, shuffled_batches
from ktransfer.errors import InputError, RunError
from ktransfer.features import FORWARD_BATCH_SIZE, Network, RowSource, Views, compile_forward
from ktransfer.features.views import mix_classes, render_views, with_shares
from ktransfer.freezing import count_by_block, freeze, frozen_variables, watch_frozen
from ktransfer.plan import Plan, Stage
from ktransfer.profile.probes import even_sample, ridge_head
from ktransfer.show.progress import say
from ktransfer.training.batch_norm import quick_statistics
from ktransfer.training.caching import CacheDecision, CacheMode, decide
from ktransfer.training.callbacks import assign, values_of
from ktransfer.training.checkpoint import Checkpoints
from ktransfer.training.devices import computing_in, prefix_in_pipeline
from ktransfer.training.diagnosis.training import EXPLODED_TIMES
from ktransfer.training.stage_result import StageResult
from ktransfer.training.stages import (
    Outcome,
    Saved,
    StageData,
    Task,
    check_callbacks,
    default_batch_size,
    run_stage,
)

#: The learning rates of the plans are those of heads of so many features.
USUAL_WIDTH = 1_280

#: A feature that hardly varies is magnified as if it had this share of the usual deviation, and no
#: further: it may wake up, most of all where blocks train.
_LEAST_DEVIATION = 1e-3

#: A head is solved in closed form for at most so many images: it takes (images)^3, and of more of
#: them an epoch has steps enough.
MOST_SOLVED_IMAGES = 4_000

#: Images that the scale of the features is measured on where no stage asks for all features.
_SCALE_SAMPLE = 256


_ALL_ALIKE = (
    "the network says the same of every training image, so that a head on it can only guess: are "
    "the images all alike, or are the weights damaged?"
)


@dataclass(frozen=True)
class Settings:
    """How a plan is carried out, apart from what it says itself.

    Attributes:
        seed: of the order of the images, their views and the dropout.
        dropout: for stages that do not say their own.
        cache: as in `training.caching.decide`.
        precision: a dtype policy of Keras.
        jit_compile: whether XLA compiles the steps.
        balance: "none", "class_weights" or "sampling", as in `data.balance`.
        callbacks: Keras callbacks, given to every stage.
        verbose: whether to say on standard error what is decided, and to show progress.
    """

    seed: int = 0
    dropout: float = 0.0
    cache: CacheMode = "auto"
    precision: str = "float32"
    jit_compile: bool = False
    balance: str = "none"
    callbacks: Sequence[keras.callbacks.Callback] = ()
    verbose: bool = False


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
        self._cores = [num_cores()]  # those of the trainings that this one goes on from before it
        self._in_stage: tuple[int, Saved] | None = None  # batch size and state, after a resume
        self._decision: CacheDecision | None = None  # of the stage that is running
        for stage in plan.stages:
            check_callbacks(stage, settings.callbacks)
            self._freeze(stage)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the training."""
        return any(result.interrupted for result in self.results)

    def run(self) -> list[StageResult]:
        """Carry out all stages that are left.

        Returns:
            What came of each stage, those before a resume among them.

        Raises:
            FrozenMovedError: what was frozen has moved.
            RunError: an image that is decoded in every epoch can no longer be read.
        """
        if self._checkpoints:
            self._resume(self._checkpoints)
        for stage in self.plan.stages[len(self.results) :]:
            if any(result.interrupted or result.diverged for result in self.results):
                break
            with self.source.faults_named():
                self.results.append(self._run_stage(stage))
            if not self.interrupted:  # a resume then goes on in the middle of the stage
                self._save(None, 0, even_if_early=True)
        return self.results

    def logits(self, part_name: str) -> np.ndarray:
        """What the network says of each image of a part, float32 `(images, classes)`."""
        last = self.results[-1]
        cut = self.network.cut_of(last.unfreeze) if last.cached else 0
        rows = self.source.rows(part_name, cut)
        forward = compile_forward(self.network.trainee(cut, dropout=0.0, cached=True))
        with self.source.faults_named():
            pieces = [forward(piece) for piece in in_pieces(rows, FORWARD_BATCH_SIZE)]
        return np.concatenate(pieces)

    @property
    def kept(self) -> list[StageResult]:
        """The stages of which something was kept, since the model is their work; or else all."""
        return [each for each in self.results if each.kept] or self.results

    def freeze_as_trained(self) -> None:
        """Leave trainable what the widest stage that was kept has trained, and freeze the rest."""
        kept = {each.name for each in self.kept}
        stages = [stage for stage in self.plan.stages if stage.name in kept]
        blocks = self.network.num_blocks
        self._freeze(max(stages, key=lambda stage: stage.num_trainable_blocks(blocks)))

    @contextmanager
    def before_last_stage(self, changed: Callable[[Stage], Stage]) -> Iterator[Task]:
        """Run all stages but the last, and make that one ready without running it.

        Args:
            changed: makes of the last stage the one that is made ready.

        Yields:
            The last stage as a task, its network frozen, in its precision.
        """
        for stage in self.plan.stages[:-1]:
            self.results.append(self._run_stage(stage))
        stage = changed(self.plan.stages[-1])
        self._freeze(stage)
        decision = decide(stage, self.network, self.source, self.settings.cache)
        data = self._data(stage, decision)
        self._scale_features(stage, decision)
        batch_size = stage.batch_size or default_batch_size(data.num_train)
        with self._as_trained(), self.source.faults_named():
            yield self._task(stage, decision, data, batch_size)

    # --- a stage --------------------------------------------------------------------------------

    def _run_stage(self, stage: Stage) -> StageResult:
        started = time.perf_counter()
        self._freeze(stage)
        frozen = frozen_variables(self.network.backbone)
        watch = watch_frozen(self.network.backbone, keep_values=False) if frozen else None
        decision = self._decide(stage)
        self._say(f"stage {stage.name!r}: {decision.reason}")
        data = self._data(stage, decision)
        solved = self._solve_head(stage)
        about = self._scale_features(stage, decision)
        with self._as_trained():
            outcome, batch_size, notes = self._with_memory(stage, decision, data, solved)
        self._decision = None
        self._say(f"stage {stage.name!r}: {outcome}")
        proof = watch.prove().verify() if watch else None
        guessing_loss = math.log(self.network.head.units)
        self._say(f"stage {stage.name!r}: {proof or 'nothing was frozen'}")
        return StageResult(
            name=stage.name,
            unfreeze=stage.num_trainable_blocks(self.network.num_blocks),
            cached=decision.cached,
            cache_reason=decision.reason,
            batch_size=batch_size,
            history=outcome.history,
            best_epoch=outcome.best_epoch,
            val_loss=outcome.standing.loss if outcome.standing else None,
            val_calibrated_loss=outcome.standing.calibrated_loss if outcome.standing else None,
            val_accuracy=outcome.standing.accuracy if outcome.standing else None,
            groups=outcome.groups,
            proof=proof,
            notes=(*about, *notes, *_remarks(stage, outcome, guessing_loss, solved=solved)),
            solved=solved,
            diverged=outcome.diverged,
            interrupted=outcome.interrupted,
            seconds=time.perf_counter() - started,
        )

    @contextmanager
    def _as_trained(self) -> Iterator[None]:
        """The backbone in the precision of the training, with statistics that follow it."""
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
            self._save(None, 0, even_if_early=True)
        return self._decision

    def _say(self, sentence: str) -> None:
        if self.settings.verbose:
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

    def _data(self, stage: Stage, decision: CacheDecision) -> StageData:
        seed = self.settings.seed
        cut = self._read_at(stage, decision)
        # The validation rows first: where something is wrong with them, little is lost.
        validation = self.source.rows("validation", cut)
        views: int | None = stage.views or 1
        render = None
        if stage.augmentation == "none":
            values = self.source.rows("train", cut)
        elif cut:
            values = self.source.rows(
                "train", cut, Views(stage.augmentation, stage.views or 1, seed)
            )
        else:
            values = self.source.sources("train", stage.augmentation)
            render = render_views(stage.augmentation, seed, self.network.backbone.input_size)
            views = stage.views
        labels = self.source.splits.train.labels
        num_classes = len(self.source.splits.class_names)
        balance = self.settings.balance
        position = [each.name for each in self.plan.stages].index(stage.name)

        def train(batch_size: int, first_epoch: int) -> Any:
            batches = shuffled_batches(
                values,
                labels,
                batch_size=batch_size,
                # Every stage has orders of its own.
                seed=seed + position * 2**32,
                first_epoch=first_epoch,
                views=views,
                render=render,
                weights=class_weights(labels) if balance == "class_weights" else None,
                evenly=balance == "sampling",
                mix=mix_classes(num_classes) if stage.mixes else None,
            )
            return self._past_frozen(batches, stage, decision)

        held_back = self.source.splits.validation.labels
        batches = ordered_batches(validation, held_back, batch_size=_validation_batch(validation))
        if stage.mixes:
            batches = with_shares(batches, num_classes)
        held_back_batches = self._past_frozen(batches, stage, decision)
        majority_share = float(np.bincount(held_back).max() / len(held_back))
        return StageData(
            train,
            held_back_batches,
            len(labels),
            shares=stage.mixes,
            majority_share=majority_share,
        )

    def _past_frozen(self, batches: Any, stage: Stage, decision: CacheDecision) -> Any:
        """The batches as the trainee reads them: what is not cached may run on the way to it."""
        cut = self._cut(stage)
        if decision.cached or cut == 0 or not prefix_in_pipeline():
            return batches
        return self.source.behind(batches, cut, start=decision.start)

    def _read_at(self, stage: Stage, decision: CacheDecision) -> int:
        """The cut of the rows that a stage reads."""
        return self._cut(stage) if decision.cached else decision.start

    def _cut(self, stage: Stage) -> int:
        return self.network.cut_of(stage.num_trainable_blocks(self.network.num_blocks))

    def _solve_head(self, stage: Stage) -> bool:
        """Begin a head on other features than the last ones as a ridge regression.

        Adam's few hundred steps leave such heads far behind it, where on the last features, which
        are sparse and alike in size, they do as well: 300 flowers, those of all blocks and inside
        them, 80 % right against 85 %.
        """
        network = self.network
        usual = network.features == "last" and network.num_blocks == len(network.backbone.blocks)
        if self._in_stage:
            return self._in_stage[1].plain["start"] is not None and not self.results
        plain = stage.augmentation == "none"
        if usual or self.results or not plain or self._cut(stage) != network.num_blocks:
            return False
        rows, labels = self.source.rows("train", self._cut(stage)), self.source.splits.train.labels
        if len(rows) > MOST_SOLVED_IMAGES or np.any(network.head.get_weights()[0]):
            return False
        weighted = self.settings.balance != "none"
        weights = class_weights(labels) if weighted else None
        assert isinstance(rows, np.ndarray)  # only images are streamed
        network.head.set_weights(list(ridge_head(rows, labels, weights)))
        return True

    def _scale_features(self, stage: Stage, decision: CacheDecision) -> list[str]:
        """Bring the features to one size, where the stage wants that; returns notes on them."""
        notes: list[str] = []
        if not stage.scale_features:
            self.network.scale_features(1.0)
        elif not (self._scaled and self.results):
            features = self._some_features(stage, decision)
            # Also after a resume, which finds them scaled.
            if not self._scaled:
                self.network.scale_features(*self._unit_features(features))
            if not np.any(deviations(features)[1]):
                notes.append(_ALL_ALIKE)
                self._say(_ALL_ALIKE)
        self._scaled = stage.scale_features
        return notes

    def _unit_features(self, features: np.ndarray) -> tuple[np.ndarray | float, np.ndarray | float]:
        """The scale and the offset that bring the training features to the size of 1."""
        if self.network.features == "last":
            return 1.0 / root_mean_square(features), 0.0
        return standardizing(features)

    def _some_features(self, stage: Stage, decision: CacheDecision) -> np.ndarray:
        """The training features: all where they are held, else some."""
        blocks = self.network.num_blocks
        cut = self._read_at(stage, decision) if stage.augmentation == "none" else 0
        rows = self.source.rows("train", cut)
        if cut == blocks:
            assert isinstance(rows, np.ndarray)  # only images are streamed
            return rows
        sample = even_sample(self.source.splits.train.labels, _SCALE_SAMPLE, least=1)
        forward = self.source.forward(cut, blocks)
        pieces = np.array_split(sample, len(sample) // FORWARD_BATCH_SIZE + 1)
        return np.concatenate([forward(rows[piece]) for piece in pieces])

    def _with_memory(
        self, stage: Stage, decision: CacheDecision, data: StageData, solved: bool
    ) -> tuple[Outcome, int, list[str]]:
        """Run a stage; where memory runs out, again from its start with half the batch size."""
        notes: list[str] = []
        cut = self._cut(stage)
        batch_size = stage.batch_size or default_batch_size(data.num_train)
        saved = None
        if self._in_stage:
            batch_size, saved = self._in_stage
            self._in_stage = None
        before = values_of(self.network.variables_from(cut))
        while True:
            task = self._task(stage, decision, data, batch_size, solved=solved)
            try:
                return run_stage(task, saved), batch_size, notes
            except Exception as error:
                if not is_out_of_memory(error) or batch_size == 1:
                    raise
            # Outside of the handler: the error holds the memory of the step that failed.
            assign(self.network.variables_from(cut), before)
            saved, batch_size = None, batch_size // 2
            notes.append(f"memory ran out; the stage began again with batch_size={batch_size}")
            self._say(f"stage {stage.name!r}: {notes[-1]}")

    def _task(
        self,
        stage: Stage,
        decision: CacheDecision,
        data: StageData,
        batch_size: int,
        *,
        solved: bool = False,
    ) -> Task:
        dropout = self.settings.dropout if stage.dropout is None else stage.dropout
        cut = self._cut(stage)
        rows = decision.cached or prefix_in_pipeline()
        return Task(
            stage=stage,
            network=self.network,
            trainee=self.network.trainee(cut, dropout=dropout, cached=rows, start=decision.start),
            data=data,
            batch_size=batch_size,
            judge_start=solved or bool(self.results),
            before="the ridge regression" if solved else "the weights of before",
            jit_compile=self.settings.jit_compile,
            callbacks=self.settings.callbacks,
            verbose=self.settings.verbose,
            on_epoch=lambda state: self._save(state, batch_size),
        )

    # --- checkpoints ----------------------------------------------------------------------------

    def _moved_from(self) -> int:
        """The first block that a stage until now has trained."""
        stages = self.plan.stages[: len(self.results) + 1]
        unfrozen = [stage.num_trainable_blocks(self.network.num_blocks) for stage in stages]
        return self.network.cut_of(max(unfrozen))

    def _save(
        self, state: Callable[[], Saved] | None, batch_size: int, *, even_if_early: bool = False
    ) -> None:
        if not self._checkpoints or not (even_if_early or self._checkpoints.is_due()):
            return
        saved = state() if state else Saved({}, {})
        cut = self._moved_from()
        network = values_of(self.network.variables_from(cut))
        arrays = {f"network/{at}": each for at, each in enumerate(network)} | saved.arrays
        self._checkpoints.save(
            arrays,
            {
                "stages": [result.to_dict() for result in self.results],
                "cut": cut,
                "feature_scale": np.asarray(self.network.feature_scale).tolist(),
                "feature_offset": np.asarray(self.network.feature_offset).tolist(),
                "scaled": self._scaled,
                "batch_size": batch_size,
                "in_stage": saved.plain,
                "decision": dataclasses.asdict(self._decision) if self._decision else None,
                "cores": self._cores,
            },
        )

    def _resume(self, checkpoints: Checkpoints) -> None:
        found = checkpoints.load()
        if found is None:
            return
        try:
            self._go_on_from(*found)
        # A state whose bytes are whole and that this training did not write.
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"the checkpoints in {checkpoints.folder} are damaged ({type(error).__name__}: "
                f"{error}): start again in a new folder"
            ) from error

    def _go_on_from(self, arrays: dict[str, np.ndarray], plain: dict[str, Any]) -> None:
        self.network.feature_scale = _array_or_number(plain["feature_scale"])
        self.network.feature_offset = _array_or_number(plain["feature_offset"])
        self._scaled = plain["scaled"]
        variables = self.network.variables_from(plain["cut"])
        assign(variables, [arrays[f"network/{at}"] for at in range(len(variables))])
        self.results = [StageResult.from_dict(each) for each in plain["stages"]]
        if plain["in_stage"]:
            self._in_stage = plain["batch_size"], Saved(arrays, plain["in_stage"])
        if plain["decision"]:
            self._decision = CacheDecision(**plain["decision"])
        self._note_cores(plain.get("cores") or self._cores)  # none: of an earlier version

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


def root_mean_square(values: Rows, rows_at_once: int = 8_192) -> float:
    """The root mean square of all values, read in pieces; 1 where all are zero.

    Raises:
        InputError: they are not finite.
    """
    pieces = in_pieces(values, rows_at_once)
    squares = sum(float(np.sum(np.square(piece, dtype=np.float64))) for piece in pieces)
    if not np.isfinite(squares):
        raise InputError(
            "the backbone's features are not finite (NaN or infinite): its weights may be damaged, "
            "or do not belong to it"
        )
    return float(np.sqrt(squares / math.prod(values.shape))) or 1.0


def standardizing(values: np.ndarray, rows_at_once: int = 4_096) -> tuple[np.ndarray, np.ndarray]:
    """The scale and the offset that give each feature mean 0 and one deviation, float32.

    The deviation is 1, or less where there are more than `USUAL_WIDTH` features: the steps of Adam
    have the same size for each weight, so that of many features the head would jump. Features that
    are constant are left without a scale, and those that nearly are come out with less.

    Raises:
        InputError: they are not finite.
    """
    root_mean_square(values)  # an error where they are not finite
    deviation, alive, mean = deviations(values, rows_at_once)
    least = _LEAST_DEVIATION * np.median(deviation[alive]) if alive.any() else 1.0
    scale = min(1.0, USUAL_WIDTH / len(mean)) / np.where(alive, np.maximum(deviation, least), 1.0)
    return scale.astype(np.float32), (-mean * scale).astype(np.float32)


def deviations(
    values: np.ndarray, rows_at_once: int = 4_096
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The standard deviation of each feature, whether it varies at all, and its mean."""
    sums = (piece.sum(axis=0, dtype=np.float64) for piece in in_pieces(values, rows_at_once))
    mean = sum(sums) / len(values)
    squares = (((piece - mean) ** 2).sum(axis=0) for piece in in_pieces(values, rows_at_once))
    deviation = np.sqrt(sum(squares) / len(values))
    # What is left of rounding is no variation.
    return deviation, deviation > 1e-6 * (1.0 + np.abs(mean)), mean


def _array_or_number(value: list[float] | float) -> np.ndarray | float:
    return np.array(value, np.float32) if isinstance(value, list) else value


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of TensorFlow, JAX or Python says that memory ran out."""
    return isinstance(error, MemoryError) or any(
        word in f"{type(error).__name__}: {error}"
        for word in ("ResourceExhausted", "RESOURCE_EXHAUSTED", "Out of memory")
    )


def _validation_batch(rows: Rows) -> int:
    """Many small rows a step, few large ones: about 16 MB."""
    return int(np.clip(2**24 // max(1, rows[:1].nbytes), 32, 1_024))


def _remarks(
    stage: Stage, outcome: Outcome, guessing_loss: float, *, solved: bool = False
) -> Iterator[str]:
    kept = (
        f"the weights of epoch {outcome.best_epoch}"
        if outcome.best_epoch
        else "the weights of before"
    )
    if outcome.diverged:
        blocks = ", or block_multiplier" if stage.unfreeze else ""
        yield (
            f"the loss of stage {stage.name!r} became NaN in epoch {len(outcome.history)}, so the "
            f"training stopped and {kept} are kept: lower learning_rate from "
            f"{stage.learning_rate:g} to {stage.learning_rate / 10:g}{blocks}"
        )
    elif (loss := outcome.final_loss) > EXPLODED_TIMES * guessing_loss:
        yield (
            f"stage {stage.name!r} diverged: after epoch {len(outcome.history)} its loss was "
            f"{loss:.3g}, and guessing has {guessing_loss:.3g}; {kept} are kept. "
            f"learning_rate={stage.learning_rate:g} is too much for these images"
        )
    elif outcome.collapsed:
        yield (
            f"stage {stage.name!r} lost most of what the network knew and was ended after epoch "
            f"{len(outcome.history)}; {kept} are kept. learning_rate={stage.learning_rate:g} is "
            "too much for these images"
        )
    elif not outcome.best_epoch and solved:
        yield (
            f"stage {stage.name!r} began with a ridge regression in closed form; no epoch was "
            "better on the validation images, so that is kept"
        )
    elif not outcome.best_epoch and outcome.standing:
        yield (
            f"no epoch of stage {stage.name!r} was better on the validation images, by their loss "
            "and with as many of them right, so the weights of before are kept"
        )
