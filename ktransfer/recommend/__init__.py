"""Which backbone? Candidates compared on the caller's own images, beside what ImageNet says.

Names load on first use (PEP 562): the list of defaults is shown without Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.recommend.comparison import recommend_backbones
    from ktransfer.recommend.published import DEFAULTS, Default, imagenet_top1
    from ktransfer.recommend.ranking import Agreement
    from ktransfer.recommend.rated import RatedBackbone
    from ktransfer.recommend.recommendation import Recommendation

__all__ = [
    "DEFAULTS",
    "Agreement",
    "Default",
    "RatedBackbone",
    "Recommendation",
    "imagenet_top1",
    "recommend_backbones",
]

_HOME = {
    "Agreement": "ranking",
    "DEFAULTS": "published",
    "Default": "published",
    "RatedBackbone": "rated",
    "Recommendation": "recommendation",
    "imagenet_top1": "published",
    "recommend_backbones": "comparison",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
