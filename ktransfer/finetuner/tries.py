"""Fine-tuning as it is tried: each way from the head by itself, compared on the same images."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktransfer.advisor.afterwards import INTERRUPTED, KEPT, NO_BETTER, UNFINISHED, Tried
from ktransfer.metrics import advantage
from ktransfer.plan import Plan
from ktransfer.training import Training, assign, values_of
from ktransfer.training.calibration import calibrated_losses
from ktransfer.training.refit import REFIT, refitted
from ktransfer.training.stage_result import StageResult

_OUT_OF_TIME = "the time budget was used up"


@dataclass(frozen=True, eq=False)
class Outcome:
    """A training that was carried out, and how good it is.

    Attributes:
        training: after `put_back` it is as it was when it was judged.
        weights: of the backbone and of the head.
        results: of its stages.
        logits: of each validation image, `(images, classes)`.
        losses: of each validation image, at the temperature that suits them all best.
        accuracy: share of them that is right, in [0, 1].
    """

    training: Training
    weights: list[np.ndarray]
    results: tuple[StageResult, ...]
    logits: np.ndarray
    losses: np.ndarray
    accuracy: float

    @classmethod
    def of(cls, training: Training) -> Outcome:
        """Judge a training, under the head that its plan asks for at the end."""
        judged = refitted(training) or training
        logits, labels = judged.logits("validation"), judged.labels("validation")
        right = float((logits.argmax(axis=1) == labels).mean())
        losses, _ = calibrated_losses(logits, labels)
        weights, results = values_of(_weights(judged)), tuple(judged.results)
        return cls(judged, weights, results, logits, losses, right)

    @property
    def loss(self) -> float:
        """The calibrated validation loss."""
        return float(self.losses.mean())

    @property
    def plan(self) -> Plan:
        """What was carried out."""
        plan, results = self.training.plan, self.results
        if self.refit or any(each.ended_early for each in results):
            return plan
        return dataclasses.replace(plan, stages=plan.stages[: len(results)])

    @property
    def refit(self) -> bool:
        """Whether the head was solved anew."""
        return self.results[-1].name == REFIT

    def put_back(self) -> Training:
        """Give the network the weights that were judged."""
        assign(_weights(self.training), self.weights)
        self.training.results = list(self.results)
        return self.training


@dataclass(frozen=True, eq=False)
class _Begun:
    """A try at the end of its first stage: its weights, and the validation loss."""

    training: Training
    weights: list[np.ndarray]
    loss: float


@dataclass(frozen=True, eq=False)
class Tries:
    """The tries of one training, after its head.

    Attributes:
        head: what they are compared with.
        begin: makes the training of a plan, its head trained already; the number tells the
            checkpoints of several apart.
        seconds_of: estimates a plan's stages, those from a first to before a last one.
        deadline: as `Settings.deadline`.
        say: tells the user a sentence.
    """

    head: Outcome
    begin: Callable[[Plan, int], Training]
    seconds_of: Callable[[Plan, int, int], float]
    deadline: float | None
    say: Callable[[str], None]

    def run(self, plans: Sequence[Plan]) -> tuple[Outcome, tuple[Tried, ...]]:
        """Try each depth, and compare the best with the head.

        Of several rates at one depth each has a few epochs, and the best of them goes on.

        Returns:
            The head, or what is better than it by more than chance; and what came of each plan.

        Source: the few epochs first: Jamieson and Talwalkar 2015, Non-stochastic Best Arm
            Identification and Hyperparameter Optimization (arXiv 1502.07943), successive halving.
        """
        tried = [_named(plan) for plan in plans]
        outcomes: dict[int, Outcome] = {}
        try:
            for depth in dict.fromkeys(each.unfreeze for each in tried):
                of_depth = [at for at, each in enumerate(tried) if each.unfreeze == depth]
                begun = dict(self._first_epochs(plans, of_depth, tried))
                if begun:
                    at = min(begun, key=lambda each: begun[each].loss)
                    outcomes |= self._gone_on(begun[at], tried, at)
        except KeyboardInterrupt:
            tried = [each if each.note or each.seconds else _stopped(each) for each in tried]
        for at, outcome in outcomes.items():
            tried[at] = self._compared(tried[at], outcome)
        best = min(outcomes, key=lambda each: outcomes[each].loss, default=None)
        if best is None or not tried[best].is_better:
            return self.head, tuple(tried)
        tried[best] = dataclasses.replace(tried[best], outcome=KEPT)
        return outcomes[best], tuple(tried)

    def _compared(self, tried: Tried, outcome: Outcome) -> Tried:
        smaller, error = advantage(outcome.losses, self.head.losses)
        return dataclasses.replace(
            tried,
            refit=outcome.refit,
            val_accuracy=outcome.accuracy,
            val_calibrated_loss=outcome.loss,
            advantage=smaller,
            error=error,
        )

    def _first_epochs(
        self, plans: Sequence[Plan], numbers: Sequence[int], tried: list[Tried]
    ) -> Iterator[tuple[int, _Begun]]:
        """Yield each try of some that came to the end of its first stage."""
        for at in numbers:
            plan = plans[at]
            if not self._is_time_for(plan, 1, 2):
                tried[at] = _stopped(tried[at], _OUT_OF_TIME)
                continue
            self.say(f"trying {tried[at].title}, about {self.seconds_of(plan, 1, 2):.0f} s")
            started = time.perf_counter()
            training = self.begin(plan, at)
            training.run(2)
            last = training.results[min(1, len(training.results) - 1)]
            tried[at] = dataclasses.replace(
                tried[at],
                epochs=len(last.history),
                val_accuracy=last.val_accuracy,
                val_calibrated_loss=last.val_calibrated_loss,
                outcome=NO_BETTER,
                seconds=time.perf_counter() - started,
            )
            if any(each.interrupted for each in training.results):
                raise KeyboardInterrupt
            if last.ended_early or last.val_calibrated_loss is None:
                tried[at] = _stopped(tried[at], _why_stopped(last))
                continue
            yield at, _Begun(training, values_of(_weights(training)), last.val_calibrated_loss)

    def _gone_on(self, begun: _Begun, tried: list[Tried], at: int) -> dict[int, Outcome]:
        """Carry the best out to its end; what it had before is kept where the time runs out."""
        started, training, plan = time.perf_counter(), begun.training, begun.training.plan
        assign(_weights(training), begun.weights)
        before = Outcome.of(training) if self.deadline is not None else None
        if self._is_time_for(plan, 2, len(plan.stages)):
            self.say(
                f"going on with {tried[at].title}, about "
                f"{self.seconds_of(plan, 2, len(plan.stages)):.0f} s"
            )
            training.run()
        ended = [each for each in training.results if each.ended_early]
        if any(each.interrupted for each in ended):
            raise KeyboardInterrupt
        tried[at] = dataclasses.replace(
            tried[at],
            epochs=sum(len(each.history) for each in training.results[1:]),
            seconds=tried[at].seconds + time.perf_counter() - started,
        )
        if len(training.results) == len(plan.stages) and not ended:
            return {at: Outcome.of(training)}
        return {at: before} if before else {}

    def _is_time_for(self, plan: Plan, first: int, last: int) -> bool:
        if self.deadline is None:
            return True
        return time.perf_counter() + self.seconds_of(plan, first, last) < self.deadline


def first_epochs(plans: Sequence[Plan]) -> Plan:
    """Return the head and the first epochs of the last of some plans to try: a plan of its own."""
    return dataclasses.replace(plans[-1], stages=plans[-1].stages[:2], refit=None)


def _weights(training: Training) -> list[Any]:
    """Return all variables of a network; the scale of its features stays through the tries."""
    network = training.network
    return [*network.backbone.model.weights, *network.head.weights]


def _named(plan: Plan) -> Tried:
    first = plan.stages[1]
    return Tried(first.name, int(first.unfreeze), first.learning_rate)


def _stopped(tried: Tried, why: str = INTERRUPTED) -> Tried:
    return dataclasses.replace(tried, outcome=UNFINISHED, note=why)


def _why_stopped(stage: StageResult) -> str:
    return _OUT_OF_TIME if stage.out_of_time else "its loss became NaN or infinite"
