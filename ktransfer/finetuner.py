"""`FineTuner`: from a folder of photos to a trained, evaluated and saved classifier."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from ktransfer import __version__
from ktransfer._checks import InputError, RunError
from ktransfer._progress import progress_bar
from ktransfer._timing import timed
from ktransfer.advisor import Advice, advise
from ktransfer.backbones import Backbone, check_rgb_range, load_backbone
from ktransfer.data import (
    Part,
    Skipped,
    Splits,
    joined,
    read_folder,
    read_part,
    read_paths,
    resize_array,
)
from ktransfer.features import (
    DEFAULT_BUDGET_MB,
    FORWARD_BATCH_SIZE,
    Features,
    Forward,
    compile_forward,
    divide,
    extract_part,
)
from ktransfer.heads import (
    TrainedHead,
    attach,
    check_dropout,
    check_training_arguments,
    pool,
    predict_classes,
    train_classifier,
)
from ktransfer.metrics import Score, score
from ktransfer.results import Evaluation, FitResult, Predictions, Summary, SummaryRow
from ktransfer.runs import read_run, write_run

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


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
        dropout: share of the features dropped at each training step, in [0, 1).
        seed: of the validation split, the order of the images and the dropout.
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

    def __init__(
        self,
        backbone: str | keras.Model | Backbone = "MobileNetV2",
        weights: str | os.PathLike[str] | None = "imagenet",
        *,
        input_size: int | tuple[int, int] | None = None,
        pooling: str = "avg",
        dropout: float = 0.0,
        seed: int = 0,
        verbose: bool = True,
        **backbone_options: Any,
    ) -> None:
        check_dropout(dropout)
        if not isinstance(backbone, Backbone):
            backbone = load_backbone(backbone, weights, input_size, **backbone_options)
        self.backbone = backbone
        self.pooling = pooling
        self.dropout = dropout
        self.seed = seed
        self.verbose = verbose
        self.result: FitResult | None = None
        self.class_names: tuple[str, ...] = ()
        self._data: dict[str, Any] = {}
        self._num_blocks = len(backbone.blocks)
        # An unknown pooling is an error now, not after the extraction.
        self._num_features(self._num_blocks)
        self._model: keras.Model | None = None
        self._forward: Forward | None = None

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

    def fit(
        self,
        data: str | os.PathLike[str],
        *,
        similarity: float | str | None = None,
        epochs: int = 30,
        batch_size: int | None = None,
        patience: int | None = 10,
        validation_fraction: float = 0.2,
        feature_budget_mb: float = DEFAULT_BUDGET_MB,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> FitResult:
        """Look at the images, decide what to freeze, run the frozen backbone once, train the head.

        Args:
            data: a folder `train/ val/ [test/]` of class folders, or class folders alone, which are
                split.
            similarity: how similar the images are to the backbone's own: a number in [0, 1],
                `"similar"` or `"different"`; None assumes similar and says so.
            epochs: most passes over the features.
            batch_size: images a training step of the head; None takes an eighth, from 4 to 32.
            patience: epochs without a lower validation loss after which training ends; None: never.
            validation_fraction: share of each class held back where the folder has no validation
                part.
            feature_budget_mb: features of more megabytes are memory-mapped from the temporary
                folder.
            callbacks: Keras callbacks for the training of the head.

        Returns:
            A `FitResult`; it is also kept as `result`.

        Raises:
            InputError: the folder, the images or an argument cannot be used; the message says why.
        """
        check_training_arguments(epochs, batch_size, patience)
        seconds: dict[str, float] = {}
        with timed(seconds, "scan"):
            splits = read_folder(data, validation_fraction=validation_fraction, seed=self.seed)
            advice = self.advise(len(splits.train), len(splits.class_names), similarity)
            fingerprint = splits.train.fingerprint()
        with timed(seconds, "decode_and_extract"):
            body = self._body(advice.num_blocks)
            features, splits = self._extract(body, splits, feature_budget_mb)
        with timed(seconds, "head"):
            head = train_classifier(
                (features["train"].values, splits.train.labels),
                (features["validation"].values, splits.validation.labels),
                len(splits.class_names),
                epochs=epochs,
                batch_size=batch_size,
                patience=patience,
                dropout=self.dropout,
                seed=self.seed,
                callbacks=callbacks,
            )
        self._use(attach(body, head.classifier, pooling=self.pooling, dropout=self.dropout))
        self.class_names = splits.class_names
        self._num_blocks = advice.num_blocks
        self._data = {
            "folder": os.path.realpath(data),
            "validation_fraction": validation_fraction,
            "train_fingerprint": fingerprint,
        }
        self.result = _fit_result(splits, advice, head, features, self.model, seconds)
        return self.result

    def evaluate(self, data: str | os.PathLike[str]) -> Evaluation:
        """How good the model is on labelled images.

        Args:
            data: a folder of class folders, or one with `test/` (taken first) or `val/` inside.
                Where it is the folder that `fit` was given, the part that was held back there is
                evaluated.

        Raises:
            InputError: the folder cannot be used, or has a class that the model does not know.
        """
        part, skipped, notes = self._evaluated_part(data)
        probabilities, rows, failed = self._probabilities(part)
        if not len(rows):
            raise InputError(f"none of the {len(part)} images in {str(data)!r} can be decoded")
        found = score(probabilities.argmax(axis=1), part.labels[rows], self.class_names)
        return Evaluation(found, part.name, (*skipped, *failed), notes)

    def predict(self, images: np.ndarray | Paths) -> Predictions:
        """The class probabilities of images.

        Args:
            images: RGB images in [0, 255], uint8 or float `(batch, height, width, 3)` or one
                `(height, width, 3)` of any size; or a path, or several, of image files and folders.

        Returns:
            `Predictions`: one row for each readable image, in order; unreadable files are named in
            it.

        Raises:
            InputError: a path does not exist, or an array is not RGB in [0, 255].
        """
        if hasattr(images, "__array__"):
            return Predictions(self.class_names, self._predict_array(np.asarray(images)), (), ())
        part, skipped = read_paths(images)
        probabilities, rows, failed = self._probabilities(part)
        paths = tuple(part.files[row].path for row in rows)
        return Predictions(self.class_names, probabilities, paths, (*skipped, *failed))

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
        blocks = self.backbone.blocks[: self._num_blocks]
        rows = [SummaryRow(block.name, block.parameters, 0) for block in blocks]
        in_blocks = sum(block.parameters for block in self.backbone.blocks)
        preprocessing = self.backbone.parameters - in_blocks
        if preprocessing:  # EfficientNet keeps the statistics of its pixels as weights
            rows.insert(0, SummaryRow("preprocessing", preprocessing, 0))
        head = (self._num_features(self._num_blocks) + 1) * num_classes
        return Summary((*rows, SummaryRow("head", 0, head)))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Save the model and the record of its training as a folder, which `FineTuner.load` reads.

        Args:
            path: a folder; made if it does not exist.
            overwrite: replace the run in it. The old run stays whole until the new one is complete.

        Raises:
            RunError: the folder is not empty, cannot be written to, or the disk is full.
        """
        model = self.model
        record = {
            "ktransfer": __version__,
            "keras": keras.__version__,
            "backbone": {
                "name": self.backbone.name,
                "last_operation": self.backbone.blocks[self._num_blocks - 1].name,
                "weights": self.backbone.weights,
                "input_size": list(self.backbone.input_size),
                "options": dict(self.backbone.options),
            },
            "class_names": list(self.class_names),
            "pooling": self.pooling,
            "dropout": self.dropout,
            "seed": self.seed,
            "data": self._data,
            "result": self.result.to_dict() if self.result else None,
        }
        write_run(path, model, record, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, verbose: bool = True) -> FineTuner:
        """Load a run that `save` wrote. Nothing is unpickled and no code of the run is executed.

        Args:
            path: the run's folder.
            verbose: as in the constructor.

        Raises:
            RunError: no run there, a damaged one, or one of another format.
        """
        model, record = read_run(path)
        described = record["backbone"]
        if model.output_shape[-1] != len(record["class_names"]):
            raise RunError(
                f"the run {path} is damaged: its model has {model.output_shape[-1]} outputs for "
                f"{len(record['class_names'])} classes"
            )
        body = keras.Model(model.inputs[0], _output_of(model, described["last_operation"]))
        # The preprocessing is a part of the saved network, hence "none".
        backbone = dataclasses.replace(
            load_backbone(body, None, preprocessing="none"),
            name=described["name"],
            weights=described["weights"],
            options=described["options"],
        )
        tuner = cls(
            backbone,
            pooling=record["pooling"],
            dropout=record["dropout"],
            seed=record["seed"],
            verbose=verbose,
        )
        tuner._use(model)
        tuner.class_names = tuple(record["class_names"])
        tuner._data = record["data"]
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

    def _num_features(self, num_blocks: int) -> int:
        """The width of the pooled features behind the first `num_blocks` blocks."""
        return int(pool(self._body(num_blocks).output, self.pooling).shape[-1])

    def _body(self, num_blocks: int) -> keras.Model:
        """The first blocks, from images to what the last of them says."""
        body = self.backbone.prefix(num_blocks)
        if len(body.outputs) == 1:
            return body
        # A cut of NASNet has two tensors: what the last cell says, and the one before it.
        last = self.backbone.blocks[num_blocks - 1].calls[-1]
        return keras.Model(body.inputs, last.outputs[0], name=body.name)

    def _extract(
        self, body: keras.Model, splits: Splits, budget_mb: float
    ) -> tuple[dict[str, Features], Splits]:
        """The pooled features of every part, and the splits without what could not be decoded."""
        forward = compile_forward(keras.Model(body.inputs, pool(body.output, self.pooling)))
        size, parts = self.backbone.input_size, splits.parts
        everything = joined(parts)
        with progress_bar("extracting features", len(everything), shown=self.verbose) as show:
            features, _, failed = extract_part(
                forward, everything, size, budget_mb=budget_mb, on_progress=show
            )
        of_parts = divide(features, [len(part) for part in parts])
        readable = [part.select(found.indices) for part, found in zip(parts, of_parts, strict=True)]
        _check_classes_left(readable[0], splits.class_names, failed)
        by_name = {part.name: found for part, found in zip(parts, of_parts, strict=True)}
        return by_name, splits.with_parts(readable, failed)

    def _probabilities(self, part: Part) -> tuple[np.ndarray, np.ndarray, tuple[Skipped, ...]]:
        """Class probabilities, the index of the file of each row, and the files that have none."""
        with progress_bar("predicting", len(part), shown=self.verbose) as show:
            features, _, failed = extract_part(
                self._infer, part, self.backbone.input_size, on_progress=show
            )
        values = features.values.reshape(len(features.indices), len(self.class_names))
        return values, features.indices, failed

    def _predict_array(self, images: np.ndarray) -> np.ndarray:
        images = images[np.newaxis] if images.ndim == 3 else images
        check_rgb_range(images)
        if images.shape[1:3] != self.backbone.input_size:
            images = resize_array(images, self.backbone.input_size)
        starts = range(0, len(images), FORWARD_BATCH_SIZE)
        rows = [self._infer(images[start : start + FORWARD_BATCH_SIZE]) for start in starts]
        return np.concatenate(rows)

    def _evaluated_part(
        self, data: str | os.PathLike[str]
    ) -> tuple[Part, tuple[Skipped, ...], tuple[str, ...]]:
        _ = self.model  # before fit there is nothing to evaluate: say so before reading the folder
        if os.path.realpath(data) != self._data.get("folder"):
            return read_part(data, self.class_names)
        fraction = self._data["validation_fraction"]
        splits = read_folder(data, validation_fraction=fraction, seed=self.seed)
        part = splits.test or splits.validation
        notes = [f"this is the folder of the training: its {part.name} part is evaluated"]
        if splits.train.fingerprint() != self._data["train_fingerprint"]:
            notes.append("the folder has changed since: some of these may have been trained on")
        return part, splits.skipped, (*notes, *splits.notes)


