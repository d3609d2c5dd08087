"""The graph of a functional model: its operations in order, and the cuts between them.

The walk goes over *operations*, not layers: ConvNeXt's residual additions are operations without a
layer. It uses `keras.models.clone_model` with a call function, which is Keras' public way to see
every call of a graph in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from ktransfer.errors import InputError

# Above this share of all weights between two cuts, one cut is not enough to freeze by: two-tensor
# cuts are sought there. NASNet needs it: its four one-tensor cuts all lie before 2 % of its
# weights.
HEAVY_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Call:
    """One call of an operation in a graph; a shared layer has several.

    Attributes:
        operation: the `keras.Operation`: a layer, or one of `keras.ops`.
        inputs: the tensors that it was called on.
        outputs: the tensors that it returned.
    """

    operation: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Span:
    """The calls between two neighbouring cuts.

    Attributes:
        calls: the calls, in an order in which they can run; the last one ends the span.
        outputs: the cut after the span: all tensors that a later call still needs, one or (NASNet)
            two.
    """

    calls: tuple[Call, ...]
    outputs: tuple[Any, ...]

    @property
    def last(self) -> Any:
        """The operation whose output ends the span."""
        return self.calls[-1].operation


def is_nested(operation: Any) -> bool:
    """Tell whether `operation` is a model, functional or sequential, with a graph to walk."""
    if isinstance(operation, keras.Sequential):
        return type(operation).call is keras.Sequential.call
    # A functional model of a subclass that overrides call() does more than its graph says.
    return isinstance(operation, keras.Function) and _inherits_call(type(operation))


def _inherits_call(cls: type) -> bool:
    owner = next(each for each in cls.__mro__ if "call" in vars(each))
    return owner.__module__.startswith("keras.src.")


def trace(model: keras.Model, inputs: Sequence[Any]) -> tuple[tuple[Call, ...], tuple[Any, ...]]:
    """Record every call of `model` when it is applied to `inputs`, nested models taken apart.

    No weight is copied: the calls use the model's own layers. A call that the graph of `inputs`
    already contains is taken as it is, so a model that is traced on its own inputs keeps its own
    tensors and `layer.output` stays valid.

    Args:
        model: A functional or (built) sequential model.
        inputs: one KerasTensor for each input of the model.

    Returns:
        The calls in an order in which they can run, and the model's outputs.
    """
    recorder = _Recorder()
    outputs = recorder.walk(model, list(inputs))
    return tuple(recorder.calls), tuple(outputs)


class _Recorder:
    """Sees every call of a graph, in order, and repeats it on the new tensors."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._reused: set[int] = set()
        self._ends: dict[int, Any] = {}

    def walk(self, model: keras.Model, inputs: list[Any]) -> list[Any]:
        if not isinstance(model, keras.Sequential):
            return self._walk_functional(model, inputs)
        outputs: Any = inputs[0]
        for layer in model.layers:
            outputs = self(layer, outputs)
        return keras.tree.flatten(outputs)

    def _walk_functional(self, model: keras.Model, inputs: list[Any]) -> list[Any]:
        # clone_model returns tensors of its own making; the ones recorded here are caught by an end
        # marker.
        ends = [keras.layers.Identity() for _ in model.outputs]
        marked = [end(tensor) for end, tensor in zip(ends, model.outputs, strict=True)]
        self._ends.update({id(end): None for end in ends})
        keras.models.clone_model(
            keras.Model(list(model.inputs), marked),
            input_tensors=inputs,
            clone_function=lambda layer: layer,
            call_function=self,
        )
        return [self._ends.pop(id(end)) for end in ends]

    def __call__(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        inputs = _tensors((args, kwargs))
        if id(operation) in self._ends:
            self._ends[id(operation)] = inputs[0]
            return inputs[0]
        if is_nested(operation):
            # Its own keyword arguments go: Keras 3.15 overrides even `training=False` in the call
            # of a nested model with the outer model's argument.
            ends = self.walk(operation, inputs)
            return ends[0] if len(ends) == 1 else ends
        outputs = self._reuse(operation, inputs)
        if outputs is None:
            outputs = operation(*args, **kwargs)
        self.calls.append(Call(operation, tuple(inputs), tuple(_tensors(outputs))))
        return outputs

    def _reuse(self, operation: Any, inputs: list[Any]) -> Any:
        """Return the outputs of the first call if that was on these tensors, else None."""
        if id(operation) in self._reused:
            return None
        try:
            first = _tensors(operation.input)
        except (
            AttributeError,
            ValueError,
        ):  # never called: a layer that is only part of a Sequential
            return None
        if len(first) != len(inputs) or any(a is not b for a, b in zip(first, inputs, strict=True)):
            return None
        self._reused.add(id(operation))
        return operation.output


def _tensors(structure: Any) -> list[Any]:
    return [leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, keras.KerasTensor)]


def layers_with_weights(calls: Iterable[Call]) -> tuple[Any, ...]:
    """Return the layers among `calls` that have weights, each once, in order."""
    layers = {
        id(call.operation): call.operation
        for call in calls
        if isinstance(call.operation, keras.Layer)
    }
    return tuple(layer for layer in layers.values() if layer.weights)


