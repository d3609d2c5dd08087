"""`Adviser`: one pass over the images through the backbone, and what follows from it."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from dataclasses import dataclass

import numpy as np

from ktransfer.advisor.advice import Advice
from ktransfer.advisor.costs import Costs
from ktransfer.advisor.deciding import decide
from ktransfer.advisor.situation import Situation
from ktransfer.backbones import Backbone
from ktransfer.cache import Store
from ktransfer.data import Splits
from ktransfer.errors import InputError
from ktransfer.features import Network, RowSource
from ktransfer.profile import WIDEST, Columns, Profile, columns_of, gap_or_reason, probe_depths
from ktransfer.profile.measuring import QUICK_IMAGES
from ktransfer.profile.probes import MOST_IMAGES, even_sample
from ktransfer.show.progress import progress_bar, working

#: Up to so many training and validation images, and so many megabytes, the features of all blocks
#: are computed of all images, and training goes on from them. Beyond, as many training images as a
#: probe takes are looked at, some of every class, and training computes only the features that were
#: chosen.
MOST_WHOLE_IMAGES, MOST_WHOLE_MB = 4_000, 512


@dataclass(frozen=True, eq=False)
class Seen:
    """What one pass saw.

    Attributes:
        profile: of the training images, or of an even sample.
        source: the rows that it came from; None where they are those of a sample.
        advice: what follows from it.
        costs: of the backbone.
    """

    profile: Profile
    source: RowSource | None
    advice: Advice
    costs: Costs


@dataclass(frozen=True, eq=False)
class Adviser:
    """Looks at images through a backbone, and decides.

    Attributes:
        backbone: with its pretrained weights.
        pooling: as in `features.pool`.
        seed: of the training.
        store: where what was computed is kept; None: nowhere.
        budget_mb: as in `RowSource`.
        dtype: as in `RowSource`.
        kept: as in `RowSource`.
        gap_backbone: measures the domain gap where the backbone cannot.
        verbose: show progress.
        deadline: when the training must end, as `time.perf_counter` counts; None: it need not.
    """

    backbone: Backbone
    pooling: str
    seed: int
    store: Store | None
    budget_mb: float
    dtype: str
    kept: tuple[int, ...] = ()
    gap_backbone: Backbone | None = None
    verbose: bool = True
    deadline: float | None = None

    def profile_images(
        self,
        splits: Splits,
        similarity: float | str | None,
        fine_tuning: str,
        *,
        depths: bool = False,
    ) -> Seen:
        """Profile the training images, and decide.

        Args:
            splits: the images.
            similarity: as in `textbook_rule`.
            fine_tuning: as in `Situation`.
            depths: judge a head on each block, too.
        """
        started = time.perf_counter()
        whole = self._takes_all(len(splits.train) + len(splits.validation))
        source = self.source(splits if whole else _sampled(splits), WIDEST, sampled=not whole)
        self.check_time(source)
        profile = self._profile(source)
        if whole:  # while the same program is at hand
            source.rows("validation", len(self.backbone.blocks))
        situation = Situation(
            num_images=len(source.splits.train if whole else splits.train),
            num_classes=len(splits.class_names),
            similarity=similarity,
            fine_tuning=fine_tuning,
            costs=Costs.of(self.backbone, source.seconds_per_image(len(self.backbone.blocks))),
        )
        with working("judging heads", shown=self.verbose):
            advice = decide(profile, situation, seed=self.seed)
            found = probe_depths(profile) if depths else ()
        seconds = time.perf_counter() - started
        advice = dataclasses.replace(advice, depths=found, seconds=seconds)
        return Seen(profile, source if whole else None, advice, situation.costs)

    def source(
        self,
        splits: Splits,
        features: str,
        num_blocks: int | None = None,
        *,
        sampled: bool = False,
    ) -> RowSource:
        """Return the rows of the images for a head that reads a feature set.

        `sampled`: of some images.
        """
        return RowSource(
            self.network(splits, features, num_blocks),
            splits,
            store=self.store,
            budget_mb=self.budget_mb,
            dtype=self.dtype,
            kept=self.kept,
            sampled=sampled,
            verbose=self.verbose,
        )

    def check_time(self, source: RowSource) -> None:
        """Refuse to begin where not even one pass over the images fits into the time.

        Raises:
            InputError: the deadline comes too early; it says how long a pass takes.
        """
        blocks = source.network.num_blocks
        if self.deadline is None or source.has("train", blocks):
            return
        number = sum(len(part) for part in source.splits.parts if part.name != "test")
        needed = number * source.seconds_per_image(blocks)
        if time.perf_counter() + needed > self.deadline:
            raise InputError(
                f"the time budget is too short: one pass over {number:,} images takes about "
                f"{math.ceil(needed)} s here, besides what was needed to begin; give more time, or "
                "take a smaller backbone or fewer images"
            )

    def network(self, splits: Splits, features: str, num_blocks: int | None = None) -> Network:
        """Return the backbone with a new head."""
        return Network(
            self.backbone,
            num_blocks or len(self.backbone.blocks),
            len(splits.class_names),
            self.pooling,
            self.seed,
            features=features,
        )

    @functools.cached_property
    def _columns(self) -> tuple[tuple[Columns, ...], dict[str, int]]:
        """What each column of the widest features is."""
        return columns_of(self.backbone, self.pooling)

    def _takes_all(self, num_images: int) -> bool:
        """Tell whether the features of all blocks are computed of all images."""
        width = self._columns[1][WIDEST]
        return num_images <= min(MOST_WHOLE_IMAGES, MOST_WHOLE_MB * 2**20 // (4 * width))

    def _profile(self, source: RowSource) -> Profile:
        rows = source.rows("train", len(self.backbone.blocks))
        assert isinstance(rows, np.ndarray)  # only images are streamed
        train = source.splits.train
        images = min(QUICK_IMAGES, len(train))
        with progress_bar("measuring the domain gap", images, shown=self.verbose) as show:
            gap, measured_with = gap_or_reason(
                self.backbone,
                train,
                seed=self.seed,
                reference=self.gap_backbone,
                store=self.store,
                on_progress=show,
            )
        columns, widths = self._columns
        sample = even_sample(train.labels, MOST_IMAGES)
        return Profile(
            rows if len(sample) == len(rows) else rows[sample],
            train.labels[sample],
            columns,
            widths,
            gap,
            measured_with,
        )


def _sampled(splits: Splits) -> Splits:
    """Take some of the training images; of the other parts nothing is looked at."""
    train = splits.train.select(even_sample(splits.train.labels, MOST_IMAGES))
    no_validation = dataclasses.replace(train.select([0]), name="validation")
    return dataclasses.replace(splits, train=train, validation=no_validation, test=None)
