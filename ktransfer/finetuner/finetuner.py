"""`FineTuner`: from a folder of photos to a trained, evaluated and saved classifier."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any, Unpack

import keras

from ktransfer._lazy import moved_method
from ktransfer.advisor import Advice
from ktransfer.augment.samples import Look, look
from ktransfer.backbones import Backbone, load_backbone
from ktransfer.backbones.loading import check_named
from ktransfer.backbones.model_file import is_model_file
from ktransfer.classifier import Classifier, Evaluation, FitResult, Summary
from ktransfer.data.images.value_range import ValueRange
from ktransfer.errors import InputError
from ktransfer.export import ExportResult, export
from ktransfer.features import check_dropout, check_pooling_name
from ktransfer.finetuner.fit import Fit
from ktransfer.finetuner.options import (
    AdviceArguments,
    FitArguments,
    FitOptions,
    SearchArguments,
    like,
    settings_of,
    takes,
)
from ktransfer.finetuner.pretrained import Pretrained, backbone_of, learnt_by
from ktransfer.finetuner.seeds import once_for_each_seed
from ktransfer.finetuner.tries import first_epochs
from ktransfer.pages import ReportPage, write_report
from ktransfer.processes.keras_settings import own_settings
from ktransfer.serving import Predictions
from ktransfer.training import Training, choose_jit_compile, choose_precision, range_test, sweep
from ktransfer.training.learning_rates import SWEEP_RATES, RangeTest, Sweep


class FineTuner:
    """A pretrained backbone, made into a classifier of your images.

    Args:
        backbone: a name (`"MobileNetV2"`), a KerasHub preset (`"hub:resnet_18_imagenet"`, with the
            extra `hub`), a functional `keras.Model`, a file of one (`"m.keras"`), a `Backbone`.
        weights: `"imagenet"` (downloaded once by Keras), a file, `"mini"` (embedded, for demos), or
            None (random).
        input_size: height and width of the images in pixels; None is the backbone's own.
        pooling: how the backbone's last feature map becomes a vector: `"avg"`, `"max"`, `"avgmax"`
            or, for transformers, `"token"`.
        dropout: share of the features dropped at each training step, in [0, 1), in stages that do
            not say their own.
        seed: of the validation split, the order of the images and the dropout.
        precision: what training computes in (weights are float32): `"float32"`, `"mixed_bfloat16"`,
            `"mixed_float16"`; `"auto"`: bfloat16 on accelerators, and on CPUs that gain by it.
        jit_compile: whether XLA compiles the training steps; `"auto"`: on an accelerator only.
        gap_backbone: a backbone with batch norm that measures the domain gap where this one cannot
            (VGG, ConvNeXt, ViT); None: one whose ImageNet weights Keras has downloaded before.
        verbose: show progress on standard error; 2: also how each stage went, and its proof.
        **backbone_options: for the backbone's constructor, for example `alpha=0.35`.

    Raises:
        InputError: something of it is unknown, missing or does not fit together.

    Example:
        >>> finetuner = FineTuner("MobileNetV2", weights="mini")
        >>> finetuner.backbone.input_size
        (96, 96)
    """

    @own_settings()
    def __init__(
        self,
        backbone: str | os.PathLike[str] | keras.Model | Backbone = "MobileNetV2",
        weights: str | os.PathLike[str] | None = "imagenet",
        *,
        input_size: int | tuple[int, int] | None = None,
        pooling: str = "avg",
        dropout: float = 0.0,
        seed: int = 0,
        precision: str = "auto",
        jit_compile: bool | str = "auto",
        gap_backbone: Backbone | None = None,
        verbose: int = True,
        **backbone_options: Any,
    ) -> None:
        check_dropout(dropout)
        choose_precision(precision)
        choose_jit_compile(jit_compile)
        check_pooling_name(pooling)
        self.pooling = pooling
        self.dropout = dropout
        self.seed = seed
        self.precision = precision
        self.jit_compile = jit_compile
        self.gap_backbone = gap_backbone
        self.verbose = verbose
        self._classifier: Classifier | None = None
        load = functools.partial(load_backbone, backbone, weights, input_size, **backbone_options)
        self._pretrained = Pretrained(load, pooling, bool(verbose))
        if isinstance(backbone, Backbone):
            self.backbone = backbone
        elif isinstance(backbone, str) and weights == "imagenet" and not is_model_file(backbone):
            check_named(backbone, input_size, **backbone_options)
        else:
            _ = self._pretrained.backbone  # what is wrong with it is said now

    @property
    def backbone(self) -> Backbone:
        """The pretrained network as a row of blocks, loaded when it is first needed."""
        return self._pretrained.backbone

    @backbone.setter
    def backbone(self, backbone: Backbone) -> None:
        self._pretrained.use(backbone)

    @property
    def classifier(self) -> Classifier:
        """What `fit` made: the model and all that is known of it; an `InputError` before it."""
        if self._classifier is None:
            raise InputError("there is no model yet: call fit(data) first")
        return self._classifier

    @property
    def model(self) -> keras.Model:
        """`Classifier.model`: an ordinary Keras model, from RGB images in [0, 255]."""
        return self.classifier.model

    @property
    def result(self) -> FitResult | None:
        """What `fit` returned; None before it."""
        return self._classifier.result if self._classifier else None

    @property
    def class_names(self) -> tuple[str, ...]:
        """`Classifier.class_names`; none before `fit`."""
        return self._classifier.class_names if self._classifier else ()

    @property
    def value_range(self) -> ValueRange | None:
        """`Classifier.value_range`: given to `fit`, or measured there; None before it."""
        return self._classifier.value_range if self._classifier else None

    @own_settings()
    def textbook_rule(
        self, num_images: int, num_classes: int, similarity: float | str | None = None
    ) -> Advice:
        """Say what the 2x2 rule says for this backbone: `ktransfer.textbook_rule`."""
        return self._fit({}).rule(num_images, num_classes, similarity)

    @own_settings()
    @takes(AdviceArguments, SearchArguments, FitArguments)
    def fit(self, data: Any, **options: Unpack[FitArguments]) -> FitResult:
        """Look at the images, decide what to freeze, train the rest.

        What is frozen runs once over the images and never again. A second `fit` begins with the
        pretrained weights again, and trains the same network: save what is to be kept.

        Args:
            data: a folder `train/ val/ [test/]` of class folders, or class folders alone, which are
                split; or any other source of `ktransfer.data.read_data`, as a CSV file.
            **options: see below.

        Returns:
            A `FitResult`; also kept as `result`, and all that was made as `classifier`.

        Raises:
            InputError: the folder, the images, the plan or an argument cannot be used.
            RunError: the run cannot be written, or was started with something else.
        """
        fit = once_for_each_seed(self._fit(options))
        self._classifier = fit.run(data)
        fit.keep(self._classifier)
        assert self._classifier.result is not None  # it says how the training went
        return self._classifier.result

    @own_settings()
    @takes(AdviceArguments, own=("depths",))
    def advise(
        self, data: Any, *, depths: bool = False, **options: Unpack[AdviceArguments]
    ) -> Advice:
        """Look at the images and decide what to freeze, without training.

        One pass over the images measures the domain gap and judges heads on the features of several
        depths. `fit` finds what it computed in the cache.

        Args:
            data: as in `fit`.
            depths: judge a head on each block by itself, too: where does the backbone begin to tell
                the classes apart?
            **options: see below.

        Returns:
            An `Advice`; print it.

        Raises:
            InputError: the images or an argument cannot be used.

        Example:
            >>> images = np.random.default_rng(0).integers(0, 256, (24, 96, 96, 3)).astype("uint8")
            >>> finetuner = FineTuner("MobileNetV2", weights="mini", verbose=False)
            >>> finetuner.advise((images, np.arange(24) % 2), similarity="different").cell
            'small_different'
        """
        fit = self._fit({**options})
        splits = fit.read(data)
        self._pretrained.begin()
        return fit.profile_images(splits, depths=depths).advice

    plan = moved_method("FineTuner.plan", advise)

    @own_settings()
    @takes(AdviceArguments, SearchArguments, own=("num_steps",))
    def find_learning_rate(
        self, data: Any, *, num_steps: int = 100, **options: Unpack[SearchArguments]
    ) -> RangeTest:
        """Name a learning rate for a plan's last stage, and why: `training.range_test`.

        The stages before it are carried out for a tenth of their epochs. What `fit` made is lost,
        and nothing is saved. `fit(learning_rate=found.suggestion)` trains with it.

        Args:
            data: as in `fit`.
            num_steps: training steps, at least 10.
            **options: see below.

        Source: Smith 2015 (arXiv 1506.01186).
        """
        return range_test(self._training(data, options), num_steps)

    @own_settings()
    @takes(AdviceArguments, SearchArguments, own=("rates",))
    def sweep_learning_rates(
        self, data: Any, rates: Sequence[float] = SWEEP_RATES, **options: Unpack[SearchArguments]
    ) -> Sweep:
        """Train a plan's last stage at several constant learning rates: `training.sweep`.

        The stages before it are carried out once. What `fit` made is lost, and nothing is saved.

        Args:
            data: as in `fit`.
            rates: learning rates of the head; those of the blocks keep their ratio to it.
            **options: see below.
        """
        return sweep(self._training(data, options), rates)

    @own_settings()
    @like(Classifier.evaluate)
    def evaluate(self, data: Any, **options: Any) -> Evaluation:
        """Say how good the model is on labelled images: `Classifier.evaluate`."""
        return self.classifier.evaluate(data, **options)

    @own_settings()
    @like(Classifier.predict)
    def predict(self, images: Any, **options: Any) -> Predictions:
        """Return the class probabilities of images: `Classifier.predict`."""
        return self.classifier.predict(images, **options)

    @own_settings()
    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Save the model and the record of its training as a folder: `Classifier.save`."""
        self.classifier.save(path, overwrite=overwrite)

    @own_settings()
    @like(export)
    def export(self, path: str | os.PathLike[str], *others: Any, **options: Any) -> ExportResult:
        """Write the model as a file proven to predict the same: `ktransfer.export.export`."""
        return export(self.classifier, path, *others, **options)

    @own_settings()
    @like(write_report)
    def report(self, path: str | os.PathLike[str], *others: Any, **options: Any) -> ReportPage:
        """Write what is known of the model as one page of HTML: `ktransfer.pages.write_report`."""
        return write_report(self.classifier, path, *others, **options)

    @classmethod
    @own_settings()
    def load(cls, path: str | os.PathLike[str], *, verbose: bool = True) -> FineTuner:
        """Load a run to train it on; for all else `Classifier.load` is enough, and faster."""
        return cls.of_classifier(Classifier.load(path, verbose=verbose))

    @classmethod
    @own_settings()
    def of_classifier(cls, classifier: Classifier) -> FineTuner:
        """Return a fine-tuner that begins with the weights of a classifier's backbone."""
        finetuner = cls(
            backbone_of(classifier),
            pooling=classifier.pooling,
            dropout=classifier.dropout,
            seed=classifier.seed,
            verbose=classifier.verbose,
        )
        finetuner._classifier = classifier
        finetuner._pretrained.learnt = learnt_by(classifier)
        return finetuner

    @own_settings()
    def look(
        self,
        data: Any,
        path: str | os.PathLike[str],
        *,
        augmentation: str | None = None,
        overwrite: bool = False,
        value_range: str | ValueRange | None = "auto",
        class_names: Sequence[str] | None = None,
    ) -> Look:
        """Draw training images before and after augmentation: `augment.samples.look`."""
        return look(
            data,
            path,
            augmentation=augmentation,
            input_size=self.backbone.input_size,
            seed=self.seed,
            overwrite=overwrite,
            value_range=(self.value_range or "auto") if value_range == "auto" else value_range,
            class_names=class_names,
        )

    @own_settings()
    def summary(self, num_classes: int | None = None) -> Summary:
        """Frozen and trainable parameters per block and in all; print it for a table.

        Before `fit`, `num_classes` says how many classes the head is to have.
        """
        if self._classifier and num_classes in (None, len(self.class_names)):
            return self._classifier.summary()
        return self._pretrained.summary(num_classes)

    def _fit(self, options: FitArguments) -> Fit:
        """Return one training or decision, its options checked."""
        chosen = FitOptions(**options)
        computing = self.precision, self.jit_compile
        settings = settings_of(chosen, self.seed, self.dropout, *computing, self.verbose)
        told = chosen, self.gap_backbone, self.verbose
        return Fit(self._pretrained, self.pooling, settings, *told)

    def _training(self, data: Any, options: SearchArguments) -> Training:
        """Return a training for searches: it is not saved, and leaves no model."""
        fit = self._fit({**options})
        splits = fit.read(data)
        decided = fit.decide(splits)
        if decided.tries:  # it is their rate that `fit(learning_rate=)` sets
            options = {**options, "fine_tuning": "auto", "plan": first_epochs(decided.tries)}
            decided = (fit := self._fit({**options})).decide(splits)
        self._classifier = None
        return fit.training(decided)
