"""Names of what can be searched over: known before anything slow is imported."""

from __future__ import annotations

from collections.abc import Iterable

from ktransfer.errors import unknown_name

#: What a point of the space says. Those of the second row matter only where blocks train.
OF_THE_HEAD = ("head_rate", "dropout", "weight_decay", "head_epochs", "features")
OF_THE_BLOCKS = ("learning_rate", "layer_decay", "batch_norm", "augmentation", "epochs")
NAMES = ("unfreeze", *OF_THE_HEAD, *OF_THE_BLOCKS)


def check_names(names: Iterable[str]) -> None:
    """Raise an `InputError` for a name that is none of a hyperparameter."""
    for name in names:
        if name not in NAMES:
            raise unknown_name("hyperparameter", name, NAMES)
