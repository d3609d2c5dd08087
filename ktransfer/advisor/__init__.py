"""What to freeze: the 2x2 rule as a prior, and the decision by what was measured."""

from ktransfer.advisor.advice import Advice, Candidate, head_name
from ktransfer.advisor.costs import Costs
from ktransfer.advisor.deciding import FINE_TUNING, Situation, check_fine_tuning, decide
from ktransfer.advisor.hindsight import Tried, hindsight
from ktransfer.advisor.rule import (
    MOBILENETV2_BLOCK_PARAMETERS,
    advise,
    check_similarity,
    overfitting_risk,
)

__all__ = [
    "FINE_TUNING",
    "MOBILENETV2_BLOCK_PARAMETERS",
    "Advice",
    "Candidate",
    "Costs",
    "Situation",
    "Tried",
    "advise",
    "check_fine_tuning",
    "check_similarity",
    "decide",
    "head_name",
    "hindsight",
    "overfitting_risk",
]
