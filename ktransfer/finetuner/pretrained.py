"""The backbone of a fine-tuner, and the weights that each of its trainings begins with."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from ktransfer.backbones import Backbone, check_no_nan, restore_backbone
from ktransfer.classifier import Classifier, Summary, summary_of
from ktransfer.data.learnt import Learnt
from ktransfer.errors import InputError, RunError
from ktransfer.features import body, check_pooling, pool
from ktransfer.show.progress import loading
from ktransfer.training import assign, values_of


class Pretrained:
    """A backbone that is loaded when it is first needed, and put back before each training.

    Args:
        load: loads it.
        pooling: as in `features.pool`.
        verbose: show that it is loaded.
    """

    def __init__(self, load: Callable[[], Backbone], pooling: str, verbose: bool = False) -> None:
        self._load = load
        self._pooling = pooling
        self._verbose = verbose
        self._backbone: Backbone | None = None
        self._weights: list[np.ndarray] | None = None
        #: What the weights that a training begins with have learnt from before.
        self.learnt: Learnt | None = None

    @property
    def backbone(self) -> Backbone:
        """The backbone; with the weights of the last training, until `begin`."""
        if self._backbone is None:
            with loading("loading the backbone", shown=self._verbose):
                self.use(self._load())
        assert self._backbone is not None
        return self._backbone

    def use(self, backbone: Backbone) -> None:
        """Take another backbone.

        Raises:
            InputError: the pooling does not suit it: said now, not after the extraction.
        """
        check_pooling(self._pooling, backbone)
        self._backbone = backbone
        _ = self.num_features

    def begin(self) -> Backbone:
        """Give the backbone the weights that it came with, whatever a training made of them."""
        weights = self.backbone.model.weights
        if self._weights is None:
            check_no_nan(self.backbone.model, self.backbone.name)
            self._weights = values_of(weights)
        else:
            assign(weights, self._weights)
        return self.backbone

    def go_on_with(self, classifier: Classifier) -> None:
        """Take over the backbone of a run that was complete when it was to be resumed."""
        before = self._weights
        self.use(backbone_of(classifier))
        shapes = [tuple(each.shape) for each in self.backbone.model.weights]
        if [each.shape for each in before or []] != shapes:
            # The run keeps fewer blocks, or nothing was begun: another training goes on from these.
            self._weights, self.learnt = None, learnt_by(classifier)

    @property
    def num_features(self) -> int:
        """How many features a head reads of the last block."""
        read = body(self.backbone, len(self.backbone.blocks), pooling=self._pooling).output
        return int(pool(read, self._pooling).shape[-1])

    def summary(self, num_classes: int | None) -> Summary:
        """Of a model that nothing of but the head trains.

        Raises:
            InputError: there are not at least 2 classes.
        """
        if num_classes is None or num_classes < 2:
            raise InputError("summary needs num_classes (at least 2) before fit")
        blocks = [(block.name, block.parameters, 0) for block in self.backbone.blocks]
        head = (self.num_features + 1) * num_classes
        return summary_of(blocks, self.backbone.parameters + head, head)


def learnt_by(classifier: Classifier) -> Learnt | None:
    """Say what the blocks of a classifier have learnt from; None: only its head was trained."""
    trained = any(trained for _, _, trained in classifier.blocks)
    return classifier.learnt if trained else None


def backbone_of(classifier: Classifier) -> Backbone:
    """Return the backbone in a classifier's model, with copies of the weights.

    Raises:
        RunError: there is none.
    """
    record = classifier.backbone
    network = keras.Model(
        classifier.model.inputs[0], _output_of(classifier.model, record.last_operation)
    )
    # The preprocessing is a part of the saved network.
    described = {"name": record.name, "weights": record.weights, "options": record.options}
    try:
        backbone = restore_backbone(network, described)
    except InputError as error:
        raise RunError(f"it is damaged: {error}") from error
    if len(classifier.blocks) > len(backbone.blocks):
        raise RunError(
            f"it is damaged: it tells of {len(classifier.blocks)} blocks, and its model has "
            f"{len(backbone.blocks)}"
        )
    return backbone


def _output_of(model: keras.Model, operation: str) -> keras.KerasTensor:
    """Say what the operation of that name says, in a loaded model."""
    found = [each for each in model.operations if each.name == operation]
    if not found:
        raise RunError(f"it is damaged: its model has no operation {operation!r}")
    return found[0].output
