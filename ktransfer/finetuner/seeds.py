"""The same training with several seeds: how much of an accuracy is luck, and the median kept."""

from __future__ import annotations

import copy
import dataclasses
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktransfer.classifier import Classifier, FitResult
from ktransfer.classifier.seeds import Seeds, SeedScore, Spread
from ktransfer.data import Splits
from ktransfer.errors import RunError
from ktransfer.finetuner.fit import Fit
from ktransfer.freezing.apply import flags_of, set_flags
from ktransfer.runs.record import read_record
from ktransfer.runs.unfinished import clear_seeds, seed_folder
from ktransfer.show.progress import say
from ktransfer.show.timing import timed
from ktransfer.training import Checkpoints, assign, values_of


def once_for_each_seed(fit: Fit) -> Fit | SeveralFits:
    """Return what carries a training out as often as its options say."""
    return fit if fit.options.seeds == 1 else SeveralFits(fit)


@dataclass(frozen=True, eq=False)
class _Trained:
    """A classifier, and its weights and flags: the next training moves those that it shares."""

    classifier: Classifier
    result: FitResult
    weights: list[np.ndarray]
    flags: list[tuple[Any, bool]]

    @classmethod
    def of(cls, classifier: Classifier) -> _Trained:
        assert classifier.result is not None  # it says how the training went
        weights = values_of(classifier.model.weights)
        return cls(classifier, classifier.result, weights, flags_of(classifier.model))

    def put_back(self) -> Classifier:
        """Return the classifier, as it was when it was trained."""
        assign(self.classifier.model.weights, self.weights)
        set_flags(self.flags)
        return self.classifier


@dataclass(frozen=True, eq=False)
class SeveralFits:
    """A training, carried out with the seed of the fine-tuner and those that follow it.

    The images are read and divided once, by the first seed. With `out`, each training is a run of
    its own in `out/training` until all are done; a resume goes on with the one that was killed.

    Attributes:
        fit: the training with the first seed.
    """

    fit: Fit

    def run(self, data: Any) -> Classifier:
        """Carry out the trainings; `keep` saves the model that is returned.

        Args:
            data: as in `Fit.run`.

        Raises:
            InputError: as `Fit.run`.
            RunError: as `Fit.run`; or the complete run to resume is not of so many seeds.
        """
        seconds: dict[str, float] = {}
        with timed(seconds, "scan"):
            splits = self.fit.read(data)
        if self.fit.options.complete:
            # Divided as by the first seed, whichever was kept.
            return self._one(self._seed_of_complete(), self.fit.options.out).run(splits)
        _ = self.fit.backbone  # loaded once; before it, the data is known to be there
        self.fit.pretrained.begin()
        if not self.fit.options.resume and self.fit.options.out is not None:
            clear_seeds(self.fit.options.out)
        done = self._trained(splits)
        kept = median(done)
        classifier = kept.put_back()
        if self._taken_over(kept):
            self.fit.pretrained.go_on_with(classifier)
        result = dataclasses.replace(
            kept.result,
            seeds=self._seeds(done, kept),
            findings=done[0].result.findings,
            seconds=_together(seconds, done),
        )
        return dataclasses.replace(classifier, result=result)

    def keep(self, classifier: Classifier) -> None:
        """Save what `run` returned where the options say so, unless it lies there already.

        Raises:
            RunError: as `Fit.keep`.
        """
        out, result = self.fit.options.out, classifier.result
        if out is None or result is None or self.fit.options.complete:
            return
        with timed(result.seconds, "save"):
            classifier.save(out, overwrite=True)
        if not result.interrupted:  # then it can still be resumed
            Checkpoints(out).remove()

    def _trained(self, splits: Splits) -> list[_Trained]:
        """Train with one seed after the other; Ctrl-C ends the last of them."""
        done: list[_Trained] = []
        first, count = self.fit.settings.seed, self.fit.options.seeds
        for seed in range(first, first + count):
            if self.fit.verbose:
                say(f"training {len(done) + 1} of {count}, with seed {seed}")
            out = self.fit.options.out
            one = self._one(seed, None if out is None else seed_folder(out, seed), first=not done)
            classifier = one.run(splits)
            done.append(_Trained.of(classifier))
            one.keep(classifier)
            if done[-1].result.interrupted:
                break
        return done

    def _one(self, seed: int, out: str | os.PathLike[str] | None, *, first: bool = True) -> Fit:
        """Return the training with one seed.

        Args:
            seed: the seed.
            out: where its run lies.
            first: whether it is the first: what is wrong with the images is looked for once.
        """
        check = self.fit.options.check if first else "off"
        budget = self.fit.options.time_budget
        options = dataclasses.replace(
            self.fit.options,
            seeds=1,
            out=out,
            overwrite=False,
            check=check,
            time_budget=budget and budget / self.fit.options.seeds,
        )
        # A run that is complete already brings a network of its own, which is not the next one's.
        pretrained = copy.copy(self.fit.pretrained)
        settings = dataclasses.replace(self.fit.settings, seed=seed)
        return dataclasses.replace(
            self.fit, options=options, pretrained=pretrained, settings=settings
        )

    def _seed_of_complete(self) -> int:
        """Return the seed of the complete run that is to be resumed."""
        out, asked = self.fit.options.out, self.fit.options.seeds
        assert out is not None
        record = read_record(out)
        scores = ((record["result"] or {}).get("seeds") or {}).get("scores") or ()
        if len(scores) != asked:
            had = f"{len(scores)} seeds" if scores else "one seed"
            raise RunError(f"the run {out} is complete and of {had}, got seeds={asked}")
        return int(record["seed"])

    def _taken_over(self, kept: _Trained) -> bool:
        """Tell whether a network is not the fine-tuner's own, but was loaded from a run."""
        own = {id(each) for each in self.fit.backbone.model.weights}
        return not any(id(each) in own for each in kept.classifier.model.weights)

    def _seeds(self, done: list[_Trained], kept: _Trained) -> Seeds:
        scores = tuple(
            SeedScore(
                each.classifier.seed,
                each.result.val_accuracy,
                each.result.test.accuracy if each.result.test else None,
                each.result.carried_out,
            )
            for each in done
        )
        test = kept.result.test
        return Seeds(
            scores,
            kept.classifier.seed,
            self.fit.options.seeds,
            done[-1].result.interrupted,
            Spread.of([each.val_accuracy for each in scores], kept.result.validation.num_images),
            Spread.of([each.test_accuracy or 0.0 for each in scores], test.num_images)
            if test
            else None,
        )


def median(done: list[_Trained]) -> _Trained:
    """Return the training with the median validation accuracy, of several the first.

    Of an even number it is the lower one of the two in the middle.
    """
    accuracies = [each.result.val_accuracy for each in done]
    return done[accuracies.index(sorted(accuracies)[(len(done) - 1) // 2])]


def _together(own: dict[str, float], done: list[_Trained]) -> dict[str, float]:
    """Add the seconds of all trainings up, by phase."""
    total = dict(own)
    for each in done:
        for name, spent in each.result.seconds.items():
            total[name] = total.get(name, 0.0) + spent
    return total
