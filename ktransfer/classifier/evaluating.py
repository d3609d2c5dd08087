"""From what a model says of labelled images to an evaluation, of a run and of an exported file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ktransfer.classifier.evaluation import Evaluation
from ktransfer.classifier.mistakes import surest_mistakes
from ktransfer.classifier.predicting import Probabilities
from ktransfer.classifier.unseen import scored_apart
from ktransfer.data import Part, read_labelled
from ktransfer.data.learnt import Learnt
from ktransfer.errors import InputError
from ktransfer.metrics import Score, score
from ktransfer.runs.seen import held_back
from ktransfer.serving import OnnxClassifier, Predictions
from ktransfer.show.progress import progress_bar


def evaluate_file(
    model: str | os.PathLike[str] | OnnxClassifier, data: Any, *, verbose: bool = True
) -> Evaluation:
    """Measure how good an exported ONNX file is on labelled images.

    Args:
        model: the file, or the classifier that it is.
        data: as `Classifier.evaluate` takes it. Which part a training held back of it the file does
            not know; which images it learnt from it does, where there were up to 10,000.
        verbose: show progress on standard error.

    Raises:
        InputError: the data cannot be used, or has a class that the model does not know.
        RunError: the file cannot be used.
    """
    classifier = model if isinstance(model, OnnxClassifier) else OnnxClassifier(model)
    names = classifier.class_names
    part, skipped, remarks = read_labelled(data, names, value_range=classifier.metadata.value_range)
    part, notes = held_back(data, part, {})
    with progress_bar("predicting", len(part), shown=verbose) as show:
        probabilities, rows, failed = classifier.probabilities(part, on_progress=show)
    found = (probabilities, rows, (*skipped, *failed))
    return evaluation_of(part, found, names, classifier.learnt, (*notes, *remarks))


def evaluation_of(
    part: Part,
    found: Probabilities,
    class_names: Sequence[str],
    learnt: Learnt | None,
    notes: Sequence[str],
    corrupted: Mapping[str, np.ndarray] | None = None,
) -> Evaluation:
    """Judge what a model says of the images of a part.

    Args:
        part: the images, with their labels.
        found: float32 `(images, classes)`, the index in the part of each row, and what was skipped.
        class_names: of the model.
        learnt: what the model learnt from; None where that is not known.
        notes: remarks on the data.
        corrupted: for each of `augment.CORRUPTIONS` int64 `(strengths, images)`, the classes said.

    Raises:
        InputError: no image could be decoded.
    """
    probabilities, rows, skipped = found
    if not len(rows):
        raise InputError(f"none of the {len(part)} images of the data can be decoded")
    known, predicted, names = part.select(rows), probabilities.argmax(axis=1), tuple(class_names)

    def scored(classes: np.ndarray) -> Score:
        return score(classes, known.labels, names)

    shifted = None
    if corrupted is not None:
        shifted = {name: tuple(map(scored, each)) for name, each in corrupted.items()}
    apart = scored_apart(learnt, known, predicted, names)
    paths = tuple(map(known.images.name, range(len(known))))
    return Evaluation(
        scored(predicted),
        part.name,
        skipped,
        (*apart.notes, *notes),
        shifted,
        apart,
        surest_mistakes(probabilities, known.labels, known.images.name, names),
        Predictions(names, probabilities, paths, skipped),
        tuple(names[label] for label in known.labels),
    )
