"""A small run with mistakes in it, for the tests of its report."""

from __future__ import annotations

import dataclasses
import shutil

from conftest import COLOURS, small_network, write_pictures

from ktransfer import Classifier, FineTuner

#: Pictures of the validation part that lie in the folder of another class.
MISLABELLED = (("blue", "red"), ("blue", "red"), ("green", "blue"))


def write_photos(folder, *, parts=("train", "val"), classes=tuple(COLOURS)):
    """Parts with 12 and 8 pictures of each class; of the last part three lie in a wrong folder."""
    for seed, part in enumerate(parts):
        per_class = 12 if part == "train" else 8
        write_pictures(folder / part, per_class, classes=classes, seed=seed)
    for number, (true, given) in enumerate(MISLABELLED):
        source = folder / parts[-1] / true / f"{number:03}.png"
        shutil.move(source, folder / parts[-1] / given / f"wrong{number}.png")
    return folder


def train(data, **options):
    """A linear probe on a small network, after `fit`."""
    finetuner = FineTuner(small_network(channels=12), verbose=False)
    finetuner.fit(data, **{"plan": "linear_probe", "epochs": 15, "check": "off", **options})
    return finetuner


def loaded(run, source=None):
    """A run, as if its images had been at `source`."""
    classifier = Classifier.load(run, verbose=False)
    if source is None:
        return classifier
    data = {**classifier.data, "source": str(source)}
    return dataclasses.replace(classifier, data=data)