def _output_of(model: keras.Model, operation: str) -> keras.KerasTensor:
    """What the operation of that name says, in a loaded model."""
    found = [each for each in model.operations if each.name == operation]
    if not found:
        raise RunError(f"the run is damaged: its model has no operation {operation!r}")
    return found[0].output


def _check_classes_left(train: Part, class_names: Sequence[str], failed: Sequence[Skipped]) -> None:
    for label, name in enumerate(class_names):
        if not np.any(train.labels == label):
            raise InputError(
                f"no training image of class {name!r} can be decoded; for example "
                f"{failed[0].path!r}: {failed[0].reason}"
            )


def _fit_result(
    splits: Splits,
    advice: Advice,
    head: TrainedHead,
    features: dict[str, Features],
    model: keras.Model,
    seconds: dict[str, float],
) -> FitResult:
    def score_of(part: Part) -> Score:
        predicted = predict_classes(head.classifier, features[part.name].values)
        return score(predicted, part.labels, splits.class_names)

    carried_out = advice.strategy if advice.num_trainable_blocks == 0 else "linear_probe"
    notes = splits.notes
    if carried_out != advice.strategy:
        notes += (
            f"the rule advises {advice.strategy}; this version carries out the frozen strategies "
            "only, so the backbone stayed frozen and the head was trained",
        )
    return FitResult(
        validation=score_of(splits.validation),
        test=score_of(splits.test) if splits.test else None,
        classes=splits.class_names,
        part_sizes={part.name: len(part) for part in splits.parts},
        skipped=splits.skipped,
        notes=notes,
        advice=advice,
        carried_out=carried_out,
        trainable_parameters=sum(int(np.prod(each.shape)) for each in model.trainable_variables),
        total_parameters=int(model.count_params()),
        history=head.history,
        best_epoch=head.best_epoch,
        interrupted=head.interrupted,
        seconds=seconds,
    )
