"""The options of `FineTuner`, written once, and checked before any work is done."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypedDict

import keras

from ktransfer.advisor import check_fine_tuning, check_similarity
from ktransfer.data.batches.balance import check_balance
from ktransfer.data.images.value_range import AUTO, ValueRange, check_value_range
from ktransfer.doctor import check_name
from ktransfer.errors import InputError, RunError, near_names, unknown_name
from ktransfer.features import CACHE_DTYPES, DEFAULT_BUDGET_MB
from ktransfer.plan import Plan
from ktransfer.plan.fields import POSITIVE, number, truth, whole
from ktransfer.runs.record import RECORD_NAME
from ktransfer.runs.saving import check_output_folder
from ktransfer.training import (
    CacheMode,
    Checkpoints,
    Settings,
    check_cache_mode,
    choose_jit_compile,
    choose_precision,
)


class AdviceArguments(TypedDict, total=False):
    """Options of looking at images and deciding.

    Attributes:
        similarity: how similar the images are to the backbone's own: a number in [0, 1],
            `"similar"` or `"different"`; None: with `"auto"` it is measured, else it is taken to be
            similar and that is said.
        fine_tuning: whether `"auto"` tries to train blocks as well, and keeps what is better on the
            validation images: `"auto"` where it may pay, `"on"`, or `"off"`, which leaves the
            choice of what the head reads.
        validation_fraction: share of each class held back where the data has no validation part.
        class_names: names of the labels, where the data has none, or another order is wanted.
        value_range: the values that are black and white in images of more than 8 bits, such as
            `(0, 4095)` for 12 bits in files of 16; `"auto"`: measured from all images, and noted;
            `"full"`: the whole of 16 bits, whatever is used of it. It is kept with the model:
            evaluation, predictions and exports read their images by it.
        cache: whether the activations at the cut between frozen and trainable blocks are computed
            once: `"auto"` decides by an estimate of time and space, `"on"` wherever it is sound,
            `"off"` never, and nothing is kept on disk for later runs. Or the only cuts to keep
            beside the features, as numbers of first blocks, such as `(13, 17)`.
    """

    similarity: float | str | None
    fine_tuning: str
    validation_fraction: float
    class_names: Sequence[str] | None
    value_range: str | ValueRange | None
    cache: CacheMode


class SearchArguments(AdviceArguments, total=False):
    """Options of training, besides those of looking and deciding.

    Attributes:
        plan: what trains when: `"auto"` (what `advise` decides by looking at the images),
            `"textbook"` (what the 2x2 rule says by itself), the name of a plan (`"lp_ft"`,
            `"gradual_unfreeze"`, ...: `ktransfer.plan.PLAN_NAMES`), or a `Plan`.
        unfreeze: how many last blocks train in the end, for the plans that leave it open; with
            `"auto"` it is `last_blocks`, or for 0 `linear_probe`.
        augmentation: random views of the training images in every stage: a name of
            `ktransfer.augment.AUGMENTATIONS`, or `"auto"`, which goes by the number of images and
            says why; None: the plan's.
        epochs: most epochs of every stage; None: the plan's.
        batch_size: images a training step; None: the plan's, or an eighth of them, from 4 to 32.
            Halved where memory runs out.
        patience: epochs without a better one after which a stage ends; None: the plan's.
        cache_dtype: what they are kept in: `"float32"`, or `"float16"` for half the space.
        memory_budget_mb: what goes beyond is memory-mapped from a file.
        balance: what is done about classes of unequal size: `"class_weights"` lets each class weigh
            the same in the loss, `"sampling"` draws as many images of each in an epoch, `"none"`
            neither; `"auto"` weights them from a ratio of 3 to 1 on, and says so in the notes.
            Validation is never weighted.
        callbacks: Keras callbacks, given to every stage.
    """

    plan: Plan | str
    unfreeze: int | None
    augmentation: str | None
    epochs: int | None
    batch_size: int | None
    patience: int | None
    cache_dtype: str
    memory_budget_mb: float
    balance: str
    callbacks: Sequence[keras.callbacks.Callback]


class FitArguments(SearchArguments, total=False):
    """Options of `fit` alone: searches for a learning rate save nothing, and check no image.

    Attributes:
        out: a folder for the run: checkpoints while it trains, the saved run afterwards.
        resume: go on with the training in `out` that was killed; begins one where there is none. On
            a CPU, and on as many cores, the weights come out as if nothing had happened, bit for
            bit; on more or fewer, last bits may differ, and a note says so.
        overwrite: replace the run, or the unfinished training, in `out`.
        refit: whether the head that was chosen learns from the validation images as well, at the
            end; its scores are those of before. Evaluating the same images then says nothing.
            Blocks are not trained anew.
        time_budget: seconds that looking, deciding and training may take, after which the best so
            far is kept; None: as long as they need.
        check: `"auto"` looks for leaks, duplicates, contradicting labels and more before the
            training, up to 10,000 images (`ktransfer.examine`); `"off"` does not.
    """

    out: str | os.PathLike[str] | None
    resume: bool
    overwrite: bool
    refit: bool
    time_budget: float | None
    check: str


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """The options of one call, checked; `FitArguments` and its bases describe them.

    Raises:
        InputError: one is out of range or contradicts another.
        RunError: a run could not be saved in `out`, or there is nothing to resume.
    """

    similarity: float | str | None = None
    fine_tuning: str = "auto"
    validation_fraction: float = 0.2
    class_names: Sequence[str] | None = None
    value_range: str | ValueRange | None = AUTO
    cache: CacheMode = "auto"
    plan: Plan | str = "auto"
    unfreeze: int | None = None
    augmentation: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    patience: int | None = None
    out: str | os.PathLike[str] | None = None
    resume: bool = False
    overwrite: bool = False
    cache_dtype: str = "float32"
    memory_budget_mb: float = DEFAULT_BUDGET_MB
    balance: str = "auto"
    callbacks: Sequence[keras.callbacks.Callback] = ()
    refit: bool = False
    time_budget: float | None = None
    check: str = "auto"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            value = getattr(self, name)
            if value is not None:
                whole("fit", name, value, 1)
        truth("fit", "refit", self.refit)
        if self.time_budget is not None:
            number("fit", "time_budget", self.time_budget, POSITIVE)
        check_cache_mode(self.cache)
        check_name(self.check)
        check_balance(self.balance)
        check_value_range(self.value_range)
        check_similarity(self.similarity)
        check_fine_tuning(self.fine_tuning)
        if self.fine_tuning != "auto" and not self.decides:
            raise InputError(
                f"fine_tuning={self.fine_tuning!r} is for plan='auto' without unfreeze=; the plan "
                "that you give says itself what trains: leave one of them out"
            )
        if self.cache_dtype not in CACHE_DTYPES:
            raise unknown_name("cache_dtype", str(self.cache_dtype), CACHE_DTYPES)
        if self.out is None:
            if self.resume:
                raise InputError("resume=True needs out=, the folder of the run to go on with")
            return
        unfinished = Checkpoints(self.out).read_request() is not None
        if unfinished and not (self.resume or self.overwrite):
            raise RunError(
                f"{self.out} holds a training that was not finished: resume=True (--resume) goes "
                "on with it, overwrite=True (--overwrite) starts anew"
            )
        check_output_folder(self.out, overwrite=self.overwrite or self.resume)

    @property
    def decides(self) -> bool:
        """Whether what trains is decided by looking at the images."""
        return self.plan == "auto" and self.unfreeze is None

    @property
    def complete(self) -> bool:
        """Whether the run to resume is complete already."""
        if self.out is None or not self.resume or Checkpoints(self.out).read_request() is not None:
            return False
        return os.path.exists(os.path.join(self.out, RECORD_NAME))


def settings_of(
    options: FitOptions,
    seed: int,
    dropout: float,
    precision: str,
    jit_compile: bool | str,
    verbose: int,
) -> Settings:
    """Make the settings of a training of what a `FineTuner` and its `fit` were given."""
    return Settings(
        seed=seed,
        dropout=dropout,
        cache=options.cache,
        precision=choose_precision(precision),
        jit_compile=choose_jit_compile(jit_compile),
        callbacks=tuple(options.callbacks),
        verbose=verbose,
    )


def takes(
    *arguments: type, own: Sequence[str] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have a method `(self, data, **options)` show and describe its options, and refuse others.

    Args:
        *arguments: `AdviceArguments`, `SearchArguments`, `FitArguments`: those that the last one
            is made of, and this.
        own: options that the method names itself.
    """
    names = tuple(arguments[-1].__annotations__)

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        kinds = [each.kind for each in inspect.signature(method).parameters.values()]
        positional = kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) > 2  # self and data

        @functools.wraps(method)
        def checked(self: Any, data: Any, *others: Any, **options: Any) -> Any:
            refuse_unknown(options, (*names, *own))
            if others and not positional:
                raise InputError(_by_position(method.__name__, data, others[0]))
            return method(self, data, *others, **options)

        checked.__signature__ = _signature(method, names)  # type: ignore[attr-defined]
        checked.__doc__ = f"{inspect.getdoc(method)}\n\nOptions:\n{_descriptions(arguments)}"
        return checked

    return decorate


