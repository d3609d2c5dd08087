"""What can be searched over, and the plan that a point of it stands for."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ktransfer.advisor import Advice, plan_for
from ktransfer.backbones import Backbone
from ktransfer.errors import InputError
from ktransfer.plan import Plan, Stage, last_blocks, linear_probe
from ktransfer.plan.augmentation import FIXED_VIEWS
from ktransfer.plan.fields import whole
from ktransfer.tuner.hyperparameters import NAMES, OF_THE_BLOCKS, OF_THE_HEAD, check_names

if TYPE_CHECKING:
    from keras_tuner import HyperParameters

#: How far around the rate to start from is searched, as a factor to either side.
_AROUND = 10.0
_DROPOUTS, _DECAYS, _LAYER_DECAYS = (0.0, 0.2, 0.5), (0.0, 1e-4, 1e-2), (1.0, 0.8, 0.6)
_AUGMENTATIONS = ("none", "light", "standard")


def search_space(
    backbone: Backbone,
    advice: Advice | None = None,
    max_unfreeze: int | None = None,
    *,
    epochs: int = 10,
    hyperparameters: HyperParameters | None = None,
) -> HyperParameters:
    """Return the hyperparameters to search over; their defaults are where the search starts.

    `unfreeze` (how many last blocks train), `learning_rate` (of the stage that unfreezes),
    `head_rate`, `layer_decay`, `batch_norm`, `dropout`, `weight_decay` and `augmentation` are
    searched; `epochs`, `head_epochs` and `features` are fixed. What matters only where blocks train
    has no value where none does, so that no plan is tried twice under two names.

    Args:
        backbone: what is trained.
        advice: of `FineTuner.advise` or `ktransfer.textbook_rule`: its plan is where the search
            starts, and rates are searched up to ten times above and below its own. None: the
            library's rates.
        max_unfreeze: the most last blocks that train; None: at most 6.
        epochs: most epochs of the stage that unfreezes.
        hyperparameters: take the place of those with the same names: fix one with `Fixed`, narrow
            it with a `Choice`, or replace it.

    Returns:
        Hyperparameters of KerasTuner. `plan_of` says what a point of them means.

    Raises:
        InputError: `max_unfreeze` or a value of `unfreeze` is more than the blocks, a name is
            unknown, or everything is fixed.

    Example:
        >>> from ktransfer.backbones import load_backbone
        >>> backbone = load_backbone("MobileNetV2", weights="mini")
        >>> space = search_space(backbone, max_unfreeze=4)
        >>> space.get("unfreeze"), [stage.name for stage in plan_of(space, 19).stages]
        (0, ['head'])
    """
    num_blocks = len(backbone.blocks)
    most = min(6, num_blocks) if max_unfreeze is None else max_unfreeze
    most = whole("search_space", "max_unfreeze", most, 0)
    if most > num_blocks:
        raise InputError(
            f"max_unfreeze={most}, but {backbone.name} has {num_blocks} blocks: give at most "
            f"{num_blocks}"
        )
    start = _start(advice, num_blocks, most, epochs)
    space = _merged(_by_default(start, most), hyperparameters)
    _check(space, num_blocks)
    return space


def plan_of(hyperparameters: HyperParameters, num_blocks: int) -> Plan:
    """Make the plan of one point of the space, as `FineTuner.fit` and `--plan` take it.

    The head is trained first, then the last `unfreeze` blocks with it; with 0 it is a
    `linear_probe`. Hyperband's `tuner/epochs`, where there are, are the epochs of the last stage.

    Args:
        hyperparameters: of `search_space`, with values.
        num_blocks: how many blocks the backbone has.

    Raises:
        InputError: a value is none that a stage takes.
    """
    values = dict(hyperparameters.values)
    given = {name: values[name] for name in NAMES if name in values}
    settings = {name: given[name] for name in ("dropout", "weight_decay") if name in given}
    last_epochs = values.get("tuner/epochs")
    unfreeze = whole("a search", "unfreeze", given["unfreeze"], 0)
    head = linear_probe(
        given["head_epochs"] if unfreeze or not last_epochs else last_epochs,
        given["head_rate"],
        features=given["features"],
    ).with_settings(**settings)
    if not unfreeze:
        return head.resolve(num_blocks)
    augmentation = given["augmentation"]
    plan = last_blocks(unfreeze, last_epochs or given["epochs"], given["learning_rate"])
    # Fixed views, so that what is frozen still runs once; where nothing is, new ones cost nothing.
    views = FIXED_VIEWS if augmentation != "none" and unfreeze < num_blocks else None
    tuned = dataclasses.replace(
        plan.stages[-1],
        layer_decay=given["layer_decay"],
        batch_norm=given["batch_norm"],
        augmentation=augmentation,
        views=views,
        **settings,
    )
    stages = (*head.stages, tuned)
    return Plan("last_blocks", stages, features=given["features"]).resolve(num_blocks)


def grid_size(space: HyperParameters) -> int:
    """Say how many points a grid over the space has, as KerasTuner lays it."""
    sizes = {name: len(values) for name, values in _grid_values(space).items()}
    head = math.prod(sizes[name] for name in OF_THE_HEAD)
    blocks = math.prod(sizes.get(name, 1) for name in OF_THE_BLOCKS)
    return sum(head * (blocks if depth else 1) for depth in depths_of(space))


def grid_points(space: HyperParameters) -> Iterator[dict[str, Any]]:
    """Yield those points: of the head alone without what matters only where blocks train."""
    values = _grid_values(space)
    for depth in depths_of(space):
        active = (*OF_THE_HEAD, *(OF_THE_BLOCKS if depth else ()))
        names = [name for name in active if name in values]
        for point in itertools.product(*(values[name] for name in names)):
            yield {"unfreeze": depth, **dict(zip(names, point, strict=True))}


def is_finite(space: HyperParameters) -> bool:
    """Tell whether a grid has all points of the space: no rate of it is free between two ends."""
    return all(
        getattr(each, "step", 1) is not None or each.min_value == each.max_value
        for each in space.space
    )


def _grid_values(space: HyperParameters) -> dict[str, list[Any]]:
    return {each.name: list(dict.fromkeys((each.default, *each.values))) for each in space.space}


def depths_of(space: HyperParameters) -> list[int]:
    """Return the numbers of last blocks that the space can ask for, in its order."""
    return choices_of(space, "unfreeze")


def choices_of(space: HyperParameters, name: str) -> list[Any]:
    """Return the values that a hyperparameter can take, in order; none where it is lacking."""
    return [value for each in space.space if each.name == name for value in each.values]


def _start(
    advice: Advice | None, num_blocks: int, max_unfreeze: int, epochs: int
) -> dict[str, Any]:
    """Return the point to start from: that of the advice, or else of the library's own plans."""
    plan = None
    if advice is not None:
        plan = advice.plan or plan_for(advice)
    usual = last_blocks(1, epochs)
    head, tuned = usual.stages
    if plan is not None:
        head = next((stage for stage in plan.stages if stage.unfreeze == 0), head)
        tuned = next((stage for stage in plan.stages if stage.unfreeze != 0), tuned)
    unfreeze = max(_depth(stage, num_blocks) for stage in plan.stages) if plan else 0
    return {
        "unfreeze": min(unfreeze, max_unfreeze),
        "head_rate": head.learning_rate,
        "dropout": tuned.dropout or 0.0,
        "weight_decay": tuned.weight_decay,
        "head_epochs": head.epochs,
        "features": plan.features if plan else "last",
        "learning_rate": tuned.learning_rate,
        "layer_decay": tuned.layer_decay,
        "batch_norm": tuned.batch_norm,
        "augmentation": tuned.augmentation,
        "epochs": epochs,
    }


