"""A plan: the stages of a training in order, as plain data that prints and serialises."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ktransfer.errors import InputError, unknown_name
from ktransfer.features import FEATURE_SETS
from ktransfer.files.reading import parse_json
from ktransfer.plan.augmentation import with_augmentation
from ktransfer.plan.fields import (
    POSITIVE,
    build,
    check_names,
    field_names,
    number,
    text,
    truth,
    whole,
)
from ktransfer.plan.picture import draw
from ktransfer.plan.rates import LearningRates, simulate
from ktransfer.plan.stage import ALL, AUTO, Stage
from ktransfer.plan.table import table
from ktransfer.show.charts import Chart

if TYPE_CHECKING:
    from ktransfer.backbones import Backbone

#: What `with_settings` takes. What trains, and under which name, is what makes a plan.
SETTINGS = tuple(name for name in field_names(Stage) if name not in ("name", "unfreeze"))


@dataclass(frozen=True)
class Plan:
    """What to train, stage by stage. Print it for a table.

    Attributes:
        name: the plan's name, for example `"lp_ft"`.
        stages: at least one `Stage`; their names differ.
        pretrained: whether the first stage starts from the backbone's pretrained weights; False:
            from random ones. Every later stage goes on from the one before.
        num_blocks: how many blocks of the backbone the model keeps, counted from the first; the
            head reads what the last of these says. None: all of them.
        features: what the head reads: `"last"`, what the last block says; `"all_blocks"`, what all
            of them say, side by side; or `"all_blocks_and_inner"`, with the wider activations
            inside of them as well. The latter two are for a model that keeps all blocks; of those
            that a stage unfreezes, the head reads what they say as they train.
        refit: what a head reads that is solved anew after the last stage, in closed form, on the
            blocks as they were trained, of the names of `features`; it is dropped where its
            validation loss is higher by more than chance. None: the head stays as it was trained.

    Raises:
        InputError: There is no stage, two have the same name, one unfreezes more blocks than the
            model keeps, a field has a wrong type, a plan from random weights leaves some of them
            frozen in its first stage, or `features` are unknown.

    Example:
        >>> head = Stage(name="head", unfreeze=0, epochs=5, learning_rate=0.002)
        >>> rest = Stage(name="rest", unfreeze="all", epochs=3, learning_rate=0.001)
        >>> plan = Plan("mine", (head, rest))
        >>> Plan.from_json(plan.to_json()) == plan
        True
        >>> [stage.unfreeze for stage in plan.resolve(17).stages]
        [0, 17]
    """

    name: str
    stages: tuple[Stage, ...]
    pretrained: bool = True
    num_blocks: int | None = None
    features: str = "last"
    refit: str | None = None

    def __post_init__(self) -> None:
        where = f"plan {text('a plan', 'name', self.name)!r}"
        object.__setattr__(self, "stages", _as_stages(where, self.stages))
        truth(where, "pretrained", self.pretrained)
        if self.num_blocks is not None:
            kept = whole(where, "num_blocks", self.num_blocks, 1)
            object.__setattr__(self, "num_blocks", kept)
            for stage in self.stages:
                _check_blocks(stage, kept, f"{where} keeps")
        if self.features not in FEATURE_SETS:
            raise unknown_name(f"features of {where}", str(self.features), FEATURE_SETS)
        if self.refit not in (None, *FEATURE_SETS):
            raise unknown_name(f"refit of {where}", str(self.refit), FEATURE_SETS)
        if not self.pretrained:
            _check_from_scratch(where, self.stages[0], self.num_blocks)

    @property
    def epochs(self) -> int:
        """Most epochs in all."""
        return sum(stage.epochs for stage in self.stages)

    def check(self, num_blocks: int) -> None:
        """Raise an error if the plan does not fit a backbone of `num_blocks` blocks.

        Raises:
            InputError: The plan keeps, or a stage unfreezes, more blocks than there are.
        """
        whole("check", "num_blocks", num_blocks, 1)
        for name in ("features", "refit"):
            read = getattr(self, name)
            if read not in (None, "last") and self.num_blocks not in (None, num_blocks):
                raise InputError(
                    f"plan {self.name!r}: {name}={read!r} are those of all {num_blocks} "
                    f"blocks, got num_blocks={self.num_blocks}: leave one of them out"
                )
        if self.num_blocks is not None and self.num_blocks > num_blocks:
            raise InputError(
                f"plan {self.name!r} keeps {self.num_blocks} blocks, got a backbone of {num_blocks}"
            )
        for stage in self.stages:
            _check_blocks(stage, num_blocks, "the backbone has")

    def resolve(self, num_blocks: int, images_per_class: float | None = None) -> Plan:
        """Return the same plan for a backbone of `num_blocks` blocks: every "all" becomes a number.

        Args:
            num_blocks: how many blocks the backbone has, `len(backbone.blocks)`.
            images_per_class: training images by classes; where it is given, every augmentation
                "auto" becomes what `choose_augmentation` says.

        Returns:
            A plan whose `num_blocks` says how many the model keeps; resolving it again for the same
            backbone changes nothing.

        Raises:
            InputError: As `check`.
        """
        self.check(num_blocks)
        kept = self.num_blocks or int(num_blocks)
        stages = tuple(
            dataclasses.replace(stage, unfreeze=stage.num_trainable_blocks(kept))
            for stage in self.stages
        )
        if images_per_class is not None:
            stages = tuple(
                with_augmentation(stage, kept, images_per_class)
                if stage.augmentation == AUTO
                else stage
                for stage in stages
            )
        return dataclasses.replace(self, stages=stages, num_blocks=kept)

    def numbered(self, backbone: Backbone) -> Plan:
        """Return the same plan with a number in the place of each name of a block or layer.

        Args:
            backbone: whose blocks and layers are meant.

        Raises:
            InputError: The backbone has no such block or layer, several blocks have a layer of that
                name, or the model does not keep the block.

        Example:
            >>> from ktransfer import load_backbone
            >>> stage = Stage(name="rest", unfreeze="block_13", epochs=3, learning_rate=0.001)
            >>> plan = Plan("mine", (stage,)).numbered(load_backbone("MobileNetV2", "mini"))
            >>> plan.stages[0].unfreeze
            5
        """
        if all(isinstance(each.unfreeze, int) or each.unfreeze == ALL for each in self.stages):
            return self
        from ktransfer.freezing import blocks_from  # it needs Keras, which plans do not

        behind = len(backbone.blocks) - (self.num_blocks or len(backbone.blocks))
        stages = []
        for stage in self.stages:
            if isinstance(stage.unfreeze, str) and stage.unfreeze != ALL:
                kept = blocks_from(backbone, stage.unfreeze) - behind
                if kept < 1:
                    raise InputError(
                        f"stage {stage.name!r} unfreezes from {stage.unfreeze!r} on, but plan "
                        f"{self.name!r} keeps only the first {self.num_blocks} blocks: name one of "
                        "these"
                    )
                stage = dataclasses.replace(stage, unfreeze=kept)
            stages.append(stage)
        return dataclasses.replace(self, stages=tuple(stages))

    def with_learning_rate(self, learning_rate: float) -> Plan:
        """Return the same plan with another peak learning rate of what trains in the end.

        It becomes that of every stage that trains blocks; where none does, that of the last stage.
        A head that is trained before the blocks keeps its own, which hardly depends on the images.

        Args:
            learning_rate: the peak rate of the head in these stages, above 0; blocks keep their
                ratio to it.

        Raises:
            InputError: It is no finite number above 0.

        Example:
            >>> from ktransfer.plan import lp_ft
            >>> [stage.learning_rate for stage in lp_ft().with_learning_rate(1e-4).stages]
            [0.002, 0.0001]
        """
        rate = number(f"plan {self.name!r}", "learning_rate", learning_rate, POSITIVE)
        tuning = [stage for stage in self.stages if stage.unfreeze != 0] or [self.stages[-1]]
        stages = tuple(
            dataclasses.replace(stage, learning_rate=rate) if stage in tuning else stage
            for stage in self.stages
        )
        return dataclasses.replace(self, stages=stages)

    def with_settings(self, **settings: Any) -> Plan:
        """Return the same plan with settings changed in every stage, for example `batch_size=16`.

        Raises:
            InputError: A setting is none of a stage, or its value is wrong.
        """
        check_names(f"plan {self.name!r}", "setting", settings, SETTINGS)
        stages = tuple(dataclasses.replace(stage, **settings) for stage in self.stages)
        return dataclasses.replace(self, stages=stages)

    def learning_rates(self, steps_per_epoch: int | Sequence[int]) -> LearningRates:
        """Return the rates of head and blocks at every step, if no stage ends early.

        Args:
            steps_per_epoch: steps in an epoch, at least 1; or one number for each stage, where
                these have different batch sizes.

        Raises:
            InputError: A number of steps is under 1, there are not as many as stages, or a stage
                says "all" and the plan is not resolved.

        Example:
            >>> stage = Stage(name="all", unfreeze=1, epochs=1, learning_rate=0.1, layer_decay=0.5)
            >>> dict(Plan("mine", (stage,)).learning_rates(2).rates)
            {'head': (0.1, 0.1), 'block -1': (0.05, 0.05)}
        """
        return simulate(self.stages, steps_per_epoch, self.num_blocks)

    def plot(
        self,
        path: str | os.PathLike[str],
        steps_per_epoch: int | Sequence[int] = 50,
        *,
        overwrite: bool = False,
    ) -> None:
        """Draw the learning rates over the epochs, on a logarithmic scale, as an SVG or PNG file.

        Args:
            path: where to write it; it must end in `.svg` or `.png`.
            steps_per_epoch: as in `learning_rates`; it only says how fine the curves are.
            overwrite: replace a file that is there.

        Raises:
            InputError: The path has another ending, exists (unless `overwrite`) or cannot be
                written, or as `learning_rates`.
        """
        self.chart(steps_per_epoch).save(path, overwrite=overwrite)

    def chart(self, steps_per_epoch: int | Sequence[int] = 50) -> Chart:
        """Return the picture of `plot` as a value: shown by a notebook, put into a page.

        Args:
            steps_per_epoch: as in `plot`.

        Raises:
            InputError: As `learning_rates`.
        """
        early = any(stage.patience for stage in self.stages)
        title = f"{self.name}: learning rates" + (", if no stage ends early" if early else "")
        return draw(self.learning_rates(steps_per_epoch), title)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain data, ready for JSON."""
        return {**dataclasses.asdict(self), "stages": [each.to_dict() for each in self.stages]}

    def to_json(self) -> str:
        """Return the plan as JSON; `Plan.from_json` reads back an equal plan."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    @classmethod
    def from_dict(cls, data: Any) -> Plan:
        """Return the reverse of `to_dict`.

        Raises:
            InputError: A field is unknown, missing or wrong; the message names it.
        """
        if isinstance(data, dict) and isinstance(data.get("stages"), list):
            stages = [
                Stage.from_dict(each, f"stage {number}")
                for number, each in enumerate(data["stages"], 1)
            ]
            data = {**data, "stages": tuple(stages)}
        plan: Plan = build(cls, data, "a plan")
        return plan

    @classmethod
    def from_json(cls, source: str) -> Plan:
        """Return the plan that `to_json` wrote, or that was written by hand.

        Raises:
            InputError: It is no JSON, says a field twice, or as `from_dict`.
        """
        try:
            data = parse_json(source)
        except InputError:
            raise
        # Also nesting too deep, and numbers of thousands of digits.
        except (ValueError, TypeError) as error:
            raise InputError(f"a plan must be JSON text, got {str(source)[:60]!r}: {error}") from (
                error
            )
        return cls.from_dict(data)

    def __str__(self) -> str:
        kept = f", {self.num_blocks} blocks" if self.num_blocks else ""
        kept += f", a head on {self.features}" if self.features != "last" else ""
        kept += f", then one solved on {self.refit}" if self.refit else ""
        start = "pretrained" if self.pretrained else "random"
        title = f"{self.name}: from {start} weights{kept}, at most {self.epochs} epochs"
        return f"{title}\n\n{table(self.stages, self.num_blocks)}"


def _as_stages(where: str, stages: Any) -> tuple[Stage, ...]:
    """Return the stages as a tuple: at least one, of different names."""
    if not isinstance(stages, Sequence) or not all(isinstance(each, Stage) for each in stages):
        raise InputError(f"{where}: stages must be a tuple of Stage, got {stages!r}")
    if not stages:
        raise InputError(f"{where} is empty: it needs at least one stage, got {stages!r}")
    names = [stage.name for stage in stages]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InputError(f"{where}: two stages have the name {doubled[0]!r}; give each its own")
    return tuple(stages)


def _check_blocks(stage: Stage, num_blocks: int, owner: str) -> None:
    if isinstance(stage.unfreeze, int) and stage.unfreeze > num_blocks:
        raise InputError(
            f"stage {stage.name!r} unfreezes {stage.unfreeze} blocks, but {owner} {num_blocks}: "
            "unfreeze fewer, or 'all'"
        )


def _check_from_scratch(where: str, first: Stage, num_blocks: int | None) -> None:
    if first.unfreeze not in (ALL, num_blocks):
        raise InputError(
            f"{where} starts from random weights, and its first stage must train them all: "
            f"unfreeze='all', got unfreeze={first.unfreeze!r} in {first.name!r}"
        )
    if first.batch_norm != "train":
        # New statistics are mean 0 and variance 1: frozen, they normalise nothing.
        raise InputError(
            f"{where} starts from random weights, and its batch norm must learn its statistics: "
            f"batch_norm='train', got {first.batch_norm!r} in {first.name!r}"
        )
