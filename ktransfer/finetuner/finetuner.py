"""`FineTuner`: from a folder of photos to a trained, evaluated and saved classifier."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import keras
import numpy as np

from ktransfer._version import __version__
from ktransfer.advisor import Advice, advise, check_similarity
from ktransfer.augment.look import Look, look
from ktransfer.backbones import Backbone, check_no_nan, load_backbone, restore_backbone
from ktransfer.backbones.loading import check_named
from ktransfer.classifier.loading import read_run
from ktransfer.classifier.results import Evaluation, FitResult, Summary, SummaryRow
from ktransfer.classifier.shift import predict_under_shift
from ktransfer.classifier.unseen import scored_apart
from ktransfer.data import (
    Part,
    Skipped,
    Splits,
    explain_failures,
    read_data,
    read_images,
    read_labelled,
)
from ktransfer.data.images.held import HeldImages
from ktransfer.data.images.value_range import ValueRange
from ktransfer.data.learnt import Learnt
from ktransfer.data.reading.items import is_array
from ktransfer.doctor import check_name, preflight
from ktransfer.errors import InputError, RunError, unknown_name
from ktransfer.export import (
    ExportResult,
    Proof,
    Request,
    Trained,
    calibration_images,
    images_to_compare,
)
from ktransfer.export import export as export_model
from ktransfer.export.formats import DEFAULT_OPSET
from ktransfer.export.images import MOST_IMAGES, MOST_JUDGED
from ktransfer.export.quantisation import DEFAULT_MAX_LOSS
from ktransfer.features import (
    DEFAULT_BUDGET_MB,
    FORWARD_BATCH_SIZE,
    Forward,
    body,
    check_dropout,
    check_pooling,
    check_pooling_name,
    compile_forward,
    extract_part,
    pool,
)
from ktransfer.finetuner.fit import Fit
from ktransfer.finetuner.options import FitOptions
from ktransfer.metrics import Score, score
from ktransfer.plan import Plan
from ktransfer.processes.keras_settings import own_settings
from ktransfer.runs.held_back import held_back, range_of, record_of
from ktransfer.runs.saving import read_learnt, write_run
from ktransfer.serving import Predictions
from ktransfer.serving.decoding import decoded_batches
from ktransfer.show.progress import progress_bar
from ktransfer.show.timing import timed
from ktransfer.training import (
    CacheMode,
    Checkpoints,
    Settings,
    Training,
    assign,
    check_same,
    choose_jit_compile,
    choose_precision,
    range_test,
    sweep,
    values_of,
)
from ktransfer.training.learning_rates import SWEEP_RATES, RangeTest, Sweep

_ONLY_OF_FIT = ("out", "resume", "overwrite")


class FineTuner:
    """A pretrained backbone, made into a classifier of your images.

    Args:
        backbone: a constructor of `keras.applications` (`"MobileNetV2"`), a KerasHub preset
            (`"hub:resnet_18_imagenet"`, with the extra `hub`), any functional `keras.Model`, or a
            `Backbone`.
        weights: `"imagenet"` (downloaded once by Keras), a file, `"mini"` (embedded, for demos), or
            None (random).
        input_size: height and width of the images in pixels; None is the backbone's own.
        pooling: how the backbone's last feature map becomes a vector: `"avg"`, `"max"`, `"avgmax"`
            or, for transformers, `"token"`.
        dropout: share of the features dropped at each training step, in [0, 1), in stages that do
            not say their own.
        seed: of the validation split, the order of the images and the dropout.
        precision: what training computes in: `"float32"`, `"mixed_bfloat16"`, `"mixed_float16"`, or
            `"auto"`: float32 on a CPU, mixed_bfloat16 on an accelerator. Weights are float32.
        jit_compile: whether XLA compiles the training steps; `"auto"`: on an accelerator only.
        gap_backbone: a backbone with batch norm that measures the domain gap where this one cannot
            (VGG, ConvNeXt, ViT); None: one whose ImageNet weights Keras has downloaded before.
        verbose: show progress on standard error.
        **backbone_options: for the backbone's constructor, for example `alpha=0.35`.

    Raises:
        InputError: something of it is unknown, missing or does not fit together; the message says
        what.

    Example:
        >>> tuner = FineTuner("MobileNetV2", weights="mini")
        >>> tuner.backbone.input_size
        (96, 96)
    """

    @own_settings()
    def __init__(
        self,
        backbone: str | keras.Model | Backbone = "MobileNetV2",
        weights: str | os.PathLike[str] | None = "imagenet",
        *,
        input_size: int | tuple[int, int] | None = None,
        pooling: str = "avg",
        dropout: float = 0.0,
        seed: int = 0,
        precision: str = "auto",
        jit_compile: bool | str = "auto",
        gap_backbone: Backbone | None = None,
        verbose: bool = True,
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
        self.result: FitResult | None = None
        self.class_names: tuple[str, ...] = ()
        self._data: dict[str, Any] = {}
        self._learnt: Learnt | None = None
        # What the weights that a training begins with have learnt from before.
        self._learnt_before: Learnt | None = None
        self._train: Part | None = None
        self._validation: Part | None = None
        self._request: dict[str, Any] = {}
        self._blocks: tuple[tuple[str, int, int], ...] = ()
        self._pretrained: list[np.ndarray] | None = None
        self._model: keras.Model | None = None
        self._forward: Forward | None = None
        self._backbone: Backbone | None = None
        self._load_backbone = functools.partial(
            load_backbone, backbone, weights, input_size, **backbone_options
        )
        if isinstance(backbone, Backbone):
            self.backbone = backbone
        elif isinstance(backbone, str) and weights == "imagenet":
            check_named(backbone, input_size, **backbone_options)
        else:
            self.backbone = self._load_backbone()

    @property
    def backbone(self) -> Backbone:
        """The pretrained network as a row of blocks.

        ImageNet weights are downloaded when it is first needed: `fit` looks at the data before.

        Raises:
            InputError: they cannot be downloaded, or an option does not fit.
        """
        if self._backbone is None:
            self.backbone = self._load_backbone()
        assert self._backbone is not None
        return self._backbone

    @backbone.setter
    def backbone(self, backbone: Backbone) -> None:
        check_pooling(self.pooling, backbone)
        self._backbone = backbone
        self._blocks = tuple((block.name, block.parameters, 0) for block in backbone.blocks)
        # A pooling that does not fit is an error now, not after the extraction.
        self._num_features(len(backbone.blocks))

    @property
    def model(self) -> keras.Model:
        """The ordinary Keras model, from RGB images in [0, 255] to class probabilities.

        Its input is `(batch, height, width, 3)` of the backbone's input size, its output `(batch,
        classes)`.

        Raises:
            InputError: before `fit`.
        """
        if self._model is None:
            raise InputError("there is no model yet: call fit(data) first")
        return self._model

    @property
    def value_range(self) -> ValueRange | None:
        """The values that are black and white in images of more than 8 bits; None: their type's.

        They were given to `fit`, or measured there.
        """
        return range_of(self._data)

    @own_settings()
    def advise(
        self, num_images: int, num_classes: int, similarity: float | str | None = None
    ) -> Advice:
        """What the 2x2 rule says for this backbone; see `ktransfer.advise`."""
        return advise(
            num_images,
            num_classes,
            similarity,
            num_features=self._num_features(len(self.backbone.blocks)),
            block_parameters=[block.parameters for block in self.backbone.blocks],
        )

    @own_settings()
    def fit(
        self,
        data: Any,
        *,
        plan: Plan | str = "auto",
        unfreeze: int | None = None,
        similarity: float | str | None = None,
        fine_tuning: str = "auto",
        augmentation: str | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        patience: int | None = None,
        validation_fraction: float = 0.2,
        class_names: Sequence[str] | None = None,
        value_range: str | ValueRange | None = "auto",
        out: str | os.PathLike[str] | None = None,
        resume: bool = False,
        overwrite: bool = False,
        cache: CacheMode = "auto",
        cache_dtype: str = "float32",
        memory_budget_mb: float = DEFAULT_BUDGET_MB,
        balance: str = "auto",
        callbacks: Sequence[keras.callbacks.Callback] = (),
        check: str = "auto",
    ) -> FitResult:
        """Look at the images, decide what to freeze, train the rest.

        What is frozen runs once over the images and never again. A second `fit` begins with the
        pretrained weights again, and trains the same network: save what is to be kept.

        Args:
            data: a folder `train/ val/ [test/]` of class folders, or class folders alone, which are
                split; or any other source of `ktransfer.data.read_data`: a CSV file or DataFrame,
                `"tfds:NAME"`, `(images, labels)` with images as an array or in a list, a `.npz`
                file of these, a dataset of (image, label), or a dict of such with the keys train,
                validation and test.
            plan: what trains when: `"auto"` (what `plan` decides by looking at the images),
                `"textbook"` (what the 2x2 rule says by itself), the name of a plan (`"lp_ft"`,
                `"gradual_unfreeze"`, ...: `ktransfer.plan.PLAN_NAMES`), or a `Plan`.
            unfreeze: how many last blocks train in the end, for the plans that leave it open; with
                `"auto"` it is `last_blocks`, or for 0 `linear_probe`.
            similarity: how similar the images are to the backbone's own: a number in [0, 1],
                `"similar"` or `"different"`; None: with `"auto"` it is measured, else it is taken
                to be similar and that is said.
            fine_tuning: whether `"auto"` tries to train blocks as well, and keeps what is better on
                the validation images: `"auto"` where it may pay, `"on"`, or `"off"`, which leaves
                the choice of what the head reads.
            augmentation: random views of the training images in every stage: a name of
                `ktransfer.augment.AUGMENTATIONS`, or `"auto"`, which goes by the number of images
                and says why; None: the plan's.
            epochs: most epochs of every stage; None: the plan's.
            batch_size: images a training step; None: the plan's, or an eighth of them, from 4 to
                32. Halved where memory runs out.
            patience: epochs without a better one after which a stage ends; None: the
                plan's.
            validation_fraction: share of each class held back where the data has no validation
                part.
            class_names: names of the labels, where the data has none, or another order is wanted.
            value_range: the values that are black and white in grey images of more than 8 bits,
                such as `(0, 4095)` for 12 bits in files of 16; `"auto"`: measured from all images,
                and noted; `"full"`: the whole of 16 bits, whatever is used of it. It is kept with
                the model: evaluation, predictions and exports read their images by it.
            out: a folder for the run: checkpoints while it trains, the saved run afterwards.
            resume: go on with the training in `out` that was killed; begins one where there is
                none. On a CPU, and on as many cores, the weights come out as if nothing had
                happened, bit for bit; on more or fewer, last bits may differ, and a note says so.
            overwrite: replace the run, or the unfinished training, in `out`.
            cache: whether the activations at the cut between frozen and trainable blocks are
                computed once: `"auto"` decides by an estimate of time and space, `"on"` wherever it
                is sound, `"off"` never, and nothing is kept on disk for later runs. Or the only
                cuts to keep beside the features, as numbers of first blocks, such as `(13, 17)`.
            cache_dtype: what they are kept in: `"float32"`, or `"float16"` for half the space.
            memory_budget_mb: what goes beyond is memory-mapped from a file.
            balance: what is done about classes of unequal size: `"class_weights"` lets each class
                weigh the same in the loss, `"sampling"` draws as many images of each in an epoch,
                `"none"` neither; `"auto"` weights them from a ratio of 3 to 1 on, and says so in
                the notes. Validation is never weighted.
            callbacks: Keras callbacks, given to every stage.
            check: `"auto"` looks for leaks, duplicates, contradicting labels and more before the
                training, up to 10,000 images (`ktransfer.examine`); `"off"` does not.

        Returns:
            A `FitResult`; it is also kept as `result`.

        Raises:
            InputError: the folder, the images, the plan or an argument cannot be used.
            RunError: the run cannot be written, or was started with something else.
        """
        options = FitOptions(
            plan=plan,
            unfreeze=unfreeze,
            similarity=similarity,
            fine_tuning=fine_tuning,
            augmentation=augmentation,
            epochs=epochs,
            batch_size=batch_size,
            patience=patience,
            validation_fraction=validation_fraction,
            class_names=class_names,
            value_range=value_range,
            out=out,
            resume=resume,
            overwrite=overwrite,
            cache=cache,
            cache_dtype=cache_dtype,
            memory_budget_mb=memory_budget_mb,
            balance=balance,
            callbacks=callbacks,
        )
        options.check()
        check_name(check)
        seconds: dict[str, float] = {}
        with timed(seconds, "scan"):
            splits = self._read(data, options)
        with timed(seconds, "backbone"):  # downloaded now, that the data is known to be there
            advice = self.advise(len(splits.train), len(splits.class_names), similarity)
        with timed(seconds, "check"):
            findings = preflight(splits, check, verbose=self.verbose)
        unkept = self._check_keeping(out)
        self._use_pretrained()
        settings = self._settings(callbacks, cache)
        fit = Fit(self.backbone, self.pooling, settings, options, self.gap_backbone, self.verbose)
        with timed(seconds, "prepare"):
            begun = fit.begin(splits, advice)
        seconds["prepare"] -= begun.source.seconds
        if options.complete:
            result = self._take_over(out, begun.request)
            self._train, self._validation = splits.train, splits.validation
            return result
        fitted = fit.run(begun, seconds)
        self._use(fitted.model)
        self.class_names = fitted.result.classes
        self._blocks = fitted.blocks
        self._request = begun.request
        self._data = record_of(data, splits)
        self._learnt = Learnt.of(splits).joined(self._learnt_before)
        self._train, self._validation = splits.train, splits.validation
        notes = (*self.backbone.notes, *fitted.result.notes, *unkept)
        self.result = dataclasses.replace(fitted.result, findings=findings, notes=notes)
        if out is not None:
            with timed(seconds, "save"):
                self.save(out, overwrite=True)
            if not self.result.interrupted:  # then it can still be resumed
                Checkpoints(out).remove()
        return self.result

    @own_settings()
    def plan(
        self,
        data: Any,
        *,
        similarity: float | str | None = None,
        fine_tuning: str = "auto",
        validation_fraction: float = 0.2,
        class_names: Sequence[str] | None = None,
        value_range: str | ValueRange | None = "auto",
        cache: str = "auto",
        depths: bool = False,
    ) -> Advice:
        """Look at the images and decide what to freeze, without training.

        One pass over the images measures the domain gap and judges heads on the features of several
        depths. `fit` finds what it computed in the cache.

        Args:
            data: as in `fit`.
            similarity: as in `fit`.
            fine_tuning: as in `fit`.
            validation_fraction: as in `fit`.
            class_names: as in `fit`.
            value_range: as in `fit`.
            cache: as in `fit`; `"off"` keeps nothing on disk.
            depths: judge a head on each block by itself, too: where does the backbone begin to tell
                the classes apart?

        Returns:
            An `Advice`; print it.

        Raises:
            InputError: the images or an argument cannot be used.

        Example:
            >>> random = np.random.default_rng(0)
            >>> images = random.integers(0, 256, (24, 96, 96, 3)).astype("uint8")
            >>> tuner = FineTuner("MobileNetV2", weights="mini", verbose=False)
            >>> tuner.plan((images, np.arange(24) % 2), similarity="different").cell
            'small_different'
        """
        options = FitOptions(
            similarity=similarity,
            fine_tuning=fine_tuning,
            validation_fraction=validation_fraction,
            class_names=class_names,
            value_range=value_range,
            cache=cache,
        )
        options.check()
        check_similarity(similarity)
        splits = self._read(data, options)
        self._use_pretrained()
        settings = self._settings((), cache)
        fit = Fit(self.backbone, self.pooling, settings, options, self.gap_backbone, self.verbose)
        return fit.look(splits, depths=depths).advice

    def _take_over(self, out: str | os.PathLike[str] | None, request: dict[str, Any]) -> FitResult:
        """Take the model and the result of a run that was complete when it was to be resumed."""
        found = FineTuner.load(str(out), verbose=self.verbose)
        check_same(found._request, request, str(out))
        for name in (
            "backbone",
            "class_names",
            "result",
            "_blocks",
            "_data",
            "_learnt",
            "_request",
        ):
            setattr(self, name, getattr(found, name))
        shapes = [tuple(each.shape) for each in self.backbone.model.weights]
        if [each.shape for each in self._pretrained or []] != shapes:
            self._pretrained = None  # the run keeps fewer blocks: another fit goes on from these
            self._learnt_before = found._learnt_before
        self._use(found.model)
        if self.result is None:
            raise RunError(
                f"the run {out} is complete and has no result: was it saved without one?"
            )
        return self.result

    @own_settings()
    def find_learning_rate(self, data: Any, *, num_steps: int = 100, **options: Any) -> RangeTest:
        """Search for the learning rate of a plan's last stage, by raising it from step to step.

        The stages before it are carried out. What `fit` has made is lost.

        Args:
            data: as in `fit`.
            num_steps: training steps, at least 10.
            **options: `plan`, `unfreeze` and others of `fit`.

        Returns:
            A `RangeTest`: print it, plot it, or take its `suggestion`.

        Raises:
            InputError: as `fit`.

        Source: Smith 2015, Cyclical Learning Rates for Training Neural Networks
            (arXiv 1506.01186).
        """
        return range_test(self._training(data, options), num_steps)

    @own_settings()
    def sweep_learning_rates(
        self,
        data: Any,
        rates: Sequence[float] = SWEEP_RATES,
        **options: Any,
    ) -> Sweep:
        """Train a plan's last stage at several constant learning rates, from the same weights.

        The stages before it are carried out once. What `fit` has made is lost.

        Args:
            data: as in `fit`.
            rates: learning rates of the head; those of the blocks keep their ratio to it.
            **options: `plan`, `unfreeze`, `epochs` and others of `fit`.

        Returns:
            A `Sweep`: print it for a table, plot training and validation loss, or take its `best`.

        Raises:
            InputError: as `fit`, or a rate is not above 0.
        """
        return sweep(self._training(data, options), rates)

    @own_settings()
    def evaluate(self, data: Any, *, corruptions: bool = False) -> Evaluation:
        """How good the model is on labelled images.

        Args:
            data: a folder of class folders, or one with `test/` (taken first) or `val/` inside; or
                any other source that `fit` takes. Where it is the data that `fit` was given, the
                part that was held back there is evaluated. Images that were trained on are counted,
                and those that were not are scored apart.
            corruptions: judge it also on the same images turned grey, blurred, noisy and of another
                colour, each at 3 strengths: 13 times the work, but for the decoding.

        Raises:
            InputError: the data cannot be used, or has a class that the model does not know.
        """
        _ = self.model  # before fit there is nothing to evaluate: say so before reading the data
        part, skipped, remarks = read_labelled(data, self.class_names, value_range=self.value_range)
        part, notes = held_back(data, part, self._data)
        if corruptions:
            with progress_bar("predicting", len(part), shown=self.verbose) as show:
                size = self.backbone.input_size
                found = predict_under_shift(self._infer, part, size, on_progress=show)
            predicted, rows, corrupted = found.plain, found.indices, found.corrupted
            failed = explain_failures(part, np.setdiff1d(np.arange(len(part)), rows))
        else:
            probabilities, rows, failed = self._probabilities(part)
            predicted, corrupted = probabilities.argmax(axis=1), None
        if not len(rows):
            raise InputError(f"none of the {len(part)} images of the data can be decoded")

        def scored(classes: np.ndarray) -> Score:
            return score(classes, part.labels[rows], self.class_names)

        shifted = None
        if corrupted is not None:
            shifted = {name: tuple(map(scored, each)) for name, each in corrupted.items()}
        apart = scored_apart(self._learnt, part.select(rows), predicted, self.class_names)
        return Evaluation(
            scored(predicted),
            part.name,
            (*skipped, *failed),
            (*apart.notes, *notes, *remarks),
            shifted,
            apart,
        )

    @own_settings()
    def predict(self, images: Any) -> Predictions:
        """The class probabilities of images.

        Args:
            images: what `fit` takes, labelled or not; a path, or several, of image files, folders
                and CSV files with the column path; an image, or several in a list or a generator:
                arrays of any size, PIL images, the bytes of image files, open binary files, paths,
                also mixed; or an array of images, RGB, RGBA or grey: `(batch, height, width, 3)`,
                `(batch, height, width)` or one `(height, width[, 3])`, uint8, uint16 (65535 is
                white, or what `value_range` says) or other numbers in [0, 255], which are rounded.

        Returns:
            `Predictions`: one row for each readable image, in order; unreadable files are named in
            it.

        Raises:
            InputError: a path does not exist, or an array is not RGB in [0, 255].
        """
        part, skipped = read_images(images, value_range=self.value_range)
        probabilities, rows, failed = self._probabilities(part)
        paths = () if is_array(images) else tuple(part.images.name(row) for row in rows)
        return Predictions(self.class_names, probabilities, paths, (*skipped, *failed))

    @own_settings()
    def look(
        self,
        data: Any,
        path: str | os.PathLike[str],
        *,
        augmentation: str | None = None,
        overwrite: bool = False,
        value_range: str | ValueRange | None = "auto",
    ) -> Look:
        """Draw a page of training images before and after augmentation, as a PNG file.

        A row for an image: the file as it is, what the backbone sees of it, and views of it.

        Args:
            data: as in `fit`.
            path: where to write the page; it must end in `.png`.
            augmentation: a name of `ktransfer.augment.AUGMENTATIONS`; None: a few rows for each.
            overwrite: replace a file that is there; never one of the images.
            value_range: as in `fit`; after `fit`, `"auto"` is what was chosen there.

        Raises:
            InputError: the data cannot be used, the name is unknown, or the page exists or cannot
                be written.
        """
        size = self.backbone.input_size
        if value_range == "auto" and self.value_range:
            value_range = self.value_range
        return look(
            data,
            path,
            augmentation=augmentation,
            input_size=size,
            seed=self.seed,
            overwrite=overwrite,
            value_range=value_range,
        )

    @own_settings()
    def summary(self, num_classes: int | None = None) -> Summary:
        """Frozen and trainable parameters per block and in all; print it for a table.

        Args:
            num_classes: number of classes of the head; after `fit` that of the data.

        Raises:
            InputError: before `fit` without `num_classes`.
        """
        num_classes = num_classes or len(self.class_names)
        if num_classes < 2:
            raise InputError("summary needs num_classes (at least 2) before fit")
        rows = [SummaryRow(*block) for block in self._blocks]
        in_blocks = sum(block.parameters for block in self.backbone.blocks)
        preprocessing = self.backbone.parameters - in_blocks
        if preprocessing:  # EfficientNet keeps the statistics of its pixels as weights
            rows.insert(0, SummaryRow("preprocessing", preprocessing, 0))
        features = self.result.plan.features if self.result else "last"
        head = (self._num_features(len(self._blocks), features) + 1) * num_classes
        return Summary((*rows, SummaryRow("head", 0, head)))

    @own_settings()
    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Save the model and the record of its training as a folder, which `FineTuner.load` reads.

        Args:
            path: a folder; made if it does not exist.
            overwrite: replace the run in it. The old run stays whole until the new one is complete.

        Raises:
            RunError: the folder is not empty, cannot be written to, or the disk is full.
        """
        model = self.model
        self.backbone.check_keeping()
        record = {
            "ktransfer": __version__,
            "keras": keras.__version__,
            "backbone": {
                "name": self.backbone.name,
                "last_operation": self.backbone.blocks[len(self._blocks) - 1].name,
                "weights": self.backbone.weights,
                "input_size": list(self.backbone.input_size),
                "options": dict(self.backbone.options),
            },
            "class_names": list(self.class_names),
            "blocks": [list(block) for block in self._blocks],
            "pooling": self.pooling,
            "dropout": self.dropout,
            "seed": self.seed,
            "data": self._data,
            "request": self._request,
            "result": self.result.to_dict() if self.result else None,
        }
        write_run(path, model, record, self._learnt, overwrite=overwrite)

    @own_settings()
    def export(
        self,
        path: str | os.PathLike[str],
        format: str | None = None,
        *,
        opset: int = DEFAULT_OPSET,
        quantise: str | None = None,
        max_loss: float = DEFAULT_MAX_LOSS,
        calibration: Any = None,
        validation: Any = None,
        overwrite: bool = False,
    ) -> ExportResult:
        """Write the model as a file that other programs run, proven to predict the same.

        Resizing, preprocessing, softmax, temperature and class names are inside. The file is
        written aside, loaded again in its own runtime and compared with the model on real images;
        it is put in place only if every image has the same class, and every probability differs by
        less than 1e-4. A model card, `NAME.card.md`, is written beside it.

        A quantised file is made of one that has passed this, and is put in place if it loses no
        more accuracy than `max_loss`.

        Args:
            path: of the file or folder; its ending says the format where `format` does not.
            format: `"onnx"` (`.onnx`, needs the extra `onnx`), `"litert"` (`.tflite`),
                `"savedmodel"` (a folder) or `"keras"` (`.keras`, which takes images of
                `backbone.input_size` only; the others take any size).
            opset: of ONNX.
            quantise: for ONNX and LiteRT (extra `litert`): `"float16"` keeps the weights in half
                the space, and computes in float32; `"int8"` keeps weights and activations in a
                quarter of it, and is faster where the processor has instructions for it (VNNI, or
                those of ARM). None: float32.
            max_loss: the share of accuracy that quantisation may cost; 0.01 is one point. Where the
                images to compare on have no labels, the share of them that may get another class.
            calibration: for int8, images to measure the activations on, at most 128 of them: a
                source as `fit` or `predict` takes it. None: the training images.
            validation: images to compare on, at most 128 of them, 1,000 where a quantised file is
                judged: a source as `fit` or `predict` takes it, labelled or not. None: the
                validation part of the training.
            overwrite: replace the export that lies there. It stays whole until the new one has
                proven itself. What else lies in the folder of a SavedModel is left alone.

        Returns:
            An `ExportResult`; print it.

        Raises:
            InputError: before `fit`, the format is unknown, an extra is missing, or the images
                cannot be read; there are no images to calibrate on.
            RunError: the place is taken or cannot be written to, there are no images to compare on,
                the export predicts something else, or it loses more than `max_loss`. Nothing is
                left behind then.
        """
        model = self.model  # before fit there is nothing to export: said before all else
        request = Request.of(
            path,
            format,
            opset,
            overwrite=overwrite,
            quantise=quantise,
            max_loss=max_loss,
            images=(validation, calibration),
        )
        most = MOST_JUDGED if quantise else MOST_IMAGES
        part, notes = images_to_compare(
            validation, self._validation, self.class_names, self._data, most=most
        )
        calibrated = self._calibration_images(calibration) if quantise == "int8" else None
        probabilities, rows, _ = self._probabilities(part)
        trained = Trained(
            model=model,
            forward=self._infer,
            class_names=self.class_names,
            input_size=self.backbone.input_size,
            backbone=self.backbone.name,
            weights=self.backbone.weights,
            options=self.backbone.options,
            result=self.result,
            data=self._data,
            learnt=self._learnt,
        )
        proof = Proof(part.select(rows), probabilities, notes, calibrated)
        return export_model(trained, request, proof, verbose=self.verbose)

    @classmethod
    @own_settings()
    def load(cls, path: str | os.PathLike[str], *, verbose: bool = True) -> FineTuner:
        """Load a run that `save` wrote. Nothing is unpickled and no code of the run is executed.

        Args:
            path: the run's folder.
            verbose: as in the constructor.

        Raises:
            RunError: no run there, a damaged one, or one of another format.
        """
        model, record = read_run(path)
        try:
            tuner = cls._restored(model, record, verbose=verbose)
        # What the record says of the training is read by many; each has its own way to object.
        except Exception as error:
            kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
            raise RunError(f"the run {path} is damaged: {kind}{error}") from error
        tuner._learnt = read_learnt(path, record)
        if any(trained for _, _, trained in tuner._blocks):
            tuner._learnt_before = tuner._learnt
        return tuner

    @classmethod
    def _restored(cls, model: keras.Model, record: dict[str, Any], *, verbose: bool) -> FineTuner:
        described = record["backbone"]
        if model.output_shape[-1] != len(record["class_names"]):
            raise RunError(
                f"its model has {model.output_shape[-1]} outputs for "
                f"{len(record['class_names'])} classes"
            )
        body = keras.Model(model.inputs[0], _output_of(model, described["last_operation"]))
        # The preprocessing is a part of the saved network.
        backbone = restore_backbone(body, described)
        if len(record["blocks"]) > len(backbone.blocks):
            raise RunError(
                f"it tells of {len(record['blocks'])} blocks, and its model has "
                f"{len(backbone.blocks)}"
            )
        tuner = cls(
            backbone,
            pooling=record["pooling"],
            dropout=record["dropout"],
            seed=record["seed"],
            verbose=verbose,
        )
        check_no_nan(model, "its model")
        tuner._use(model)
        tuner.class_names = tuple(record["class_names"])
        tuner._blocks = tuple(tuple(block) for block in record["blocks"])
        tuner._data = record["data"]
        tuner._request = record["request"]
        if record["result"]:
            tuner.result = FitResult.from_dict(record["result"])
        return tuner

    def _use(self, model: keras.Model) -> None:
        """Take a new model; what was compiled of the old one is forgotten."""
        self._model = model
        self._forward = None

    @property
    def _infer(self) -> Forward:
        """The whole model, compiled for inference when it is first needed."""
        if self._forward is None:
            self._forward = compile_forward(self.model)
        return self._forward

    def _num_features(self, num_blocks: int, features: str = "last") -> int:
        """How many features the head of a model of the first `num_blocks` blocks reads."""
        read = body(self.backbone, num_blocks, features=features, pooling=self.pooling).output
        return int(pool(read, self.pooling).shape[-1])

    def _settings(
        self, callbacks: Sequence[keras.callbacks.Callback], cache: CacheMode
    ) -> Settings:
        return Settings(
            seed=self.seed,
            dropout=self.dropout,
            cache=cache,
            precision=choose_precision(self.precision),
            jit_compile=choose_jit_compile(self.jit_compile),
            callbacks=tuple(callbacks),
            verbose=self.verbose,
        )

    def _read(self, data: Any, options: FitOptions) -> Splits:
        if isinstance(data, Splits):  # a search divides the images once for all of its trials
            return data
        return read_data(
            data,
            validation_fraction=options.validation_fraction,
            seed=self.seed,
            class_names=options.class_names,
            value_range=options.value_range,
        )

    def _check_keeping(self, out: str | os.PathLike[str] | None) -> tuple[str, ...]:
        """Before anything is trained that cannot be kept; a note where nothing is to be kept."""
        try:
            self.backbone.check_keeping()
        except InputError as error:
            if out is not None:
                raise
            return (str(error),)
        return ()

    def _training(self, data: Any, options: dict[str, Any]) -> Training:
        """A training for searches: it is not saved, and leaves no model."""
        known = [each.name for each in fields(FitOptions) if each.name not in _ONLY_OF_FIT]
        for name in options:
            if name not in known:
                raise unknown_name("option", name, known)
        chosen = FitOptions(**options)
        chosen.check()
        splits = self._read(data, chosen)
        advice = self.advise(len(splits.train), len(splits.class_names), chosen.similarity)
        self._use_pretrained()
        self._model = self._forward = self.result = None
        settings = self._settings(chosen.callbacks, chosen.cache)
        fit = Fit(self.backbone, self.pooling, settings, chosen, self.gap_backbone, self.verbose)
        return fit.training(fit.begin(splits, advice))

    def _use_pretrained(self) -> None:
        """Begin with the weights that the backbone came with, whatever a training made of them."""
        weights = self.backbone.model.weights
        if self._pretrained is None:
            check_no_nan(self.backbone.model, self.backbone.name)
            self._pretrained = values_of(weights)
        else:
            assign(weights, self._pretrained)

    def _probabilities(self, part: Part) -> tuple[np.ndarray, np.ndarray, tuple[Skipped, ...]]:
        """Class probabilities, the index of the file of each row, and the files that have none."""
        if isinstance(part.images, HeldImages):
            return self._of_held(part.images)
        with progress_bar("predicting", len(part), shown=self.verbose) as show:
            features, _, failed = extract_part(
                self._infer, part, self.backbone.input_size, on_progress=show
            )
        values = features.values.reshape(len(features.indices), len(self.class_names))
        return values, features.indices, failed

    def _of_held(self, images: HeldImages) -> tuple[np.ndarray, np.ndarray, tuple[Skipped, ...]]:
        """`_probabilities` of images in memory, decoded on the host.

        To the same pixels as in a pipeline, which takes longer to build than one image to predict.
        """
        values = [np.empty((0, len(self.class_names)), np.float32)]
        rows: list[int] = []
        failed: list[Skipped] = []
        with progress_bar("predicting", len(images), shown=self.verbose) as show:
            for batch in decoded_batches(images, self.backbone.input_size, FORWARD_BATCH_SIZE):
                values += [self._infer(batch.pixels)] if batch.rows else []
                rows += batch.rows
                failed += batch.skipped
                show(batch.done, len(images))
        return np.concatenate(values), np.array(rows, np.int64), tuple(failed)

    def _calibration_images(self, source: Any) -> np.ndarray:
        return calibration_images(
            source, self._train, self.class_names, self._data, self.backbone.input_size
        )


def _output_of(model: keras.Model, operation: str) -> keras.KerasTensor:
    """What the operation of that name says, in a loaded model."""
    found = [each for each in model.operations if each.name == operation]
    if not found:
        raise RunError(f"its model has no operation {operation!r}")
    return found[0].output
