"""Plans by their names, as options and files give them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ktransfer.errors import InputError, unknown_name
from ktransfer.plan.fields import check_names
from ktransfer.plan.named import (
    classic,
    from_scratch,
    full_fine_tune,
    gradual_unfreeze,
    last_blocks,
    linear_probe,
    lp_ft,
    lp_ft_refit,
)
from ktransfer.plan.plan import SETTINGS, Plan

_PLANS: dict[str, Callable[..., Plan]] = {
    each.__name__: each
    for each in (
        linear_probe,
        lp_ft,
        lp_ft_refit,
        last_blocks,
        full_fine_tune,
        gradual_unfreeze,
        from_scratch,
        classic,
    )
}
PLAN_NAMES = tuple(_PLANS)


def named_plan(name: str, **options: Any) -> Plan:
    """Return a plan by its name.

    Args:
        name: one of `PLAN_NAMES`.
        **options: arguments of the function of that name; any other setting of a `Stage`, such as
            `batch_size` or `augmentation`, is set in every stage.

    Raises:
        InputError: The name or an option is unknown, one that is needed is missing, or a value is
            wrong.

    Example:
        >>> [stage.name for stage in named_plan("last_blocks", k=3, batch_size=16).stages]
        ['head', 'last 3']
    """
    if not isinstance(name, str) or name not in _PLANS:
        raise unknown_name("plan", str(name), PLAN_NAMES)
    parameters = inspect.signature(_PLANS[name]).parameters
    check_names(f"plan {name!r}", "option", options, (*parameters, *SETTINGS))
    needed = [key for key, each in parameters.items() if each.default is each.empty]
    missing = [key for key in needed if key not in options]
    if missing:
        raise InputError(f"plan {name!r} needs {missing[0]}, got {sorted(options) or 'no option'}")
    own = {key: value for key, value in options.items() if key in parameters}
    rest = {key: value for key, value in options.items() if key not in parameters}
    return _PLANS[name](**own).with_settings(**rest)
