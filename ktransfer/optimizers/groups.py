"""Groups of variables by path, as plain data, and how they bind to the variables of a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from ktransfer.errors import InputError, near_names


@dataclass(frozen=True)
class MultiplierGroup:
    """Variables that share one learning-rate multiplier.

    Attributes:
        name: what reports and errors call the group; unique among the groups of an optimizer.
        paths: variable paths ("conv1/kernel") or patterns in the manner of `fnmatch`: `*` matches
            any run of characters, "/" included, `?` one, `[ab]` one of a set; case counts.
        multiplier: what scales the learning rate: finite and not negative; 0 means that the
            variables do not move at all.

    Raises:
        InputError: No name, no path, or a multiplier that is negative or not a finite number.

    Example:
        >>> MultiplierGroup("stem", ("conv1/*", "bn1/*"), 0.1).multiplier
        0.1
    """

    name: str
    paths: tuple[str, ...]
    multiplier: float

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InputError(f"a group needs a name that is a string; received {self.name!r}")
        paths = self.paths
        if isinstance(paths, str) or not paths or not all(isinstance(each, str) for each in paths):
            raise InputError(
                f"group {self.name!r} needs a tuple of variable paths; received {paths!r}"
            )
        # JSON gives back lists and whole numbers; equal groups shall compare equal.
        object.__setattr__(self, "paths", tuple(paths))
        object.__setattr__(self, "multiplier", check_multiplier(self.name, self.multiplier))

    def to_dict(self) -> dict[str, Any]:
        """Return the group as plain data for JSON; `MultiplierGroup(**data)` is its reverse."""
        return {**asdict(self), "paths": list(self.paths)}


Multipliers = Mapping[str, float] | Iterable[MultiplierGroup]


def check_multiplier(name: str, value: Any) -> float:
    """Return the multiplier of the group `name` as a float.

    Raises:
        InputError: It is not a number, not finite, or negative.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise InputError(
            f"the multiplier of {name!r} must be a finite number, 0 (does not move) or more; "
            f"received {value!r}"
        )
    return float(value)


def as_groups(multipliers: Multipliers) -> tuple[MultiplierGroup, ...]:
    """Make groups of what a caller may give: groups, or multipliers by pattern.

    Raises:
        InputError: There is none, one is no group, or two have the same name.
    """
    if isinstance(multipliers, Mapping):
        groups = tuple(MultiplierGroup(key, (key,), value) for key, value in multipliers.items())
    elif isinstance(multipliers, Iterable) and not isinstance(multipliers, str):
        groups = tuple(multipliers)
    else:
        raise _no_groups(multipliers)
    if not groups or not all(isinstance(each, MultiplierGroup) for each in groups):
        raise _no_groups(multipliers)
    names = [each.name for each in groups]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InputError(f"two groups have the name {doubled[0]!r}; give each its own")
    return groups


def _no_groups(received: Any) -> InputError:
    return InputError(
        "multipliers must map path patterns to numbers ({'conv1/*': 0.1}) or be groups, such as "
        f"layer_decay(backbone) returns; received {received!r}"
    )


def bind(groups: Sequence[MultiplierGroup], paths: Sequence[str]) -> tuple[int | None, ...]:
    """Find for each variable path the group that it belongs to: the first one that matches.

    Args:
        groups: the groups, the most particular first; a last one with the pattern "*" takes the
            rest.
        paths: the paths of the variables that are trained, in order.

    Returns:
        For each path the index of its group, or None.

    Raises:
        InputError: A pattern matches nothing, or nothing that earlier groups have left; or a path
            written out in full belongs to two variables.

    Example:
        >>> bind([MultiplierGroup("stem", ("conv1/*",), 0.1)], ["conv1/kernel", "top/kernel"])
        (0, None)
    """
    positions: dict[str, list[int]] = {}
    for position, path in enumerate(paths):
        positions.setdefault(path, []).append(position)
    owners: list[int | None] = [None] * len(paths)
    for index, group in enumerate(groups):
        for pattern in group.paths:
            found = _matches(pattern, group, positions)
            mine = [each for each in found if owners[each] in (None, index)]
            if not mine:
                raise _all_taken(pattern, group, groups, owners[found[0]])
            for each in mine:
                owners[each] = index
    return tuple(owners)


def _matches(pattern: str, group: MultiplierGroup, positions: Mapping[str, list[int]]) -> list[int]:
    exact = positions.get(pattern, [])
    if len(exact) > 1:
        # Nested models allow it, and a path could then mean a layer of the backbone or of the head.
        raise InputError(
            f"{len(exact)} variables have the path {pattern!r} of group {group.name!r}; give the "
            "layers different names"
        )
    found = exact or [
        each for path, where in positions.items() if fnmatchcase(path, pattern) for each in where
    ]
    if not found:
        raise InputError(
            f"{pattern!r} of group {group.name!r} matches none of the {len(positions)} variables "
            f"that are trained: did you mean {', '.join(near_names(pattern, positions))}? What is "
            "frozen is not trained: set the multipliers after freezing"
        )
    return found


def _all_taken(
    pattern: str, group: MultiplierGroup, groups: Sequence[MultiplierGroup], owner: int | None
) -> InputError:
    earlier = groups[owner or 0].name
    return InputError(
        f"all that {pattern!r} of group {group.name!r} matches is taken by earlier groups, such as "
        f"{earlier!r}: the first match counts, so leave this pattern out or give it first"
    )


@dataclass(frozen=True, eq=False)
class Binding:
    """The variables of the model with the index of their group.

    Keras takes any variable in an attribute of an optimizer, also within a list, for state of the
    optimizer; it does not look into objects of other classes.
    """

    variables: tuple[Any, ...]
    owners: tuple[int | None, ...]

    @property
    def members(self) -> Iterator[tuple[Any, int]]:
        """The variables in a group, each with the index of it."""
        pairs = zip(self.variables, self.owners, strict=True)
        return ((each, owner) for each, owner in pairs if owner is not None)

    def of(self, group: int | None) -> list[int]:
        """Return the positions of the variables in a group, or in none."""
        return [position for position, owner in enumerate(self.owners) if owner == group]
