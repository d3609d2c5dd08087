"""A learning-rate multiplier for any Keras optimizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ktransfer.errors import InputError, unknown_name
from ktransfer.optimizers.groups import (
    Binding,
    MultiplierGroup,
    Multipliers,
    as_groups,
    bind,
    check_multiplier,
)
from ktransfer.optimizers.refusals import check_inner, check_strategy, check_variables
from ktransfer.optimizers.report import MultiplierReport, Snapshot, as_array, make_report
from ktransfer.optimizers.steps import assign, average, scaled

_REST = "(no group)"


@keras.saving.register_keras_serializable(package="ktransfer")
class LearningRateMultiplier(keras.optimizers.Optimizer):
    """Runs an optimizer with a learning rate of its own for each group of variables.

    The inner optimizer takes its step, then each variable in a group is put at
    `old + multiplier * (new - old)`. That is the same as the group having its own scaled learning
    rate, decoupled weight decay included, for every optimizer whose step is proportional to the
    learning rate. Scaling gradients instead does nothing under Adam, which divides by their size.

    It is used like the inner optimizer: schedules and callbacks act on `learning_rate`, which is
    that of the inner one, and the ratios stay. Settings (weight decay, clipping, gradient
    accumulation) belong to the inner optimizer; a global clipping norm spans all groups. A
    `keras.optimizers.LossScaleOptimizer` goes around it, as `compile` does by itself.

    Multipliers are variables of the optimizer: `set_multipliers` changes them between epochs
    without a new trace, and they are saved with it. `ktransfer.optimizers` must be imported
    before `keras.models.load_model` can read the optimizer back.

    A multiplier above 1 magnifies the rounding of the inner step, too: in float32 by about 3e-8 of
    a weight for each unit and step. Where that matters, let the learning rate be that of the
    fastest group, and the multipliers at most 1.

    With `Adafactor` the multiplier scales the step that the optimizer takes, so where its bound of
    1 / sqrt(step) is below the learning rate it scales that bound. `Lamb` and `Adafactor` measure
    the weights after decaying them: with `weight_decay`, ratios are exact only up to a relative
    learning_rate * weight_decay.

    Args:
        inner_optimizer: the optimizer, or its name, not built yet.
        multipliers: A mapping from path pattern to multiplier, or groups as `layer_decay`,
            `grouped`, `by_block` and `auto_rgn` return them. A pattern is that of `fnmatch`; the
            first that matches a variable counts; one that gets nothing is an error. Variables in
            no group take the learning rate as it is, at no cost.
        use_ema: whether to average the weights, as `use_ema` of the Keras optimizers does; set it
            here, since the inner optimizer would average steps before they are scaled.
        ema_momentum: the momentum of the average, 0 to 1. Defaults to Keras' 0.99.
        ema_overwrite_frequency: after how many steps the weights are overwritten with the average;
            None for at the end only.
        name: the name of the optimizer.

    Raises:
        InputError: The inner optimizer or one of its settings cannot be scaled, or the groups are
            no groups. When built: a pattern matches nothing, or a variable in a group has a
            constraint.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="top")])
        >>> optimizer = LearningRateMultiplier(keras.optimizers.Adam(0.01), {"*top/*": 0.1})
        >>> model.compile(optimizer, "mse")
        >>> optimizer.build(model.trainable_variables)
        >>> print(optimizer.describe())
        group   tensors  parameters  multiplier  learning_rate  movement
        *top/*        2           3         0.1          0.001
    """

    def __init__(
        self,
        inner_optimizer: Any,
        multipliers: Multipliers,
        *,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        name: str | None = None,
    ) -> None:
        inner = check_inner(inner_optimizer, type(self))
        groups = as_groups(multipliers)
        super().__init__(
            learning_rate=0.0,  # without a meaning, as in LossScaleOptimizer: the inner one counts
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            ema_overwrite_frequency=ema_overwrite_frequency,
            name=name,
        )
        # Not `inner_optimizer`: the callback SwapEMAWeights would look for the average in there.
        self.inner = inner
        self._groups = groups
        self._saved: tuple[Any, Any] | None = None

    def build(self, variables: Sequence[Any]) -> None:
        """Binds the groups to the variables and creates the state.

        Args:
            variables: the trainable variables of the model.

        Raises:
            InputError: See the class.
        """
        if self.built:
            return
        variables = tuple(variables)
        check_strategy(self.inner)
        owners = self._find_owners(variables)
        check_variables(variables, owners, [group.name for group in self._groups])
        super().build(list(variables))
        self.inner.build(list(variables))
        factors = np.array([group.multiplier for group in self._groups], "float32")
        # An initializer and not `assign`: Keras may build within a function being traced.
        self._factors = self.add_variable(
            shape=factors.shape,
            initializer=keras.initializers.Constant(factors),
            dtype="float32",
            name="multipliers",
        )
        self._bound = Binding(variables, owners)

    def _find_owners(self, variables: Sequence[Any]) -> tuple[int | None, ...]:
        """Return the group of each variable: as saved if this is the saved model, else by path.

        A Sequential model read back may have other paths than the one that was saved.
        """
        shapes = tuple(tuple(each.shape) for each in variables)
        if self._saved is not None and self._saved[1] == shapes:
            return tuple(self._saved[0])
        owners = bind(self._groups, [each.path for each in variables])
        # Float8 training passes new scales as "gradients" that overwrite: those are no steps.
        return tuple(
            None if getattr(each, "overwrite_with_gradient", False) else owner
            for each, owner in zip(variables, owners, strict=True)
        )

    @property
    def variables(self) -> list[Any]:
        """The state: the multipliers and averages, then that of the inner optimizer."""
        return [*super().variables, *self.inner.variables]

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Take one step.

        Args:
            grads: the gradients.
            trainable_variables: their variables; needed unless the optimizer is built.
        """
        if not self.built:
            if trainable_variables is None:
                raise InputError(f"{self.name!r} is not built: call build(variables) first")
            self.build(trainable_variables)
        # A copy, since eager steps of some backends write into the memory of the variable.
        old = [ops.copy(variable) for variable, _ in self._bound.members]
        step = ops.copy(self.iterations) if self.use_ema else None
        self.inner.apply(grads, trainable_variables)
        self._scale_steps(old)
        if self.use_ema:
            # The attribute of the base class; SwapEMAWeights of Keras reads it there, too.
            pairs = zip(self._bound.variables, self._model_variables_moving_average, strict=True)
            average(list(pairs), step, self.ema_momentum, self.ema_overwrite_frequency)

    def _scale_steps(self, old: Sequence[Any]) -> None:
        factors = [self._factors[index] for index in range(len(self._groups))]
        variables, values = [], []
        for (variable, owner), before in zip(self._bound.members, old, strict=True):
            variables.append(variable)
            values.append(scaled(before, ops.convert_to_tensor(variable), factors[owner]))
        assign(variables, values)

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the inner optimizer, which the multipliers scale."""
        return self.inner.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner.learning_rate = learning_rate

    @property
    def iterations(self) -> Any:
        """How many steps the inner optimizer has taken."""
        return self.inner.iterations

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Exclude variables from the weight decay of the inner optimizer, before it is built."""
        self.inner.exclude_from_weight_decay(var_list, var_names)

    @property
    def groups(self) -> tuple[MultiplierGroup, ...]:
        """The groups with their multipliers as they are now."""
        if not self.built:
            return self._groups
        # Not float32's 0.10000000149: the shortest number that float32 reads as this one.
        now = [float(str(each)) for each in as_array(self._factors)]
        return tuple(
            MultiplierGroup(group.name, group.paths, factor)
            for group, factor in zip(self._groups, now, strict=True)
        )

    def set_multipliers(self, multipliers: Mapping[str, float] | Iterable[MultiplierGroup]) -> None:
        """Change multipliers, between epochs for example; nothing is traced or compiled again.

        Args:
            multipliers: from the name of a group to its multiplier, or groups of these names, of
                which only the multipliers are taken. Groups not named keep theirs.

        Raises:
            InputError: There is no such group, or a multiplier is negative or not finite.
        """
        if not isinstance(multipliers, Mapping):
            multipliers = {group.name: group.multiplier for group in as_groups(multipliers)}
        now = {group.name: group for group in self.groups}
        for name, value in multipliers.items():
            if name not in now:
                raise unknown_name("group", name, tuple(now))
            now[name] = MultiplierGroup(name, now[name].paths, check_multiplier(name, value))
        self._groups = tuple(now.values())
        if self.built:
            factors = [group.multiplier for group in self._groups]
            self._factors.assign(np.array(factors, "float32"))

    def snapshot(self) -> Snapshot:
        """Return the weights now, for `describe(since=...)`.

        Raises:
            InputError: The optimizer is not built.
        """
        return Snapshot(tuple(as_array(each) for each in self._require().variables))

    def describe(self, since: Snapshot | None = None) -> MultiplierReport:
        """Report for each group its size, multiplier and learning rate, and how far it moved.

        Args:
            since: what `snapshot` gave before the training. Without it nothing is said of movement.

        Returns:
            One `GroupReport` per group, and one for what is in no group; `print` shows a table.

        Raises:
            InputError: The optimizer is not built, or the snapshot is that of another model.
        """
        bound = self._require()
        rows = [
            (group.name, group.multiplier, bound.of(index))
            for index, group in enumerate(self.groups)
        ]
        if rest := bound.of(None):
            rows.append((_REST, 1.0, rest))
        learning_rate = float(as_array(self.learning_rate))
        return make_report(rows, bound.variables, learning_rate, since)

    def _require(self) -> Binding:
        if not self.built:
            raise InputError(
                f"{self.name!r} is not built and knows no variables yet: call "
                "optimizer.build(model.trainable_variables) or fit first"
            )
        return self._bound

    def save_own_variables(self, store: Any) -> None:
        """Save the own state only: Keras visits the inner optimizer by itself."""
        for index, variable in enumerate(super().variables):
            store[str(index)] = as_array(variable)

    def load_own_variables(self, store: Any) -> None:
        """Load the own state.

        Raises:
            InputError: The saved state is not that of these groups.
        """
        own = super().variables
        if len(store.keys()) != len(own):
            raise InputError(
                f"the saved state of {self.name!r} has {len(store.keys())} variables where "
                f"{len(own)} were expected; build the optimizer and save it again"
            )
        for index, variable in enumerate(own):
            variable.assign(store[str(index)])

    def get_config(self) -> dict[str, Any]:
        """Return the configuration, as plain data; the multipliers are those of now."""
        config = {
            "name": self.name,
            "inner_optimizer": keras.optimizers.serialize(self.inner),
            "multipliers": [group.to_dict() for group in self.groups],
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            "ema_overwrite_frequency": self.ema_overwrite_frequency,
        }
        if self.built:
            config["owners"] = list(self._bound.owners)
            config["shapes"] = [list(each.shape) for each in self._bound.variables]
        return config

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> LearningRateMultiplier:
        """Return the reverse of `get_config`."""
        config = dict(config)
        owners, shapes = config.pop("owners", None), config.pop("shapes", None)
        inner = keras.optimizers.deserialize(config.pop("inner_optimizer"), custom_objects)
        groups = [MultiplierGroup(**group) for group in config.pop("multipliers")]
        optimizer = cls(inner, groups, **config)
        if owners is not None:
            optimizer._saved = (tuple(owners), tuple(tuple(each) for each in shapes))
        return optimizer
