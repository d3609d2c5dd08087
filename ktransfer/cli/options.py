"""The options that commands share, and the values that they take."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ktransfer.errors import InputError

if TYPE_CHECKING:
    from ktransfer.finetuner import FineTuner

_OF_THE_TUNER = ("input_size", "pooling", "seed")
_DEFAULTS = {"pooling": "avg", "validation_fraction": 0.2, "value_range": "auto", "seed": 0}


class KeyValue(click.ParamType):
    """`alpha=0.35` as `("alpha", 0.35)`."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, Any]:
        """Split at the first equals sign."""
        key, separator, text = value.partition("=")
        if not separator or not key.isidentifier():
            self.fail(f"{value!r} is not of the form KEY=VALUE, such as alpha=0.35", param, ctx)
        return key, parsed(text)


class Range(click.ParamType):
    """`0,4095` as `(0.0, 4095.0)`; auto and full as they are."""

    name = "auto|full|LOW,HIGH"

    def convert(self, value: Any, param: Any, ctx: Any) -> str | tuple[float, float]:
        """Two numbers, the first the smaller one, or a word."""
        from ktransfer.data.images.value_range import check_value_range

        several = value.split(",") if isinstance(value, str) and "," in value else value
        try:
            return check_value_range(several)
        except InputError:
            self.fail(
                f"{value!r} is neither auto nor full nor two numbers LOW,HIGH, such as 0,4095, the "
                "first the smaller one",
                param,
                ctx,
            )


class NumberOrName(click.ParamType):
    """`4` as 4; `block_13` as it is."""

    name = "K|NAME"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | str:
        """Return a whole number from 0, or the name of a block or layer."""
        if isinstance(value, str) and not value.removeprefix("-").isdecimal():
            return value or self.fail("the name of a block or layer is empty", param, ctx)
        return int(click.IntRange(0).convert(value, param, ctx))


def finite(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    """Refuse NaN and infinity, which a range of numbers lets through."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is no finite number above 0.")
    return value


def parsed(text: str) -> Any:
    """Return the text as None, a bool, an int or a float, or else as it is.

    Example:
        >>> parsed("0.35"), parsed("3"), parsed("none"), parsed("True"), parsed("relu")
        (0.35, 3, None, True, 'relu')
    """
    words = {"none": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _names(_: click.Context, __: click.Parameter, value: str | None) -> list[str] | None:
    """Return the names between the commas of an option."""
    return None if value is None else [each.strip() for each in value.split(",")]


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object as the last line."
)


quiet_option = click.option("--quiet", "-q", is_flag=True, help="Show no progress.")


def verbosity_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `verbose`, everything that is known, and `quiet`, nothing but the result."""
    says = "Print everything that is known."
    return click.option("--verbose", "-v", is_flag=True, help=says)(quiet_option(command))


value_range_option = click.option(
    "--value-range",
    type=Range(),
    default="auto",
    show_default=True,
    help="Which values are black and white in images of more than 8 bits, such as 0,4095; "
    "auto is measured, full is the whole of 16 bits.",
)

learnt_range_option = click.option(
    "--value-range",
    type=Range(),
    default="auto",
    show_default=True,
    help="Which values are black and white in images of more than 8 bits, such as 0,1023, where "
    "another device took them; auto is what the model learnt with, full the whole of 16 bits.",
)

class_names_option = click.option(
    "--class-names",
    metavar="NAME,NAME,...",
    callback=_names,
    help="The classes in the order wanted; they say how a folder is read that can be read in two "
    "ways.",
)

seed_option = click.option(
    "--seed", type=click.IntRange(0), default=_DEFAULTS["seed"], show_default=True
)

_OPTIONS = (
    click.option(
        "--backbone",
        default="MobileNetV2",
        show_default=True,
        metavar="NAME|PATH.keras",
        help="A name from `backbones`, or a file with a Keras model of your own.",
    ),
    click.option(
        "--backbone-option",
        "backbone_options",
        multiple=True,
        type=KeyValue(),
        help="For the backbone's constructor, such as alpha=0.35. May be repeated.",
    ),
    click.option(
        "--weights",
        default="imagenet",
        show_default=True,
        metavar="PATH|imagenet|mini|none",
        help="What the backbone knows; mini is for demonstrations.",
    ),
    click.option(
        "--input-size", type=click.IntRange(1), metavar="N", help="Pixels; default the backbone's."
    ),
    click.option(
        "--pooling",
        type=click.Choice(["avg", "max", "avgmax", "token"]),
        default=_DEFAULTS["pooling"],
        show_default=True,
    ),
    click.option(
        "--similarity",
        metavar="similar|different|0..1",
        help="How similar the images are to the backbone's own; default: it is measured.",
    ),
    click.option(
        "--validation-fraction",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=_DEFAULTS["validation_fraction"],
        show_default=True,
        help="Share of each class held back where DATA has no val folder.",
    ),
    value_range_option,
    seed_option,
)


def auto_option(name: str, says: str) -> Callable[..., Any]:
    """Say what is on, off, or decided by what is found."""
    kind = click.Choice(["auto", "on", "off"])
    return click.option(name, type=kind, default="auto", show_default=True, help=says)


fine_tuning_option = auto_option(
    "--fine-tuning", "Whether to try to train blocks too, and keep what validation says is better."
)


def overwrite_option(what: str) -> Callable[..., Any]:
    """Tell whether what a command writes may take the place of what is there."""
    return click.option("--overwrite", is_flag=True, help=f"Replace {what}.")


def tuner_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that `built` reads, and those of looking at the images."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def built(options: Mapping[str, Any], *, verbose: bool = False, quiet: bool = False) -> FineTuner:
    """Make a `FineTuner` by these options."""
    from ktransfer.finetuner import FineTuner

    own = dict(options["backbone_options"])
    chosen = named((*_OF_THE_TUNER, "dropout"), options)
    return FineTuner(
        options["backbone"],
        options["weights"],
        verbose=0 if quiet else 1 + verbose,
        **chosen,
        **own,
    )


def words_of(options: Mapping[str, Any]) -> list[str]:
    """Say what a command with these options is typed as, but for how the domain gap is measured."""
    from ktransfer.backbones.model_file import is_model_file

    words = ["--backbone", options["backbone"]]
    if not is_model_file(options["backbone"]):  # which has its own
        words += ["--weights", options["weights"] or "none"]
    for name, value in options["backbone_options"]:
        words += ["--backbone-option", f"{name}={value}"]
    for name in (*_OF_THE_TUNER, "validation_fraction", "value_range"):
        value = options.get(name)
        if value not in (None, _DEFAULTS.get(name)):
            several = isinstance(value, list | tuple)
            text = ",".join(f"{each:.17g}" for each in value) if several else str(value)
            words += [f"--{name.replace('_', '-')}", text]
    if names := options.get("class_names"):
        words += ["--class-names", ",".join(names)]
    return words


def named(names: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the options that there are.

    A run that is resumed may have begun before there was such an option: then the default holds.
    """
    return {name: options[name] for name in names if name in options}
