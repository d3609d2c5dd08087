"""Which plan: by its name, or by what the 2x2 rule said."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ktransfer.errors import InputError, unknown_name
from ktransfer.plan.by_name import PLAN_NAMES, named_plan
from ktransfer.plan.fields import whole
from ktransfer.plan.named import (
    classic,
    from_scratch,
    full_fine_tune,
    gradual_unfreeze,
    last_blocks,
    linear_probe,
)
from ktransfer.plan.plan import Plan
from ktransfer.plan.stage import Stage

if TYPE_CHECKING:
    from ktransfer.advisor.advice import Advice

#: Names for what the advice is, instead of a plan's.
ADVISED = ("auto", "textbook")


def choose_plan(
    plan: Plan | str,
    advice: Advice,
    num_blocks: int,
    *,
    unfreeze: int | str | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    **settings: Any,
) -> Plan:
    """Return the plan that the user means, resolved for a backbone.

    Args:
        plan: A `Plan`, a name of `PLAN_NAMES`, or what was advised: "auto", or "textbook", where
            that is what the 2x2 rule says by itself.
        advice: what was advised.
        num_blocks: how many blocks the backbone has.
        unfreeze: how many last blocks train in the end, for "auto" and the named plans that leave
            it open; a name has become a number before.
        epochs: most epochs of every stage; a warm-up shrinks or grows with them.
        learning_rate: as in `Plan.with_learning_rate`; None leaves the plan's.
        **settings: other settings of every stage; None leaves the plan's.

    Raises:
        InputError: The plan is unknown or does not fit the backbone, or says itself what it
            unfreezes.

    Example:
        >>> from ktransfer import textbook_rule
        >>> choose_plan("auto", textbook_rule(300, 5), 19, unfreeze=2, epochs=4).epochs
        8
    """
    chosen = _named(plan, advice, unfreeze)
    if epochs is not None:
        stages = [_with_epochs(stage, epochs) for stage in chosen.stages]
        chosen = dataclasses.replace(chosen, stages=tuple(stages))
    if learning_rate is not None:
        chosen = chosen.with_learning_rate(learning_rate)
    given = {name: value for name, value in settings.items() if value is not None}
    return chosen.with_settings(**given).resolve(num_blocks)


def _named(plan: Plan | str, advice: Advice, unfreeze: int | str | None) -> Plan:
    if not isinstance(plan, Plan) and plan not in (*ADVISED, *PLAN_NAMES):
        raise unknown_name("plan", str(plan), (*ADVISED, *PLAN_NAMES))
    if unfreeze is None:
        if isinstance(plan, Plan):
            return plan
        return advice.plan or plan_for(advice) if plan in ADVISED else named_plan(plan)
    unfreeze = whole("a plan", "unfreeze", unfreeze, 0)
    if plan in ("auto", "linear_probe", "last_blocks") and unfreeze == 0:
        return linear_probe()
    if plan in ("auto", "last_blocks"):
        return last_blocks(unfreeze)
    if plan == "gradual_unfreeze":
        return gradual_unfreeze(unfreeze)
    if plan == "classic":
        return classic(unfreeze)
    if plan in ("affine", "low_rank"):
        return named_plan(str(plan), k=unfreeze)
    name = plan.name if isinstance(plan, Plan) else plan
    raise InputError(
        f"plan {name!r} says itself what it unfreezes, got unfreeze={unfreeze}: leave one of them "
        "out, or take last_blocks, gradual_unfreeze, affine, low_rank or classic"
    )


def _with_epochs(stage: Stage, epochs: int) -> Stage:
    epochs = whole(f"stage {stage.name!r}", "epochs", epochs, 1)
    warmup = stage.warmup_epochs * epochs / stage.epochs
    return dataclasses.replace(stage, epochs=epochs, warmup_epochs=warmup)


def plan_for(advice: Advice) -> Plan:
    """Return the plan that carries out what `textbook_rule` said, resolved for the same backbone.

    Args:
        advice: what the 2x2 rule said.

    Returns:
        A plan that keeps `advice.num_blocks` blocks and trains at most
        `advice.num_trainable_blocks` of them.

    Raises:
        InputError: The strategy is unknown, or does not fit its number of blocks.

    Example:
        >>> from ktransfer import textbook_rule
        >>> plan = plan_for(textbook_rule(300, 5, "different"))
        >>> plan.name, plan.num_blocks, [stage.unfreeze for stage in plan.stages]
        ('earlier_linear_probe', 13, [0])
    """
    makers: dict[str, Callable[[], Plan]] = {
        "linear_probe": linear_probe,
        # The same, on fewer blocks: resolve() below says on how many.
        "earlier_linear_probe": linear_probe,
        "last_blocks": lambda: last_blocks(advice.num_trainable_blocks),
        "full_fine_tune": full_fine_tune,
        "from_scratch": from_scratch,
    }
    if advice.strategy not in makers:
        raise unknown_name("strategy", advice.strategy, tuple(makers))
    plan = makers[advice.strategy]().resolve(advice.num_blocks)
    return dataclasses.replace(plan, name=advice.strategy)
