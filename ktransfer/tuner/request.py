"""What a search is made of, so that only the same one goes on, and only the same workers help."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from keras_tuner import HyperParameters

from ktransfer._version import __version__
from ktransfer.backbones import Backbone
from ktransfer.data import Splits
from ktransfer.freezing import prefix_digest
from ktransfer.tuner.oracles import OBJECTIVE, Search
from ktransfer.tuner.repetition import Repetition

Request = dict[str, Any]

#: Of these libraries worker and chief need the same version.
_LIBRARIES = ("keras", "keras-tuner", "tensorflow")


def request_of(
    backbone: Backbone,
    splits: Splits,
    search: Search,
    repetition: Repetition,
    space: HyperParameters,
) -> Request:
    """Say what a search is made of, as plain data by topic.

    Args:
        backbone: what is trained.
        splits: the images.
        search: how the space is searched.
        repetition: how plans that may be the best are carried out again.
        space: what is searched.
    """
    return {
        "data": {
            part.name: {"images": len(part), "contents": part.content_digest()}
            for part in splits.parts
        },
        "classes": list(splits.class_names),
        "backbone": {
            "name": backbone.name,
            "input_size": list(backbone.input_size),
            "options": dict(backbone.options),
            "weights": prefix_digest(backbone, len(backbone.blocks)),
        },
        "search": {
            **asdict(search),
            "objective": OBJECTIVE,
            "repeats": repetition.repeats,
            "folds": repetition.folds,
        },
        "space": {each.name: _described(each) for each in space.space},
    }


def compared(request: Request, options: Mapping[str, Any]) -> Request:
    """Say what worker and chief compare: more than a search that goes on does.

    Args:
        request: of a search.
        options: of `FineTuner`.
    """
    given = {name: repr(value) for name, value in sorted(options.items())}
    return {**request, "options": given, "versions": versions()}


def of_a_worker(request: Request, own_names: Collection[str]) -> Request:
    """Say what of it a worker compares with its chief: the plans are the chief's.

    Args:
        request: of the worker.
        own_names: the hyperparameters that the worker was given.
    """
    space = {name: request["space"][name] for name in own_names}
    return {**{topic: request[topic] for topic in request if topic != "search"}, "space": space}


def versions() -> dict[str, str]:
    """Of what makes figures differ between two machines."""
    others = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {"ktransfer": __version__, **others}


def _described(hyperparameter: Any) -> dict[str, Any]:
    config = hyperparameter.get_config()
    return {key: config[key] for key in config if key not in ("name", "conditions")}
