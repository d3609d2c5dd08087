"""The page of the simulator: what Python knows of the rule and the backbones goes in as JSON."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ktransfer._version import __version__
from ktransfer.advisor import Advice, costs, plan_for, sentences, thresholds
from ktransfer.files.writing import check_new_file, write_file
from ktransfer.pages.rendering import render
from ktransfer.pages.simulator import words
from ktransfer.pages.simulator.anatomy import Anatomy, anatomies

_WHAT = "the page"

_THRESHOLDS = (
    "SMALL_NUM_IMAGES",
    "SMALL_IMAGES_PER_CLASS",
    "LARGE_IMAGES_PER_CLASS",
    "FROM_SCRATCH_IMAGES_PER_CLASS",
    "SIMILAR_FROM",
    "LOW_RISK_BELOW",
    "HIGH_RISK_FROM",
    "EARLIER_BLOCKS",
    "ONE_BLOCK_OF",
)
_COSTS = ("STEP_BY_FORWARD", "PER_ACTIVATION", "PER_WEIGHT", "FLOAT_BYTES", "BATCH")
_SENTENCES = ("SIZE", "SIMILARITY", "WHY", "RISK")
_WORDS = ("STRATEGIES", "CELLS", "MAP", "EXAMPLES", "BLOCKS", "STACK", "READINGS", "AXES")

#: Numbers of blocks that no backbone has: where a plan says them, the page puts its own.
_KEPT, _TRAINED = 987_654_321, 123_456_789


def write_simulator(
    path: str | os.PathLike[str],
    backbones: Sequence[str] = (),
    *,
    overwrite: bool = False,
) -> tuple[Anatomy, ...]:
    """Write the freeze simulator: one page to try out what to freeze, for a browser.

    It reckons with the 2x2 rule (`textbook_rule`) and the costs of the library, asks nothing
    of a network, and saves what was tried as a plan that `train` takes.

    Args:
        path: where it is to lie; it must end in `.html`.
        backbones: Names as of `load_backbone`, of which the page lets one choose. Those that do not
            ship with the page are built, which takes seconds each. None: a list from small to
            large.
        overwrite: replace a file that is there.

    Returns:
        The backbones as the page shows them.

    Raises:
        InputError: The path does not end in `.html`, exists (unless `overwrite`) or cannot be
            written; a name is unknown.
    """
    target = check_new_file(path, _WHAT, overwrite=overwrite, ending=".html")
    shown = anatomies(backbones)
    page = render("simulator/simulator.html", {"facts": facts(shown), "version": __version__})

    def write(partial: Path) -> None:
        partial.write_text(page, encoding="utf-8")

    write_file(target, _WHAT, write, overwrite=overwrite)
    return shown


def facts(shown: Sequence[Anatomy]) -> dict[str, Any]:
    """Return all that the page reckons with and says, as plain data."""
    return {
        "networks": [asdict(each) for each in shown],
        "thresholds": {name.lower(): getattr(thresholds, name) for name in _THRESHOLDS},
        "costs": {name.lower(): getattr(costs, name) for name in _COSTS},
        "sentences": {name.lower(): getattr(sentences, name) for name in _SENTENCES},
        "words": {name.lower(): getattr(words, name) for name in _WORDS},
        "plans": {strategy: _plan_template(strategy) for strategy in sentences.WHY},
    }


def _plan_template(strategy: str) -> dict[str, Any]:
    """Return the plan of a strategy, where "{kept}" and "{trained}" stand for numbers of blocks."""
    advice = Advice("", strategy, (), 0, _KEPT, _TRAINED, "")
    template: dict[str, Any] = _with_names(plan_for(advice).to_dict())
    return template


def _with_names(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _with_names(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_with_names(each) for each in data]
    for number, name in ((_KEPT, "{kept}"), (_TRAINED, "{trained}")):
        if data == number:
            return name
        if isinstance(data, str):
            data = data.replace(str(number), name)
    return data
