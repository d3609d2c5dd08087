"""Which backbones are compared: reading what the caller named, and loading it."""

from __future__ import annotations

import inspect
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from ktransfer.backbones import Backbone, list_backbones, load_backbone
from ktransfer.backbones.model_file import check_model_path, is_model_file
from ktransfer.errors import InputError, near_names, unknown_name
from ktransfer.recommend.published import DEFAULTS

_KINDS = (
    "a candidate is a name, a pair (name, options), a dict with the key name, a Backbone or a "
    "keras.Model"
)
_NAMED_WEIGHTS = ("imagenet", "mini")

#: What `load_backbone` takes besides the constructor's options.
_SETTINGS = tuple(
    name
    for name, each in inspect.signature(load_backbone).parameters.items()
    if each.kind != each.VAR_KEYWORD and name != "name_or_model"
)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A backbone to be compared.

    Attributes:
        source: its name, a model, or a backbone that is loaded already.
        settings: the keyword arguments of `load_backbone`.
        label: what tells it from the other candidates in a table.
    """

    source: str | keras.Model | Backbone
    settings: Mapping[str, Any]
    label: str = ""

    @property
    def name(self) -> str:
        """The constructor, the preset, or the model's own name."""
        return self.source if isinstance(self.source, str) else str(self.source.name)

    @property
    def options(self) -> dict[str, Any]:
        """The options of the constructor."""
        if isinstance(self.source, Backbone):
            return dict(self.source.options)
        return {name: each for name, each in self.settings.items() if name not in _SETTINGS}

    @property
    def weights(self) -> str | None:
        """Where they come from: "imagenet", "mini", a path, "own" or None."""
        if isinstance(self.source, Backbone):
            return self.source.weights
        if isinstance(self.source, keras.Model) or is_model_file(self.source):
            return "own"
        weights = self.settings["weights"]
        return weights if weights is None else os.fspath(weights)

    def load(self) -> Backbone:
        """Return the backbone.

        Raises:
            InputError: as `load_backbone`.
        """
        if isinstance(self.source, Backbone):
            return self.source
        return load_backbone(self.source, **self.settings)


def read_candidates(candidates: Iterable[Any] | None, weights: Any) -> tuple[Candidate, ...]:
    """Say what the caller named, with a label for each; nothing is loaded.

    Args:
        candidates: names, `(name, options)` pairs, dicts with `name` and, of their own or under
            `options`, what `load_backbone` takes, models, backbones. None: `DEFAULTS`.
        weights: of the names that come without.

    Raises:
        InputError: there is none; a name, a key or a weights file does not exist.
    """
    if candidates is None:
        candidates = [(each.name, dict(each.options)) for each in DEFAULTS]
    if isinstance(candidates, str | Mapping | keras.Model | Backbone):
        raise InputError(f"candidates are a list, got {candidates!r} alone: put it into [ ]")
    read = [_read(each, weights) for each in candidates]
    if not read:
        raise InputError(
            "candidates is empty: name at least one backbone, or leave it out for "
            + ", ".join(dict.fromkeys(each.name for each in DEFAULTS))
        )
    labels = _labels(read)
    return tuple(
        Candidate(each.source, each.settings, label)
        for each, label in zip(read, labels, strict=True)
    )


def _read(given: Any, weights: Any) -> Candidate:
    if isinstance(given, Backbone):
        return Candidate(given, {})
    if isinstance(given, tuple | list) and len(given) == 2 and isinstance(given[1], Mapping):
        given = {"name": given[0], **given[1]}
    if not isinstance(given, Mapping):
        given = {"name": given}
    settings = _flattened(given)
    source = settings.pop("name")
    if isinstance(source, keras.Model):
        return Candidate(source, settings)
    if not isinstance(source, str):
        raise InputError(f"{_KINDS}, got {source!r}")
    if is_model_file(source):
        check_model_path(source)
        return Candidate(source, settings)
    settings.setdefault("weights", weights)
    _check_weights(source, settings["weights"])
    return Candidate(_known(source), settings)


def _flattened(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dict with its `options` beside the other keys."""
    settings = {name: each for name, each in given.items() if name != "options"}
    options = given.get("options") or {}
    if "name" not in settings:
        near = near_names("name", [str(each) for each in given], 1) or ["none"]
        raise InputError(f"{_KINDS}; this dict has no key name, the nearest is {near[0]!r}")
    twice = sorted(settings.keys() & options.keys())
    if twice:
        raise InputError(f"{given['name']!r}: {', '.join(twice)} is given twice")
    return {**settings, **options}


def _known(name: str) -> str:
    if name.startswith("hub:"):
        return name
    by_folded = {each.name.casefold(): each.name for each in list_backbones()}
    if name.casefold() not in by_folded:
        raise unknown_name("backbone", name, tuple(by_folded.values()))
    return by_folded[name.casefold()]


def _check_weights(name: str, weights: Any) -> None:
    """Return a file that is not there must be found before another candidate is downloaded."""
    if weights is None or weights in _NAMED_WEIGHTS:
        return
    if isinstance(weights, str | os.PathLike) and not Path(weights).exists():
        raise InputError(
            f"{name}: no weights file {os.fspath(weights)!r}; weights are 'imagenet', 'mini', a "
            "path or None"
        )


def _labels(candidates: Sequence[Candidate]) -> list[str]:
    """Name and options; where these are equal, also the weights; where these are, a number."""
    labels = [
        " ".join([each.name, *(f"{name}={value}" for name, value in _shown(each))])
        for each in candidates
    ]
    for add in (lambda each, _: f" ({_file_name(each.weights)})", lambda _, at: f" #{at + 1}"):
        counts = Counter(labels)
        labels = [
            label + add(each, at) if counts[label] > 1 else label
            for at, (each, label) in enumerate(zip(candidates, labels, strict=True))
        ]
    return labels


def _shown(candidate: Candidate) -> list[tuple[str, Any]]:
    size = candidate.settings.get("input_size")
    return [*candidate.options.items(), *([("input_size", size)] if size else [])]


def _file_name(weights: str | None) -> str:
    return Path(weights).name if weights else "random"