def like(function: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have a method show and describe the parameters of the function that it hands them to."""

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        own, shown = inspect.signature(method), inspect.signature(function)
        first, *others = shown.parameters.values()
        parameters = [next(iter(own.parameters.values())), *others]
        method.__signature__ = shown.replace(parameters=parameters)  # type: ignore[attr-defined]
        described = (inspect.getdoc(function) or "").partition("Args:\n")
        without_first = re.sub(rf"    {first.name}: .*?\n(?=    \w)", "", described[2], flags=re.S)
        method.__doc__ = f"{described[0]}Args:\n{without_first}"
        return method

    return decorate


def refuse_unknown(options: Iterable[str], known: Sequence[str]) -> None:
    """Raise an `InputError` with the nearest names for an option that is none of `known`."""
    for name in options:
        if name in known:
            continue
        message = f"unknown option {name!r}: did you mean {', '.join(near_names(name, known))}?"
        if "val" in name.casefold():
            message += (
                " Validation images are given with the data: a folder with train/ and val/, or "
                "{'train': ..., 'validation': ...}"
            )
        raise InputError(message)


def _by_position(method: str, data: Any, other: Any) -> str:
    if isinstance(data, int):  # `advise` took these two in 0.1.0
        return (
            f"{method} looks at images, got {data!r} and {other!r}; what the 2x2 rule says of two "
            f"counts: textbook_rule({data!r}, {other!r})"
        )
    return f"{method} takes its options by name (plan=..., out=...), got {other!r} after the data"


def _signature(method: Callable[..., Any], names: Iterable[str]) -> inspect.Signature:
    """Give a method's signature, these in place of the option that stands for all others."""
    defaults = {each.name: each.default for each in fields(FitOptions)}
    shown = inspect.signature(method)
    own = [each for each in shown.parameters.values() if each.kind is not each.VAR_KEYWORD]
    types = FitOptions.__annotations__
    options = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=types[name]
        )
        for name in names
    ]
    return shown.replace(parameters=[*own, *options])


def _descriptions(arguments: Iterable[type]) -> str:
    """Return the attributes of options, as their docstrings describe them."""
    described = [(inspect.getdoc(each) or "").partition("Attributes:\n")[2] for each in arguments]
    return "\n".join(described)
