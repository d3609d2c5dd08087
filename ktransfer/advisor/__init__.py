"""What to freeze: the 2x2 rule as a prior, and the decision by what was measured.

Names load on first use (PEP 562): the rule alone needs no Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.advisor.advice import Advice, Candidate, head_name
    from ktransfer.advisor.afterwards import Found, Tried, hindsight
    from ktransfer.advisor.choosing import ADVISED, choose_plan, plan_for
    from ktransfer.advisor.costs import Costs
    from ktransfer.advisor.deciding import decide
    from ktransfer.advisor.rule import (
        MOBILENETV2_BLOCK_PARAMETERS,
        check_similarity,
        overfitting_risk,
        textbook_rule,
    )
    from ktransfer.advisor.situation import Situation
    from ktransfer.advisor.trying import FINE_TUNING, check_fine_tuning

__all__ = [
    "ADVISED",
    "FINE_TUNING",
    "MOBILENETV2_BLOCK_PARAMETERS",
    "Advice",
    "Candidate",
    "Costs",
    "Found",
    "Situation",
    "Tried",
    "check_fine_tuning",
    "check_similarity",
    "choose_plan",
    "decide",
    "head_name",
    "hindsight",
    "overfitting_risk",
    "plan_for",
    "textbook_rule",
]

_HOME = {
    "ADVISED": "choosing",
    "Advice": "advice",
    "Candidate": "advice",
    "Costs": "costs",
    "FINE_TUNING": "trying",
    "MOBILENETV2_BLOCK_PARAMETERS": "rule",
    "Found": "afterwards",
    "Situation": "situation",
    "Tried": "afterwards",
    "check_fine_tuning": "trying",
    "check_similarity": "rule",
    "choose_plan": "choosing",
    "decide": "deciding",
    "head_name": "advice",
    "hindsight": "afterwards",
    "overfitting_risk": "rule",
    "plan_for": "choosing",
    "textbook_rule": "rule",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME, moved={"advise": "ktransfer:textbook_rule"})
