"""`Classifier`: what training makes, the model and all that is known of it."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np

from ktransfer._version import __version__
from ktransfer.backbones import check_no_nan
from ktransfer.backbones.serialization import check_keeping
from ktransfer.classifier.evaluating import evaluation_of
from ktransfer.classifier.evaluation import Evaluation
from ktransfer.classifier.loading import read_run
from ktransfer.classifier.predicting import Probabilities, probabilities_of
from ktransfer.classifier.results import FitResult
from ktransfer.classifier.shift import predict_under_shift
from ktransfer.classifier.summary import Summary, summary_of
from ktransfer.data import Part, Skipped, explain_failures, read_images, read_labelled
from ktransfer.data.images.value_range import AUTO, ValueRange, range_to_read
from ktransfer.data.learnt import Learnt
from ktransfer.data.reading.items import is_array
from ktransfer.errors import InputError, RunError
from ktransfer.features import Forward, compile_forward
from ktransfer.features.familiarity import Familiarity
from ktransfer.processes.keras_settings import own_settings
from ktransfer.runs.saving import read_side, write_run
from ktransfer.runs.seen import held_back, range_of
from ktransfer.serving import Predictions
from ktransfer.show.progress import progress_bar, working

#: What a run says the version of, each under its name.
_VERSIONED = ("ktransfer", "keras")


def versions_here() -> dict[str, str]:
    """Return the versions of what trains, in this process."""
    return dict(zip(_VERSIONED, (__version__, keras.__version__), strict=True))


@dataclass(frozen=True)
class BackboneRecord:
    """What a classifier remembers of the backbone that it was made of.

    Attributes:
        name: of the backbone.
        last_operation: the name of the operation in the model whose output the head reads.
        weights: where the pretrained weights came from; None: they were random.
        input_size: height and width of the images in pixels.
        options: of the backbone's constructor.
    """

    name: str
    last_operation: str
    weights: str | None
    input_size: tuple[int, int]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained model and all that is known of it; `FineTuner.fit` makes one, `load` reads one.

    Attributes:
        model: RGB images `(batch, height, width, 3)` in [0, 255] to probabilities `(batch,
            classes)`: an ordinary Keras model.
        class_names: one for each column of the probabilities.
        backbone: what it was made of.
        blocks: for each block of the backbone in the model its name, and how many of its numbers
            were frozen and trained.
        pooling: how the features became a vector.
        dropout: share of the features that was dropped at each training step.
        seed: of the training.
        data: what is remembered of the images (`runs.seen.record_of`).
        learnt: digests of the images that it learnt from; None where they are not known.
        familiarity: what the features of these images look like; None where that is not known.
        request: what the training was made of, as plain data.
        result: how the training went; None where that was not saved.
        train: the training images, where the training was in this process.
        validation: those that it was judged by, likewise.
        verbose: show progress on standard error.
        test: those of the test part, likewise; None, too, where the data has none.
        versions: of the packages that it was trained with, by name; empty where they are not known.
    """

    model: keras.Model
    class_names: tuple[str, ...]
    backbone: BackboneRecord
    blocks: tuple[tuple[str, int, int], ...]
    pooling: str
    dropout: float
    seed: int
    data: Mapping[str, Any]
    learnt: Learnt | None = None
    familiarity: Familiarity | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    result: FitResult | None = None
    train: Part | None = None
    validation: Part | None = None
    verbose: bool = True
    test: Part | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    @own_settings()
    def load(cls, path: str | os.PathLike[str], *, verbose: bool = True) -> Classifier:
        """Load a run. Nothing is unpickled and no code of the run is executed.

        Args:
            path: the run's folder.
            verbose: show progress on standard error.

        Raises:
            RunError: no run there, a damaged one, or one of another format.
        """
        model, record = read_run(path)
        try:
            learnt = read_side(path, record, "learnt", Learnt.read)
            familiarity = read_side(path, record, "familiar", Familiarity.read)
            return cls._of_record(model, record, learnt, familiarity, verbose)
        except RunError:
            raise
        # What the record says of the training is read by many; each has its own way to object.
        except Exception as error:
            kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
            raise RunError(f"the run {path} is damaged: {kind}{error}") from error

    @classmethod
    def _of_record(
        cls,
        model: keras.Model,
        record: Mapping[str, Any],
        learnt: Learnt | None,
        familiarity: Familiarity | None,
        verbose: bool,
    ) -> Classifier:
        outputs, names = model.output_shape[-1], tuple(record["class_names"])
        if outputs != len(names):
            raise InputError(f"its model has {outputs} outputs for {len(names)} classes")
        check_no_nan(model, "its model")
        described = record["backbone"]
        return cls(
            model=model,
            class_names=names,
            backbone=BackboneRecord(
                described["name"],
                described["last_operation"],
                described["weights"],
                tuple(model.input_shape[1:3]),
                described["options"],
            ),
            blocks=tuple(tuple(block) for block in record["blocks"]),
            pooling=record["pooling"],
            dropout=record["dropout"],
            seed=record["seed"],
            data=record["data"],
            learnt=learnt,
            familiarity=familiarity,
            request=record["request"],
            result=FitResult.from_dict(record["result"]) if record["result"] else None,
            verbose=verbose,
            versions={name: str(record[name]) for name in _VERSIONED if record.get(name)},
        )

    @own_settings()
    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Save the model and all that is known of it as a folder, which `load` reads.

        Args:
            path: a folder; made if it does not exist.
            overwrite: replace the run in it. The old run stays whole until the new one is complete.

        Raises:
            InputError: the model could not be loaded again.
            RunError: the folder is not empty, cannot be written to, or the disk is full.
        """
        check_keeping(self.model, self.backbone.name)
        record = {
            **versions_here(),
            **self.versions,
            "backbone": asdict(self.backbone),
            "class_names": list(self.class_names),
            "blocks": [list(block) for block in self.blocks],
            "pooling": self.pooling,
            "dropout": self.dropout,
            "seed": self.seed,
            "data": dict(self.data),
            "request": dict(self.request),
            "result": self.result.to_dict() if self.result else None,
        }
        known = {"learnt": self.learnt, "familiar": self.familiarity}
        sides = {name: each.to_bytes() for name, each in known.items() if each is not None}
        with working("saving the model", shown=self.verbose):
            write_run(path, self.model, record, sides, overwrite=overwrite)

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the images that the model reads, in pixels."""
        return self.backbone.input_size

    @property
    def value_range(self) -> ValueRange | None:
        """The values that are black and white in images of more than 8 bits; None: their type's."""
        return range_of(self.data)

    @property
    def data_sha256(self) -> str | None:
        """Of the training and validation images together, in any order; None if not known."""
        return self.data.get("contents")

    @functools.cached_property
    def forward(self) -> Forward:
        """The model, compiled for inference when it is first needed."""
        return compile_forward(self.model)

    @own_settings()
    def probabilities(self, part: Part) -> tuple[np.ndarray, np.ndarray, tuple[Skipped, ...]]:
        """Say what the model says of the images of a part.

        Returns:
            float32 `(images, classes)`, the index of the image of each row, and the images that
            have none, since they cannot be decoded.
        """
        width = len(self.class_names)
        with progress_bar("predicting", len(part), shown=self.verbose) as show:
            return probabilities_of(self.forward, part, self.input_size, width, on_progress=show)

    def _predicted(self, part: Part) -> tuple[Probabilities, np.ndarray | None]:
        """Return the probabilities, and where that is known how unfamiliar the images are."""
        if self.familiarity is None:
            return self.probabilities(part), None
        classes, width = len(self.class_names), self.familiarity.means.shape[1]
        with progress_bar("predicting", len(part), shown=self.verbose) as show:
            both, rows, failed = probabilities_of(
                self._with_features, part, self.input_size, classes + width, on_progress=show
            )
        found = np.ascontiguousarray(both[:, :classes]), rows, failed
        return found, self.familiarity.distances(both[:, classes:])

    @functools.cached_property
    def _with_features(self) -> Forward:
        """The model, compiled to say what its head reads behind the probabilities."""
        head = next(each for each in reversed(self.model.layers) if each.weights)
        # A name that no network has: InceptionV3, for one, has a layer "concatenate".
        both = keras.layers.Concatenate(name="ktransfer_probabilities_and_features")
        said = both([self.model.output, head.input])
        return compile_forward(keras.Model(self.model.input, said))

    @own_settings()
    def predict(
        self,
        images: Any,
        *,
        abstain_below: float = 0.0,
        value_range: str | ValueRange | None = AUTO,
    ) -> Predictions:
        """Return the class probabilities of images.

        Args:
            images: what `fit` takes, labelled or not; a path, or several, of image files, folders
                and CSV files with the column path; an image, or several in a list or a generator:
                arrays of any size, PIL images, the bytes of image files, open binary files, paths,
                also mixed; or an array of images, RGB, RGBA or grey: `(batch, height, width, 3)`,
                `(batch, height, width)` or one `(height, width[, 3])`, uint8, uint16 (65535 is
                white, or what `value_range` says) or other numbers in [0, 255], which are rounded.
            abstain_below: images whose best class is less probable are unsure and have no label.
            value_range: the values that are black and white in images of more than 8 bits, where
                they come from another device than those that were trained on, such as `(0, 1023)`;
                `"auto"`: those that the model learnt with; `"full"`: those of each image's type.

        Returns:
            `Predictions`: one row for each readable image, in order; unreadable files are named in
            it.

        Raises:
            InputError: a path does not exist, or an array is not RGB in [0, 255].
        """
        chosen = range_to_read(value_range, self.value_range)
        part, skipped = read_images(images, value_range=chosen)
        (probabilities, rows, failed), distances = self._predicted(part)
        paths = () if is_array(images) else tuple(part.images.name(row) for row in rows)
        left_out = (*skipped, *failed)
        return Predictions(
            self.class_names, probabilities, paths, left_out, abstain_below, distances
        )

    @own_settings()
    def evaluate(
        self,
        data: Any,
        *,
        corruptions: bool = False,
        value_range: str | ValueRange | None = AUTO,
    ) -> Evaluation:
        """Say how good the model is on labelled images.

        Args:
            data: a folder of class folders, or one with `test/` (taken first) or `val/` inside; or
                any other source that `fit` takes. Where it is the data that `fit` was given, the
                part that was held back there is evaluated. Images that were trained on are counted,
                and those that were not are scored apart.
            corruptions: judge it also on the same images turned grey, blurred, noisy and of another
                colour, each at 3 strengths: 13 times the work, but for the decoding.
            value_range: as in `predict`.

        Raises:
            InputError: the data cannot be used, or has a class that the model does not know.
        """
        chosen = range_to_read(value_range, self.value_range)
        part, skipped, remarks = read_labelled(data, self.class_names, value_range=chosen)
        part, notes = held_back(data, part, dict(self.data))
        if corruptions:
            with progress_bar("predicting", len(part), shown=self.verbose) as show:
                found = predict_under_shift(self.forward, part, self.input_size, on_progress=show)
            probabilities, rows, corrupted = found.plain, found.indices, found.corrupted
            failed = explain_failures(part, np.setdiff1d(np.arange(len(part)), rows))
        else:
            (probabilities, rows, failed), corrupted = self.probabilities(part), None
        return evaluation_of(
            part,
            (probabilities, rows, (*skipped, *failed)),
            self.class_names,
            self.learnt,
            (*notes, *remarks),
            corrupted,
        )

    @own_settings()
    def report(
        self,
        path: str | os.PathLike[str],
        *,
        data: Any = None,
        explain: bool = True,
        overwrite: bool = False,
    ) -> Any:
        """Write what is known of it as one page of HTML: `pages.write_report` says more.

        Args:
            path: where to write it; it must end in `.html`.
            data: labelled images to judge it on; None: those that its training was judged by.
            explain: whether to show where in the photos it found what speaks for a class.
            overwrite: replace a file that is there.

        Returns:
            `pages.ReportPage`: what is on the page.

        Raises:
            InputError: the data cannot be used, or the page exists or cannot be written.
        """
        # By its name: pages stand on classifiers, and this is only a short way to one.
        pages = importlib.import_module("ktransfer.pages")
        return pages.write_report(self, path, data=data, explain=explain, overwrite=overwrite)

    def summary(self) -> Summary:
        """Frozen and trained parameters per block and in all; print it for a table."""
        head = next(each for each in reversed(self.model.layers) if each.weights)
        return summary_of(self.blocks, self.model.count_params(), head.count_params())