def count_parameters(calls: Iterable[Call]) -> int:
    """Say how many numbers the weights of the layers among `calls` hold."""
    return sum(int(layer.count_params()) for layer in layers_with_weights(calls))


def find_spans(calls: Sequence[Call], output: Any) -> tuple[Span, ...]:
    """Divide a graph at its cuts.

    A cut is a place that every path from the input to the output passes: there exactly one tensor
    is alive. Where one span between such cuts holds more than half of all weights, two-tensor cuts
    after merges divide it further.

    Args:
        calls: all calls of the graph, in an order in which they can run.
        output: the graph's one output tensor.

    Returns:
        The spans in order; joined they are `calls`.
    """
    needed = _Needed(calls, output)
    spans = _one_tensor_spans(calls, needed)
    whole = count_parameters(calls)
    divided: list[Span] = []
    for span in spans:
        heavy = count_parameters(span.calls) > HEAVY_SHARE * whole and len(span.calls) > 1
        divided += _two_tensor_spans(span, calls, needed) if heavy else [span]
    return tuple(divided)


class _Needed:
    """Which calls need which tensor; the graph's output is needed by a call behind the last."""

    def __init__(self, calls: Sequence[Call], output: Any) -> None:
        self.by: dict[int, set[int]] = {}
        self.maker: dict[int, int] = {}
        for position, call in enumerate(calls):
            for tensor in call.inputs:
                self.by.setdefault(id(tensor), set()).add(position)
            for tensor in call.outputs:
                self.maker[id(tensor)] = position
        self.by.setdefault(id(output), set()).add(len(calls))

    def of(self, tensor: Any) -> set[int]:
        return self.by.get(id(tensor), set())

    def outside(self, tensor: Any, inside: set[int]) -> bool:
        return not self.of(tensor) <= inside


def _one_tensor_spans(calls: Sequence[Call], needed: _Needed) -> list[Span]:
    spans, start = [], 0
    alive: list[Any] = list(calls[0].inputs[:1]) if calls else []
    for position, call in enumerate(calls):
        alive = [
            tensor
            for tensor in (*alive, *call.outputs)
            if max(needed.of(tensor), default=-1) > position
        ]
        if len(alive) == 1:
            spans.append(Span(tuple(calls[start : position + 1]), (alive[0],)))
            start = position + 1
    if start < len(calls):
        raise InputError(
            "the graph ends in more than one tensor (after operation "
            f"{calls[-1].operation.name!r}); a backbone has "
            "one output: build keras.Model(inputs, one_output) first"
        )
    return spans


def _two_tensor_spans(span: Span, calls: Sequence[Call], needed: _Needed) -> list[Span]:
    """Divide `span` after each merge behind which only two tensors are alive."""
    first = next(position for position, call in enumerate(calls) if call is span.calls[0])
    members = range(first, first + len(span.calls))
    before = set(range(first))
    spans: list[Span] = []
    done: set[int] = set()
    for position in members:
        # What the merge needs, and nothing else: the order in which Keras lists the calls mixes the
        # cells.
        inside = _ancestors(position, calls, needed, first) | done
        made = [tensor for each in sorted(inside) for tensor in calls[each].outputs]
        alive = [t for t in (*_inputs_of(span), *made) if needed.outside(t, before | inside)]
        if len(alive) == 2 and position not in done and _ends_cell(position, calls, needed):
            spans.append(_span(calls, inside - done, tuple(alive), position))
            done = inside
    rest = set(members) - done
    return [*spans, _span(calls, rest, span.outputs, members[-1])] if rest else spans


def _ends_cell(position: int, calls: Sequence[Call], needed: _Needed) -> bool:
    """Tell whether a merge ends a cell; NASNet's factorised reductions merge inside one."""
    if len(calls[position].inputs) < 2:
        return False
    users = [
        calls[each].operation for each in needed.of(calls[position].outputs[0]) if each < len(calls)
    ]
    return not all(isinstance(user, keras.layers.BatchNormalization) for user in users)


def _inputs_of(span: Span) -> list[Any]:
    made = {id(tensor) for call in span.calls for tensor in call.outputs}
    entering = {id(t): t for call in span.calls for t in call.inputs if id(t) not in made}
    return list(entering.values())


def _ancestors(position: int, calls: Sequence[Call], needed: _Needed, first: int) -> set[int]:
    """Return the positions from `first` on that the one at `position` depends on, with it."""
    found, waiting = set(), [position]
    while waiting:
        each = waiting.pop()
        if each >= first and each not in found:
            found.add(each)
            waiting += [needed.maker[id(t)] for t in calls[each].inputs if id(t) in needed.maker]
    return found


def _span(calls: Sequence[Call], positions: set[int], outputs: tuple[Any, ...], last: int) -> Span:
    ordered = [*sorted(positions - {last}), last]
    return Span(tuple(calls[each] for each in ordered), outputs)