def _depth(stage: Stage, num_blocks: int) -> int:
    return stage.num_trainable_blocks(num_blocks)


def _by_default(start: dict[str, Any], max_unfreeze: int) -> list[Any]:
    """Return every hyperparameter as it is where the user says nothing."""
    from keras_tuner import HyperParameters

    made = HyperParameters()
    if max_unfreeze:
        made.Int("unfreeze", 0, max_unfreeze, default=start["unfreeze"])
    else:
        made.Fixed("unfreeze", 0)
    for name in ("head_rate", "learning_rate"):
        rate = start[name]
        made.Float(name, rate / _AROUND, rate * _AROUND, sampling="log", default=rate)
    for name, values in (
        ("dropout", _DROPOUTS),
        ("weight_decay", _DECAYS),
        ("layer_decay", _LAYER_DECAYS),
        ("batch_norm", ("frozen", "affine_only", "train")),
        ("augmentation", _AUGMENTATIONS),
    ):
        # What the advice says comes first, whether or not it is among the usual ones.
        made.Choice(name, list(dict.fromkeys((start[name], *values))), default=start[name])
    for name in ("head_epochs", "features", "epochs"):
        made.Fixed(name, start[name])
    return list(made.space)


def _merged(usual: Iterable[Any], given: HyperParameters | None) -> HyperParameters:
    """Put the user's hyperparameters in the place of ours, the blocks' under a condition."""
    from keras_tuner import HyperParameters

    own = {each.name: each for each in given.space} if given is not None else {}
    check_names(own)
    chosen = {each.name: own.get(each.name, each) for each in usual}
    space = HyperParameters()
    for name in ("unfreeze", *OF_THE_HEAD):
        _add(space, chosen[name])
    deep = [depth for depth in depths_of(space) if depth]
    if deep:
        with space.conditional_scope("unfreeze", deep):
            for name in OF_THE_BLOCKS:
                _add(space, chosen[name])
    return space


def _add(space: HyperParameters, each: Any) -> None:
    """Add a hyperparameter under the conditions that are open in the space."""
    config = each.get_config()
    config.pop("conditions")
    getattr(space, type(each).__name__)(**config)


def _check(space: HyperParameters, num_blocks: int) -> None:
    depths = [whole("search_space", "unfreeze", depth, 0) for depth in depths_of(space)]
    if max(depths) > num_blocks:
        raise InputError(
            f"unfreeze is searched up to {max(depths)}, but the backbone has {num_blocks} blocks: "
            f"give at most {num_blocks}"
        )
    if all(len(list(each.values)) == 1 for each in space.space):
        raise InputError(
            "the space has nothing to search: every hyperparameter is fixed, unfreeze="
            f"{depths[0]}; leave one open, or train the plan itself"
        )
