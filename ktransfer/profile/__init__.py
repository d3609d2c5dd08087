"""One look at images through a backbone: how far from its own they are, and what it sees of them.

Names load on first use (PEP 562): a plan that names a feature set does not import Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.profile.batch_norm import (
        Moments,
        NormLayer,
        compile_moments,
        measure_moments,
        norm_layers,
    )
    from ktransfer.profile.depths import Depth, probe_depths
    from ktransfer.profile.gap import (
        LEAST_IMAGES,
        MOST_IMAGES,
        SIMILAR_BELOW,
        DomainGap,
        domain_gap,
    )
    from ktransfer.profile.measuring import gap_or_reason, measure_gap, remembers_photos
    from ktransfer.profile.profile import WIDEST, Columns, Profile, columns_of
    from ktransfer.profile.profiling import profile_part
    from ktransfer.profile.reference import reference_backbone

__all__ = [
    "LEAST_IMAGES",
    "MOST_IMAGES",
    "SIMILAR_BELOW",
    "WIDEST",
    "Columns",
    "Depth",
    "DomainGap",
    "Moments",
    "NormLayer",
    "Profile",
    "columns_of",
    "compile_moments",
    "domain_gap",
    "gap_or_reason",
    "measure_gap",
    "measure_moments",
    "norm_layers",
    "probe_depths",
    "profile_part",
    "reference_backbone",
    "remembers_photos",
]

_HOME = {
    "Columns": "profile",
    "Depth": "depths",
    "DomainGap": "gap",
    "LEAST_IMAGES": "gap",
    "MOST_IMAGES": "gap",
    "Moments": "batch_norm",
    "NormLayer": "batch_norm",
    "Profile": "profile",
    "SIMILAR_BELOW": "gap",
    "WIDEST": "profile",
    "columns_of": "profile",
    "compile_moments": "batch_norm",
    "domain_gap": "gap",
    "gap_or_reason": "measuring",
    "measure_gap": "measuring",
    "measure_moments": "batch_norm",
    "norm_layers": "batch_norm",
    "probe_depths": "depths",
    "profile_part": "profiling",
    "reference_backbone": "reference",
    "remembers_photos": "measuring",
}

_MOVED = dict.fromkeys(("FEATURE_SETS", "Tap", "concatenated", "taps_of"), "ktransfer.features")

__getattr__, __dir__ = lazy_names(__name__, _HOME, moved=_MOVED)
